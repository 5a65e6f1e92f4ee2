"""Runs that a signal or an error ends in one of their phases, and what else befalls them."""

from __future__ import annotations

import os
import signal
import time
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine import run as line
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import lock
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.executor import Executor
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import record

# How a run is ended, by name; None is an error that nobody foresaw.
ENDS: dict[str, signal.Signals | None] = {
    "killed": signal.SIGKILL,
    "interrupted": signal.SIGINT,
    "terminated": signal.SIGTERM,
    "failing": None,
}
_BATCH = 4


def ended_run(phase: str, how: str, action: t.Callable[[], object], alone: bool = False) -> None:
    """Have the run of an action ended in a phase. Returns once nobody does anything about it any more.

    alone: its guardian is killed with it.
    """
    pid = os.fork()
    if pid == 0:
        # A shell that starts tests in the background has them ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _HOOKS[phase](_end_of(os.getpid(), how, alone))
        try:
            action()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    with lock.locked(30):
        pass


def _end_of(victim: int, how: str, alone: bool) -> t.Callable[[], None]:
    def end() -> None:
        number = ENDS[how]
        if os.getpid() != victim:
            return  # the guardian, which has been forked from it
        for child in _children(victim) if alone else ():
            os.kill(child, signal.SIGKILL)
        if number is None:
            raise RuntimeError("something that nobody foresaw")
        os.kill(victim, number)

    return end


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def _while_applying(end: t.Callable[[], None]) -> None:
    run, victim, count = Executor.run, os.getpid(), [0]

    def run_and_end(self: Executor, batch: t.Sequence[Step]) -> None:
        run(self, batch)
        count[0] += 1
        if os.getpid() == victim and count[0] == _BATCH:
            end()

    Executor.run = run_and_end  # type: ignore[method-assign]


def _while_verifying(end: t.Callable[[], None]) -> None:
    verify = line.verify  # type: ignore[attr-defined]

    def verify_and_end(*arguments: t.Any) -> None:
        verify(*arguments)
        end()

    line.verify = verify_and_end  # type: ignore[assignment, attr-defined]


def _while_rolling_back(end: t.Callable[[], None]) -> None:
    undid, victim = record.Record.undid, os.getpid()

    def refuse(*_arguments: t.Any) -> None:
        raise EgressError("verify what was built", "it is refused")

    def undo_and_end(self: record.Record, done: bool) -> None:
        undid(self, done)
        if os.getpid() == victim and len(self.undone) == _BATCH:
            end()

    line.verify = refuse  # type: ignore[assignment, attr-defined]
    record.Record.undid = undo_and_end  # type: ignore[method-assign]


_HOOKS = {
    record.APPLYING: _while_applying,
    record.VERIFYING: _while_verifying,
    record.ROLLING_BACK: _while_rolling_back,
}


def waiting() -> int:
    """The process that waits for a confirmation."""
    found = record.read()
    assert found
    assert found.timer
    found.close()
    return found.timer.pid


def await_deadline() -> None:
    """Of the confirmation."""
    found = record.read()
    assert found
    found.close()
    time.sleep(max(0, found.deadline - time.monotonic()))
