# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole namespaces as one look found them: each is read once, by dumps, which pays where much of it is asked for."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import addresses, routes
from .addresses import AddressReply
from .link_messages import LinkReply, get_links, parse_link
from .namespaces import Namespaces
from .routes import RouteReply


@dataclass(frozen=True)
class Place:
    """One namespace. links and addresses: by index. names: of links, also by their alternative names."""

    links: t.Mapping[int, LinkReply]
    names: t.Mapping[str, LinkReply]
    addresses: t.Mapping[int, t.Sequence[AddressReply]]


class Snapshot:
    """Namespaces that were read, which stay as they were found."""

    def __init__(self, namespaces: Namespaces, counters: bool = False) -> None:
        self._namespaces = namespaces
        self._counters = counters
        self._places: dict[str, Place] = {}
        self._routes: dict[tuple[str, int, int], t.Sequence[RouteReply]] = {}

    @property
    def places(self) -> t.Mapping[str, Place]:
        return self._places

    def read(self, netns: str) -> Place:
        """Errors: KernelError where there is no such namespace."""
        if netns not in self._places:
            opened = self._namespaces.socket(netns)
            links = [parse_link(data) for data in opened.dump(get_links(counters=self._counters))]
            held: dict[int, list[AddressReply]] = {}
            for item in addresses.read(opened) if links else ():
                held.setdefault(item.index, []).append(item)
            names = {name: link for link in links for name in link.other_names}
            names.update({link.name: link for link in links})
            self._places[netns] = Place({link.index: link for link in links}, names, held)
        return self._places[netns]

    def forget(self, netns: str) -> None:
        """Have it read again."""
        self._places.pop(netns, None)

    def routes(self, netns: str, family: int, table: int) -> t.Sequence[RouteReply]:
        """Routes of a family (4 or 6) in one table."""
        asked = (netns, family, table)
        if asked not in self._routes:
            self._routes[asked] = routes.read(self._namespaces.socket(netns), family, table, netns=netns)
        return self._routes[asked]
