# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How sources of a subnet are translated, from the rules of whoever made them."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from ..kernel.nft_nat import UNTRANSLATED
from ..rules import NatRules
from ..spec.values import family
from .note import Notes
from .rule import REFUSED, Chain, Rule, ahead, inside, touches

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


@dataclass(frozen=True)
class _Limit:
    """What is so of all rules behind a pass in the chain that it ends. note: where rules cannot say it."""

    chain: Chain
    conditions: t.Mapping[str, t.Any] = field(default_factory=dict)
    note: str = ""


@dataclass
class _Walk:
    """What the rules have said so far of one subnet.

    ended: chains that no packet is in any more. ported: translations of one protocol. escaped: chains that packets
    left ahead of the translation that was found.
    """

    subnet: str
    bridge: str
    limits: list[_Limit] = field(default_factory=list)
    ended: list[Chain] = field(default_factory=list)
    ported: list[tuple[str, Translation]] = field(default_factory=list)
    escaped: list[Chain] = field(default_factory=list)
    found: Translation | None = None

    def reaches(self, rule: Rule) -> bool:
        """Whether a packet is left for the rule."""
        if ahead(rule.chain, self.ended):
            return False
        left = self.found is None or any(not ahead(rule.chain, [one]) for one in self.escaped)
        return left or bool(self.found and self.found.out and not (rule.out and set(rule.out) <= set(self.found.out)))

    def limits_of(self, rule: Rule) -> list[_Limit]:
        """Those ahead of the rule; of what ends a chain, those that not all rules of that chain have."""
        found = [one for one in self.limits if ahead(rule.chain, [one.chain])]
        return [one for one in found if rule.action != "pass" or not ahead(rule.ends, [one.chain])]


def of_subnet(
    subnet: str, subnets: t.Sequence[str], bridge: str, rules: t.Sequence[Rule], about: str, notes: Notes
) -> Translation:
    """What the rules do, in their order, with packets from a subnet that leave the host."""
    walk = _Walk(subnet, bridge)
    for met in rules:
        limits = walk.limits_of(met)
        rule = _limited(met, limits)
        if not walk.reaches(rule) or not _concerns(rule, walk):
            continue
        if _ends(rule, walk) if rule.action == "pass" else _translates(rule, subnets, walk, about, notes):
            for limit in limits:
                if limit.note:
                    notes.add(about, limit.note, _NO_PLACE)
    found = walk.found or Translation()
    for text, made in walk.ported:
        if made != dataclasses.replace(found, out=made.out) or (made.out and not set(made.out) <= set(found.out)):
            notes.add(about, text, _NO_PLACE)
    return found


def _limited(rule: Rule, limits: t.Iterable[_Limit]) -> Rule:
    """The rule with the conditions of passes ahead of it."""
    for limit in limits:
        for name, value in limit.conditions.items():
            there = getattr(rule, name)
            if name in ("strange", "not_destinations"):
                rule = rule.within(**{name: (*there, *value)})
            elif name == "out" and there:
                both = tuple(one for one in there if one in value)
                rule = rule.within(**{name: both} if both else {"action": ""})
            elif not there:
                rule = rule.within(**{name: value})
    return rule


def _concerns(rule: Rule, walk: _Walk) -> bool:
    """Whether the rule is about anything of the subnet that leaves the host."""
    if rule.family not in (0, family(walk.subnet)) or rule.action not in ("masquerade", "snat", "pass") or rule.local:
        return False
    if not touches(walk.subnet, _sources(rule)) or inside(walk.subnet, rule.not_sources) or rule.destinations == ():
        return False
    # What leaves by the bridge goes to another namespace.
    elsewhere = (rule.out and set(rule.out) <= {walk.bridge, "lo"}) or (rule.into and walk.bridge not in rule.into)
    return not elsewhere


def _sources(rule: Rule) -> t.Sequence[str]:
    return ["0.0.0.0/0", "::/0"] if rule.sources is None else rule.sources


def _part(rule: Rule, walk: _Walk) -> str:
    """ "" for a rule that is about the whole subnet."""
    whole = inside(walk.subnet, _sources(rule)) and not touches(walk.subnet, rule.not_sources)
    return "" if whole else f"for a part of {walk.subnet}"


def _elsewhere(names: t.Iterable[str], walk: _Walk) -> tuple[str, ...]:
    return tuple(name for name in names if name not in (walk.bridge, "lo"))


def _ends(rule: Rule, walk: _Walk) -> bool:
    """Whether all packets leave the chain. Else a condition is one of the rules behind the pass, or it has a note."""
    conditions = {
        "not_destinations": rule.destinations,
        "destinations": rule.not_destinations,
        "out": _elsewhere(rule.not_out, walk),
        "strange": rule.strange,
        "protocol": rule.protocol,
        "not_out": rule.out,
    }
    there = {name: value for name, value in conditions.items() if value}
    part = _part(rule, walk)
    if not there and not part:
        walk.ended.append(rule.ends)
        return True
    refused = [one[len(REFUSED) :] for one in rule.strange if one.startswith(REFUSED)]
    if rule.strange:
        there["strange"] = tuple(refused)
    said = len(there) == 1 and not part and not {"protocol", "not_out"} & set(there)
    if said and len(rule.strange) < 2 and len(refused) == len(rule.strange):
        walk.limits.append(_Limit(rule.ends, there))
    else:
        named = ", ".join(filter(None, [*rule.strange, part])) or "packets that keep their source"
        walk.limits.append(_Limit(rule.ends, note=f"{rule.text}: {named}"))
    return False


def _translates(rule: Rule, subnets: t.Sequence[str], walk: _Walk, about: str, notes: Notes) -> bool:
    """Whether the rule is described, or would have to be; a note where it translates some packets alone."""
    named = ", ".join([*rule.strange, *(f"not by {name}" for name in _elsewhere(rule.not_out, walk))])
    if named:
        notes.add(about, f"{rule.text}: {named}", _NO_PLACE)
        return False
    if _part(rule, walk):
        notes.add(about, f"{rule.text}: {_part(rule, walk)}", "all of a network is translated, or nothing")
        return False
    if rule.destinations is not None or rule.ports:
        if not _within_network(rule, subnets):
            notes.add(about, f"{rule.text}: for some destinations alone", _NO_PLACE)
        return False
    made = _made(rule, subnets, walk)
    if rule.protocol:
        # With ports there is a rule for protocols that have them, and one for the others.
        walk.ported.append((f"{rule.text}: for {rule.protocol} alone", made))
    elif not _found(made, walk):
        notes.add(about, f"{rule.text}: another translation, behind the first", "a network has one way")
    walk.escaped += [limit.chain for limit in walk.limits if ahead(rule.chain, [limit.chain])]
    return True


def _made(rule: Rule, subnets: t.Sequence[str], walk: _Walk) -> Translation:
    own = [*subnets, *_UNTRANSLATED]
    exclude = [network for network in rule.not_destinations if not inside(network, own)]
    return Translation(
        mode=rule.action,
        to_source=rule.to,
        exclude=tuple(dict.fromkeys(exclude)),
        out=rule.out,
        ports=rule.to_ports or next((made.ports for _text, made in walk.ported), None),
        random_fully=rule.random_fully,
    )


def _found(made: Translation, walk: _Walk) -> bool:
    """False for one that differs from what was found already."""
    before = walk.found
    if before is None:
        walk.found = made
    elif dataclasses.replace(made, out=before.out) == before:
        walk.found = dataclasses.replace(before, out=(*before.out, *made.out) if before.out and made.out else ())
    else:
        return False
    return True


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
