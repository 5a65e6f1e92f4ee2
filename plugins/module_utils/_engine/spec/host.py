# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the expansion of networks needs to know of a host."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..model import HOST, MAIN_TABLE


@dataclass(frozen=True)
class HostView:
    """A look at a host.

    uplinks: {4 or 6: for each default route, best first, the links that it leads to}. mtus: {link: MTU}.
    addresses: {link: addresses}. owners: {link: network that made it, None for somebody else}. kinds: {link: kind}.
    peers: {veth: (namespace, name) of its other end}. routes: {destination: device} of others in the main table.
    namespaces: {name: network that made it, None for somebody else}.
    assigned: {namespace: addresses that it was given}. found: {namespace: addresses in it} of those without.
    lent: {link that somebody else made: {address that was added to it: for which network}}.
    routed: {destination: network for which the host has a route to it}.
    resolvers: {namespace: network for which its resolv.conf was written}.
    restricted: {port of a bridge that sends from its own addresses alone: network that asked for it}.
    """

    uplinks: t.Mapping[int, t.Sequence[t.Sequence[str]]] = field(default_factory=dict)
    mtus: t.Mapping[str, int] = field(default_factory=dict)
    addresses: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)
    owners: t.Mapping[str, str | None] = field(default_factory=dict)
    kinds: t.Mapping[str, str | None] = field(default_factory=dict)
    peers: t.Mapping[str, tuple[str, str]] = field(default_factory=dict)
    routes: t.Mapping[str, str] = field(default_factory=dict)
    namespaces: t.Mapping[str, str | None] = field(default_factory=dict)
    assigned: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)
    found: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)
    lent: t.Mapping[str, t.Mapping[str, str]] = field(default_factory=dict)
    routed: t.Mapping[str, str] = field(default_factory=dict)
    resolvers: t.Mapping[str, str] = field(default_factory=dict)
    restricted: t.Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_info(cls, info: t.Mapping[str, t.Any]) -> HostView:
        """From what the module egress_info returns, with at least namespaces, links and uplinks gathered.

        Without routes and resolvers, those stay that networks no longer need.
        """
        host_links = [link for link in info["links"] if link["netns"] == ""]
        assigned = {ns["name"]: ns["assigned"] for ns in info["namespaces"] if ns["name"] and ns.get("assigned")}
        found: dict[str, list[str]] = {}
        for link in info["links"]:
            if link["netns"] and link["netns"] not in assigned:
                found.setdefault(link["netns"], []).extend(link["addresses"])
        return cls(
            uplinks={
                version: [route["interfaces"] for route in info["uplinks"][f"ipv{version}"]["routes"]]
                for version in (4, 6)
                if info["uplinks"].get(f"ipv{version}")
            },
            mtus={link["name"]: link["mtu"] for link in host_links},
            addresses={link["name"]: link["addresses"] for link in host_links},
            owners={link["name"]: link["network"] for link in host_links},
            kinds={link["name"]: link["kind"] for link in host_links},
            peers={link["name"]: (link["peer"]["netns"], link["peer"]["name"]) for link in host_links if link["peer"]},
            namespaces={ns["name"]: ns["network"] for ns in info["namespaces"] if ns["name"]},
            assigned=assigned,
            found=found,
            lent={
                link["name"]: {item["address"]: item["network"] for item in link.get("added", [])}
                for link in host_links
            },
            routed={
                route["dest"]: route["network"]
                for route in info.get("routes", [])
                if (route["netns"], route["table"]) == (HOST, MAIN_TABLE) and route.get("network")
            },
            resolvers={item["netns"]: item["network"] for item in info.get("resolvers", [])},
            restricted={item["port"]: item["network"] for item in info.get("restricted", [])},
        )
