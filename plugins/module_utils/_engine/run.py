# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The straight line: spec -> observe -> plan -> apply -> verify."""

from __future__ import annotations

import functools
import gc
import typing as t
from dataclasses import dataclass

from .errors import KernelError
from .kernel import features, files
from .kernel.executor import Executor
from .kernel.lock import Lock
from .kernel.namespaces import Namespaces, sweep
from .model import Want
from .observe import Observer
from .planning import management_path
from .planning.concerned import concerned
from .planning.diff import difference
from .planning.plan import Plan, make_plan
from .planning.sparing import networks_of, without
from .planning.state import Have
from .planning.step import Step
from .result import Result
from .transaction import confirmation, guardian, interrupts, recovery
from .transaction.apply import apply, begun, going_back, stay
from .transaction.record import Record, Terms
from .verify import await_duplicate_detection, verify

Permit = t.Callable[[t.Sequence[Step], t.Sequence[str]], None]


def run(
    build: t.Callable[[Observer], Want],
    check: bool = False,
    permit: Permit = lambda _steps, _hazards: None,
    judge: t.Callable[[], None] | None = None,
    confirm_within: float = 0,
    leave_hazards: bool = False,
    spared: t.Collection[str] = (),
) -> Result:
    """Bring this host to what build wants. build may look at the host through the observer that it is given.

    permit: may refuse the steps before the first of them; its second argument are lines of what may cut the way to
    this host. judge: may refuse the host as it is afterwards, and then all is put back. Both do so by an EgressError.
    confirm_within: seconds after which what may cut the way is put back, unless confirmation.confirm is called;
    0 for never. leave_hazards: what may cut the way to this host is left as it is, and the rest is done. spared:
    namespaces that are left as they are.

    Errors: EgressError of any kind; then nothing was changed, or it was put back, or the error says what was not.
    """
    features.require_privilege()
    # Facts live as long as the run: to look for garbage among a hundred thousand of them is time lost.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with confirmation.exclusive() as (lock, overdue), Namespaces() as namespaces:
            one = _Run(lock, namespaces, check, permit, judge, confirm_within, leave_hazards, spared)
            return one.result(build, overdue)
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
    judge: t.Callable[[], None] | None
    confirm_within: float
    leave_hazards: bool
    spared: t.Collection[str]

    def result(self, build: t.Callable[[Observer], Want], overdue: t.Sequence[str]) -> Result:
        """overdue: lines on what was taken back of a run that nobody had confirmed in time."""
        finished = list(overdue)
        if not self.check:
            sweep()
            files.sweep()
            recovery.forget_outcome()
            finished += recovery.recover()
        observer = Observer(self.namespaces)
        asked = observer.assigned(build(observer))
        want = without(asked, self.spared)
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
        token = "" if self.check else self._apply(want, plan, have, observer, hazards)
        unconfirmed = (token, hazards) if token else None
        actions = [*finished, *plan.actions]
        shown = functools.partial(difference, plan.steps)
        networks, spared = concerned(plan, want), networks_of(asked, self.spared)
        return Result(bool(plan or finished), actions, shown, want.choices, unconfirmed, networks, left, spared)

    def _apply(self, want: Want, plan: Plan, have: Have, observer: Observer, hazards: t.Sequence[str]) -> str:
        """All of it also where this process is killed on the way. Returns the token to confirm it by, "" for none."""
        if not plan and plan.ledger == have.ledger:
            await_duplicate_detection(want, plan, have, observer)
            return ""

        def accept() -> None:
            verify(want, plan, have, observer)
            if self.judge:
                self.judge()

        terms = Terms(tuple(hazards), self.confirm_within, self.judge is not None)
        executor = Executor(self.namespaces)
        with interrupts.held(), guardian.guarded(self.lock, terms.confirmed) as guard:
            record = begun(Record(want, terms))
            apply(record, plan, executor, have.ledger, accept)
            if not terms.confirmed:
                stay(record, executor)
                return ""
            with going_back(record, executor, "have the change confirmed"):
                return confirmation.await_confirmation(record, guard)
