# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the host for what networks are described from. Read-only."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..errors import EgressError
from ..host_view import host_view
from ..inventory import label, read_sections
from ..kernel import features, limits, peers, routes, sysctls, vlans
from ..kernel.link_messages import LinkReply
from ..kernel.namespaces import Namespaces, names
from ..kernel.snapshot import Snapshot
from ..model import HOST, Limit, Link, Route, Vlans
from ..spec import link_settings
from . import odd, resolver, rules
from .note import Notes
from .seen import Bridge, Member, Seen

# Of the kernel's tunnel modules: every namespace has them, and nobody made them.
_FALLBACKS = {"tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"}
_NEW = {"arp_notify": "default/arp_notify", "rp_filter": "default/rp_filter"}


def look(notes: Notes) -> Seen:
    """Errors: EgressError."""
    features.require_privilege()
    with Namespaces() as namespaces:
        return _Look(namespaces, notes).seen()


class _Look:
    def __init__(self, namespaces: Namespaces, notes: Notes) -> None:
        self.open = namespaces
        self.notes = notes
        self.snapshot = Snapshot(namespaces)
        self.names = self._names()
        places = [HOST, *self.names]
        replies = {place: list(self.snapshot.read(place).links.values()) for place in places}
        self.host = self.snapshot.read(HOST)
        self.ends = peers.other_ends(namespaces, replies)
        self.sections = read_sections(namespaces, ("neighbours", "uplinks", "forwarding"), anonymous=False)
        self.neighbours = _by_place(self.sections["neighbours"])

    def _names(self) -> list[str]:
        """Each namespace once, as far as it can be entered."""
        seen: dict[tuple[int, int], str] = {}
        for name in names():
            try:
                self.open.socket(name)
                status = os.fstat(self.open.handle(name))
            except EgressError as error:
                self.notes.add(f"namespace {name}", error.found, "it cannot be looked at")
                continue
            first = seen.setdefault((status.st_dev, status.st_ino), name)
            if first != name:
                self.notes.add(f"namespace {name}", f"it is {first} by another name", "a namespace has one name")
        return list(seen.values())

    def seen(self) -> Seen:
        ours, backends, usual = rules.of_ours(self.open, self.notes)
        found = tuple(self._bridges())
        odd.host(self.open, self.neighbours.get(HOST, []), found, self.notes)
        return Seen(
            bridges=found,
            view=host_view(self.open, self.snapshot),
            rules=rules.of_others(self.open, self.notes),
            ours=ours,
            backends=backends,
            usual=usual,
            own=frozenset(item.cidr.split("/")[0] for held in self.host.addresses.values() for item in held),
            forwarding={
                version: place[f"ipv{version}"]
                for place in self.sections["forwarding"]
                if place["netns"] == HOST
                for version in (4, 6)
            },
        )

    def _bridges(self) -> t.Iterator[Bridge]:
        pairs: dict[int, list[tuple[str, LinkReply, LinkReply]]] = {}
        for name in self.names:
            pair = self._pair(name)
            if pair:
                pairs.setdefault(pair[0].master, []).append((name, *pair))
        self._of_bridges = self._vlans()
        self._rates = self._limits(HOST, [outer for listed in pairs.values() for _name, outer, _inner in listed])
        for link in sorted(self.host.links.values(), key=lambda link: link.name):
            if link.kind == "bridge":
                self._note_ports(link, {outer.index for _name, outer, _inner in pairs.get(link.index, [])})
                yield self._bridge(link, pairs.get(link.index, []))

    def _pair(self, name: str) -> tuple[LinkReply, LinkReply] | None:
        """(outer, inner) of a namespace that is behind a bridge, else a note."""
        about = f"namespace {name}"
        links = [link for link in self.snapshot.read(name).links.values() if link.index != 1]
        links = [link for link in links if link.up or link.name not in _FALLBACKS]
        if len(links) != 1:
            seen = f"it has {len(links)} links: {', '.join(link.name for link in links)}" if links else "it has no link"
            self.notes.add(about, seen, "a namespace of a network has one link, beside its loopback")
            return None
        (inner,) = links
        place, outer = self.ends.get((name, inner.index), ("", None))
        if inner.kind != "veth" or outer is None or place != HOST:
            kind = inner.kind or "link of the machine"
            seen = f"{inner.name} is a {kind}" if inner.kind != "veth" else f"the other end of {inner.name} is not here"
            self.notes.add(
                about, seen, "a namespace of a network has one end of a pair, whose other end is on the host"
            )
            return None
        master = self.host.links.get(outer.master)
        if master is None or master.kind != "bridge":
            seen = f"its pair ends at {outer.name}" + (f", a port of {master.name}" if master else ", without a bridge")
            self.notes.add(about, seen, "a namespace of a network is behind a bridge")
            return None
        return outer, inner

    def _note_ports(self, bridge: LinkReply, known: t.Collection[int]) -> None:
        for port in self.host.links.values():
            if port.master != bridge.index or port.index in known:
                continue
            place, other = self.ends.get((HOST, port.index), ("", None))
            if place in self.names:
                continue  # the namespace has a note
            seen = f"its port {port.name} is no pair"
            if port.kind == "veth":
                seen = f"its port {port.name} leads to " + (
                    f"{other.name} of the host" if other else "a namespace without a name"
                )
            reason = "ports of a network lead to namespaces with names: ip netns attach gives one"
            self.notes.add(f"bridge {bridge.name}", seen, reason)

    def _bridge(self, link: LinkReply, pairs: t.Sequence[tuple[str, LinkReply, LinkReply]]) -> Bridge:
        held = self.host.addresses.get(link.index, ())
        marks = [label(link.alias), *(label(outer.alias) for _name, outer, _inner in pairs)]
        return Bridge(
            link=link,
            network=next((mark for mark in marks if mark), None),
            addresses=tuple(item.cidr for item in held if item.permanent and not item.link_local),
            link_local=tuple(item.cidr for item in held if item.link_local),
            members=tuple(self._member(*pair) for pair in pairs),
            settings=self._settings(HOST, link.name),
            vlans=self._of_bridges.get(link.name),
            routed=any(
                link.name in route["interfaces"]
                for found in self.sections["uplinks"].values()
                for route in (found or {}).get("routes", [])
            ),
        )

    def _member(self, name: str, outer: LinkReply, inner: LinkReply) -> Member:
        held = self.snapshot.read(name).addresses.get(inner.index, ())
        odd.addresses(name, [item for item in held if not item.permanent and not item.link_local], self.notes)
        found = self._routes(name)
        odd.namespace(self.open, name, found, self.neighbours.get(name, []), self.notes)
        return Member(
            name=name,
            inner=inner,
            outer=outer,
            addresses=tuple(item.cidr for item in held if item.permanent and not item.link_local),
            gateways={version: route.gateway or "" for version, route in odd.best_defaults(found).items()},
            rates=(self._limits(name, [inner]).get(inner.name), self._rates.get(outer.name)),
            dns=resolver.options(name, self.notes),
            settings=self._settings(name, inner.name),
            vlans=self._of_bridges.get(outer.name),
        )

    def _routes(self, name: str) -> list[Route]:
        """With their devices."""
        links = self.snapshot.read(name).links
        return [
            dataclasses.replace(reply.fact, device=links[reply.device].name if reply.device in links else None)
            for version in (4, 6)
            for reply in routes.read(self.open.socket(name), version, netns=name)
        ]

    def _settings(self, netns: str, link: str) -> dict[str, int]:
        """Those that are not what a new link gets."""
        keys = dict(zip(link_settings.OPTIONS, link_settings.keys(Link(netns, link))))
        usual = {option: f"net/ipv4/conf/{default}" for option, default in _NEW.items()}
        found = sysctls.read(self.open, netns, [*keys.values(), *usual.values()])
        return {
            option: int(found[key])
            for option, key in keys.items()
            if found.get(key, "").isdigit() and found[key] != found.get(usual[option])
        }

    def _limits(self, netns: str, links: t.Sequence[LinkReply]) -> dict[str, int]:
        asked = {link.index: link.name for link in links}
        found: list[Limit] = limits.read(self.open.socket(netns), netns, asked) if asked else []
        for limit in found:
            if limit.foreign:
                place = f"namespace {netns}" if netns else "the host"
                seen = f"{limit.link} has the queueing discipline {limit.foreign}"
                self.notes.add(place, seen, "bandwidth of a network is a token bucket filter of its own")
        return {limit.link: limit.rate for limit in found if limit.rate}

    def _vlans(self) -> dict[str, Vlans]:
        filtering = {link.index for link in self.host.links.values() if link.options.get("vlan_filtering")}
        asked = {link.index: link.name for link in self.host.links.values() if {link.index, link.master} & filtering}
        return {found.link: found for found in vlans.read(self.open.socket(HOST), HOST, asked)} if asked else {}


def _by_place(listed: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, list[t.Mapping[str, t.Any]]]:
    found: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for item in listed:
        found.setdefault(item["netns"], []).append(item)
    return found
