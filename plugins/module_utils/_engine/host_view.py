# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the expansion of networks needs to know of this host, from a look at all of its namespaces that have names."""

from __future__ import annotations

import types
import typing as t

from .inventory import added, label, resolvers, restricted
from .kernel import addresses, namespaces, peers, routes
from .kernel.ledger_file import readable_ledger
from .kernel.links import Links
from .kernel.namespace_marks import marks_of
from .kernel.snapshot import Snapshot
from .ledger import Ledger
from .model import HOST, MAIN_TABLE, ROUTE_PROTOCOL, is_ours
from .planning.ownership import routes_of_networks, uplinks_noted
from .spec.host import HostView

_PATIENCE = 0.5  # seconds


def host_view(
    opened: namespaces.Namespaces,
    snapshot: Snapshot,
    only: t.Collection[str] | None = None,
    known: t.Mapping[str, t.Sequence[str]] = types.MappingProxyType({}),
) -> HostView:
    """only: namespaces to look at, if not all: of the others no more than their addresses, unless these are known.

    Errors: EgressError.
    """
    names = namespaces.handles()
    others = [] if only is None else [name for name in names if name not in only]
    others = [name for name in others if name in known or opened.may_enter(name)]
    names = [name for name in names if (only is None or name in only) and opened.may_enter(name)]
    # Nothing is removed where only some are looked at, and who is at the other end does not matter.
    ends = {} if only is not None else _peers(opened, snapshot, [HOST, *names])
    places = {place: snapshot.read(place) for place in (HOST, *names)}
    links = places[HOST].links.values()
    ledger = readable_ledger()
    marks = marks_of(opened, Links(opened, snapshot), names, ledger)
    lent, routed = added(ledger), routes_of_networks(ledger)
    return HostView(
        uplinks={family: ways for family in (4, 6) if (ways := _ways_out(opened, snapshot, family, ledger))},
        mtus={link.name: link.mtu for link in links},
        addresses={link.name: _chosen(snapshot, HOST, link.index) for link in links},
        owners={link.name: label(link.alias) for link in links},
        kinds={link.name: link.kind for link in links},
        peers=ends,
        routes=_routes_of_others(snapshot),
        namespaces={name: label(marks.get(name)) for name in names},
        assigned={name: one.addresses for name, one in ledger.assignments.items()},
        found={
            **{name: _addresses(opened, name) for name in others if not (name in known or name in ledger.assignments)},
            **{
                name: [cidr for index in places[name].links for cidr in _chosen(snapshot, name, index)]
                for name in names
                if name not in ledger.assignments
            },
        },
        lent={
            link.name: {item["address"]: item["network"] for item in lent.get((HOST, link.name), [])} for link in links
        },
        routed={name[3]: network for name, network in routed.items() if name[1:3] == (HOST, str(MAIN_TABLE))},
        resolvers=resolvers(),
        restricted=restricted(ledger),
    )


def _chosen(snapshot: Snapshot, netns: str, index: int) -> list[str]:
    return [item.cidr for item in snapshot.read(netns).addresses.get(index, ()) if not item.link_local]


def _addresses(opened: namespaces.Namespaces, netns: str) -> list[str]:
    return [item.cidr for item in addresses.read(opened.socket(netns)) if not item.link_local]


def _peers(
    opened: namespaces.Namespaces, snapshot: Snapshot, places: t.Sequence[str], patience: float = _PATIENCE
) -> dict[str, tuple[str, str]]:
    """{veth of the host: (namespace, name) of its other end}.

    patience: seconds to wait for ends of ours whose namespace was just removed: on them nothing could be built.
    """
    found: dict[str, tuple[str, str]] = {}
    going = []
    links = Links(opened, snapshot)
    ends = peers.other_ends(opened, {place: list(snapshot.read(place).links.values()) for place in places})
    for link in snapshot.read(HOST).links.values():
        end = ends.get((HOST, link.index))
        if end:
            found[link.name] = (end[0], end[1].name)
        elif link.kind == "veth" and is_ours(link.alias):
            # Processes alone may hold its namespace.
            other = links.fact(HOST, link).peer
            found.update({link.name: (other.netns, other.name)} if other else {})
            going += [] if other else [link.index]
    if going and patience:
        namespaces.await_departure(going, patience)
        snapshot.forget(HOST)
        return _peers(opened, snapshot, places, patience=0)
    return found


def _ways_out(opened: namespaces.Namespaces, snapshot: Snapshot, family: int, ledger: Ledger) -> list[list[str]]:
    """For each route that leads out of this host, best first, the links that it leads to.

    Without any just now, as while a router is silent or before the network is up, the links that there were.
    """
    there = snapshot.read(HOST).links
    ways = [
        [there[index].name for index in reply.devices if index in there and routes.leads_out(reply, there[index].alias)]
        for reply in routes.ways_out(opened.socket(HOST), family, snapshot.routes(HOST, family, MAIN_TABLE))
    ]
    ways = [way for way in ways if way]
    # A bridge of another tool may have namespaces behind it.
    held = {link.name for link in there.values() if not is_ours(link.alias) and link.kind != "bridge"}
    return ways or [[name] for name in uplinks_noted(ledger, HOST, family) if name in held]


def _routes_of_others(snapshot: Snapshot) -> dict[str, str]:
    """{destination: device} in the main table."""
    there = snapshot.read(HOST).links
    return {
        reply.fact.destination: there[reply.devices[0]].name if reply.devices and reply.devices[0] in there else ""
        for family in (4, 6)
        for reply in snapshot.routes(HOST, family, MAIN_TABLE)
        if reply.fact.protocol not in (routes.RTPROT_KERNEL, ROUTE_PROTOCOL)
    }
