# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a plan as a whole or not at all, under its record."""

from __future__ import annotations

import contextlib
import typing as t

from .. import ledger as ledgers
from ..errors import ApplyError, EgressError
from ..kernel import files
from ..kernel.executor import Executor, StepError
from ..planning.containers import dropped
from ..planning.plan import Plan
from ..planning.sparing import Inside
from . import interrupts
from .record import VERIFYING, Record
from .rollback import as_text, take_back, write_ledger


def begun(record: Record) -> Record:
    """The record of a run, on disk, with the ledger that there is. Errors: EgressError."""
    record.ledger = files.read(ledgers.PATH) or ""
    record.begin()
    return record


def apply(record: Record, plan: Plan, executor: Executor, ledger: ledgers.Ledger, accept: t.Callable[[], None]) -> None:
    """Run the steps, then accept, which verifies and judges. ledger is the one on disk.

    An error, an interrupt and a refusal take the same way back. The record stays until stay ends it. Errors: ApplyError
    after going back to the state before, or naming what could not be put back.
    """
    there = ledgers.union(plan.ledger, ledger)
    with going_back(record, executor, f"write {ledgers.PATH}"):
        # Both the old and the new entries are on disk while either may be needed.
        if there != ledger:
            write_ledger(as_text(there))
    with going_back(record, executor, "verify what was built"):
        for batch in executor.batches(plan.steps):
            record.run(batch)
            executor.run(batch)
            with interrupts.allowed():
                pass
        executor.raise_bridges()
        record.enter(VERIFYING)
        with interrupts.allowed():
            accept()
        executor.remove_containers(dropped(ledger, plan.ledger))
        write_ledger(as_text(plan.ledger))


def stay(record: Record, executor: Executor) -> None:
    """What was done is final."""
    record.end()
    executor.namespaces.end_removed()


@contextlib.contextmanager
def going_back(record: Record, executor: Executor, asked: str) -> t.Iterator[None]:
    """Within the block, whatever ends it otherwise takes the run back. asked: what the block is about, for an error."""
    try:
        yield
    except BaseException as error:
        left = take_back(record, executor, error)
        if isinstance(error, StepError):
            failed = _failure(error.step.line, error.cause, left)
            raise failed.inside([Inside(record.want).of(error.step.fact)]) from error.cause
        if isinstance(error, EgressError):
            raise _failure(asked, error, left).inside(error.namespaces) from error
        raise


def _failure(asked: str, cause: EgressError, left: t.Sequence[str]) -> ApplyError:
    found = f"{cause.found}. {cause.advice}" if cause.asked == asked and cause.advice else cause.found
    if cause.asked != asked:
        found = str(cause)
    return ApplyError(asked, found, restored(left), not left)


def restored(left: t.Sequence[str]) -> str:
    """What a way back came to, in words."""
    if left:
        return f"Going back failed in part; left undone: {'; '.join(left)}"
    return "The state before this run was restored"
