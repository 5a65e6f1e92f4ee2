# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a probe that got no answer tells: the last link that saw it, and what is known of the next."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass, field

from ..kernel.probes import Target, Trace
from .structure import Seen
from .verdict import Finding

_UNRESOLVED = ("INCOMPLETE", "FAILED", "NONE")


@dataclass(frozen=True)
class Probing:
    """A probe from the namespace, the host's own to the same target, and what was looked up once they had failed.

    neighbour: state of the gateway in the namespace; neighbour_back: that of the namespace's address on the host.
    counted: by how much the kernel's counters rose.
    """

    target: Target
    trace: Trace
    control: Trace | None = None
    neighbour: str = ""
    neighbour_back: str = ""
    counted: t.Mapping[str, int] = field(default_factory=dict)


def notes(seen: Seen, probing: Probing) -> dict[str, tuple[str, ...]]:
    """For each hop, which packet was seen there."""
    found: dict[str, tuple[str, ...]] = {}
    for hop, (place, link) in _way(seen).items():
        said = []
        for back in (False, True):
            sight = probing.trace.first(place, link, back)
            if sight:
                said.append(f"{link} saw {'an answer' if back else 'the packet'} from {sight.source}")
        if said:
            found[hop] = tuple(said)
    return found


def _way(seen: Seen) -> dict[str, tuple[str, str]]:
    links = {
        "link": ("inside", seen.interface),
        "bridge_port": ("host", seen.host_end),
        "bridge": ("host", seen.bridge),
        "uplink": ("host", seen.uplink),
    }
    return {hop: (place, link.name) for hop, (place, link) in links.items() if link}


def findings(seen: Seen, probing: Probing) -> list[Finding]:
    """Why there was no answer: one finding, or none where there was one."""
    trace = probing.trace
    if trace.answered:
        return []
    asked = f"{probing.target} from {seen.path.namespace}: no answer" + (f" ({trace.error})" if trace.error else "")
    for check in (_never_left, _lost_on_the_bridge, _lost_on_the_host, _lost_outside, _lost_on_the_way_back):
        found = check(seen, probing)
        if found:
            return [Finding(found.code, (asked, *found.evidence), found.hop, found.direction, found.fix)]
    return [Finding("UNEXPLAINED_DROP", (asked,))]


def _never_left(seen: Seen, probing: Probing) -> Finding | None:
    interface = seen.interface.name if seen.interface else ""
    if probing.trace.first("inside", interface, outgoing=True):
        return None
    if probing.neighbour in _UNRESOLVED:
        said = f"{seen.path.gateway} is {probing.neighbour} among the neighbours of {seen.path.namespace}"
        return Finding("NEIGHBOUR_FILTERED", (said, "the link, the bridge and its address are as they should be"))
    return Finding("UNEXPLAINED_DROP", (f"{interface} never sent it",), hop="link")


def _lost_on_the_bridge(seen: Seen, probing: Probing) -> Finding | None:
    end, bridge = seen.host_end, seen.bridge
    if end is None or bridge is None:
        return None
    if not probing.trace.first("host", end.name):
        return Finding(
            "UNEXPLAINED_DROP", (f"it left {seen.path.interface}, and {end.name} did not see it",), "bridge_port"
        )
    if not probing.trace.first("host", bridge.name):
        return Finding("UNEXPLAINED_DROP", (f"{end.name} saw it, and {bridge.name} did not",), hop="bridge")
    return None


def _lost_on_the_host(seen: Seen, probing: Probing) -> Finding | None:
    uplink, bridge = seen.uplink, seen.bridge
    if uplink is None or bridge is None or probing.trace.first("host", uplink.name, outgoing=True):
        return None
    said = f"{bridge.name} saw it, and {uplink.name} did not"
    others = [s.link for s in probing.trace.sights if s.place == "host" and s.outgoing and not s.back]
    others = [name for name in others if name not in (bridge.name, uplink.name)]
    if others:
        return Finding("POLICY_ROUTE_CONFLICT", (said, f"it left by {others[0]}"))
    refusals = [sight.error for sight in probing.trace.sights if sight.error]
    if refusals:
        return Finding("FORWARD_DROPPED", (said, f"the host answered with {refusals[0]}"))
    return Finding("FORWARD_DROPPED", (said, "the host forwards, and has a route"))


def _lost_outside(seen: Seen, probing: Probing) -> Finding | None:
    uplink = seen.uplink
    if uplink is None or any(
        sight.back and sight.place == "host" and not sight.error for sight in probing.trace.sights
    ):
        return None
    sight = probing.trace.first("host", uplink.name, outgoing=True)
    source = sight.source if sight else ""
    inside = source == seen.path.address
    said = f"it left by {uplink.name} from {source}, and nothing came back"
    if inside and seen.path.translates(probing.target.address):
        return Finding("NAT_MISSING", (said, f"{source} is not an address of this host"))
    control = probing.control
    if control and control.answered:
        if inside:
            return Finding("NO_RETURN_ROUTE", (said, "the host itself gets an answer"))
        if not _is_hosts(seen, source):
            return Finding("SNAT_STALE_ADDRESS", (said, f"no link of the host has {source}"))
        return Finding(
            "UPSTREAM_UNREACHABLE", (said, "the host itself gets an answer, from the same address or another")
        )
    return Finding("UPSTREAM_UNREACHABLE", (said, "the host itself gets no answer either"))


def _is_hosts(seen: Seen, address: str) -> bool:
    held = {item.cidr.split("/")[0] for items in seen.host.addresses.values() for item in items}
    return address in held or (bool(address) and ipaddress.ip_address(address).is_link_local)


def _lost_on_the_way_back(seen: Seen, probing: Probing) -> Finding | None:
    trace, bridge, end = probing.trace, seen.bridge, seen.host_end
    arrived = [sight for sight in trace.sights if sight.back and sight.place == "host" and not sight.outgoing]
    if not arrived or bridge is None or end is None:
        return None
    by = arrived[0].link
    if not trace.first("host", bridge.name, back=True) and probing.neighbour_back in _UNRESOLVED:
        said = f"{seen.path.address} is {probing.neighbour_back} among the neighbours of the host"
        return Finding("NEIGHBOUR_FILTERED", (f"an answer arrived by {by}", said), direction="return")
    if not trace.first("host", bridge.name, back=True):
        said = f"an answer arrived by {by}, and {bridge.name} did not get it"
        strict = max(int(seen.settings.get(f"net/ipv4/conf/{name}/rp_filter", "0")) for name in ("all", by))
        if probing.counted.get("IPReversePathFilter") and strict:
            dropped = probing.counted["IPReversePathFilter"]
            return Finding("RP_FILTER_DROP", (said, f"IPReversePathFilter rose by {dropped}"), direction="return")
        return Finding("FORWARD_DROPPED", (said,), direction="return")
    if not trace.first("host", end.name, back=True):
        return Finding(
            "UNEXPLAINED_DROP", (f"{bridge.name} sent an answer on, and {end.name} did not get it",), "bridge", "return"
        )
    return Finding("UNEXPLAINED_DROP", (f"{end.name} sent an answer on, and nobody took it",), "link", "return")
