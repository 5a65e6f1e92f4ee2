# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repair: diagnose, decide, build what may be built, and look again. What is worse afterwards is put back."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .. import audit
from ..diagnosis import check as diagnosis
from ..errors import ConflictError, EgressError
from ..kernel.probes import Target
from ..model import Want
from ..observe import Observer
from ..planning import management_path
from ..planning.step import Step
from ..run import run
from ..spec import path
from ..spec.union import union
from . import promises
from .besides import beyond_the_network, forget_neighbours
from .decision import TIERS, Decision, Verdict, decide, refuse_to_take, tier_of, worse


@dataclass(frozen=True)
class Asked:
    """networks: as in egress_networks. tiers: which may be repaired. codes: what else, by its name."""

    networks: t.Sequence[t.Any]
    targets: t.Sequence[Target] = ()
    tiers: t.Collection[str] = TIERS
    codes: t.Collection[str] = ()
    probe: bool = True


@dataclass
class Outcome:
    """before and after: verdicts. actions: by network. failed: {network: why nothing was changed, or was put back}.

    lines: of the audit; unwritten: why some of them are not in its file.
    """

    before: t.Sequence[Verdict]
    after: t.Sequence[Verdict]
    decisions: list[Decision]
    actions: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, EgressError] = field(default_factory=dict)
    diff: dict[str, str] = field(default_factory=lambda: {"before": "", "after": ""})
    lines: list[audit.Line] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)


def repair(asked: Asked, check: bool = False) -> Outcome:
    """Each network by itself: what fails with one is put back, and the others are repaired all the same.

    check: nothing is changed, and actions are those that would be done. Errors: SpecError, UnsupportedError.
    """
    before = promises.check(asked.networks, asked.targets, asked.probe)
    decisions = decide(before, asked.tiers, asked.codes)
    outcome = Outcome(before, before, decisions)
    for decision in list(decisions):
        if decision.repaired:
            _repair(asked, decision, outcome, check)
    if (any(outcome.actions.values()) or outcome.failed) and not check:
        outcome.after = promises.check(asked.networks, asked.targets, asked.probe)
        _note(outcome)
    return outcome


def _diagnosed(asked: Asked) -> list[Verdict]:
    return t.cast("list[Verdict]", diagnosis.check(asked.networks, asked.targets, asked.probe))


def _repair(asked: Asked, decision: Decision, outcome: Outcome, check: bool) -> None:
    (network,) = [one for one in asked.networks if one["name"] == decision.network]
    options = {"networks": [network], "state": "present"}
    wants: list[Want] = []

    def build(observer: Observer) -> Want:
        wanted = path.wanted(options, observer)
        wants.append(union([("network", wanted), ("repair", beyond_the_network(decision, wanted))]))
        return wants[-1]

    def judge() -> None:
        forget_neighbours(wants[-1])
        found = worse(outcome.before, _diagnosed(asked))
        if found:
            raise ConflictError(f"repair {decision.network}", f"it made things worse: {'; '.join(found)}")

    done: list[str] = []
    try:
        result = run(build, check, _permit(asked, decision), judge)
        done = result.actions
        outcome.diff = {key: outcome.diff[key] + text for key, text in result.diff.items()}
    except EgressError as error:
        outcome.failed[decision.network] = error
    else:
        if not done:
            # All is as the network asks for it.
            outcome.decisions[outcome.decisions.index(decision)] = decision.for_a_person()
            return
    outcome.actions[decision.network] = done


def _permit(asked: Asked, decision: Decision) -> t.Callable[[t.Sequence[Step], t.Sequence[str]], None]:
    def permit(steps: t.Sequence[Step], hazards: t.Sequence[str]) -> None:
        refuse_to_take(f"repair {decision.network}", steps, asked.codes)
        management_path.refuse_hazards(f"repair {decision.network}", hazards)
        refused = [step.line for step in steps if tier_of(step) not in asked.tiers]
        if refused:
            tiers = " and ".join(sorted({tier_of(step) for step in steps} - set(asked.tiers)))
            raise ConflictError(
                f"repair {decision.network}", f"it takes {'; '.join(refused)}", f"That is of the tier {tiers}: allow it"
            )

    return permit


def _note(outcome: Outcome) -> None:
    """A line of the audit for each network of which something was done or tried."""
    for network, actions in outcome.actions.items():
        error = str(outcome.failed.get(network, ""))
        codes = (audit.codes(outcome.before, network), audit.codes(outcome.after, network))
        outcome.lines.append(audit.Line("remediate", network, actions, *codes, error))
        try:
            audit.write(outcome.lines[-1])
        except EgressError as unwritten:
            # What was done is to be told all the same.
            outcome.unwritten.append(str(unwritten))
