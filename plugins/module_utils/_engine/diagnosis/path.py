# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of one namespace's packets in one family, as it is meant to be."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass

from ..spec import values
from ..spec.allocation import Assigned, allocate, gateway_for
from ..spec.nat_masquerade import source_ranges
from ..spec.network import Network


@dataclass(frozen=True)
class Path:
    """From a namespace to the internet. What is "" or empty nobody asked for.

    family: 4 or 6. cidr: the address on the interface. uplinks: none for those that the routing table chooses.
    nat: masquerade, snat or none. sources: the network's ranges of the family. dns: servers that were asked for.
    to_source: what the network asks for. listens: (protocol, port) of what a published port leads to. mtu: 0 for the
    uplink's.
    protections: purposes of the rules that restrict its packets: ports (spoof_protection), wall, guard.
    routed: this host is the gateway. asked: somebody described the path; otherwise it is what the kernel has, where
    bridge and host_end are "" if there are none, and cidr and gateway if nobody can tell. meant: to reach anything.
    """

    namespace: str
    network: str
    family: int
    interface: str
    host_end: str
    bridge: str
    cidr: str
    gateway: str
    uplinks: tuple[str, ...] = ()
    nat: str = ""
    sources: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    firewall: str = "auto"
    title: str = ""
    routed: bool = True
    asked: bool = True
    meant: bool = True
    dns: tuple[str, ...] = ()
    listens: tuple[tuple[str, int], ...] = ()
    mtu: int = 0
    protections: tuple[str, ...] = ()
    to_source: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return self.cidr.split("/")[0]

    @property
    def subnet(self) -> str:
        return str(ipaddress.ip_interface(self.cidr).network)

    @property
    def shown(self) -> str:
        """The namespace, for a person."""
        return self.title or self.namespace

    @property
    def label(self) -> str:
        return f"IPv{self.family}"

    def translates(self, target: str) -> bool:
        """Whether the host is meant to change the source address of what goes to a target."""
        excluded = (*self.exclude, *self.sources)
        address = ipaddress.ip_address(target)
        inside = any(address in values.network(item) for item in excluded if values.family(item) == address.version)
        return self.nat in ("masquerade", "snat") and not inside


def of_networks(networks: t.Sequence[Network], assigned: Assigned) -> list[Path]:
    """Of each namespace of each network that is to be present, in both families.

    assigned: addresses that namespaces have, which decide about those that nobody chose.
    """
    return [found for network in networks if not network.absent for found in _of_network(network, assigned)]


def _of_network(network: Network, assigned: Assigned) -> t.Iterator[Path]:
    chosen = allocate(network, assigned)
    for namespace in network.namespaces:
        for cidr in chosen[namespace.name]:
            family = values.family(cidr)
            yield Path(
                namespace=namespace.name,
                network=network.name,
                family=family,
                interface=namespace.interface,
                host_end=namespace.host_end,
                bridge=network.bridge,
                cidr=cidr,
                gateway=gateway_for(network, cidr),
                uplinks=network.uplinks,
                nat="none" if network.firewall == "none" else network.nat["mode"],
                sources=tuple(subnet for subnet in network.subnets if values.family(subnet) == family),
                to_source=source_ranges(network.nat.get("to_source")),
                exclude=tuple(network.nat.get("exclude") or ()),
                firewall=network.firewall,
                mtu=network.mtu,
                protections=_protections(network),
                dns=tuple((namespace.dns or {}).get("servers") or ()),
                listens=tuple(
                    (entry.protocol, entry.to_port or entry.first)
                    for entry in network.publish
                    if entry.to in (namespace.name, cidr.split("/")[0])
                ),
            )


def _protections(network: Network) -> tuple[str, ...]:
    if network.firewall == "none":
        return ()
    asked = {
        "ports": network.wall.spoof_protection,
        "wall": network.wall.needs_rules(network.isolated),
        "guard": network.nat["mode"] != "none",
    }
    return tuple(purpose for purpose, wanted in asked.items() if wanted)
