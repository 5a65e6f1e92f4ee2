# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a path by structure alone, up to the host's routing: pure functions, in packet order."""

from __future__ import annotations

import ipaddress
import typing as t

from ..kernel.link_messages import LinkReply
from ..model import is_ours
from ..spec import values
from . import host_checks
from .structure import Seen
from .verdict import Finding

_BR_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
Findings = t.Iterator[Finding]


def findings(seen: Seen) -> list[Finding]:
    """All that the structure shows."""
    if seen.inside is None:
        return [_no_namespace(seen)]
    found = [found for check in _CHECKS for found in check(seen)]
    if not any(finding.place in _EXPLAIN_THE_WAY_BACK for finding in found):
        found += host_checks.way_back(seen)
    return found


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


def _listeners(seen: Seen) -> Findings:
    for place in seen.local:
        yield Finding("LISTENER_LOCAL_ONLY", (f"{place} is all that listens there, and a published port leads to it",))


def _link(seen: Seen) -> Findings:
    path, link = seen.path, seen.interface
    if link is None:
        if path.meant:
            yield _no_link(seen)
        return
    if link.name != path.interface:
        evidence = f"{path.host_end} leads to {link.name} in {path.shown}, and {path.interface} is wanted"
        yield Finding("WRONG_INTERFACE_NAME", (evidence,))
    if not link.up:
        yield Finding("LINK_DOWN", (f"{link.name} in {path.shown} is not up",))


def _no_link(seen: Seen) -> Finding:
    path = seen.path
    there = ", ".join(sorted(seen.inside.links)) if seen.inside else ""
    if not path.asked:
        return Finding("LINK_MISSING", (f"{path.shown} has nothing but {there}",))
    end = seen.host.links.get(path.host_end)
    evidence = f"{path.shown} has no {path.interface}: it has {there}"
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
    # A link that is down has lost its IPv6 addresses, and says so itself.
    if link is None or seen.inside is None or (path.family == 6 and not link.up):
        return
    found = seen.inside.of_family(link, path.family)
    disabled = [key for key, value in seen.own_settings.items() if value == "1"]
    failed = [item.cidr for item in found if item.duplicate]
    usable = [item.cidr for item in found if not item.duplicate]
    if disabled:
        yield Finding("V6_ADDRESS_UNUSABLE", (f"{disabled[-1].replace('/', '.')} = 1 in {path.shown}",))
    elif failed and not usable:
        yield Finding("V6_ADDRESS_UNUSABLE", (f"{failed[0]} on {link.name} failed duplicate address detection",))
    elif not usable:
        yield Finding("NO_ADDRESS", (f"{link.name} in {path.shown} has no {path.label} address",))
    elif path.asked and not _on_link(path.gateway, usable):
        yield Finding("WRONG_SUBNET", (f"{link.name} has {', '.join(usable)}", f"the gateway is {path.gateway}"))


def _on_link(gateway: str, cidrs: t.Iterable[str]) -> bool:
    """Whether a gateway is reached from these addresses; a link-local one is from all."""
    address = ipaddress.ip_address(gateway)
    return address.is_link_local or any(address in ipaddress.ip_interface(cidr).network for cidr in cidrs)


def _route(seen: Seen) -> Findings:
    path, out, link = seen.path, seen.out, seen.interface
    if out is None or link is None or not link.up or out.type == "local":
        return
    if out.leads and out.device == link.index:
        if path.asked and out.gateway != path.gateway and out.gateway:
            yield Finding(
                "WRONG_SUBNET",
                (f"packets for {seen.target.address} go to {out.gateway}, and the gateway is {path.gateway}",),
                hop="route",
            )
        return
    different = diverted(seen)
    if different:
        yield different
        return
    said = f"the route lookup for {seen.target.address} in {path.shown} says: {out}"
    if path.family == 4:
        yield Finding("NO_DEFAULT_ROUTE", (said,))
    else:
        yield Finding("V6_ADDRESS_UNUSABLE", (said,), hop="route", summary="it has no IPv6 default route")


def diverted(seen: Seen) -> Finding | None:
    """Where its default route is as it should be, and a rule or a route of the namespace goes ahead of it.

    Another link may lead out as well, such as that of a VPN: packets show it.
    """
    path, out, link = seen.path, seen.out, seen.interface
    if out is None or link is None or not seen.own_default or (out.leads and out.device == link.index):
        return None
    said = f"the route lookup for {seen.target.address} in {path.shown} says: {out}"
    by = seen.inside.name(out.device) if seen.inside and out.leads else ""
    evidence = (said + (f" by {by}" if by else ""), *([seen.rules["inside"]] if "inside" in seen.rules else []))
    enter = f"ip -n {path.namespace} {'-6 ' if path.family == 6 else ''}"
    if by:
        summary = f"packets leave by {by}, not by {link.name}"
        fix = f"nothing if that is meant, as with a VPN; else {enter}rule and {enter}route show what leads there"
        return Finding("POLICY_ROUTE_CONFLICT", evidence, "route", fix=fix, summary=summary, presumed=True)
    summary = "a rule or a route of the namespace leads its packets nowhere"
    fix = f"remove it: {enter}rule and {enter}route show it"
    return Finding("POLICY_ROUTE_CONFLICT", evidence, "route", fix=fix, summary=summary)


def _bridge_port(seen: Seen) -> Findings:
    path, end = seen.path, seen.host_end
    if end is None:
        return
    if not end.up:
        yield Finding("HOST_LINK_DOWN", (f"{end.name} is not up",))
    if not path.bridge:
        return
    carried = [item.cidr for item in seen.host.of_family(end, path.family)]
    if path.gateway in (cidr.split("/")[0] for cidr in carried):
        yield Finding("GATEWAY_ON_PORT", (f"{end.name} has {', '.join(carried)}",))
    master = seen.host.name(end.master)
    on_top = [link.name for link in seen.host.links.values() if link.lower == end.index]
    if not master and on_top:
        said = f"{end.name} is on no bridge, and {', '.join(on_top)} takes its packets"
        yield Finding("DEVICE_BUSY", (said,), "bridge_port", fix=f"remove {on_top[0]}, and run the role egress")
    elif not master:
        yield Finding("PORT_NOT_ON_BRIDGE", (f"{end.name} has no master, and {path.bridge} is wanted",))
    elif master != path.bridge:
        yield Finding("PORT_ON_WRONG_BRIDGE", (f"{end.name} is a port of {master}, and {path.bridge} is wanted",))
    else:
        state = end.port_state
        # Without a carrier a port does not forward either.
        lit = end.up and seen.interface is not None and seen.interface.up and seen.bridge is not None and seen.bridge.up
        if lit and state is not None and _BR_STATES[state] != "forwarding":
            yield Finding("PORT_NOT_FORWARDING", (f"{end.name} is {_BR_STATES[state]}",))


def _bridge(seen: Seen) -> Findings:
    path, bridge = seen.path, seen.bridge
    if path.bridge:
        if bridge is None:
            yield Finding("BRIDGE_MISSING", (f"there is no {path.bridge} on the host",))
            return
        if not bridge.up:
            yield Finding("BRIDGE_DOWN", (f"{bridge.name} is not up",))
        yield from _gateway(seen, bridge)
    ingress = seen.ingress
    if ingress is not None and path.cidr and path.routed and (path.bridge or seen.host.of_family(ingress, path.family)):
        yield from _same_subnet(seen, ingress)


def _gateway(seen: Seen, bridge: LinkReply) -> Findings:
    path = seen.path
    listed = [item.cidr for item in seen.host.addresses.get(bridge.index, ())]
    if path.routed and path.gateway and path.gateway not in (cidr.split("/")[0] for cidr in listed):
        found = [cidr for cidr in listed if values.family(cidr) == path.family]
        said = f"{bridge.name} has {', '.join(found) or 'no address'}, not {path.gateway}"
        yield Finding("BRIDGE_NO_GATEWAY", (said,))


def _same_subnet(seen: Seen, bridge: LinkReply) -> Findings:
    wanted, address = ipaddress.ip_network(seen.path.subnet), ipaddress.ip_address(seen.path.address)
    for link, network, cidr in seen.host.networks:
        # Of two routes the one with the longer prefix wins.
        competes = network.prefixlen >= wanted.prefixlen and address in network
        if link.index != bridge.index and link.up and competes:
            tier = "" if is_ours(link.alias) else "advise"
            yield Finding("DUPLICATE_SUBNET_ROUTE", (f"{link.name} has {cidr} as well",), tier=tier)


def _mtu(seen: Seen) -> Findings:
    if seen.interface is None:
        return
    first = seen.interface
    for later in (seen.host_end, seen.bridge, seen.uplink if seen.path.routed else None):
        if later is not None and later.mtu < first.mtu:
            said = f"{first.name} takes {first.mtu} bytes, and {later.name} {later.mtu}"
            if seen.path.mtu > later.mtu and later is seen.uplink:
                asked = f"the network asks for {seen.path.mtu}"
                yield Finding("MTU_MISMATCH", (said, asked), fix=f"ask for mtu {later.mtu}, or auto", tier="advise")
            elif later is seen.uplink and later.name not in seen.path.uplinks and later.name not in seen.exits:
                by = (seen.rules["out"],) if "out" in seen.rules else ()
                fix = f"name {later.name} in uplink, or ask for mtu {later.mtu}"
                yield Finding("MTU_MISMATCH", (said, *by), fix=fix, tier="advise")
            else:
                yield Finding("MTU_MISMATCH", (said,))
            return
    yield from _mtu_of_the_way_back(seen, first)


def _mtu_of_the_way_back(seen: Seen, last: LinkReply) -> Findings:
    """A link drops what is larger than its own MTU, without a word to the sender (the kernel's is_skb_forwardable)."""
    larger = next((link for link in (seen.host_end, seen.ingress) if link is not None and link.mtu > last.mtu), None)
    if larger is not None and seen.path.asked:
        said = f"{larger.name} sends up to {larger.mtu} bytes, and {last.name} takes {last.mtu}"
        yield Finding("MTU_MISMATCH", (said,), direction="return")


_CHECKS: tuple[t.Callable[[Seen], Findings], ...] = (
    _listeners,
    _loopback,
    _link,
    _address,
    _route,
    _bridge_port,
    _bridge,
    _mtu,
    *host_checks.CHECKS,
)
_EXPLAIN_THE_WAY_BACK = ("link", "address", "bridge_port", "bridge")
