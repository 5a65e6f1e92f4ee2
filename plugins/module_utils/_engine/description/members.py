# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The namespaces of a network as a user would write them. No I/O."""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import SpecError
from ..spec import values
from ..spec.allocation import allocate
from ..spec.network import NAMESPACE, parse_network
from .note import Notes
from .seen import Bridge, Member
from .subnets import Subnets

Options = dict[str, t.Any]

_ROUNDS = 3  # of looking which addresses follow from the order, before all are written down
_UNITS = (("g", 10**9), ("m", 10**6), ("k", 10**3), ("", 1))


def fitting(bridge: Bridge, subnets: Subnets, notes: Notes) -> list[Member]:
    """Those that can be in the network, in the order of their addresses."""
    found = [member for member in bridge.members if _fits(member, bridge, subnets, notes)]
    return sorted(found, key=lambda member: [*_order(member), member.name])


def _order(member: Member) -> list[t.Any]:
    addresses = [ipaddress.ip_interface(cidr) for cidr in member.addresses]
    return [[(one.version, int(one.ip)) for one in sorted(addresses, key=lambda one: (one.version, int(one.ip)))]]


def _fits(member: Member, bridge: Bridge, subnets: Subnets, notes: Notes) -> bool:
    about = f"namespace {member.name}"
    try:
        values.namespace_name(member.name, "its name")
        values.new_interface_name(member.inner.name, "its link")
    except SpecError as error:
        notes.add(about, f"{error.asked}: {error.found}", error.advice)
        return False
    if not member.addresses:
        notes.add(about, f"{member.inner.name} has no address", "a namespace of a network has one")
        return False
    for cidr in member.addresses:
        gateway = subnets.gateway_of(cidr)
        if gateway is None:
            seen = f"address {cidr}, and none on {bridge.link.name} is of its subnet"
            notes.add(about, seen, "the gateway of a network is on its bridge")
            return False
        if gateway == cidr.split("/")[0]:
            notes.add(about, f"address {cidr} is also on {bridge.link.name}", "a gateway is no namespace's address")
            return False
    return all(_leads_to_bridge(member, version, subnets, notes) for version in (4, 6))


def _leads_to_bridge(member: Member, version: int, subnets: Subnets, notes: Notes) -> bool:
    """Whether the default route of a family is the one that the network would make, or there is none."""
    about = f"namespace {member.name}"
    cidr = next((cidr for cidr in member.addresses if values.family(cidr) == version), None)
    there = member.gateways.get(version)
    if cidr is None:
        if there is not None:
            notes.add(about, f"a default route of IPv{version} without an address", "a network makes none")
        return True
    wanted = subnets.gateway_of(cidr)
    if there is None:
        notes.add(about, f"no default route of IPv{version}", f"the network gives it one by {wanted}")
        return True
    if there != wanted:
        seen = f"its default route leads to {there or 'a link without a gateway'}, and not to {wanted} on the bridge"
        notes.add(about, seen, "the way of a network leads to its bridge")
    return there == wanted


def entries(network: Options, members: t.Sequence[Member], notes: Notes) -> list[t.Any]:
    """As names where that says all. Addresses are written down where they would not follow from the order."""
    explicit: set[str] = set()
    made: list[Options] = []
    for turn in range(_ROUNDS + 1):
        made = [_entry(member, member.name in explicit, network, notes) for member in members]
        given = _allocated({**network, "namespaces": made, "publish": []})
        wrong = {one.name for one in members if sorted(given.get(one.name, ())) != sorted(one.addresses)}
        if not wrong - explicit:
            break
        explicit |= wrong if turn + 1 < _ROUNDS else {one.name for one in members}
    return [entry["name"] if len(entry) == 1 else entry for entry in made]


def _allocated(network: Options) -> t.Mapping[str, t.Sequence[str]]:
    """Nothing where it cannot be."""
    try:
        return allocate(parse_network(network, network["name"]), {})
    except SpecError:
        return {}


def _entry(member: Member, with_addresses: bool, network: Options, notes: Notes) -> Options:
    entry: Options = {"name": member.name}
    if member.inner.name != NAMESPACE["interface"]["default"]:
        entry["interface"] = member.inner.name
    if with_addresses:
        entry["addresses"] = list(member.addresses)
    if member.dns:
        entry["dns"] = dict(member.dns)
    if member.rates[0] == member.rates[1] and member.rates[0]:
        entry["bandwidth"] = _rate(member.rates[0])
    elif any(member.rates):
        seen = " and ".join(_rate(rate) if rate else "nothing" for rate in member.rates)
        notes.add(f"namespace {member.name}", f"it is limited to {seen}", "bandwidth is the same in both directions")
    if member.vlans and network.get("vlan_filtering", "vlan" in network):
        entry.update(_vlans(member, network.get("vlan", 1)))
    return entry


def _vlans(member: Member, usual: int) -> Options:
    untagged, tagged = (member.vlans.untagged, member.vlans.tagged) if member.vlans else (usual, ())
    if tagged:
        return {"trunk": list(tagged), **({"vlan": untagged} if untagged else {})}
    return {"vlan": untagged} if untagged not in (usual, 0, None) else {}


def _rate(rate: int) -> str:
    """The shortest text that is the same rate."""
    for unit, size in _UNITS:
        text = f"{rate / size:.6f}".rstrip("0").rstrip(".")
        if rate >= size and round(float(text) * size) // 8 * 8 == rate:
            return f"{text}{unit}bit"
    return f"{rate}bit"
