# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The straight line: spec -> observe -> plan -> apply -> verify."""

from __future__ import annotations

import functools
import gc
import typing as t
from dataclasses import dataclass

from . import audit, journal
from .apply import apply, take_back
from .errors import ApplyError, EgressError, KernelError
from .kernel import confirmation, features, files, guardian
from .kernel.executor import Executor
from .kernel.lock import Lock, locked
from .kernel.namespaces import Namespaces, sweep
from .ledger import Ledger
from .model import Want
from .observe import Observer
from .planning import management_path
from .planning.concerned import concerned
from .planning.diff import difference
from .planning.plan import Plan, make_plan
from .planning.state import Have
from .planning.step import Step
from .result import Result
from .verify import await_duplicate_detection, verify

Permit = t.Callable[[t.Sequence[Step], t.Sequence[str]], None]


def run(
    build: t.Callable[[Observer], Want],
    check: bool = False,
    permit: Permit = lambda _steps, _hazards: None,
    judge: t.Callable[[], None] = lambda: None,
    confirm_within: float = 0,
    leave_hazards: bool = False,
) -> Result:
    """Bring this host to what build wants. build may look at the host through the observer that it is given.

    permit: may refuse the steps before the first of them; its second argument are lines of what may cut the way to
    this host. judge: may refuse the host as it is afterwards, and then all is put back. Both do so by an EgressError.
    confirm_within: seconds after which what may cut the way is put back, unless confirmation.confirm is called;
    0 for never. leave_hazards: what may cut the way to this host is left as it is, and the rest is done.

    Errors: EgressError of any kind; then nothing was changed, or it was put back, or the error says what was not.
    """
    features.require_privilege()
    # Facts live as long as the run: to look for garbage among a hundred thousand of them is time lost.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with locked() as lock, Namespaces() as namespaces:
            return _Run(lock, namespaces, check, permit, judge, confirm_within, leave_hazards).result(build)
    except OSError as error:
        asked = "look at and change the network of this host"
        raise KernelError(asked, str(error), error.errno or 0, "See errno(3)").for_all() from error
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True)
class _Run:
    """What a run goes by, from observing to the end."""

    lock: Lock
    namespaces: Namespaces
    check: bool
    permit: Permit
    judge: t.Callable[[], None]
    confirm_within: float
    leave_hazards: bool

    def result(self, build: t.Callable[[Observer], Want]) -> Result:
        finished: list[str] = []
        if not self.check:
            sweep()
            files.sweep()
            confirmation.forget()
            finished = _finish(self.namespaces)
        observer = Observer(self.namespaces)
        want = observer.assigned(build(observer))
        features.require(self.namespaces, want.facts)
        have = observer.observe(want)
        plan = make_plan(want, have, predicting=self.check)
        hazards = management_path.hazards(plan.steps, have)
        left: list[str] = []
        if hazards and self.leave_hazards:
            left, want = hazards, management_path.without_hazards(want, plan.steps, have)
            plan = make_plan(want, have, predicting=self.check)
            hazards = management_path.hazards(plan.steps, have)
            management_path.refuse_hazards("leave the way to this host as it is", hazards)
        self.permit(plan.steps, hazards)
        unconfirmed = None
        if not self.check:
            done = self._apply(want, plan, have, observer, bool(hazards and self.confirm_within))
            if hazards and self.confirm_within:
                unconfirmed = (self._await_confirmation(plan, have.ledger, done), hazards)
        actions = [*finished, *plan.actions]
        shown = functools.partial(difference, plan.steps)
        networks = concerned(plan, want)
        return Result(bool(plan or finished), actions, shown, want.choices, unconfirmed, networks, left)

    def _await_confirmation(self, plan: Plan, ledger: Ledger, done: t.Sequence[Step]) -> str:
        """Have a process put all of it back unless somebody comes by in time with the token that this returns."""

        def undo() -> None:
            why = f"not confirmed within {self.confirm_within:g} s"
            _put_back(plan, ledger, done, self.namespaces, why)

        try:
            return confirmation.arm(self.lock, self.confirm_within, undo)
        except OSError as error:
            asked = "have the change confirmed"
            left = take_back(plan, Executor(self.namespaces), ledger, done, plan.ledger)
            told = f"left undone: {'; '.join(left)}" if left else "The state before this run was restored"
            raise ApplyError(asked, str(error), told, rolled_back=not left) from error

    def _apply(self, want: Want, plan: Plan, have: Have, observer: Observer, hazardous: bool) -> list[Step]:
        """All of it also where this process is killed on the way. Returns what took effect."""

        def outlive() -> None:
            with Namespaces() as namespaces:
                _finish(namespaces)
                if hazardous:
                    # Nobody is left who could have it confirmed.
                    _put_back(plan, have.ledger, plan.steps, namespaces, "killed before it was confirmed")

        if not plan and plan.ledger == have.ledger:
            await_duplicate_detection(want, plan, have, observer)
            return []
        with guardian.guarded(self.lock, outlive):
            return _apply(want, plan, have, observer, self.judge)


def _put_back(plan: Plan, ledger: Ledger, done: t.Sequence[Step], namespaces: Namespaces, why: str) -> None:
    """Undo a run that has ended, and note it in the audit."""
    left = take_back(plan, Executor(namespaces), ledger, done, plan.ledger)
    error = f"{why}, and put back" + (f"; left undone: {'; '.join(left)}" if left else "")
    audit.write(audit.Line("confirmation", "", plan.actions, {}, {}, error))


def _finish(namespaces: Namespaces) -> list[str]:
    """Bring about what a run was killed over; lines on what was done."""
    try:
        want = journal.interrupted()
        if want is None:
            return []
        observer = Observer(namespaces)
        have = observer.observe(want)
        plan = make_plan(want, have)
        _apply(want, plan, have, observer, lambda: None)
    except EgressError as error:
        # It was wanted by somebody else, and must not stand in the way of what is wanted now.
        return [f"give up a run that was interrupted: {error}"]
    finally:
        journal.end()
    return [f"finish a run that was interrupted: {line}" for line in plan.actions]


def _apply(want: Want, plan: Plan, have: Have, observer: Observer, judge: t.Callable[[], None]) -> list[Step]:
    """In the journal until it has ended, in whatever way. Returns what took effect."""

    def accept() -> None:
        verify(want, plan, have, observer)
        judge()

    journal.begin(want)
    try:
        return apply(plan, Executor(observer.namespaces), have.ledger, accept)
    finally:
        journal.end()
