# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which interface the kernel routes a flow, since an entry of connection tracking does not tell."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import typing as t

from . import addresses
from .conntrack import attributes
from .links import Links
from .netlink import Message
from .routes import RTM_GETROUTE
from .stale_flows import Host, Way

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF = 1, 2, 3, 4
_ROUTE = struct.Struct("=BBBBBBBBI")
_BODY = 16 + _ROUTE.size


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
    family = socket.AF_INET if len(destination) == 4 else socket.AF_INET6
    bits = len(destination) * 8
    header = _ROUTE.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, 0)
    parts = [(RTA_DST, destination), (RTA_SRC, source), (RTA_IIF, struct.pack("=I", comes_by) if comes_by else b"")]
    body = b"".join(struct.pack("=HH", 4 + len(data), kind) + data for kind, data in parts if data)
    (answer,) = namespaces.socket(netns).request([Message(RTM_GETROUTE, 0, header + body)])
    if answer.errno or not answer.replies:
        return 0
    reply = answer.replies[0]
    spans = attributes(reply, _BODY, len(reply))
    return int.from_bytes(reply[slice(*spans[RTA_OIF])], sys.byteorder) if RTA_OIF in spans else 0
