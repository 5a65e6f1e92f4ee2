# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is there along a path: links, addresses, settings and route lookups, read once for each namespace."""

from __future__ import annotations

import functools
import ipaddress
import os
import typing as t
from dataclasses import dataclass, field

from ..errors import EgressError
from ..kernel import (
    addresses,
    base_chains,
    guard,
    links,
    listeners,
    packet_filter,
    port_table,
    processes,
    programs,
    route_lookup,
    routes,
    rulesets,
    sysctl_files,
    sysctls,
    wall,
)
from ..kernel.addresses import AddressReply
from ..kernel.link_messages import LinkReply, get_links, parse_link
from ..kernel.mounts import is_namespace
from ..kernel.namespaces import Namespaces, path_of
from ..kernel.probes import Target
from ..kernel.route_lookup import Lookup
from ..model import HOST
from ..planning.state import FORWARD4, FORWARD6
from ..rules import FORWARD_BACKENDS, GUARD_BACKENDS, NAT_BACKENDS, Rules
from .path import Path

IPNetwork = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
FORWARD = {4: FORWARD4, 6: FORWARD6}
_TABLE_IN_USE = {"count": "net/netfilter/nf_conntrack_count", "max": "net/netfilter/nf_conntrack_max"}
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
    exits: links of the host that default routes lead to.
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
        if self.interface is not None and self.interface.peer_index and self.interface.kind == "veth":
            return self.host.by_index(self.interface.peer_index)
        return self.host.links.get(self.path.host_end)

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
    def uplink(self) -> LinkReply | None:
        return self.host.by_index(self.plainly.device) if self.plainly and self.plainly.leads else None


class Reader:
    """Reads for one run; what several paths share is read once."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._places: dict[str, Place] = {}
        self._found_exits: dict[int, frozenset[str]] = {}
        # In their order, each once.
        self._unseen: dict[str, None] = {}
        self._found_filters: dict[tuple[str, str, int], list[tuple[str, str]]] = {}

    def place(self, netns: str) -> Place:
        if netns not in self._places:
            opened = self.namespaces.socket(netns)
            found = map(parse_link, opened.dump(get_links(counters=True)))
            listed: dict[int, list[AddressReply]] = {}
            for item in addresses.read(opened):
                listed.setdefault(item.index, []).append(item)
            self._places[netns] = Place({link.name: link for link in found}, listed)
        return self._places[netns]

    def assigned(self, netns: str) -> list[str]:
        """The addresses of a namespace; none where it does not exist."""
        inside = self.place(netns) if is_namespace(path_of(netns)) else Place()
        return [item.cidr for held in inside.addresses.values() for item in held]

    def see(self, path: Path, target: Target) -> Seen:
        """What there is along a path."""
        host = self.place(HOST)
        handle = path_of(path.namespace)
        if not is_namespace(handle):
            holders = self._holders(host.links.get(path.host_end))
            return Seen(path, target, host, None, stale=os.path.lexists(handle), holders=holders)
        inside = self.place(path.namespace)
        interface = _interface(path, inside, host)
        ingress = host.links.get(path.bridge or path.host_end) if path.routed else None
        own, home = self.namespaces.socket(path.namespace), self.namespaces.socket(HOST)
        there = ipaddress.ip_address(target.address).packed
        near = ipaddress.ip_address(path.address).packed if path.cidr else b""
        plainly = route_lookup.lookup(home, there)
        through = route_lookup.lookup(home, there, near, ingress.index) if ingress and near else None
        if through is not None and through.leads and (not plainly.leads or host.name(through.device) in path.uplinks):
            plainly = through
        return Seen(
            path,
            target,
            host,
            inside,
            holders=() if interface else self._holders(host.links.get(path.host_end)),
            interface=interface,
            out=route_lookup.lookup(own, there),
            through=through,
            plainly=plainly,
            back=route_lookup.lookup(home, near) if near else None,
            settings=self._settings(path, ingress, plainly, host),
            persisted=self._persisted,
            local=tuple(filter(None, (self._local(path, *place) for place in path.listens))),
            table=self._table,
            legacy=self._legacy,
            own_settings=sysctls.read(self.namespaces, path.namespace, _own_keys(path)),
            nat={
                backend: self._rules[backend][key]
                for backend in NAT_BACKENDS
                if (key := ("nat", path.network)) in self._rules[backend]
            },
            nat_inside=self._translates(path.namespace),
            nat_unseen=self._nat_unseen,
            filters=self._filters(path),
            protections=self._protections,
            accepted=self._rules,
            unseen=tuple(self._unseen),
            exits=self._exits(path.family),
        )

    def _exits(self, family: int) -> frozenset[str]:
        if family not in self._found_exits:
            found = routes.default_uplinks(self.namespaces.socket(HOST), family)
            names = {self.place(HOST).name(device) for route in found for device in route.devices}
            self._found_exits[family] = frozenset(names)
        return self._found_exits[family]

    def default_devices(self, netns: str) -> set[int]:
        """Indexes of the links of a namespace that default routes lead to."""
        opened = self.namespaces.socket(netns)
        return {
            device for family in (4, 6) for route in routes.default_uplinks(opened, family) for device in route.devices
        }

    def gateway(self, netns: str, family: int) -> str:
        """That of the best default route in a namespace, or ""."""
        found = routes.default_uplinks(self.namespaces.socket(netns), family)
        return next((str(route.fact.gateway) for route in found if route.fact.gateway), "")

    def _holders(self, host_end: LinkReply | None) -> tuple[tuple[int, str], ...]:
        """Who holds the namespace without a name in which the other end of a pair is."""
        if host_end is None or host_end.peer_nsid is None:
            return ()
        found = links.Links(self.namespaces).fact(HOST, host_end).peer
        if found is None or "/" not in found.netns:
            return ()
        pid = int(found.netns.split("/")[2])
        return tuple(
            inhabitants
            for listed in processes.namespaces_of_processes().values()
            if pid in dict(listed)
            for inhabitants in listed
        )

    def _settings(self, path: Path, ingress: LinkReply | None, plainly: Lookup, host: Place) -> dict[str, str]:
        names = [name for name in (ingress and ingress.name, host.name(plainly.device)) if name]
        keys = [FORWARD[path.family], BRIDGE_CALLS[path.family]]
        keys += [f"net/ipv{path.family}/conf/{name}/forwarding" for name in names]
        return sysctls.read(self.namespaces, HOST, keys)

    def _local(self, path: Path, protocol: str, port: int) -> str:
        address = listeners.on_loopback_alone(self.namespaces, path.namespace, protocol, port)
        return f"{protocol} {address}:{port}" if address else ""

    @functools.cached_property
    def _table(self) -> dict[str, str]:
        found = sysctls.read(self.namespaces, HOST, list(_TABLE_IN_USE.values()))
        return {name: found[key] for name, key in _TABLE_IN_USE.items() if key in found}

    @functools.cached_property
    def _legacy(self) -> bool:
        with self.namespaces.entered(HOST):
            return any(
                map(_has_lines, ("/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"))
            )

    @functools.cached_property
    def _persisted(self) -> dict[str, str]:
        return sysctl_files.persisted(FORWARD.values())

    @functools.cached_property
    def _rules(self) -> dict[str, dict[tuple[str, str], Rules | None]]:
        """What each back end has of all networks, read once: firewalld takes a hundredth of a second a question."""
        backends = dict.fromkeys((*NAT_BACKENDS, *FORWARD_BACKENDS))
        return {backend: self._read(backend) for backend in backends}

    def _read(self, backend: str) -> dict[tuple[str, str], Rules | None]:
        try:
            return rulesets.read(self.namespaces, HOST, backend, ("nat", "forward"))
        except EgressError as error:
            self._unseen[f"{backend} cannot be read: {error.found}"] = None
            return {}

    @functools.cached_property
    def _protections(self) -> dict[str, dict[str, bool]]:
        found: dict[str, dict[str, bool]] = {}
        try:
            senders = port_table.read(self.namespaces, HOST)
            found["ports"] = {port: sender.sound for port, sender in senders.items()}
            walls = wall.read(self.namespaces, HOST)
            found["wall"] = {name: rules is not None for name, rules in walls.items()}
            guards: dict[str, Rules | None] = dict(guard.read(self.namespaces, HOST))
        except EgressError as error:
            self._unseen[f"a table that restricts packets cannot be read: {error.found}"] = None
            return found
        for backend in GUARD_BACKENDS[1:]:
            guards.update({name: rules for (kind, name), rules in self._rules[backend].items() if kind == "guard"})
        if not self._unseen:
            # It may be where nobody can look.
            found["guard"] = {name: rules is not None for name, rules in guards.items()}
        return found

    @functools.cached_property
    def _nat_unseen(self) -> bool:
        """Whether rules may translate that nobody can read here: a packet decides then."""
        silent = not programs.find("nft") and self._translates(HOST)
        return bool(self._rules and self._unseen) or silent

    def _translates(self, netns: str) -> bool:
        """Whether a chain of any table translates source addresses in a namespace."""
        return bool(base_chains.hooked(self.namespaces, netns, base_chains.POSTROUTING, "nat"))

    def _filters(self, path: Path) -> list[tuple[str, str]]:
        """(backend, why) of each filter that must let the path through."""
        if path.firewall == "none":
            return []
        asked = path.firewall if path.firewall in ("iptables", "firewalld") else "auto"
        key = (asked, path.bridge, path.family)
        if key not in self._found_filters:
            try:
                found = packet_filter.forward_backends(self.namespaces, HOST, asked, path.bridge, {path.family})
            except EgressError as error:
                self._unseen[f"what filters cannot be told: {error.found}"] = None
                found = []
            self._found_filters[key] = [
                (backend, reason) for backend, reason, families in found if path.family in families
            ]
        return self._found_filters[key]


def _has_lines(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return bool(file.read().strip())
    except OSError:
        return False


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


def _interface(path: Path, inside: Place, host: Place) -> LinkReply | None:
    """The wanted link, or else the one that the host's end leads to."""
    if path.interface in inside.links:
        return inside.links[path.interface]
    end = host.links.get(path.host_end)
    candidates = [link for link in inside.links.values() if end and link.peer_index == end.index]
    return candidates[0] if candidates else None


def _own_keys(path: Path) -> list[str]:
    return [f"net/ipv6/conf/{name}/disable_ipv6" for name in ("all", path.interface)] if path.family == 6 else []
