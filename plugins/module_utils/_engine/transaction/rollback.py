# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of a run, by its record alone: in the process of the run, or in any other."""

from __future__ import annotations

import contextlib

from .. import ledger as ledgers
from ..errors import EgressError
from ..kernel import files
from ..kernel.executor import Executor, StepError
from ..kernel.ledger_file import read_ledger
from ..ledger import Ledger
from ..model import Address, Link, Route
from ..planning.containers import dropped
from ..planning.step import Step
from .record import Record


def take_back(record: Record, executor: Executor, error: BaseException | None = None) -> list[str]:
    """Undo what took effect, and end the record. error: that of the run. Returns lines on what could not be undone."""
    record.go_back(_done(error))
    executor.go_back(record.steps)
    left = _undo(record, executor)
    if not left:
        # What is left over stays in the ledger, for the next run.
        with contextlib.suppress(EgressError, OSError):
            before = ledgers.from_json(record.ledger) if record.ledger else ledgers.EMPTY
            executor.remove_containers(dropped(read_ledger(), before))
            write_ledger(record.ledger)
    record.end()
    executor.namespaces.end_removed()
    return left


def _done(error: BaseException | None) -> list[Step] | None:
    """Of the batch that failed, the steps that may have taken effect; None where nobody knows.

    A link that was taken down, and then could not be changed, lost addresses and routes all the same.
    """
    if not isinstance(error, StepError):
        return None
    failed = error.step
    if failed in error.done or not isinstance(failed.before, Link):
        return error.done
    lost = tuple(fact for fact in failed.along if isinstance(fact, (Address, Route)))
    return [*error.done, Step(failed.before, failed.before, lost)]


def _undo(record: Record, executor: Executor) -> list[str]:
    """From where an earlier way back was killed."""
    inverses = record.inverses
    for step in inverses[len(record.undone) :]:
        record.undid(not _attempt(step, executor))
    # What leads to a gateway may come back only after the route by it was due.
    again = [step for step, done in zip(inverses, record.undone) if not done]
    return [f"{step.line} ({error})" for step in again for error in [_attempt(step, executor)] if error]


def _attempt(step: Step, executor: Executor) -> str:
    if step.obstacle:
        return step.obstacle
    try:
        executor.run([step])
    except (StepError, EgressError, OSError) as error:
        return str(error)
    return ""


def write_ledger(text: str) -> None:
    """Bring the ledger on disk to a text, "" for none. Errors: EgressError."""
    if text == (files.read(ledgers.PATH) or ""):
        return
    if text:
        files.write(ledgers.PATH, text, mode=0o600)
    else:
        files.delete(ledgers.PATH)


def as_text(ledger: Ledger) -> str:
    return "" if ledger == ledgers.EMPTY else ledger.to_json()
