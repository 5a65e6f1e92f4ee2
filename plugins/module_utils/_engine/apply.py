# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a plan as a whole or not at all: a journal of what took effect, and its way back."""

from __future__ import annotations

import contextlib
import typing as t

from . import ledger as ledgers
from .errors import ApplyError, EgressError
from .kernel import files
from .kernel.executor import Executor, StepError
from .ledger import Ledger
from .model import Address, Link, Route
from .planning.containers import dropped
from .planning.plan import Plan
from .planning.step import Step


def apply(plan: Plan, executor: Executor, ledger: Ledger, verify: t.Callable[[], None]) -> list[Step]:
    """Run the steps, then verify. ledger is the one on disk. Returns what took effect, for take_back.

    Errors: ApplyError after going back to the state before, or naming what could not be put back.
    """
    journal: list[Step] = []
    # Both the old and the new entries are on disk while either may be needed.
    write_ledger(ledger, ledgers.union(plan.ledger, ledger))
    try:
        for batch in executor.batches(plan.steps):
            try:
                executor.run(batch)
            except StepError as failed:
                journal += failed.done
                raise
            journal += batch
        executor.raise_bridges()
        verify()
        executor.remove_containers(dropped(ledger, plan.ledger))
        write_ledger(ledgers.union(plan.ledger, ledger), plan.ledger)
    except BaseException as error:
        left = take_back(plan, executor, ledger, journal, ledgers.union(plan.ledger, ledger), _lost(error))
        if isinstance(error, StepError):
            raise _failure(error.step.line, error.cause, left) from error.cause
        if isinstance(error, EgressError):
            raise _failure("verify what was built", error, left) from error
        raise
    return journal


def take_back(
    plan: Plan,
    executor: Executor,
    ledger: Ledger,
    journal: t.Sequence[Step],
    there: Ledger,
    first: t.Sequence[Step] = (),
) -> list[str]:
    """Undo what took effect. there: the ledger on disk, which becomes that from before. Returns what is left undone."""
    left = roll_back(journal, executor, first)
    if not left:
        # What is left over stays in the ledger, for the next run.
        with contextlib.suppress(EgressError, OSError):
            executor.remove_containers(dropped(plan.ledger, ledger))
            write_ledger(there, ledger)
    return left


def _lost(error: BaseException) -> list[Step]:
    """What brings back addresses and routes of a link that was taken down, and then could not be changed."""
    if not isinstance(error, StepError) or not isinstance(error.step.before, Link):
        return []
    return [step for step in error.step.inverses[1:] if isinstance(step.fact, (Address, Route))]


def roll_back(journal: t.Sequence[Step], executor: Executor, first: t.Sequence[Step] = ()) -> list[str]:
    """Undo what took effect, last first. Returns lines on what could not be undone."""
    executor.go_back()
    inverses = [*first, *(inverse for done in reversed(journal) for inverse in done.inverses)]
    # What leads to a gateway may come back only after the route by it was due.
    again = [step for step in inverses if _attempt(step, executor)]
    return [f"{step.line} ({error})" for step in again for error in [_attempt(step, executor)] if error]


def _attempt(step: Step, executor: Executor) -> str:
    if step.obstacle:
        return step.obstacle
    try:
        executor.run([step])
    except (StepError, EgressError, OSError) as error:
        return str(error)
    return ""


def write_ledger(there: Ledger, ledger: Ledger) -> None:
    """Bring the ledger on disk from what is there to what shall be."""
    if ledger == there:
        return
    if ledger == ledgers.EMPTY:
        files.delete(ledgers.PATH)
    else:
        files.write(ledgers.PATH, ledger.to_json(), mode=0o600)


def _failure(asked: str, cause: EgressError, left: t.Sequence[str]) -> ApplyError:
    found = f"{cause.found}. {cause.advice}" if cause.asked == asked and cause.advice else cause.found
    if cause.asked != asked:
        found = str(cause)
    if left:
        return ApplyError(asked, found, f"Going back failed in part; left undone: {'; '.join(left)}", False)
    return ApplyError(asked, found, "The state before this run was restored", True)
