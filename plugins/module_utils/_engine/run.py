# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The straight line: spec -> observe -> plan -> apply -> verify."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .apply import apply
from .errors import KernelError
from .kernel import features
from .kernel.executor import Executor
from .kernel.lock import locked
from .kernel.namespaces import Namespaces, sweep
from .model import Choice, Want
from .observe import Observer
from .planning.diff import difference
from .planning.plan import make_plan
from .verify import verify


@dataclass(frozen=True)
class Result:
    """What a run did, or in check mode would do. diff has before and after as YAML of the affected objects.

    choices: what rules were written for, and why.
    """

    changed: bool = False
    actions: list[str] = field(default_factory=list)
    diff: dict[str, str] = field(default_factory=dict)
    choices: t.Sequence[Choice] = ()


def run(build: t.Callable[[Observer], Want], check: bool = False) -> Result:
    """Bring this host to what build wants. build may look at the host through the observer that it is given.

    Errors: EgressError of any kind; then nothing was changed, or it was put back, or the error says what was not.
    """
    features.require_privilege()
    try:
        with locked(), Namespaces() as namespaces:
            return _run(build, check, namespaces)
    except OSError as error:
        asked = "look at and change the network of this host"
        raise KernelError(asked, str(error), error.errno or 0, "See errno(3)") from error


def _run(build: t.Callable[[Observer], Want], check: bool, namespaces: Namespaces) -> Result:
    if not check:
        sweep()
    observer = Observer(namespaces)
    want = build(observer)
    features.require(namespaces, want.facts)
    have = observer.observe(want)
    plan = make_plan(want, have, predicting=check)
    if not check and (plan or plan.ledger != have.ledger):
        apply(plan, Executor(namespaces), have.ledger, lambda: verify(want, plan, observer))
    return Result(bool(plan), plan.actions, difference(plan.steps), want.choices)
