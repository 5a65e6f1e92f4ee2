# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The management path is sacred: no step takes the way to this host away, and some that may have to be confirmed."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ..errors import ConflictError
from ..model import HOST, MAIN_TABLE, ROUTE_PROTOCOL, Address, Claim, Fact, Link, Route, Setting, Want
from .facts import interface_of
from .state import Have, WayBack, ends
from .step import Step, destination, place

# Of all links, or of one that is protected: it drops packets that come in by it.
_FILTERING = "rp_filter"
_BRIDGE_FILTERING = "net/bridge/"
# Of a link: what it lets through, and when.
_PASSING = ("mtu", "stp", "vlan_filtering", "nf_call_iptables", "nf_call_ip6tables")


def check(steps: t.Iterable[Step], have: Have) -> None:
    """Errors: ConflictError for the first step that would enslave, move, take down or re-address a protected link, or
    lead packets elsewhere that go to whoever controls this host.
    """
    for step in steps:
        for way in have.ways_back:
            _check_way_back(step, way)
        if isinstance(step.before, Link):
            _check_link(step.before, step.after, have)
        elif isinstance(step.before, Address) and step.after is None:
            _check_address(step.before, have)
        elif isinstance(step.before, Route):
            _check_route(step.before, step.after)


def _check_link(before: Link, after: t.Any, have: Have) -> None:
    new_ends: list[Link | None] = [*ends(after), None, None]
    carrying = [end.name for end in ends(before) if end.netns == HOST and end.name in have.protected]
    for old, new in zip(ends(before), new_ends):
        harm = _harm(old, new)
        # The way goes through both ends of a pair.
        if carrying and harm:
            which = "it" if old.name == carrying[0] else f"the other end, {carrying[0]},"
            raise ConflictError(
                f"{harm} {old.name}{place(old.netns)}",
                f"{which} carries {have.protected[carrying[0]]}",
                "Use another interface; this one is left alone",
            )


def _harm(old: Link, new: Link | None) -> str:
    if new is None:
        return "remove"
    if (new.netns, new.name) != (old.netns, old.name):
        return "move"
    if (new.master or "") != (old.master or ""):
        return "enslave" if new.master else "release from its bridge"
    if old.up and not new.up:
        return "take down"
    return "change the MAC of" if new.mac != old.mac else ""


def _check_address(address: Address, have: Have) -> None:
    ours = address.identity in have.ledger.originals
    if address.netns == HOST and address.link in have.protected and not ours:
        raise ConflictError(
            f"remove the address {address.cidr} from {address.link}",
            f"it carries {have.protected[address.link]}",
            "Leave exclusive_addresses off for this interface, or use another one",
        )


def _check_route(before: Route, after: t.Any) -> None:
    foreign_default = before.netns == HOST and destination(before) == "default" and before.protocol != ROUTE_PROTOCOL
    if foreign_default and (after is None or (after.gateway, after.device) != (before.gateway, before.device)):
        raise ConflictError(
            "replace the default route of this host",
            f"it goes via {before.gateway or before.device} and is not ours",
            "Use another metric or table",
        )


def _check_way_back(step: Step, way: WayBack) -> None:
    """An address or a route that is nearer to the other end than what leads there now."""
    after = step.after
    if isinstance(after, Address) and after.netns == HOST:
        own = ipaddress.ip_interface(after.cidr)
        same = str(own.ip) == way.address
        elsewhere = after.link != way.device and _leads(own.network, 0, way)
    elif isinstance(after, Route):
        same = False
        known = after.device or (after.type or "unicast") != "unicast"
        elsewhere = bool(known) and after.device != way.device and _replaces(after, way)
    else:
        return
    if same or elsewhere:
        raise ConflictError(
            step.line,
            f"{way.address} controls this host, by {way.device}, and could not be reached any more",
            "Choose another range, or make the change from another host",
        )


def _replaces(route: Route, way: WayBack) -> bool:
    """Whether it is a route of this host that takes the place of the way."""
    if route.netns != HOST or route.table != MAIN_TABLE:
        return False
    return _leads(ipaddress.ip_network(route.destination), route.metric or 0, way)


def _leads(network: ipaddress.IPv4Network | ipaddress.IPv6Network, metric: int, way: WayBack) -> bool:
    """Whether packets to the other end go by a route to that network rather than by the way that is there."""
    if ipaddress.ip_address(way.address) not in network:
        return False
    return (network.prefixlen, -metric) >= (way.prefix, -way.metric)


def hazards(steps: t.Iterable[Step], have: Have) -> list[str]:
    """Lines of the steps that are allowed, and may cut the way to this host all the same."""
    return [step.line for step in steps if _is_hazard(step, have)]


def _is_hazard(step: Step, have: Have) -> bool:
    before, after = step.before, step.after
    if isinstance(before, Link) and isinstance(after, Link):
        pairs = zip(ends(before), ends(after))
        return any(
            old.netns == HOST and old.name in have.protected and _passes(old) != _passes(new) for old, new in pairs
        )
    if isinstance(step.fact, Setting):
        return step.fact.netns == HOST and _filters(step.fact, have)
    if isinstance(before, Address) and after is None and before.netns == HOST and before.link in have.protected:
        return True
    if isinstance(step.fact, Address):
        network = step.fact.subnet
        return step.fact.netns == HOST and any(_leads(network, 0, way) for way in have.ways_back)
    routes = [fact for fact in (before, after) if isinstance(fact, Route)]
    return any(_replaces(route, way) or _is_aside(route, way) for route in routes for way in have.ways_back)


def without_hazards(want: Want, steps: t.Iterable[Step], have: Have) -> Want:
    """The want without what may cut the way to this host; of links that are changed, without those fields alone."""
    risky = {step.identity for step in steps if _is_hazard(step, have)}
    keys = {
        (step.fact.netns, step.fact.key) for step in steps if step.identity in risky and isinstance(step.fact, Setting)
    }

    def kept(facts: t.Iterable[Fact]) -> tuple[Fact, ...]:
        return tuple(
            _without_passes(fact) if isinstance(fact, Link) else fact
            for fact in facts
            if fact.identity not in risky or isinstance(fact, Link)
            if not (isinstance(fact, Claim) and (fact.netns, fact.key) in keys)
        )

    def _without_passes(link: Link) -> Link:
        if link.identity not in risky:
            return link
        anything: dict[str, t.Any] = dict.fromkeys(_PASSING)
        peer = dataclasses.replace(link.peer, **anything) if link.peer else None
        return dataclasses.replace(link, peer=peer, **anything)

    return dataclasses.replace(want, facts=kept(want.facts), absent=kept(want.absent))


def _passes(link: Link) -> tuple[t.Any, ...]:
    """What a link lets through, and when."""
    return tuple(getattr(link, field) for field in _PASSING)


def _is_aside(route: Route, way: WayBack) -> bool:
    """Whether it leads to the other end by a table of its own, which a rule may put ahead of all others."""
    other_table = route.netns == HOST and route.table != MAIN_TABLE
    return other_table and ipaddress.ip_address(way.address) in ipaddress.ip_network(route.destination)


def _filters(setting: Setting, have: Have) -> bool:
    if setting.key.startswith(_BRIDGE_FILTERING):
        return True
    return setting.key.rpartition("/")[2] == _FILTERING and (
        interface_of(setting.key) in have.protected or "/all/" in setting.key
    )


def refuse_hazards(asked: str, hazards: t.Sequence[str]) -> None:
    """Errors: ConflictError if there are any, for where nobody is there to confirm them."""
    if hazards:
        found = f"{'; '.join(hazards)} may cut the way to this host"
        raise ConflictError(asked, found, "Use the role egress, which has it confirmed")
