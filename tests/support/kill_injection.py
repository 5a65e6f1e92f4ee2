"""Runs that are killed at a step, with the process that would finish them or without it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import lock
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.executor import Executor
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.link_messages import RTM_NEWLINK
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.netlink import (
    NLM_F_CREATE,
    Message,
    NetlinkSocket,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import guardian
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction.record import Timer

from tests.support.fault_injection import Operations


def killed_at(number: int, action: t.Callable[[], object], after: bool = False, alone: bool = False) -> bool:
    """Have a run killed before or after its step of that number; False where it has no so many.

    alone: nobody finishes it. Else this returns once that is done.
    """
    killed = _killed(functools.partial(_die_at, number, after), action, alone)
    if killed and not alone:
        with lock.locked(30):
            pass
    return killed


def kinds_of_steps(action: t.Callable[[], object]) -> list[tuple[str, bool, bool]]:
    """Of each step of a run: its fact, whether that is made and whether it is removed. Runs it, in this process."""
    kinds: list[tuple[str, bool, bool]] = []
    run = Executor.run

    def noting_run(self: Executor, batch: t.Sequence[Step]) -> None:
        kinds.extend((type(step.fact).__name__, step.before is None, step.after is None) for step in batch)
        run(self, batch)

    Executor.run = noting_run  # type: ignore[method-assign]
    Executor.batches = lambda _self, planned: [[step] for step in planned]  # type: ignore[method-assign, assignment]
    action()
    return kinds


def killed_after_making_links(number: int, action: t.Callable[[], object]) -> bool:
    """Have a run killed after its send of that number of those that make links; False where it has no so many.

    Nobody finishes it.
    """
    return _killed(functools.partial(_die_after_making_links, number), action, alone=True)


def killed_at_operation(number: int, action: t.Callable[[], object]) -> bool:
    """Have a run killed ahead of its operation of the kernel of that number; False where it has no so many."""

    def watch() -> None:
        Operations(number, kills=True).watch()

    return _killed(watch, action, alone=False)


def _killed(prepare: t.Callable[[], None], action: t.Callable[[], object], alone: bool) -> bool:
    """Whether the action's process was killed. prepare: has it die when it shall."""
    pid = os.fork()
    if pid == 0:
        prepare()
        if alone:
            guardian.guarded = lambda *_all: contextlib.nullcontext(guardian.Guard(Timer(0, 0)))  # type: ignore[assignment]
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _die_after_making_links(number: int) -> None:
    victim, sends, send = os.getpid(), itertools.count(), NetlinkSocket._send

    def send_and_die(self: NetlinkSocket, messages: t.Sequence[Message], ack: bool) -> int:
        first = send(self, messages, ack)
        makes = any(message.type == RTM_NEWLINK and message.flags & NLM_F_CREATE for message in messages)
        if os.getpid() == victim and makes and next(sends) == number:
            os.kill(victim, signal.SIGKILL)
        return first

    NetlinkSocket._send = send_and_die  # type: ignore[method-assign]


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
