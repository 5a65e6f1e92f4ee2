# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracked connections: those that changed rules leave on an old translation, or that somebody names, are deleted.

See linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import typing as t

from ..errors import KernelError, UnsupportedError
from ..model import Flows
from ..rules import Rules
from ..spec.values import family
from .netlink import ATTRIBUTE, Message, NetlinkSocket, attributes, kernel_error
from .stale_flows import Ends, Judge, Networks, judge

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | message
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_ZONE = 1, 2, 12, 18
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V6_SRC = 1, 3  # each followed by that of the destination
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
NLA_F_NESTED = 0x8000
_ASKED = "look for tracked connections to delete"
_MISSING = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_BODY = 20  # after nlmsghdr and nfgenmsg


def flush_changed(
    namespaces: Namespaces, netns: str, old: Rules | None, new: Rules | None, unread: bool = False
) -> int:
    """Delete the flows that the change from old to new rules (None for no rules) leaves stale; how many they were.

    unread: there were rules that nobody can tell. Errors: UnsupportedError where there are flows but the kernel has no
    way to delete them.
    """
    if old == new and not unread:
        return 0
    from .ways import host_of  # it imports pyroute2

    host = host_of(namespaces, netns)
    judges = {version: judge(old, new, version, host, unread) for version in (4, 6)}
    return _visit(namespaces, netns, judges, delete=True)


def matching(namespaces: Namespaces, netns: str, flows: Flows) -> int:
    """How many tracked connections fit a description."""
    return _visit(namespaces, netns, _fitting(flows), delete=False)


def flush(namespaces: Namespaces, netns: str, flows: Flows) -> int:
    """Delete the tracked connections that fit a description; how many they were."""
    return _visit(namespaces, netns, _fitting(flows), delete=True)


def _fitting(flows: Flows) -> dict[int, Judge | None]:
    named = [text for text in (flows.source, flows.destination) if text]
    versions = {family(text) for text in named} or {4, 6}
    return {version: _fits(flows, version) for version in sorted(versions)}


def _fits(flows: Flows, version: int) -> Judge:
    source, destination = (Networks([text] if text else [], version) for text in (flows.source, flows.destination))
    number = flows.protocol_number

    def is_it(original: Ends, _reply: t.Callable[[], Ends]) -> bool:
        return (
            (not source or original.source in source)
            and (not destination or original.destination in destination)
            and number in (None, original.protocol)
        )

    return is_it


def _visit(namespaces: Namespaces, netns: str, judges: t.Mapping[int, Judge | None], delete: bool) -> int:
    """How many entries the judges of their families choose, and, if told so, delete these."""
    chosen = [(version, found) for version, found in judges.items() if found]
    if not chosen:
        return 0
    with namespaces.entered(netns):
        try:
            with contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as opened:
                return sum(_of_family(opened, version, found, delete) for version, found in chosen)
        except (OSError, KernelError) as error:
            if error.errno not in _MISSING:
                raise
            _check_missing(error.errno)
    return 0


def _check_missing(code: int) -> None:
    """Without ctnetlink: nothing to do where connections are not tracked, or none is there."""
    try:
        with open(_COUNT, encoding="ascii") as file:
            count = int(file.read())
    except OSError:
        return
    if count:
        found = f"{count} connections are tracked, but the kernel says {os.strerror(code)} to a request for them"
        raise UnsupportedError(_ASKED, found, "Load the kernel module nf_conntrack_netlink")


def _of_family(opened: NetlinkSocket, version: int, is_it: Judge, delete: bool) -> int:
    header = struct.pack("=BBH", socket.AF_INET if version == 4 else socket.AF_INET6, 0, 0)
    chosen = [
        Message(IPCTNL_MSG_CT_DELETE, 0, header + _key(entry))
        for entry in opened.dump(Message(IPCTNL_MSG_CT_GET, 0, header))
        if _is_chosen(entry, is_it)
    ]
    if not delete:
        return len(chosen)
    deleted = 0
    for answer in opened.request(chosen):
        if answer.errno not in (0, errno.ENOENT):
            raise kernel_error("delete a tracked connection", answer)
        deleted += not answer.errno
    return deleted


def _is_chosen(data: bytes, is_it: Judge) -> bool:
    tuples = attributes(data, _BODY, len(data), until=CTA_TUPLE_REPLY)
    try:
        return is_it(_ends(data, *tuples[CTA_TUPLE_ORIG]), lambda: _ends(data, *tuples[CTA_TUPLE_REPLY]))
    except KeyError:
        return False


def _ends(data: bytes, start: int, end: int) -> Ends:
    layout = _LAYOUTS.get(end - start)
    if layout:
        head, source, between, destination, after, number, first, last, port = layout.fields.unpack_from(data, start)
        if (head, between, after, last) == layout.headers:
            ports = (int.from_bytes(first[4:6], "big"), int.from_bytes(port, "big"))
            return Ends(source, destination, number, *ports)
    parts = attributes(data, start, end)
    addresses = attributes(data, *parts[CTA_TUPLE_IP])
    kind = CTA_IP_V4_SRC if CTA_IP_V4_SRC in addresses else CTA_IP_V6_SRC
    protocol = attributes(data, *parts[CTA_TUPLE_PROTO])
    number = data[protocol[CTA_PROTO_NUM][0]]
    found = [
        data[slice(*protocol[kind])] if kind in protocol else b"" for kind in (CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT)
    ]
    ports = (int.from_bytes(found[0], "big"), int.from_bytes(found[1], "big"))
    return Ends(data[slice(*addresses[kind])], data[slice(*addresses[kind + 1])], number, *ports)


class _Layout:
    """How the kernel lays out the tuple of a protocol with ports: one step instead of eight."""

    def __init__(self, size: int, first: int) -> None:
        self.fields = struct.Struct(f"=8s{size}s4s{size}s8sB3x8s4s2s2x")
        inner = ATTRIBUTE.pack
        addresses = inner(4 + 2 * (4 + size), CTA_TUPLE_IP | NLA_F_NESTED) + inner(4 + size, first)
        protocol = inner(28, CTA_TUPLE_PROTO | NLA_F_NESTED) + inner(5, CTA_PROTO_NUM)
        self.headers = (addresses, inner(4 + size, first + 1), protocol, inner(6, CTA_PROTO_DST_PORT))


_LAYOUTS = {layout.fields.size: layout for layout in (_Layout(4, CTA_IP_V4_SRC), _Layout(16, CTA_IP_V6_SRC))}


def _key(data: bytes) -> bytes:
    """What names an entry, as the kernel sent it. Without its tuple a request would delete all entries."""
    found = attributes(data, _BODY, len(data))
    parts = []
    for kind in (CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID):
        if kind in found or kind == CTA_TUPLE_ORIG:
            start, end = found[kind]
            parts.append(data[start - 4 : end] + b"\0" * (-(end - start) % 4))
    return b"".join(parts)
