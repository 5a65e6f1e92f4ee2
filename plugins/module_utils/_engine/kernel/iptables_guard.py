# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard in the table mangle of iptables, for hosts without the program nft, in the words of iptables-save.

iptables has no chain behind its nat table, and so sees what a packet is before it is translated. What a translation has
been chosen for has the state SNAT or DNAT. A first packet has none yet, and here passes: whether the chain in nat
translates it, nobody can tell ahead of it. See iptables-extensions(8), conntrack.
"""

from __future__ import annotations

import ipaddress
import typing as t

from ..model import MARK
from ..rules import GuardRules
from ..spec.values import collapsed, family
from .nft_nat import UNTRANSLATED

Rule = tuple[str, ...]
# What is dropped has none of these: no translation, and it is not the first packet of a flow either.
_UNTRANSLATED = ("-m", "conntrack", "!", "--ctstate", "NEW,RELATED,SNAT,DNAT")
_REPLIES = ("-m", "conntrack", "--ctdir", "REPLY")


def left_rules(name: str, rules: GuardRules, version: int) -> t.Iterator[list[str]]:
    """What leaves with a source of the network; nothing where the family has none."""
    comment = ["-m", "comment", "--comment", MARK + name]
    sources = [source for source in rules.every_source if family(source) == version]
    if not sources:
        return
    groups = UNTRANSLATED[version] if rules.shared else ()
    for bridge in rules.bridges:
        for destination in [*groups, *sources] if rules.shared else [""]:
            yield [*(["-d", destination] if destination else []), "-o", bridge, *comment, "-j", "RETURN"]
    for destination in (network for network in rules.exclude if family(network) == version):
        yield ["-d", destination, *comment, "-j", "RETURN"]
    if rules.replies:
        yield [*_REPLIES, *comment, "-j", "RETURN"]
    for source in sources:
        yield ["-s", source, *_UNTRANSLATED, *comment, "-j", "DROP"]


def from_rules(name: str, rules: GuardRules, version: int) -> t.Iterator[list[str]]:
    """What comes from the bridges and does not stay on them."""
    comment = ["-m", "comment", "--comment", MARK + name]
    if rules.strict:
        for bridge in rules.bridges:
            yield ["-o", bridge, *comment, "-j", "RETURN"]
        for source in (source for source in rules.every_source if family(source) == version):
            yield ["-s", source, *comment, "-j", "RETURN"]
        yield [*comment, "-j", "DROP"]


def calls(rules: GuardRules, left: str, from_bridge: str) -> list[tuple[str, list[str], str]]:
    """(base chain, matches, chain) of the jumps."""
    arriving = [("FORWARD", ["-i", bridge], from_bridge) for bridge in rules.bridges] if rules.strict else []
    return [("POSTROUTING", [], left), *arriving]


def parsed(left: t.Sequence[Rule], from_bridge: t.Sequence[Rule]) -> GuardRules:
    """Rules that the chains of both families may stand for. Errors: IndexError, ValueError for none."""

    def value(rule: Rule, option: str) -> str:
        return rule[rule.index(option) + 1] if option in rule else ""

    bridges = tuple(sorted({value(rule, "-o") for rule in left if "-o" in rule}))
    sources = [value(rule, "-s") for rule in left if "-s" in rule]
    exclude = [value(rule, "-d") for rule in left if "-d" in rule and "-o" not in rule]
    networks = [collapsed(map(ipaddress.ip_network, dict.fromkeys(found))) for found in (sources, exclude)]
    shared = any("-o" in rule and "-d" in rule for rule in left)
    replies = any("--ctdir" in rule for rule in left)
    return GuardRules(bridges, networks[0], networks[1], shared, bool(from_bridge), replies)
