# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there along a path: links, addresses, settings and route lookups, read once for each namespace."""

from __future__ import annotations

import functools
import ipaddress
import typing as t
from dataclasses import dataclass, field

from ..kernel.addresses import AddressReply
from ..kernel.link_messages import LinkReply
from ..kernel.probes import Target
from ..kernel.route_lookup import Lookup
from ..planning.state import FORWARD4, FORWARD6
from ..rules import Rules
from .path import Path

IPNetwork = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
FORWARD = {4: FORWARD4, 6: FORWARD6}
BRIDGE_CALLS = {4: "net/bridge/bridge-nf-call-iptables", 6: "net/bridge/bridge-nf-call-ip6tables"}


@dataclass(frozen=True)
class Place:
    """One namespace. Links by name, addresses by the index of their link."""

    links: t.Mapping[str, LinkReply] = field(default_factory=dict)
    addresses: t.Mapping[int, t.Sequence[AddressReply]] = field(default_factory=dict)

    @functools.cached_property
    def _by_index(self) -> dict[int, LinkReply]:
        return {link.index: link for link in self.links.values()}

    @functools.cached_property
    def networks(self) -> list[tuple[LinkReply, IPNetwork, str]]:
        """(link, network, address with prefix) of each address that makes a route to more than itself."""
        found = []
        for index, held in self.addresses.items():
            for item in held:
                network = ipaddress.ip_interface(item.cidr).network
                if network.prefixlen < network.max_prefixlen and not item.link_local and index in self._by_index:
                    found.append((self._by_index[index], network, item.cidr))
        return found

    @functools.cached_property
    def own(self) -> frozenset[str]:
        """All addresses, without their prefixes."""
        return frozenset(item.cidr.split("/")[0] for held in self.addresses.values() for item in held)

    def by_index(self, index: int) -> LinkReply | None:
        return self._by_index.get(index)

    def name(self, index: int) -> str:
        link = self.by_index(index)
        return link.name if link else ""

    def peer_of(self, link: LinkReply) -> LinkReply | None:
        """The end here of a pair whose other end is a link of another namespace."""
        found = self.by_index(link.peer_index) if link.kind == "veth" and link.peer_index else None
        return found if found and found.kind == "veth" and found.peer_index == link.index else None

    def of_family(self, link: LinkReply | None, family: int) -> list[AddressReply]:
        """Addresses of a link, without link-local ones."""
        found = self.addresses.get(link.index, ()) if link else ()
        return [item for item in found if (":" in item.cidr) == (family == 6) and not item.link_local]


@dataclass(frozen=True)
class Seen:
    """All that is known of one path, before anything is sent.

    holders: processes, as (PID, command), in a namespace without a name at which the pair ends.
    out: the lookup in the namespace; through: on the host for a packet of it; plainly: for one of the host's own, or
    the same as through where that leads to an uplink which the network names, or the host has no way of its own;
    back: for a reply to its address. interface: the namespace's link to the host, whatever it is called.
    settings: of the host; own_settings: of the namespace; persisted: what files say about the host's at the next boot.
    exits: links of the host by which there is a way out. for_sources: networks for which alone the host has a default
    route, where it has none for itself. own_default: the namespace has one by its interface, and others go ahead of it.
    rules: by where (inside, out, return) the rule and route that lead elsewhere than the path does.
    local_addresses: of those that are translated to, what the host takes by a local route.
    unseen: what of the host's rules could not be read, and why.
    local: addresses on which alone somebody listens, of the ports that are published.
    protections: by purpose whether the rules of a network, or of a port, are as they were written; none if unseen.
    nat_unseen: something translates on the host, and no program is there to say what.
    table: count and max of tracked connections. legacy: iptables-legacy is in use, which nftables cannot see.
    """

    path: Path
    target: Target
    host: Place
    inside: Place | None
    stale: bool = False
    holders: tuple[tuple[int, str], ...] = ()
    interface: LinkReply | None = None
    out: Lookup | None = None
    through: Lookup | None = None
    plainly: Lookup | None = None
    back: Lookup | None = None
    settings: t.Mapping[str, str] = field(default_factory=dict)
    persisted: t.Mapping[str, str] = field(default_factory=dict)
    table: t.Mapping[str, str] = field(default_factory=dict)
    legacy: bool = False
    local: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    exits: frozenset[str] = frozenset()
    rules: t.Mapping[str, str] = field(default_factory=dict)
    for_sources: tuple[str, ...] = ()
    own_default: bool = False
    local_addresses: frozenset[str] = frozenset()
    own_settings: t.Mapping[str, str] = field(default_factory=dict)
    nat: t.Mapping[str, Rules | None] = field(default_factory=dict)
    nat_inside: bool = False
    nat_unseen: bool = False
    filters: t.Sequence[tuple[str, str]] = ()
    protections: t.Mapping[str, t.Mapping[str, bool]] = field(default_factory=dict)
    accepted: t.Mapping[str, t.Mapping[tuple[str, str], Rules | None]] = field(default_factory=dict)

    @property
    def host_end(self) -> LinkReply | None:
        """The end on the host: of the namespace's link, or by its name."""
        # A link of the host may have the index that the other end has in a third namespace.
        found = self.host.peer_of(self.interface) if self.interface is not None else None
        return found or self.host.links.get(self.path.host_end)

    @property
    def links(self) -> list[dict[str, t.Any]]:
        """The links of the path in packet order, with their addresses and counters."""
        inside = self.inside or Place()
        way = [("link", self.path.shown, inside, self.interface), ("bridge_port", "", self.host, self.host_end)]
        way += [("bridge", "", self.host, self.bridge)] if self.path.bridge else []
        way += [("uplink", "", self.host, self.uplink)] if self.path.routed else []
        return [_drawn(hop, netns, place, link) for hop, netns, place, link in way if link is not None]

    def host_has(self, address: str) -> bool:
        """Whether an address is the host's own."""
        return address in self.host.own

    @property
    def bridge(self) -> LinkReply | None:
        return self.host.links.get(self.path.bridge)

    @property
    def ingress(self) -> LinkReply | None:
        """The link of the host from which packets are routed: the bridge, or without one the end of the pair."""
        return self.bridge if self.path.bridge else self.host_end

    @property
    def way(self) -> Lookup | None:
        """By which its packets leave: as the kernel would forward them, or where nobody can tell, as the host's own."""
        return self.through if self.through and self.through.leads else self.plainly

    @property
    def uplink(self) -> LinkReply | None:
        return self.host.by_index(self.way.device) if self.way and self.way.leads else None


def _drawn(hop: str, netns: str, place: Place, link: LinkReply) -> dict[str, t.Any]:
    held = [item.cidr for item in place.addresses.get(link.index, ()) if not item.link_local]
    counters = {name: value for name, value in link.counters.items() if not name.endswith("_bytes")}
    return {
        "hop": hop,
        "netns": netns,
        "name": link.name,
        "mtu": link.mtu,
        "up": link.up,
        "addresses": held,
        **counters,
    }
