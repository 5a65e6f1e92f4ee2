# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One tracked connection by its tuple, which takes the kernel a lookup where a listing takes seconds.

See linux/netfilter/nfnetlink_conntrack.h and nf_conntrack_common.h.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from dataclasses import dataclass

from ..errors import KernelError
from .conntrack import (
    CTA_IP_V4_SRC,
    CTA_IP_V6_SRC,
    CTA_PROTO_DST_PORT,
    CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT,
    CTA_TUPLE_IP,
    CTA_TUPLE_ORIG,
    CTA_TUPLE_PROTO,
    CTA_TUPLE_REPLY,
    IPCTNL_MSG_CT_GET,
    NETLINK_NETFILTER,
    NLA_F_NESTED,
)
from .namespaces import Namespaces
from .netlink import ATTRIBUTE, Message, NetlinkSocket, attributes

_STATUS, _SEEN_REPLY = 3, 0x2
_BODY = 20  # after nlmsghdr and nfgenmsg
_NUMBERS = {"icmp": {4: 1, 6: 58}, "tcp": {4: 6, 6: 6}, "udp": {4: 17, 6: 17}}
# CTA_PROTO_ICMP_ID, _TYPE and _CODE, and the same of ICMPv6; the type of an echo request.
_ECHO = {4: ((4, 5, 6), 8), 6: ((7, 8, 9), 128)}
_COUNTED = ("found", "drop", "early_drop", "insert_failed")


@dataclass(frozen=True)
class Entry:
    """translated: the address to which answers are expected. answered: one was seen."""

    translated: str
    answered: bool


def find(
    namespaces: Namespaces, netns: str, source: str, destination: str, protocol: str, number: int, port: int
) -> Entry | None:
    """The entry of a flow as its sender sees it. number: its source port, or the identifier of an echo request."""
    family = 6 if ":" in source else 4
    header = struct.pack("=BBH", socket.AF_INET6 if family == 6 else socket.AF_INET, 0, 0)
    body = header + _tuple(family, source, destination, protocol, number, port)
    try:
        with namespaces.entered(netns), contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as opened:
            (answer,) = opened.request([Message(IPCTNL_MSG_CT_GET, 0, body)])
    except (OSError, KernelError):
        return None
    return _parse(answer.replies[0], family) if answer.replies and not answer.errno else None


def statistics(namespaces: Namespaces, netns: str) -> dict[str, int]:
    """What the table has counted, over all processors (/proc/net/stat/nf_conntrack); empty where it is not loaded."""
    try:
        with namespaces.entered(netns), open("/proc/thread-self/net/stat/nf_conntrack", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}
    places = {name: lines[0].index(name) for name in _COUNTED if name in lines[0]}
    return {name: sum(int(line[place], 16) for line in lines[1:]) for name, place in places.items()}


def _tuple(family: int, source: str, destination: str, protocol: str, number: int, port: int) -> bytes:
    first = CTA_IP_V4_SRC if family == 4 else CTA_IP_V6_SRC
    ends = (ipaddress.ip_address(end).packed for end in (source, destination))
    addresses = b"".join(_attribute(first + offset, packed) for offset, packed in enumerate(ends))
    inner = _attribute(CTA_PROTO_NUM, bytes([_NUMBERS[protocol][family]]))
    if protocol == "icmp":
        (identifier, kind, code), echo = _ECHO[family]
        inner += _attribute(identifier, struct.pack("!H", number))
        inner += _attribute(kind, bytes([echo])) + _attribute(code, b"\0")
    else:
        inner += _attribute(CTA_PROTO_SRC_PORT, struct.pack("!H", number))
        inner += _attribute(CTA_PROTO_DST_PORT, struct.pack("!H", port))
    parts = _nested(CTA_TUPLE_IP, addresses) + _nested(CTA_TUPLE_PROTO, inner)
    return _nested(CTA_TUPLE_ORIG, parts)


def _attribute(kind: int, data: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _nested(kind: int, data: bytes) -> bytes:
    return _attribute(kind | NLA_F_NESTED, data)


def _parse(reply: bytes, family: int) -> Entry | None:
    found = attributes(reply, _BODY, len(reply))
    if CTA_TUPLE_REPLY not in found:
        return None
    addresses = attributes(reply, *attributes(reply, *found[CTA_TUPLE_REPLY])[CTA_TUPLE_IP])
    destination = addresses[(CTA_IP_V4_SRC if family == 4 else CTA_IP_V6_SRC) + 1]
    status = int.from_bytes(reply[slice(*found[_STATUS])], "big") if _STATUS in found else 0
    return Entry(str(ipaddress.ip_address(reply[slice(*destination)])), bool(status & _SEEN_REPLY))
