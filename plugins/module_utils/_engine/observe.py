# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a host, and observe(want): what is there of all that want names."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from .host_view import host_view
from .kernel import (
    advertisements,
    features,
    listeners,
    management,
    managers,
    packet_filter,
    routes,
)
from .kernel.addresses import read as read_addresses
from .kernel.ledger_file import read_ledger
from .kernel.links import Links, stable_mac
from .kernel.namespaces import Namespaces
from .kernel.snapshot import Snapshot
from .ledger import Ledger
from .model import HOST, NETWORK_FILES, Fact, Link, Sender, Want, is_ours
from .observation import Observation
from .planning.ownership import senders_noted, uplinks_noted
from .planning.state import Have
from .spec.host import HostView


class Observer:
    """Reads for one run; sockets and handles stay open between the two observations."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.links = Links(namespaces)
        self._seen: Snapshot | None = None
        self._sessions: t.Sequence[listeners.Connection] | None = None

    def observe(self, want: Want, ledger: Ledger | None = None) -> Have:
        """What is there of what want names. ledger None reads the one on disk."""
        if self._seen is None:
            # What was looked up before may be of a namespace that is gone.
            self.namespaces.forget_replaced()
            self.links.forget()
        seen, self._seen = self._seen or Snapshot(self.namespaces), None
        ledger = read_ledger() if ledger is None else ledger
        return Observation(self.namespaces, seen, want, ledger, self._ssh_sessions).have()

    def assigned(self, want: Want) -> Want:
        """The same with the MAC address of each port that is restricted to one.

        It is the one in the ledger, whatever the namespace says. A pair from before there was one keeps its own.
        """
        senders = {fact.identity: fact for fact in want.facts if isinstance(fact, Sender) and fact.mac is None}
        if not senders:
            return want
        noted = senders_noted(read_ledger())
        links = Links(self.namespaces, self._seen) if self._seen else self.links
        facts: list[Fact] = list(want.facts)
        for place, fact in enumerate(facts):
            sender = senders.get(("sender", *fact.identity[1:])) if isinstance(fact, Link) else None
            if isinstance(fact, Link) and fact.peer and sender:
                mac = (
                    fact.peer.mac
                    or noted.get((fact.netns, fact.name), ("",))[0]
                    or self._mac_of_peer(links, fact, fact.peer)
                )
                facts[place] = dataclasses.replace(fact, peer=dataclasses.replace(fact.peer, mac=mac))
                senders[sender.identity] = dataclasses.replace(sender, mac=mac)
        return dataclasses.replace(want, facts=tuple(senders.get(fact.identity, fact) for fact in facts))

    def _mac_of_peer(self, links: Links, pair: Link, peer: Link) -> str:
        there = self.namespaces.exists(pair.netns) and links.get(pair.netns, pair.name) is not None
        found = links.find(pair) if there else None
        return (found.peer.mac if found and found.peer else None) or stable_mac(peer.netns, peer.name)

    def _ssh_sessions(self) -> t.Sequence[listeners.Connection]:
        """Looked for once: the kernel walks the table of all connections of all namespaces for that."""
        if self._sessions is None:
            self._sessions = management.ssh_sessions(self.namespaces)
        return self._sessions

    def view(
        self, only: t.Collection[str] | None = None, known: t.Mapping[str, t.Sequence[str]] | None = None
    ) -> HostView:
        """What the expansion of networks needs to know. The next observation goes by the same look.

        only: namespaces that are looked at, if not all. known: the addresses of others, which are not asked again.
        """
        self._seen = Snapshot(self.namespaces)
        return host_view(self.namespaces, self._seen, only, known or {})

    def listening_links(self, netns: str) -> list[str]:
        """Links that learn from router advertisements unless the namespace forwards."""
        if not self.namespaces.exists(netns):
            return []
        return advertisements.listening(self.namespaces, netns, read_ledger())

    def network_files(self) -> t.Collection[str]:
        """Networks that have a file, from which they are built at boot."""
        listed = os.listdir(NETWORK_FILES) if os.path.isdir(NETWORK_FILES) else []
        return [name[: -len(".json")] for name in listed if name.endswith(".json")]

    def managers(self) -> t.Collection[str]:
        """Programs that manage links of the host, of those that spec/drop_ins.py knows."""
        return managers.running(self.namespaces)

    def bridge_netfilter(self, netns: str) -> bool:
        """Whether bridged packets can be made to pass the rules of iptables."""
        return features.bridge_netfilter(self.namespaces, netns)

    def nat_backend(self, netns: str, asked: str) -> tuple[str, str]:
        """(backend, why) of source translation in a namespace, of which there may be none yet."""
        place = netns if self.namespaces.exists(netns) else HOST
        return packet_filter.nat_backend(self.namespaces, place, asked)

    def lacking(self, netns: str, addresses: t.Iterable[str]) -> list[str]:
        """Those of the addresses that no link in the namespace has."""
        asked = list(addresses)
        if not asked or not self.namespaces.exists(netns):
            return []
        held = {reply.cidr.split("/")[0] for reply in read_addresses(self.namespaces.socket(netns))}
        return [address for address in asked if address not in held]

    def forward_backends(
        self, netns: str, asked: str, bridge: str, families: t.Collection[int], published: bool = False
    ) -> list[tuple[str, str, t.Collection[int]]]:
        """(backend, why, families) of each filter in a namespace that must let a bridge's packets through."""
        if not self.namespaces.exists(netns):
            return []
        return packet_filter.forward_backends(self.namespaces, netns, asked, bridge, families, published)

    def uplinks_noted(self, netns: str) -> dict[int, list[str]]:
        """{4 or 6: those that there were when networks were built, and still are}."""
        ledger = read_ledger()
        found = {family: uplinks_noted(ledger, netns, family) for family in (4, 6)}
        there = {name for names in found.values() for name in names if self._may_lead_out(netns, name)}
        return {family: [name for name in names if name in there] for family, names in found.items()}

    def _may_lead_out(self, netns: str, name: str) -> bool:
        """A bridge of another tool may have namespaces behind it."""
        link = self.links.get(netns, name) if self.namespaces.exists(netns) else None
        return link is not None and not is_ours(link.alias) and link.kind != "bridge"

    def default_uplinks(self, netns: str) -> dict[int, list[list[str]]]:
        """{4 or 6: for each default route of a namespace, best first, the links that it leads to}."""
        found: dict[int, list[list[str]]] = {}
        for version in (4, 6) if self.namespaces.exists(netns) else ():
            for route in routes.ways_out(self.namespaces.socket(netns), version):
                replies = [self.links.get(netns, index=device) for device in route.devices]
                links = [link for link in replies if link and (netns != HOST or routes.leads_out(route, link.alias))]
                if links:
                    found.setdefault(version, []).append([link.name for link in links])
        return found
