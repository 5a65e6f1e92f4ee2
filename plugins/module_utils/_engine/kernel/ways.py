# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which interface the kernel routes a flow, since an entry of connection tracking does not tell."""

from __future__ import annotations

import ipaddress
import typing as t

from . import addresses
from .links import Links
from .route_lookup import lookup
from .stale_flows import Host, Way

if t.TYPE_CHECKING:
    from .namespaces import Namespaces


def host_of(namespaces: Namespaces, netns: str) -> Host:
    """What there is to know of a namespace's addresses and routes; each way is asked for once."""
    replies = addresses.read(namespaces.socket(netns))
    found = [(reply, ipaddress.ip_interface(reply.cidr).ip) for reply in replies]
    own: dict[tuple[int, int], set[bytes]] = {}
    for reply, address in found:
        # Masquerading takes no secondary IPv4 address; of IPv6 the flag says that one is temporary.
        if address.version == 6 or not reply.flags & addresses.IFA_F_SECONDARY:
            own.setdefault((reply.index, len(address.packed)), set()).add(address.packed)
    links = Links(namespaces)
    known: dict[tuple[bytes, bytes], int] = {}
    names: dict[int, str] = {}

    def index_of(source: bytes, destination: bytes) -> int:
        """As a packet that comes from where the source is; else as one of this host's own."""
        inside = _looked_up(namespaces, netns, source)
        found = _looked_up(namespaces, netns, destination, source, inside) if inside else 0
        return found or _looked_up(namespaces, netns, destination)

    def way(source: bytes, destination: bytes) -> Way | None:
        ends = (source, destination)
        if ends not in known:
            known[ends] = index_of(*ends)
        index = known[ends]
        if index and index not in names:
            link = links.get(netns, index=index)
            names[index] = link.name if link else ""
        return Way(names[index], frozenset(own.get((index, len(source)), ()))) if index and names[index] else None

    return Host(frozenset(address.packed for _reply, address in found), way)


def _looked_up(namespaces: Namespaces, netns: str, destination: bytes, source: bytes = b"", comes_by: int = 0) -> int:
    """The index of the interface, 0 for no way."""
    return lookup(namespaces.socket(netns), destination, source, comes_by).device
