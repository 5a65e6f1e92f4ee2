# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel would do with a packet: one route lookup, with all that its rules may look at (RTM_GETROUTE)."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
import typing as t
from dataclasses import dataclass

from .netlink import ATTRIBUTE, Message, NetlinkSocket, attributes
from .routes import RTM_GETROUTE

_DST, _SRC, _IIF, _OIF, _GATEWAY, _PRIORITY, _CACHEINFO, _TABLE, _MARK = 1, 2, 3, 4, 5, 6, 12, 15, 16  # RTA_*
_VIA, _MTU, _METRICS = 18, 2, 8  # RTA_VIA, RTAX_MTU, RTA_METRICS
# RTM_F_LOOKUP_TABLE: without it IPv4 always says the main table. IPv6 never does, and refuses the flag.
_LOOKUP_TABLE = {socket.AF_INET: 0x1000, socket.AF_INET6: 0}
_RTM_F_FIB_MATCH = 0x2000  # answer with the route itself
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_NUMBER = struct.Struct("=I")
_HEADER = 16
_BODY = _HEADER + _ROUTE.size
_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}


# By what types of routes, and of rules, the kernel refuses (net/ipv4/fib_semantics.c).
_REFUSALS = {errno.EINVAL: "blackhole", errno.EACCES: "prohibit", errno.EHOSTUNREACH: "unreachable"}


@dataclass(frozen=True)
class Lookup:
    """An answer. errno 0, or why there is no way; device by index, gateway "" for a neighbour. mtu: of the route."""

    errno: int = 0
    type: str = ""
    device: int = 0
    gateway: str = ""
    table: int = 0
    mtu: int = 0

    @property
    def leads(self) -> bool:
        return not self.errno and self.type == "unicast"

    @property
    def refused(self) -> bool:
        """Whether routes or rules say that there is no way, and not the state of a link or of forwarding."""
        return self.errno in (errno.EINVAL, errno.EACCES, errno.ENETUNREACH)

    def __str__(self) -> str:
        if self.errno:
            said = os.strerror(self.errno)
            return f"{_REFUSALS[self.errno]} ({said})" if self.errno in _REFUSALS else said
        return f"{self.type}" + (f" via {self.gateway}" if self.gateway else "") + f" (table {self.table})"


def lookup(
    opened: NetlinkSocket, destination: bytes, source: bytes = b"", arrives_by: int = 0, mark: int = 0
) -> Lookup:
    """Where a packet between packed addresses goes. arrives_by: the index of the link that it is forwarded from, 0 for
    one of this host's own.
    """
    bits = len(destination) * 8
    family = socket.AF_INET if bits == 32 else socket.AF_INET6
    header = _ROUTE.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, _LOOKUP_TABLE[family])
    numbers = [(kind, _NUMBER.pack(number)) for kind, number in ((_IIF, arrives_by), (_MARK, mark)) if number]
    parts = [(_DST, destination), *([(_SRC, source)] if source else []), *numbers]
    encoded = b"".join(ATTRIBUTE.pack(ATTRIBUTE.size + len(data), kind) + data for kind, data in parts)
    (answer,) = opened.request([Message(RTM_GETROUTE, 0, header + encoded)])
    if answer.errno or not answer.replies:
        return Lookup(answer.errno or errno.ENETUNREACH)
    return _parse(answer.replies[0])


@dataclass(frozen=True)
class Carrier:
    """The route that a packet goes by: the index of its link, the bits of its prefix, and its metric."""

    device: int
    prefix: int
    metric: int


def carrying(opened: NetlinkSocket, destination: bytes) -> Carrier | None:
    """None where no route leads to the packed address."""
    bits = len(destination) * 8
    family = socket.AF_INET if bits == 32 else socket.AF_INET6
    header = _ROUTE.pack(family, bits, 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH)
    parts = ATTRIBUTE.pack(ATTRIBUTE.size + len(destination), _DST) + destination
    (answer,) = opened.request([Message(RTM_GETROUTE, 0, header + parts)])
    if answer.errno or not answer.replies:
        return None
    reply = answer.replies[0]
    spans = attributes(reply, _BODY, len(reply))
    found = {kind: reply[slice(*span)] for kind, span in spans.items()}
    return Carrier(_number(found.get(_OIF)), reply[_HEADER + 1], _number(found.get(_PRIORITY)))


def _parse(reply: bytes) -> Lookup:
    spans = attributes(reply, _BODY, len(reply))
    found = {kind: reply[slice(*span)] for kind, span in spans.items()}
    table, kind = reply[_HEADER + 4], reply[_HEADER + 7]
    # IPv6 answers with the route that refuses, and its error in there.
    error = int.from_bytes(found[_CACHEINFO][12:16], sys.byteorder, signed=True) if _CACHEINFO in found else 0
    return Lookup(
        abs(error),
        _TYPES.get(kind, str(kind)),
        _number(found.get(_OIF)),
        _gateway(found),
        _number(found.get(_TABLE)) or table,
        _mtu(found.get(_METRICS, b"")),
    )


def _gateway(found: t.Mapping[int, bytes]) -> str:
    """RTA_VIA has one of the other family, behind the number of that."""
    packed = found[_VIA][2:] if _VIA in found else found.get(_GATEWAY)
    return str(ipaddress.ip_address(packed)) if packed else ""


def _mtu(metrics: bytes) -> int:
    spans = attributes(metrics, 0, len(metrics))
    return _number(metrics[slice(*spans[_MTU])]) if _MTU in spans else 0


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", sys.byteorder)
