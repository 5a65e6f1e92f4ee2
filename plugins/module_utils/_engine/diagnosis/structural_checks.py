# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a path by its structure: pure functions of what was seen, in the order in which packets pass."""

from __future__ import annotations

import ipaddress
import typing as t

from ..kernel.link_messages import LinkReply
from ..model import ForwardRules, NatRules
from ..spec import values
from .path import Path
from .structure import FORWARD, Seen
from .verdict import Finding

_IFF_LOWER_UP = 0x10000
_BR_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
Findings = t.Iterator[Finding]


def findings(seen: Seen) -> list[Finding]:
    """All that the structure shows."""
    if seen.inside is None:
        return [_no_namespace(seen)]
    return [found for check in _CHECKS for found in check(seen)]


def _no_namespace(seen: Seen) -> Finding:
    handle = f"/run/netns/{seen.path.namespace}"
    if seen.stale:
        return Finding("STALE_HANDLE", (f"{handle} is no namespace (statfs is not nsfs)",))
    if seen.holders:
        held = ", ".join(f"{pid} ({command})" for pid, command in seen.holders)
        return Finding(
            "LEAKED_NAMESPACE", (f"there is no {handle}", f"{seen.path.host_end} ends in one held by {held}")
        )
    return Finding("NAMESPACE_MISSING", (f"there is no {handle}",))


def _loopback(seen: Seen) -> Findings:
    loopback = seen.inside.links.get("lo") if seen.inside else None
    if loopback and not loopback.up:
        yield Finding("LOOPBACK_DOWN", ("lo is not up",))


def _link(seen: Seen) -> Findings:
    path, link = seen.path, seen.interface
    if link is None:
        yield _no_link(seen)
        return
    if link.name != path.interface:
        evidence = f"{path.host_end} leads to {link.name} in {path.namespace}, and {path.interface} is wanted"
        yield Finding("WRONG_INTERFACE_NAME", (evidence,))
    if not link.up:
        yield Finding("LINK_DOWN", (f"{link.name} in {path.namespace} is not up",))


def _no_link(seen: Seen) -> Finding:
    path = seen.path
    end = seen.host.links.get(path.host_end)
    there = ", ".join(sorted(seen.inside.links)) if seen.inside else ""
    evidence = f"{path.namespace} has no {path.interface}: it has {there}"
    if end is None:
        return Finding("LINK_MISSING", (evidence, f"there is no {path.host_end} on the host"))
    if end.peer_nsid is None and end.peer_index:
        other = seen.host.name(end.peer_index)
        return Finding("LINK_NOT_MOVED", (evidence, f"{path.host_end} leads to {other}, which is on the host"))
    if seen.holders:
        held = ", ".join(f"{pid} ({command})" for pid, command in seen.holders)
        return Finding(
            "DANGLING_VETH", (evidence, f"{path.host_end} ends in a namespace without a name, held by {held}")
        )
    return Finding("LINK_MISSING", (evidence, f"{path.host_end} leads to another namespace"))


def _address(seen: Seen) -> Findings:
    path, link = seen.path, seen.interface
    if link is None or seen.inside is None:
        return
    found = seen.inside.of_family(link, path.family)
    disabled = [key for key, value in seen.own_settings.items() if value == "1"]
    failed = [item.cidr for item in found if item.duplicate]
    usable = [item.cidr for item in found if not item.duplicate]
    if disabled:
        yield Finding("V6_ADDRESS_UNUSABLE", (f"{disabled[-1].replace('/', '.')} = 1 in {path.namespace}",))
    elif failed and not usable:
        yield Finding("V6_ADDRESS_UNUSABLE", (f"{failed[0]} on {link.name} failed duplicate address detection",))
    elif not usable:
        yield Finding("NO_ADDRESS", (f"{link.name} in {path.namespace} has no {path.label} address",))
    elif not any(ipaddress.ip_address(path.gateway) in ipaddress.ip_interface(cidr).network for cidr in usable):
        yield Finding("WRONG_SUBNET", (f"{link.name} has {', '.join(usable)}", f"the gateway is {path.gateway}"))


def _route(seen: Seen) -> Findings:
    path, out, link = seen.path, seen.out, seen.interface
    if out is None or link is None or not link.up:
        return
    if out.leads and out.device == link.index:
        if out.gateway != path.gateway and out.gateway:
            yield Finding(
                "WRONG_SUBNET",
                (f"packets for {seen.target.address} go to {out.gateway}, and the gateway is {path.gateway}",),
                hop="route",
            )
        return
    code = "NO_DEFAULT_ROUTE" if path.family == 4 else "V6_ADDRESS_UNUSABLE"
    yield Finding(code, (f"the route lookup for {seen.target.address} in {path.namespace} says: {out}",), hop="route")


def _bridge_port(seen: Seen) -> Findings:
    path, end = seen.path, seen.host_end
    if end is None:
        return
    if not end.up:
        yield Finding("HOST_LINK_DOWN", (f"{end.name} is not up",))
    for name, code in ((end.name, "GATEWAY_ON_PORT"),):
        carried = [item.cidr for item in seen.host.of_family(end, path.family)]
        if path.gateway in (cidr.split("/")[0] for cidr in carried):
            yield Finding(code, (f"{name} has {', '.join(carried)}",))
    master = seen.host.name(end.master)
    if not master:
        yield Finding("PORT_NOT_ON_BRIDGE", (f"{end.name} has no master, and {path.bridge} is wanted",))
    elif master != path.bridge:
        yield Finding("PORT_ON_WRONG_BRIDGE", (f"{end.name} is a port of {master}, and {path.bridge} is wanted",))
    else:
        state = end.port_state
        if end.up and state is not None and _BR_STATES[state] != "forwarding" and seen.bridge and seen.bridge.up:
            yield Finding("PORT_NOT_FORWARDING", (f"{end.name} is {_BR_STATES[state]}",))


def _bridge(seen: Seen) -> Findings:
    path, bridge = seen.path, seen.bridge
    if bridge is None:
        yield Finding("BRIDGE_MISSING", (f"there is no {path.bridge} on the host",))
        return
    if not bridge.up:
        yield Finding("BRIDGE_DOWN", (f"{bridge.name} is not up",))
    gateway = ipaddress.ip_address(path.gateway)
    listed = [item.cidr for item in seen.host.addresses.get(bridge.index, ())]
    if path.gateway not in (cidr.split("/")[0] for cidr in listed):
        found = [cidr for cidr in listed if values.family(cidr) == path.family]
        yield Finding("BRIDGE_NO_GATEWAY", (f"{bridge.name} has {', '.join(found) or 'no address'}, not {gateway}",))
    yield from _same_subnet(seen, bridge)


def _same_subnet(seen: Seen, bridge: LinkReply) -> Findings:
    wanted = ipaddress.ip_network(seen.path.subnet)
    for link in seen.host.links.values():
        for item in seen.host.of_family(link, seen.path.family):
            network = ipaddress.ip_interface(item.cidr).network
            # A single address makes no route to the subnet.
            if link.index != bridge.index and network.prefixlen < network.max_prefixlen and network.overlaps(wanted):
                yield Finding("DUPLICATE_SUBNET_ROUTE", (f"{link.name} has {item.cidr} as well",))


def _mtu(seen: Seen) -> Findings:
    way = [link for link in (seen.interface, seen.host_end, seen.bridge, seen.uplink) if link]
    for first, later in ((way[i], later) for i in range(1) for later in way[1:]) if way else ():
        if later.mtu < first.mtu:
            evidence = f"{first.name} takes {first.mtu} bytes, and {later.name} {later.mtu}"
            yield Finding("MTU_MISMATCH", (evidence,))
            return


def _forwarding(seen: Seen) -> Findings:
    path = seen.path
    code = "FORWARDING_OFF" if path.family == 4 else "V6_FORWARDING_OFF"
    switch = FORWARD[path.family]
    own = f"net/ipv{path.family}/conf/{path.bridge}/forwarding"
    if seen.settings.get(switch) == "0":
        yield Finding(code, (f"{switch.replace('/', '.')} = 0",))
    elif seen.settings.get(own) == "0":
        yield Finding(code, (f"{own.replace('/', '.')} = 0",))


def _forward_policy(seen: Seen) -> Findings:
    path = seen.path
    for backend, reason in seen.filters:
        rules = seen.accepted.get(backend)
        if (
            not isinstance(rules, ForwardRules)
            or path.bridge != rules.bridge
            or not set(path.sources) <= {*rules.sources}
        ):
            yield Finding("FORWARD_DROPPED", (reason, f"no rule of {path.network} in {backend or 'it'} accepts"))


def _host_route(seen: Seen) -> Findings:
    through, plainly = seen.through, seen.plainly
    if plainly is not None and not plainly.leads:
        yield Finding("NO_HOST_ROUTE", (f"the route lookup for {seen.target.address} on the host says: {plainly}",))
    elif through is not None and plainly is not None and seen.bridge and seen.bridge.up:
        switched_on = seen.settings.get(FORWARD[seen.path.family]) == "1"
        differs = (through.device, through.gateway) != (plainly.device, plainly.gateway)
        if (not through.leads or differs) and switched_on and through.table != plainly.table:
            evidence = f"from {seen.path.address} by {seen.path.bridge} to {seen.target.address}: {through}"
            yield Finding("POLICY_ROUTE_CONFLICT", (evidence, f"for the host itself: {plainly}"))


def _nat(seen: Seen) -> Findings:
    path = seen.path
    if not path.translates(seen.target.address):
        return
    there = [(backend, rules) for backend, rules in seen.nat.items() if isinstance(rules, NatRules)]
    if not there:
        hint = ("the namespace itself translates, which the host cannot see",) if seen.nat_inside else ()
        code = "NAT_WRONG_NAMESPACE" if seen.nat_inside else "NAT_MISSING"
        yield Finding(code, (f"no rule of {path.network} translates on the host", *hint), hop="nat")
        return
    backend, rules = there[0]
    yield from _wrong_nat(seen, path, backend, rules)


def _wrong_nat(seen: Seen, path: Path, backend: str, rules: NatRules) -> Findings:
    sources = [source for source in rules.sources if values.family(source) == path.family]
    address = ipaddress.ip_address(path.address)
    uplink = seen.uplink.name if seen.uplink else ""
    target = rules.to_source[0 if path.family == 4 else 1]
    held = {item.cidr.split("/")[0] for items in seen.host.addresses.values() for item in items}
    if not any(address in values.network(source) for source in sources):
        yield Finding(
            "NAT_WRONG_SOURCE", (f"{backend} translates {', '.join(sources) or 'nothing'}, not {path.address}",)
        )
    elif uplink and (
        rules.not_out_interface == uplink or (rules.out_interfaces and uplink not in rules.out_interfaces)
    ):
        wanted = ", ".join(rules.out_interfaces) or f"not {rules.not_out_interface}"
        yield Finding(
            "NAT_WRONG_INTERFACE", (f"{backend} translates what leaves by {wanted}", f"it leaves by {uplink}")
        )
    elif target and "-" not in target and target not in held:
        yield Finding("SNAT_STALE_ADDRESS", (f"{backend} translates to {target}", "no link of the host has it"))


def _uplink(seen: Seen) -> Findings:
    link = seen.uplink
    if link is not None and not (link.up and link.flags & _IFF_LOWER_UP):
        yield Finding("UPLINK_DOWN", (f"{link.name} is {'without a carrier' if link.up else 'not up'}",))


_CHECKS: tuple[t.Callable[[Seen], Findings], ...] = (
    _loopback,
    _link,
    _address,
    _route,
    _bridge_port,
    _bridge,
    _mtu,
    _forwarding,
    _forward_policy,
    _host_route,
    _nat,
    _uplink,
)
