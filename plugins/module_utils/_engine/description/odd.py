# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there beside the path of a network, and would be missed by whoever builds it from a description."""

from __future__ import annotations

import typing as t

from ..kernel import policy_rules
from ..kernel.addresses import AddressReply
from ..kernel.namespaces import Namespaces
from ..kernel.routes import RTPROT_KERNEL, RTPROT_RA
from ..model import DEFAULT_DESTINATION, HOST, MAIN_TABLE, Route
from ..spec.values import family, interface, network
from .note import Notes
from .rule import touches
from .seen import Bridge

Listed = t.Sequence[t.Mapping[str, t.Any]]

_LOCAL_TABLE = 255


def namespace(namespaces: Namespaces, name: str, routes: t.Sequence[Route], neighbours: Listed, notes: Notes) -> None:
    """Routes that a network does not make, rules that choose a table, and neighbours that somebody wrote down."""
    about = f"namespace {name}"
    used = best_defaults(routes).values()
    for route in routes:
        if route.protocol == RTPROT_RA:
            seen = f"route to {route.destination} learned from a router"
            notes.add(about, seen, "a network gives its namespaces routes")
        elif route in used:
            more = f"{f' src {route.source}' if route.source else ''}{f' mtu {route.mtu}' if route.mtu else ''}"
            if more:
                notes.add(about, f"default route {_way(route)}{more}", "the default route of a network has neither")
        elif route.protocol != RTPROT_KERNEL and route.table != _LOCAL_TABLE:
            reason = "a namespace of a network has its default route alone. The module ns_route adds others"
            notes.add(about, f"route to {route.destination} {_way(route)}", reason)
    for rule in policy_rules.read(namespaces.socket(name)):
        notes.add(about, f"policy rule {rule.text}", "networks have no policy rules: write it down yourself")
    _neighbours(about, neighbours, notes)


def best_defaults(routes: t.Iterable[Route]) -> dict[int, Route]:
    """The default route that packets take, by family."""
    found: dict[int, Route] = {}
    for route in sorted(routes, key=lambda route: route.metric):
        if route.table == MAIN_TABLE and route.type == "unicast" and route.destination in DEFAULT_DESTINATION.values():
            found.setdefault(family(route.destination), route)
    return found


def _way(route: Route) -> str:
    way = f"via {route.gateway}" if route.gateway else f"dev {route.device}"
    where = "" if route.table == MAIN_TABLE else f" in table {route.table}"
    metric = f" metric {route.metric}" if route.destination in DEFAULT_DESTINATION.values() and route.metric else ""
    return (way if route.type == "unicast" else str(route.type)) + metric + where


def addresses(name: str, learned: t.Sequence[AddressReply], notes: Notes) -> None:
    for item in learned:
        reason = "it has a lifetime; a network gives its namespaces addresses for good"
        notes.add(f"namespace {name}", f"address {item.cidr} was learned", reason)


def host(namespaces: Namespaces, neighbours: Listed, bridges: t.Sequence[Bridge], notes: Notes) -> None:
    """The same of the host, as far as it is about these bridges."""
    held = [cidr for bridge in bridges for cidr in bridge.addresses]
    held += [cidr for bridge in bridges for member in bridge.members for cidr in member.addresses]
    subnets = [str(interface(cidr).network) for cidr in held]
    for rule in policy_rules.read(namespaces.socket(HOST)):
        family_subnets = [subnet for subnet in subnets if (":" in subnet) == (rule.family == 6)]
        if family_subnets and (not rule.source or touches(str(network(rule.source)), family_subnets)):
            reason = "networks have no policy rules, but what they send obeys it as before"
            notes.add("the host", f"policy rule {rule.text}", reason)
    for bridge in bridges:
        here = [one for one in neighbours if one["link"] == bridge.link.name]
        _neighbours(f"bridge {bridge.link.name}", here, notes)


def _neighbours(about: str, listed: Listed, notes: Notes) -> None:
    for one in listed:
        if one["state"] == "PERMANENT":
            seen = f"static neighbour {one['address']} at {one['mac']} on {one['link']}"
            notes.add(about, seen, "networks have none: a pair that is made anew has another MAC")
