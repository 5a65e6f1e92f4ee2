# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts by identity, which also finds those of one namespace and the link at a place: a host has thousands of them."""

from __future__ import annotations

import typing as t

from ..model import Address, Fact, Identity, Learned, Limit, Link, Route, Setting, Vlans

Place = tuple[str, str]  # namespace and link


def interface_of(key: str) -> str:
    """The interface that a sysctl is about, "" for none."""
    parts = key.split("/")
    return parts[3] if len(parts) > 4 and parts[2] in ("conf", "neigh") and parts[3] not in ("all", "default") else ""


def link_of(fact: Fact) -> str:
    """The link that a fact is on, "" for none."""
    if isinstance(fact, (Address, Learned, Limit, Vlans)):
        return fact.link
    if isinstance(fact, Route):
        return fact.device or ""
    return interface_of(fact.key) if isinstance(fact, Setting) else ""


class Facts(dict[Identity, Fact]):
    """Changed by items and pop alone. A tenant may put thousands of addresses on one link: each has its place."""

    def __init__(self, facts: t.Mapping[Identity, Fact] | None = None) -> None:
        super().__init__()
        self._inside: dict[str, dict[Identity, Fact]] = {}
        self._ends: dict[Place, dict[Identity, Link]] = {}
        self._on: dict[Place, dict[Identity, Fact]] = {}
        self._subnets4: dict[Place, dict[t.Any, dict[Identity, Address]]] = {}
        for identity, fact in (facts or {}).items():
            self[identity] = fact

    def __setitem__(self, identity: Identity, fact: Fact) -> None:
        if identity in self:
            self._forget(identity)
        super().__setitem__(identity, fact)
        place = getattr(fact, "netns", None)
        if place is not None:
            self._inside.setdefault(place, {})[identity] = fact
            link = link_of(fact)
            if link:
                self._on.setdefault((place, link), {})[identity] = fact
        if isinstance(fact, Address) and (fact.netns, fact.link) in self._subnets4:
            _file(self._subnets4[fact.netns, fact.link], identity, fact)
        if isinstance(fact, Link):
            for end in (fact, fact.peer):
                if end:
                    self._ends.setdefault((end.netns, end.name), {})[identity] = end

    def __delitem__(self, identity: Identity) -> None:
        self._forget(identity)
        super().__delitem__(identity)

    def inside(self, netns: str) -> t.Mapping[Identity, Fact]:
        """Those of a namespace."""
        return self._inside.get(netns, {})

    def on(self, netns: str, link: str) -> t.Mapping[Identity, Fact]:
        """Those on a link: addresses, routes by it, limits, VLANs, its settings."""
        return self._on.get((netns, link), {})

    def subnets4(self, netns: str, link: str) -> t.Mapping[t.Any, t.Mapping[Identity, Address]]:
        """The IPv4 addresses of a link by their subnets, each of which has one or more."""
        if (netns, link) not in self._subnets4:
            subnets = self._subnets4[netns, link] = {}
            for identity, fact in self.on(netns, link).items():
                if isinstance(fact, Address):
                    _file(subnets, identity, fact)
        return self._subnets4[netns, link]

    def end(self, netns: str, name: str) -> Link | None:
        """The link at a place, which may be the other end of a pair."""
        return next(iter(self._ends.get((netns, name), {}).values()), None)

    def _forget(self, identity: Identity) -> None:
        fact = self[identity]
        place = getattr(fact, "netns", "")
        self._inside.get(place, {}).pop(identity, None)
        self._on.get((place, link_of(fact)), {}).pop(identity, None)
        if isinstance(fact, Address) and ":" not in fact.cidr and (place, fact.link) in self._subnets4:
            subnets = self._subnets4[place, fact.link]
            network = fact.subnet
            del subnets[network][identity]
            if not subnets[network]:
                del subnets[network]
        if isinstance(fact, Link):
            for end in (fact, fact.peer):
                if end:
                    self._ends[end.netns, end.name].pop(identity, None)


def _file(subnets: dict[t.Any, dict[Identity, Address]], identity: Identity, fact: Address) -> None:
    if ":" not in fact.cidr:
        subnets.setdefault(fact.subnet, {})[identity] = fact
