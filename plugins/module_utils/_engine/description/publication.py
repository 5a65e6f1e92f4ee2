# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of the host that lead into a network, from the rules of whoever made them."""

from __future__ import annotations

import dataclasses
import typing as t

from ..rules import Publication, PublishRules
from ..spec.publish import as_options, joined
from ..spec.values import family
from .note import Notes
from .rule import Rule, inside

_ALL_ADDRESSES = "described as published on every address of the host"
_NO_PLACE = "published ports have no such condition"


def of_rules(
    rules: t.Sequence[Rule], subnets: t.Sequence[str], own: t.Collection[str], about: str, notes: Notes
) -> list[Publication]:
    """own: addresses of the host. What some clients alone may use is not described: it would be open to all."""
    found: list[Publication] = []
    for rule in rules:
        if rule.action != "dnat" or not rule.to or "-" in rule.to or not inside(_network(rule.to), subnets):
            continue
        reason = _obstacle(rule, own)
        if reason:
            notes.add(about, f"{rule.text}: {reason}", _NO_PLACE)
            continue
        # An earlier rule decides.
        taken = {(family(one.target), one.protocol, port) for one in found for port in one.ports}
        new = [one for one in _publications(rule) if (family(one.target), one.protocol, one.first) not in taken]
        if new and (rule.into or rule.destinations):
            limits = " ".join([*rule.into, *(rule.destinations or ())])
            notes.add(about, f"{rule.text}: for what comes in by {limits} alone", _ALL_ADDRESSES)
        found += new
    return found


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
