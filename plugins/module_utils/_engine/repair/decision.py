# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a diagnosis is repaired, and why the rest is not. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..errors import ConflictError
from ..model import HOST, Claim, Fact, File, Link, Ruleset, Setting
from ..planning.state import ends
from ..planning.step import Step
from ..planning.sysctl_file import SYSCTL_FILE

AUTO, DECLARED, CONFIRM, ADVISE = "auto", "declared", "confirm", "advise"
TIERS = (AUTO, DECLARED)
# Of those that are to be asked for by name, the ones for which there is a repair.
BY_NAME = ("DANGLING_VETH", "LEAKED_NAMESPACE", "STALE_HANDLE")
_RANK = {"ok": 0, "degraded": 1, "unknown": 1, "broken": 2}

Verdict = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Decision:
    """About a network: the findings that are repaired, and {code: why not} of the others."""

    network: str
    repaired: tuple[Verdict, ...] = ()
    left: tuple[tuple[str, str], ...] = ()

    def for_a_person(self) -> Decision:
        """The same with nothing to repair: a build changes nothing."""
        told = {finding["code"]: _for_a_person(finding) for finding in self.repaired}
        return Decision(self.network, (), tuple({**dict(self.left), **told}.items()))

    @property
    def codes(self) -> list[str]:
        return list(dict.fromkeys(finding["code"] for finding in self.repaired))


def decide(verdicts: t.Sequence[Verdict], tiers: t.Collection[str], codes: t.Collection[str]) -> list[Decision]:
    """By network, for those with a finding. tiers: what may be repaired; codes: what else, by name."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        for finding in verdict["findings"]:
            found.setdefault(verdict["network"], []).append({**finding, "namespace": verdict["namespace"]})
    return [_decide(network, findings, tiers, codes) for network, findings in found.items() if network]


def _decide(
    network: str, findings: t.Sequence[Verdict], tiers: t.Collection[str], codes: t.Collection[str]
) -> Decision:
    reasons = [(finding, _why_not(finding, tiers, codes)) for finding in findings]
    repaired = tuple(finding for finding, reason in reasons if not reason)
    left = {finding["code"]: reason for finding, reason in reasons if reason}
    return Decision(network, repaired, tuple(left.items()))


def _why_not(finding: Verdict, tiers: t.Collection[str], codes: t.Collection[str]) -> str:
    tier, code = finding["tier"], finding["code"]
    if tier == ADVISE or (tier == CONFIRM and code not in BY_NAME):
        return _for_a_person(finding)
    if tier == CONFIRM:
        return "" if code in codes else f"only if {code} is asked for by name (remediate_codes, codes)"
    return "" if tier in tiers else f"of the tier {tier}, which is not to be repaired"


def _for_a_person(finding: Verdict) -> str:
    return f"for a person: {finding['fix']}"


def tier_of(step: Step) -> str:
    """Whose a change is: auto for objects of ours, declared for what is the host's own."""
    return DECLARED if _is_of_the_host(step.fact) else AUTO


def _is_of_the_host(fact: Fact) -> bool:
    if isinstance(fact, (Setting, Claim)):
        return fact.netns == HOST
    if isinstance(fact, File):
        return fact.path == SYSCTL_FILE
    return isinstance(fact, Ruleset) and fact.netns == HOST and fact.purpose == "forward"


def refuse_to_take(asked: str, steps: t.Sequence[Step], codes: t.Collection[str] = ()) -> None:
    """Errors: ConflictError where a step takes a link from a namespace without a name: who lives there may need it."""
    taken = [step.line for step in steps if any("/" in end.netns for end in _lost_ends(step))]
    if taken and not {"LEAKED_NAMESPACE", "DANGLING_VETH"} & set(codes):
        advice = "See who lives there, or ask for LEAKED_NAMESPACE by name (remediate_codes, codes)"
        raise ConflictError(asked, f"{'; '.join(taken)} takes from a namespace without a name", advice)


def _lost_ends(step: Step) -> list[Link]:
    if not isinstance(step.before, Link):
        return []
    places = {end.netns for end in ends(step.after)} if isinstance(step.after, Link) else set()
    return [end for end in ends(step.before) if end.netns not in places]


def worse(before: t.Sequence[Verdict], after: t.Sequence[Verdict]) -> list[str]:
    """Paths that are in a worse state than before, in words."""
    was = {(one["namespace"], one["family"]): one for one in before}
    found = []
    for one in after:
        old = was.get((one["namespace"], one["family"]))
        if old is not None and _RANK[one["status"]] > _RANK[old["status"]]:
            found.append(f"{old['status']} before: {one['summary']}")
    return found
