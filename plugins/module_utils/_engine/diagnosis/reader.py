# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what is there along paths: links, addresses, settings, rules, route lookups; each once."""

from __future__ import annotations

import functools
import ipaddress
import os
import typing as t

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
from ..kernel.deciding_rules import Deciding, Packet
from ..kernel.link_messages import LinkReply, get_links, parse_link
from ..kernel.mounts import is_namespace
from ..kernel.namespaces import Namespaces, path_of
from ..kernel.probes import Target
from ..kernel.route_lookup import Lookup
from ..model import HOST
from ..rules import FORWARD_BACKENDS, GUARD_BACKENDS, NAT_BACKENDS, NatRules, Rules
from .path import Path
from .structure import BRIDGE_CALLS, FORWARD, Place, Seen

_TABLE_IN_USE = {"count": "net/netfilter/nf_conntrack_count", "max": "net/netfilter/nf_conntrack_max"}


class _Ways(t.NamedTuple):
    """Links and lookups of one path, as Seen has them."""

    interface: LinkReply | None
    ingress: LinkReply | None
    out: Lookup
    through: Lookup | None
    plainly: Lookup
    back: Lookup | None


class Reader:
    """Reads for one run; what several paths share is read once."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._places: dict[str, Place] = {}
        self._known_rules: dict[str, Deciding] = {}
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
        through = self.through(path, target.address)
        back = route_lookup.lookup(home, near) if near else None
        out = route_lookup.lookup(own, there)
        if through is not None and through.leads and (not plainly.leads or host.name(through.device) in path.uplinks):
            plainly = through
        key = ("nat", path.network)
        nat = {backend: self._rules[backend][key] for backend in NAT_BACKENDS if key in self._rules[backend]}
        diverted = interface is not None and not (out.leads and out.device == interface.index)
        return Seen(
            path,
            target,
            host,
            inside,
            holders=() if interface else self._holders(host.links.get(path.host_end)),
            interface=interface,
            out=out,
            through=through,
            plainly=plainly,
            back=back,
            rules=self._deciding(path, target, _Ways(interface, ingress, out, through, plainly, back)),
            own_default=bool(interface and diverted and self._has_default(path, interface.index)),
            local_addresses=frozenset(filter(self._is_local, _translated_to(nat))),
            for_sources=tuple(self._for_sources(path.family)) if not plainly.leads else (),
            settings=self._settings(path, ingress, plainly, host),
            persisted=self._persisted,
            local=tuple(filter(None, (self._local(path, *place) for place in path.listens))),
            table=self._table,
            legacy=self._legacy,
            own_settings=sysctls.read(self.namespaces, path.namespace, _own_keys(path)),
            nat=nat,
            nat_inside=self._translates(path.namespace),
            nat_unseen=self._nat_unseen,
            filters=self._filters(path),
            protections=self._protections,
            accepted=self._rules,
            unseen=tuple(self._unseen),
            exits=self._exits(path.family),
        )

    def through(self, path: Path, address: str) -> Lookup | None:
        """The lookup on the host for a packet of a path to an address; None where nobody can tell."""
        ingress = self.place(HOST).links.get(path.bridge or path.host_end) if path.routed else None
        if ingress is None or not path.cidr:
            return None
        far, near = (ipaddress.ip_address(end).packed for end in (address, path.address))
        return route_lookup.lookup(self.namespaces.socket(HOST), far, near, ingress.index)

    def _deciding(self, path: Path, target: Target, ways: _Ways) -> dict[str, str]:
        """{inside, out or return: the rule} of lookups that lead elsewhere than the path does."""
        asked = []
        ingress = ways.ingress
        if ways.interface and (not ways.out.leads or ways.out.device != ways.interface.index):
            asked.append(("inside", path.namespace, Packet(target.address)))
        if ingress and ways.through and ways.through != ways.plainly:
            asked.append(("out", HOST, Packet(target.address, path.address, ingress.name)))
        if ingress and ways.back and ways.back.device != ingress.index:
            asked.append(("return", HOST, Packet(path.address)))
        found = {name: self._deciding_in(netns).rule(packet) for name, netns, packet in asked}
        return {name: rule for name, rule in found.items() if rule}

    def _deciding_in(self, netns: str) -> Deciding:
        if netns not in self._known_rules:
            self._known_rules[netns] = Deciding(self.namespaces.socket(netns))
        return self._known_rules[netns]

    def _has_default(self, path: Path, device: int) -> bool:
        """Whether the namespace has a default route by its link, which rules or longer prefixes may go ahead of."""
        found = routes.default_uplinks(self.namespaces.socket(path.namespace), path.family)
        return any(device in route.devices for route in found)

    def _is_local(self, address: str) -> bool:
        return route_lookup.lookup(self.namespaces.socket(HOST), ipaddress.ip_address(address).packed).type == "local"

    def _for_sources(self, family: int) -> list[str]:
        return routes.sources_of_defaults(self.namespaces.socket(HOST), family) if family == 6 else []

    def _exits(self, family: int) -> frozenset[str]:
        if family not in self._found_exits:
            found = routes.ways_out(self.namespaces.socket(HOST), family)
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


def _interface(path: Path, inside: Place, host: Place) -> LinkReply | None:
    """The wanted link, or else the one that the host's end leads to."""
    if path.interface in inside.links:
        return inside.links[path.interface]
    end = host.links.get(path.host_end)
    candidates = [link for link in inside.links.values() if end and link.peer_index == end.index]
    return candidates[0] if candidates else None


def _translated_to(nat: t.Mapping[str, Rules | None]) -> list[str]:
    rules = [one for one in nat.values() if isinstance(one, NatRules)]
    return [address for one in rules for address in one.to_source if address and "-" not in address]


def _own_keys(path: Path) -> list[str]:
    # That of conf.all counts when it is written, for all links that there are then.
    return [f"net/ipv6/conf/{path.interface}/disable_ipv6"] if path.family == 6 else []
