# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of the host that lead into a network, from the rules of whoever made them."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ..rules import Publication, PublishRules
from ..spec.publish import as_options, joined
from ..spec.values import family
from .note import Notes
from .rule import Chain, Rule, ahead, inside, touches

_ALL_ADDRESSES = "described as published on every address of the host"
_NO_PLACE = "published ports have no such condition"
_ALL_PORTS = (1, 65535)
_DECIDED = "the first rule decides about a port"
_PARTLY = "it may keep packets from being published"


@dataclass(frozen=True)
class _Ahead:
    """What a rule decides for those behind it in a chain. whole: for all packets to its ports.

    family: 0 for both. protocol: "" for every one. one: what the rule publishes.
    """

    text: str
    chain: Chain
    family: int
    protocol: str
    ports: tuple[tuple[int, int], ...]
    whole: bool
    one: Publication | None = None

    def meets(self, rule: Rule, one: Publication) -> bool:
        """Whether packets meet it ahead of the rule, which would publish the other."""
        alike = self.family in (0, family(one.target)) and self.protocol in ("", one.protocol)
        return alike and ahead(rule.chain, [self.chain])

    def agrees(self, one: Publication) -> bool:
        """Whether the ports that both have lead to the same place."""
        to = self.one and (self.one.target, self.one.target_port - self.one.first)
        return to == (one.target, one.target_port - one.first)


def of_rules(
    rules: t.Sequence[Rule], subnets: t.Sequence[str], bridge: str, own: t.Collection[str], about: str, notes: Notes
) -> list[Publication]:
    """own: addresses of the host. What some clients alone may use is not described: it would be open to all."""
    found: list[Publication] = []
    before: list[_Ahead] = []
    for rule in rules:
        ours = rule.action == "dnat" and rule.to and "-" not in rule.to and inside(_network(rule.to), subnets)
        if not ours:
            before += _elsewhere(rule, bridge, own)
            continue
        reason = _obstacle(rule, own)
        if reason:
            notes.add(about, f"{rule.text}: {reason}", _NO_PLACE)
            continue
        new = [piece for one in _publications(rule) for piece in _left(rule, one, before, about, notes)]
        if new and (rule.into or rule.destinations):
            limits = " ".join([*rule.into, *(rule.destinations or ())])
            notes.add(about, f"{rule.text}: for what comes in by {limits} alone", _ALL_ADDRESSES)
        before += [
            _Ahead(rule.text, (), family(one.target), one.protocol, ((one.first, one.last),), True, one) for one in new
        ]
        found += new
    return found


def _elsewhere(rule: Rule, bridge: str, own: t.Collection[str]) -> t.Iterator[_Ahead]:
    """Of a rule that keeps packets from those behind it, as far as they are for this host."""
    if rule.action not in ("dnat", "redirect", "pass") or (rule.into and set(rule.into) <= {bridge, "lo"}):
        return
    if rule.destinations is not None and not any(touches(_network(one), rule.destinations) for one in own):
        return
    some = [rule.sources is not None, rule.not_sources, rule.destinations is not None, rule.not_destinations]
    whole = not any([*some, rule.into, rule.strange])
    # Translation ends the way through all chains.
    chain = rule.ends if rule.action == "pass" else ()
    yield _Ahead(rule.text, chain, rule.family, rule.protocol, rule.ports or (_ALL_PORTS,), whole)


def _left(rule: Rule, one: Publication, before: t.Sequence[_Ahead], about: str, notes: Notes) -> list[Publication]:
    """The publication without the ports that earlier rules decide about."""
    free = [one]
    for item in before:
        for first, last in item.ports if item.meets(rule, one) else ():
            if not any(piece.first <= last and first <= piece.last for piece in free):
                continue
            if not item.agrees(one):
                seen = f"{rule.text}: an earlier rule is about some of its ports, {item.text}"
                notes.add(about, seen, _DECIDED if item.whole else _PARTLY)
            if item.whole:
                free = [left for piece in free for left in _outside(piece, first, last)]
    return free


def _outside(piece: Publication, first: int, last: int) -> t.Iterator[Publication]:
    if piece.first < first:
        yield dataclasses.replace(piece, last=min(piece.last, first - 1))
    if piece.last > last:
        start = max(piece.first, last + 1)
        yield dataclasses.replace(piece, first=start, target_port=piece.target_port + start - piece.first)


def of_ours(rules: PublishRules) -> list[Publication]:
    return list(rules.publications)


def entries(
    publications: t.Sequence[Publication], members: t.Mapping[str, t.Mapping[int, str]]
) -> list[dict[str, t.Any]]:
    """As a user writes them. members: the first address of each namespace by its family.

    An entry that names a namespace publishes in each family of it, so others name addresses.
    """
    owners = {address: name for name, held in members.items() for address in held.values()}
    found: list[dict[str, t.Any]] = []
    there = set(joined(publications))
    for one in joined(publications):
        if one not in there:
            continue
        name = owners.get(one.target)
        alike = {dataclasses.replace(one, target=address) for address in members[name].values()} if name else set()
        by_name = bool(name) and alike <= there
        there -= alike if by_name else {one}
        found.append(_entry(one, str(name) if by_name else ""))
    return found


def _entry(one: Publication, name: str) -> dict[str, t.Any]:
    options = as_options(one)
    port = options["port"]
    keeps = one.first != one.last or one.first == one.target_port
    target = options["to"]
    if name:
        target = name if keeps else f"{name}:{one.target_port}"
    elif keeps:
        target = one.target
    entry = {"port": int(port) if port.isdigit() else port, "to": target}
    return entry if one.protocol == "tcp" else {**entry, "protocol": one.protocol}


def _obstacle(rule: Rule, own: t.Collection[str]) -> str:
    """What keeps a rule from being a published port, "" for nothing."""
    if rule.strange:
        return ", ".join(rule.strange)
    if rule.sources is not None or rule.not_sources:
        return "for some clients alone"
    if rule.protocol not in ("tcp", "udp") or not rule.ports:
        return "not for ports of TCP or UDP"
    if rule.not_destinations or any(_address(one) not in own for one in rule.destinations or ()):
        return "for addresses that are not the host's"
    several = len(rule.ports) > 1 or any(first != last for first, last in rule.ports)
    if rule.to_ports and (rule.to_ports[0] != rule.to_ports[1] or several) and (rule.to_ports,) != rule.ports:
        return "to other ports than a range has"
    return ""


def _publications(rule: Rule) -> t.Iterator[Publication]:
    for first, last in rule.ports:
        target_port = rule.to_ports[0] if rule.to_ports else first
        yield Publication(rule.protocol, first, last, rule.to, target_port)


def _network(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _address(network: str) -> str:
    address, _slash, length = network.partition("/")
    return address if length in ("", "32", "128") else network
