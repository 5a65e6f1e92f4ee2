# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How sources of a subnet are translated, from the rules of whoever made them."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ..kernel.nft_nat import UNTRANSLATED
from ..rules import NatRules
from ..spec.values import family
from .note import Notes
from .rule import Rule, inside, touches

_UNTRANSLATED = [network for networks in UNTRANSLATED.values() for network in networks]
_NO_PLACE = "translation of a network has no such condition"


@dataclass(frozen=True)
class Translation:
    """Of one family. mode none for packets that keep their source. out: interfaces, none for all."""

    mode: str = "none"
    to_source: str = ""
    exclude: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    ports: tuple[int, int] | None = None
    random_fully: bool = False


@dataclass
class _Walk:
    """What the rules have said so far of one subnet."""

    exclude: list[str]
    ports: tuple[int, int] | None = None
    found: Translation | None = None
    done: bool = False


def of_subnet(
    subnet: str, subnets: t.Sequence[str], bridge: str, rules: t.Sequence[Rule], about: str, notes: Notes
) -> Translation:
    """What the rules do, in their order, with packets from a subnet that leave the host."""
    walk = _Walk([])
    for rule in rules:
        if not walk.done and _concerns(rule, subnet, bridge, about, notes):
            _follow(rule, subnets, walk, about, notes)
    return walk.found or Translation()


def _concerns(rule: Rule, subnet: str, bridge: str, about: str, notes: Notes) -> bool:
    """Whether the rule is about the whole subnet; a note where it is about some of it."""
    if rule.family not in (0, family(subnet)) or not rule.action:
        return False
    sources = ["0.0.0.0/0", "::/0"] if rule.sources is None else list(rule.sources)
    if not touches(subnet, sources) or inside(subnet, rule.not_sources):
        return False
    # What leaves by the bridge goes to another namespace.
    elsewhere = (rule.out and set(rule.out) <= {bridge, "lo"}) or (rule.into and bridge not in rule.into)
    if elsewhere:
        return False
    others = [name for name in rule.not_out if name not in (bridge, "lo")]
    if rule.strange or others:
        named = ", ".join([*rule.strange, *(f"not by {name}" for name in others)])
        if rule.action != "pass":
            notes.add(about, f"{rule.text}: {named}", _NO_PLACE)
        return False
    if not inside(subnet, sources) or touches(subnet, rule.not_sources):
        notes.add(about, f"{rule.text}: for a part of {subnet}", "all of a network is translated, or nothing")
        return False
    return True


def _follow(rule: Rule, subnets: t.Sequence[str], walk: _Walk, about: str, notes: Notes) -> None:
    if rule.action == "pass":
        if rule.protocol or rule.out:
            notes.add(about, f"{rule.text}: packets that keep their source", _NO_PLACE)
        elif rule.destinations is None:
            walk.done = True
        else:
            walk.exclude += rule.destinations
        return
    if rule.destinations is not None or rule.ports:
        if not _within_network(rule, subnets):
            notes.add(about, f"{rule.text}: for some destinations alone", _NO_PLACE)
        return
    if rule.protocol:
        # With ports there is a rule for protocols that have them, and one for the others.
        if rule.to_ports is None:
            notes.add(about, f"{rule.text}: for {rule.protocol} alone", _NO_PLACE)
        walk.ports = rule.to_ports or walk.ports
        return
    _found(rule, subnets, walk)


def _found(rule: Rule, subnets: t.Sequence[str], walk: _Walk) -> None:
    own = [*subnets, *_UNTRANSLATED]
    exclude = [network for network in (*walk.exclude, *rule.not_destinations) if not inside(network, own)]
    made = Translation(
        mode=rule.action,
        to_source=rule.to,
        exclude=tuple(dict.fromkeys(exclude)),
        out=rule.out,
        ports=rule.to_ports or walk.ports,
        random_fully=rule.random_fully,
    )
    before = walk.found
    if before is None:
        walk.found = made
    elif dataclasses.replace(made, out=before.out) == before:
        walk.found = dataclasses.replace(before, out=(*before.out, *made.out))
    walk.done = not made.out


def _within_network(rule: Rule, subnets: t.Sequence[str]) -> bool:
    """Replies of published ports to the network's own namespaces need a rule of their own."""
    return all(inside(network, subnets) for network in rule.destinations or ["0.0.0.0/0", "::/0"])


def of_ours(rules: NatRules, version: int) -> Translation:
    """The same of rules that this collection wrote."""
    target = rules.to_source[0 if version == 4 else 1]
    exclude = tuple(network for network in rules.exclude if family(network) == version)
    mode = "snat" if any(rules.to_source) else "masquerade"
    if not any(family(source) == version for source in rules.sources):
        return Translation()
    return Translation(mode, target, exclude, rules.out_interfaces, rules.ports, rules.random_fully)


def options(by_subnet: t.Mapping[str, Translation], about: str, notes: Notes) -> dict[str, t.Any]:
    """The options nat and uplink of a network, as far as they are not the defaults."""
    translating = {subnet: found for subnet, found in by_subnet.items() if found.mode != "none"}
    if not translating:
        return {"nat": "none"}
    first = next(iter(translating.values()))
    for subnet in by_subnet:
        if subnet not in translating:
            seen = f"{subnet} is not translated, but {', '.join(translating)} is"
            notes.add(about, seen, "all of a network is translated, or nothing: it is described as if all were")
    for subnet, found in translating.items():
        if _shared(found) != _shared(first):
            notes.add(about, f"{subnet} is translated in another way than the rest", "a network has one way")
    nat: dict[str, t.Any] = {}
    if first.mode != "masquerade":
        nat["mode"] = first.mode
    targets = list(dict.fromkeys(found.to_source for found in translating.values() if found.to_source))
    exclude = list(dict.fromkeys(network for found in translating.values() for network in found.exclude))
    nat.update({"to_source": targets} if targets else {}, **({"exclude": exclude} if exclude else {}))
    nat.update({"random_fully": True} if first.random_fully else {})
    if first.ports:
        nat["ports"] = f"{first.ports[0]}-{first.ports[1]}"
    shown: dict[str, t.Any] = {"nat": nat} if nat else {}
    if first.out:
        shown["uplink"] = first.out[0] if len(first.out) == 1 else list(first.out)
    return shown


def _shared(found: Translation) -> tuple[t.Any, ...]:
    return found.mode, found.out, found.ports, found.random_fully
