# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packet filters hold for one network, whatever their own words for it are."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass


@dataclass(frozen=True)
class NatRules:
    """Source translation of one network. Networks are canonical and collapsed, families may mix.

    out_interfaces: all for none, else sorted. to_source: an address or "first-last" for each family, ("", "") to
    masquerade. ports: (first, last) or None.
    """

    sources: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    out_interfaces: tuple[str, ...] = ()
    not_out_interface: str = ""
    to_source: tuple[str, str] = ("", "")
    ports: tuple[int, int] | None = None
    random_fully: bool = False


@dataclass(frozen=True, order=True)
class Publication:
    """Ports of this host, from first to last, that lead to an address; the first one to target_port, and so on.

    protocol: tcp or udp. More than one port only where each keeps its number.
    """

    protocol: str
    first: int
    last: int
    target: str
    target_port: int

    @property
    def ports(self) -> range:
        return range(self.first, self.last + 1)

    def __str__(self) -> str:
        """In words: "tcp 8080 to 10.0.0.2:80"."""
        ports = f"{self.first}-{self.last}" if self.last > self.first else f"{self.first}"
        target = f"[{self.target}]" if ":" in self.target else self.target
        return f"{self.protocol} {ports} to {target}" + (f":{self.target_port}" if self.first == self.last else "")


@dataclass(frozen=True)
class PublishRules:
    """Ports of this host that lead into one network, in canonical order; families may mix.

    sources: of whom no reply would come back by this host, unless it also translates their source.
    """

    publications: tuple[Publication, ...]
    sources: tuple[str, ...]


def interfaces_of(rules: object) -> tuple[str, ...]:
    """Those that rules name."""
    if isinstance(rules, NatRules):
        return (*rules.out_interfaces, *filter(None, [rules.not_out_interface]))
    if isinstance(rules, ForwardRules):
        return (rules.bridge, *rules.uplinks)
    return rules.bridges if isinstance(rules, GuardRules) else ()


PortPlace = tuple[int, str, int]  # family (4 or 6), protocol and port


@dataclass(frozen=True)
class ForwardRules:
    """What of one network is let through where forwarded packets are filtered, in both directions.

    uplinks: interfaces by which it leaves. sources: canonical and collapsed, families may mix.
    published: whether what a port of this host leads into the network is let through as well.
    """

    bridge: str
    uplinks: tuple[str, ...]
    sources: tuple[str, ...]
    published: bool = False


@dataclass(frozen=True)
class ClampRules:
    """Connections through a bridge announce no larger segments than fit the routes of both directions."""

    bridge: str


@dataclass(frozen=True)
class GuardRules:
    """What of one translated network never leaves, whatever connection tracking says of it. In canonical order.

    Dropped is what leaves with one of the sources by an interface other than a bridge of a guarded network, except to
    the networks of exclude.
    bridges: behind which the sources are; several only while one takes the place of another.
    shared: the bridge is a way out as well, so that the destination tells what leaves.
    strict: what comes from the bridge with another source does not leave it.
    replies: to connections that began outside leave with their own source.
    former: sources that the network has until a change is complete; those of other networks go first.
    """

    bridges: tuple[str, ...]
    sources: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    shared: bool = False
    strict: bool = True
    replies: bool = False
    former: tuple[str, ...] = ()

    @property
    def every_source(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sources, *self.former)))


@dataclass(frozen=True)
class WallRules:
    """Which packets a managed bridge exchanges by way of this host.

    subnets: canonical, families may mix. peers: networks of this host, by name, or "all". isolated: nothing returns to
    the bridge that it came from. spoof_protection: sources outside the subnets are dropped. open: whoever is outside
    may begin a connection. published: ports of the host lead into the network.
    """

    bridge: str
    subnets: tuple[str, ...]
    peers: tuple[str, ...] = ()
    isolated: bool = False
    spoof_protection: bool = False
    open: bool = False
    published: bool = False


NAT_BACKENDS = ("nftables", "iptables-nft", "iptables-legacy", "firewalld")
PUBLISH_BACKENDS = ("nftables", "iptables-nft", "iptables-legacy")
FORWARD_BACKENDS = ("iptables-nft", "iptables-legacy", "firewalld", "ufw")
CLAMP_BACKENDS = ("nftables", "iptables-nft", "iptables-legacy")
GUARD_BACKENDS = ("nftables", "iptables-nft", "iptables-legacy")
# A drop there is final, whatever else filters on the host.
WALL_BACKENDS = ("nftables",)
ALL_NETWORKS = "all"
Rules = t.Union[NatRules, PublishRules, ForwardRules, ClampRules, GuardRules, WallRules]


def places_of(rules: Rules | None) -> list[PortPlace]:
    """The ports of this host that rules lead elsewhere."""
    publications = rules.publications if isinstance(rules, PublishRules) else ()
    return [(6 if ":" in item.target else 4, item.protocol, port) for item in publications for port in item.ports]
