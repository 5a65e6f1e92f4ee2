# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For which networks the steps of a plan are."""

from __future__ import annotations

import typing as t

from ..model import MARK, Link, Namespace, Ruleset, Setting, Want, is_ours
from .plan import Plan
from .state import ends
from .step import Step


def concerned(plan: Plan, want: Want) -> frozenset[str]:
    """Names of networks that asked for something that a step changes, or for which it was made."""
    users: dict[tuple[str, str], set[str]] = {}
    for claim in plan.ledger.claims.values():
        users.setdefault((claim.netns, claim.key), set()).add(claim.user)
    return frozenset(name for step in plan.steps for name in _networks(step, want, users) if name)


def _networks(step: Step, want: Want, users: t.Mapping[tuple[str, str], t.Collection[str]]) -> t.Iterable[str]:
    fact = step.fact
    if step.identity in want.concerned:
        return want.concerned[step.identity]
    if isinstance(fact, Setting):
        return users.get((fact.netns, fact.key), ())
    if isinstance(fact, Ruleset):
        return (fact.name,)
    aliases = [end.alias for end in ends(fact)] if isinstance(fact, Link) else []
    if isinstance(fact, Namespace):
        aliases = [fact.alias]
    return [alias[len(MARK) :] for alias in aliases if alias is not None and is_ours(alias)]
