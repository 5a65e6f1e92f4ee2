"""Runs that are killed at a step, with the process that would finish them or without it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import guardian, lock
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.executor import Executor
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step


def killed_at(number: int, action: t.Callable[[], object], after: bool = False, alone: bool = False) -> bool:
    """Have a run killed before or after its step of that number; False where it has no so many.

    alone: nobody finishes it. Else this returns once that is done.
    """
    pid = os.fork()
    if pid == 0:
        _die_at(number, after)
        if alone:
            guardian.guarded = lambda *_all: contextlib.nullcontext()  # type: ignore[assignment]
        try:
            action()
        finally:
            os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    if killed and not alone:
        with lock.locked(30):
            pass
    return killed


def _die_at(number: int, after: bool) -> None:
    """This process alone, and not one that it forks."""
    victim = os.getpid()
    steps = itertools.count()
    run = Executor.run

    def run_or_die(self: Executor, batch: t.Sequence[Step]) -> None:
        here = os.getpid() == victim and next(steps) == number
        if not here or after:
            run(self, batch)
        if here:
            os.kill(victim, signal.SIGKILL)

    Executor.run = run_or_die  # type: ignore[method-assign]
    Executor.batches = lambda _self, planned: [[step] for step in planned]  # type: ignore[method-assign, assignment]
