# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and base chains that iptables-nft makes for a rule: which were not there before, and which nobody needs.

They cannot carry a mark, so the ledger has those that were not there. What it forgets is removed when nothing is in it.
"""

from __future__ import annotations

import typing as t

from ..ledger import Ledger
from ..model import Fact, Identity, Ruleset, Want
from ..rules import ClampRules, GuardRules, Rules, WallRules
from ..spec.values import family

BACKEND = "iptables-nft"
_TABLES = {"nat": "nat", "publish": "nat", "forward": "filter", "mss": "mangle", "guard": "mangle"}
_CHAINS = {
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
}
_READ_TOGETHER = ("nat", "publish", "forward", "guard")
_KINDS = ("table", "chain")
_FAMILIES = {4: "ip", 6: "ip6"}

Place = tuple[str, str, str]  # namespace, family and table


def written_down(ledger: Ledger, there: t.Container[Identity], ruleset: Ruleset) -> Ledger:
    """The ledger with what a ruleset's rules are in and was not there before."""
    for place in _places(ruleset):
        for identity in (("table", *place), *(("chain", *place, chain) for chain in _CHAINS[place[2]])):
            if identity not in there:
                ledger = ledger.recorded(identity, None)
    return ledger


def unneeded(ledger: Ledger, want: Want, facts: t.Mapping[Identity, Fact]) -> list[Identity]:
    """Of what the ledger has, that in which no ruleset is any more; none where nobody looked for them."""
    asked: dict[str, set[str]] = {}
    for fact in (*want.facts, *want.absent):
        if isinstance(fact, Ruleset) and fact.backend == BACKEND:
            # Those of all purposes but one are read together.
            asked.setdefault(fact.netns, set()).update(("mss",) if fact.purpose == "mss" else _READ_TOGETHER)
    seen = {(netns, table) for netns, purposes in asked.items() for table in _CHAINS if _users(table) <= purposes}
    used = {place for fact in facts.values() if isinstance(fact, Ruleset) for place in _places(fact)}
    return [
        identity
        for identity in ledger.originals
        if identity[0] in _KINDS and (identity[1], identity[3]) in seen and _place(identity) not in used
    ]


def _users(table: str) -> set[str]:
    """The purposes that a table is used for."""
    return {purpose for purpose, used in _TABLES.items() if used == table}


def dropped(first: Ledger, second: Ledger) -> dict[str, list[Identity]]:
    """By namespace, what the first knows and the second does not."""
    found: dict[str, list[Identity]] = {}
    for identity in first.originals:
        if identity[0] in _KINDS and identity not in second.originals:
            found.setdefault(identity[1], []).append(identity)
    return found


def _place(identity: Identity) -> Place:
    return (identity[1], identity[2], identity[3])


def _places(ruleset: Ruleset) -> list[Place]:
    if ruleset.backend != BACKEND:
        return []
    versions = _versions(ruleset.rules)
    return [(ruleset.netns, _FAMILIES[version], _TABLES[ruleset.purpose]) for version in versions]


def _versions(rules: Rules | None) -> list[int]:
    """Both where nobody can tell."""
    if rules is None or isinstance(rules, (ClampRules, GuardRules, WallRules)):
        return [4, 6]
    return sorted({family(source) for source in rules.sources})
