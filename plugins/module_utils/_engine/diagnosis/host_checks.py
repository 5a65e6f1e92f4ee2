# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a path from the host's routing on, by structure alone: pure functions, in packet order."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from ..kernel import guard_rules, port_table, wall
from ..model import MARK
from ..planning.step import dotted
from ..rules import ForwardRules, NatRules
from ..spec import values
from .path import Path
from .structure import FORWARD, Seen
from .verdict import Finding

Findings = t.Iterator[Finding]
_FAMILY = {4: "", 6: "-6 "}
_TABLES = {
    "ports": f"the table bridge {port_table.TABLE.name}",
    "wall": f"the table inet {wall.TABLE.name}",
    "guard": f"the guard (table inet {guard_rules.TABLE}, or chains of iptables)",
}


def protection(seen: Seen) -> Findings:
    """Whether the tables of the host that restrict the namespace's packets are as they were written."""
    path, bridge = seen.path, seen.bridge
    for purpose in path.protections:
        if purpose == "wall" and not (bridge and bridge.alias == MARK + path.network):
            continue  # the bridge of another tool has no wall
        name = path.host_end if purpose == "ports" else path.network
        held = seen.protections.get(purpose)
        if held is not None and not held.get(name):
            state = "not as they were written" if name in held else "missing"
            yield Finding("PROTECTION_MISSING", (f"the rules of {name} in {_TABLES[purpose]} are {state}",))


def forwarding(seen: Seen) -> Findings:
    """Whether the host forwards what comes from the namespace, now and after the next boot."""
    path = seen.path
    if not path.routed:
        return
    switch = FORWARD[path.family]
    if path.family == 6:
        if seen.settings.get(switch) == "0":
            yield Finding("V6_FORWARDING_OFF", (f"{dotted(switch)} = 0",))
    else:
        yield from _forwarding_of_links(seen, switch)
    if path.asked and seen.settings.get(switch) == "1" and seen.persisted.get(switch) != "1":
        held = seen.persisted.get(switch)
        files = f"the files of sysctl.d(5) say {held}" if held else "no file of sysctl.d(5) says so"
        yield Finding("NOT_PERSISTENT", (f"{dotted(switch)} = 1", files))


def _forwarding_of_links(seen: Seen, switch: str) -> Findings:
    """IPv4 asks the link by which a packet comes (ip-sysctl): that of the namespace, and for answers the uplink."""
    for link, direction in ((seen.ingress, "out"), (seen.uplink, "return")):
        own = f"net/ipv4/conf/{link.name}/forwarding" if link else switch
        if seen.settings.get(own) == "0":
            said = switch if seen.settings.get(switch) == "0" else own
            yield Finding("FORWARDING_OFF", (f"{dotted(said)} = 0",), direction=direction)
            return


def forward_policy(seen: Seen) -> Findings:
    """Whether each filter that drops by default was told about the network."""
    path = seen.path
    for backend, reason in seen.filters:
        held, key = seen.accepted.get(backend, {}), ("forward", path.network)
        rules = held.get(key)
        if (
            not isinstance(rules, ForwardRules)
            or path.bridge != rules.bridge
            or not set(path.sources) <= {*rules.sources}
        ):
            if not backend:
                # By its words alone nobody can tell what else it accepts, such as by a set or a mark.
                may = "the host's firewall may drop what is forwarded"
                yield replace(dropped_by_others((reason,)), summary=may, presumed=True)
                continue
            said = f"no rule of {path.network} in {backend} accepts"
            if key in held and rules is None:
                said = f"the rules of {path.network} in {backend} are not as they were written"
            # What somebody else wrote may let it through all the same.
            yield Finding("FORWARD_DROPPED", (reason, said), summary="the host's firewall does not know the network")


def dropped_by_others(evidence: tuple[str, ...], direction: str = "out") -> Finding:
    """By a chain or rule that is not ours to change, and that no accept of ours overrides."""
    fix = "let the network through there, or remove what drops it"
    return Finding("FORWARD_DROPPED", evidence, direction=direction, fix=fix, tier="advise")


def host_route(seen: Seen) -> Findings:
    """Whether the host has a way to the target, and the same for the namespace's packets as for its own."""
    path, through, plainly, ingress = seen.path, seen.through, seen.plainly, seen.ingress
    if plainly is None or not path.routed or _uplinks_gone(seen):
        return
    if not seen.target.somebody and not plainly.leads:
        # A default route may be in another table, or in halves.
        if not seen.exits:
            yield _no_route(seen, "the host has no default route")
    elif not plainly.leads:
        if plainly.type != "local":
            yield _no_route(seen, f"the route lookup for {seen.target.address} on the host says: {plainly}")
    elif through is not None and ingress and ingress.up and not through.leads:
        # One that leads elsewhere may be meant: packets show what becomes of them.
        switched_on = seen.settings.get(FORWARD[path.family]) == "1"
        if switched_on and through.table != plainly.table:
            yield led_elsewhere(seen)


def _no_route(seen: Seen, said: str) -> Finding:
    """A default route for some sources alone is none for a namespace's packets, which are routed as they come."""
    if not seen.for_sources:
        return Finding("NO_HOST_ROUTE", (said,))
    only = f"its default route is for {', '.join(seen.for_sources)} alone, and packets are routed before translation"
    summary = "the host has no route to the target for its source"
    subnet = seen.path.sources[0] if seen.path.sources else "SUBNET"
    fix = f"add a default route for all sources or for {subnet} (ip -6 route add default from {subnet} ...)"
    return Finding("NO_HOST_ROUTE", (said, only), summary=summary, fix=fix)


def led_elsewhere(seen: Seen) -> Finding:
    """The host's own packets to the target take another way, or a way at all."""
    ingress = seen.ingress.name if seen.ingress else ""
    said = f"from {seen.path.address} by {ingress} to {seen.target.address}: {seen.through}"
    rule = [seen.rules["out"]] if "out" in seen.rules else []
    return Finding("POLICY_ROUTE_CONFLICT", (said, *rule, f"for the host itself: {seen.plainly}"))


def nat(seen: Seen) -> Findings:
    """Whether a rule of the network translates the namespace's packets to an address that the host has."""
    path = seen.path
    if not path.translates(seen.target.address) or _uplinks_gone(seen):
        return
    there = [(backend, rules) for backend, rules in seen.nat.items() if isinstance(rules, NatRules)]
    if there:
        yield from _wrong_nat(seen, path, *there[0])
        return
    if seen.nat_unseen:
        return  # a packet will tell
    said = [f"no rule of {path.network} translates on the host"]
    said += [f"the rules of {path.network} in {backend} are not as they were written" for backend in seen.nat]
    if seen.nat_inside:
        said.append("the namespace itself translates, which the host cannot see")
    yield Finding("NAT_WRONG_NAMESPACE" if seen.nat_inside else "NAT_MISSING", tuple(said))


def _wrong_nat(seen: Seen, path: Path, backend: str, rules: NatRules) -> Findings:
    sources = [source for source in rules.sources if values.family(source) == path.family]
    address = ipaddress.ip_address(path.address)
    uplink = seen.uplink.name if seen.uplink else ""
    target = rules.to_source[0 if path.family == 4 else 1]
    if not any(address in values.network(source) for source in sources):
        said = f"{backend} translates {', '.join(sources) or 'nothing'}, not {path.address}"
        yield Finding("NAT_WRONG_SOURCE", (said,))
    elif uplink and (
        rules.not_out_interface == uplink or (rules.out_interfaces and uplink not in rules.out_interfaces)
    ):
        wanted = ", ".join(rules.out_interfaces) or f"all but {rules.not_out_interface}"
        said = f"{backend} translates what leaves by {wanted}"
        yield Finding("NAT_WRONG_INTERFACE", (said, f"it leaves by {uplink}"))
    elif target and "-" not in target and not _may_receive(seen, target):
        evidence = (f"{backend} translates to {target}", "no link of the host has it")
        # What the network itself asks for, no run changes.
        yield Finding("SNAT_STALE_ADDRESS", evidence, tier="advise" if target in path.to_source else "")


def _may_receive(seen: Seen, address: str) -> bool:
    """Whether answers to an address may reach the host: it is its own, or not of a network on the uplink, where only
    its holder would answer for it. Others may be routed to the host, as a packet shows.
    """
    if seen.host_has(address) or address in seen.local_addresses:
        return True
    uplink, wanted = seen.uplink, ipaddress.ip_address(address)
    near = [network for link, network, _cidr in seen.host.networks if uplink and link.index == uplink.index]
    return not any(wanted in network for network in near)


def _uplinks_gone(seen: Seen) -> t.Sequence[str]:
    """Those that the network names, if none of them is there: then nobody else's is to be used."""
    wanted = seen.path.uplinks if seen.path.routed else ()
    return () if any(name in seen.host.links for name in wanted) else wanted


def uplink(seen: Seen) -> Findings:
    """Whether the uplink is up, and nobody else takes what it receives."""
    link, gone = seen.uplink, _uplinks_gone(seen)
    if gone:
        said = f"{seen.path.network} is to leave by {' or '.join(gone)}, and there is no such link"
        yield Finding("UPLINK_DOWN", (said,), fix=f"bring {' or '.join(gone)} back, or name another uplink")
        return
    if link is None or not seen.path.routed:
        return
    master = seen.host.by_index(link.master)
    if not link.has_carrier:
        yield Finding("UPLINK_DOWN", (f"{link.name} is {'without a carrier' if link.up else 'not up'}",))
    if master and master.kind == "bridge":
        said = f"{link.name} is a port of {master.name}, which takes what it receives"
        yield Finding("DEVICE_BUSY", (said,), fix=f"take {link.name} off {master.name}, or route by {master.name}")


def way_back(seen: Seen) -> Findings:
    """Whether answers are led to where the namespace is."""
    back, ingress, path = seen.back, seen.ingress, seen.path
    if back is None or ingress is None or not path.routed or not ingress.up:
        return
    if back.leads and back.device == ingress.index:
        return
    to = seen.host.by_index(back.device)
    said = f"the route lookup for {path.address} on the host says: {back}" + (f" by {to.name}" if to else "")
    if to and to.kind == "bridge" and not path.bridge:
        fix = f"ip link set {ingress.name} master {to.name}"
        yield Finding("PORT_NOT_ON_BRIDGE", (said, f"{ingress.name} is not a port of {to.name}"), "", "return", fix)
    else:
        behind = f"it is behind {ingress.name}"
        rule = [seen.rules["return"]] if "return" in seen.rules else []
        ahead = f"have a rule for it ahead: ip {_FAMILY[path.family]}rule add pref NUMBER to {path.subnet} lookup main"
        fix = ahead if rule else ""
        yield Finding("POLICY_ROUTE_CONFLICT", (said, *rule, behind), "return_path", "return", fix=fix)


CHECKS: tuple[t.Callable[[Seen], Findings], ...] = (protection, forwarding, forward_policy, host_route, nat, uplink)
