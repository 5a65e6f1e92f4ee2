# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that keep an old translation: the kernel decides on NAT once for each flow, so changed rules miss old ones.

See linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import ipaddress
import os
import socket
import struct
import typing as t
from dataclasses import dataclass

from ..errors import KernelError, UnsupportedError
from ..model import NatRules
from ..spec.values import family
from .netlink import Message, NetlinkSocket, kernel_error
from .nftables import PORT_PROTOCOLS, UNTRANSLATED

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | message
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_ZONE = 1, 2, 12, 18
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_V4_SRC, CTA_IP_V6_SRC = 1, 3  # each followed by that of the destination
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
NLA_TYPE_MASK, NLA_F_NESTED = 0x3FFF, 0x8000
_ASKED = "delete tracked connections that changed rules would translate differently"
_MISSING = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_ATTRIBUTE = struct.Struct("=HH")
_BODY = 20  # after nlmsghdr and nfgenmsg

Spans = dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Flow:
    """An entry. Addresses are packed; destination is the one that postrouting sees, after any DNAT.

    translated: the address that replies go to, where that is not the source; port is the one they go to.
    """

    source: bytes
    destination: bytes
    protocol: int
    translated: bytes | None
    port: int = 0


class Networks:
    """Networks of one family, to look up packed addresses in."""

    def __init__(self, networks: t.Iterable[str], version: int) -> None:
        chosen: list[t.Any] = [ipaddress.ip_network(text) for text in networks if family(text) == version]
        chosen = list(ipaddress.collapse_addresses(chosen))
        self._first = [network[0].packed for network in chosen]
        self._last = [network[-1].packed for network in chosen]

    def __bool__(self) -> bool:
        return bool(self._first)

    def __contains__(self, address: bytes) -> bool:
        index = bisect.bisect_right(self._first, address) - 1
        return index >= 0 and address <= self._last[index]


class Translation:
    """What rules, None for no rules, do to packets of one family."""

    def __init__(self, rules: NatRules | None, version: int) -> None:
        rules = rules or NatRules(())
        self.sources = Networks(rules.sources, version)
        self._exempt = Networks((*rules.exclude, *UNTRANSLATED[version]), version)
        first, _dash, last = rules.to_source[0 if version == 4 else 1].partition("-")
        self.target = tuple(ipaddress.ip_address(end).packed for end in (first, last or first) if end)
        self.ports = rules.ports
        self.interfaces = (rules.out_interface, rules.not_out_interface)

    def applies(self, flow: Flow) -> bool:
        """Whether a flow is translated, if it leaves by an interface that the rules are for."""
        return (
            flow.source in self.sources
            and flow.destination not in self.sources
            and flow.destination not in self._exempt
        )

    def allows(self, address: bytes, flow: Flow, before: Translation) -> bool:
        """Whether the address that other rules gave a flow, and its port, are among those that these could give."""
        right = self.target[0] <= address <= self.target[1] if self.target else not before.target
        ports = self.ports if flow.protocol in PORT_PROTOCOLS.values() else None
        return right and (ports is None or ports[0] <= flow.port <= ports[1])


def is_stale(flow: Flow, old: Translation, new: Translation) -> bool:
    """Whether a flow was treated by the old rules as the new ones would not treat it.

    A flow that the old rules left alone and that has a translation owes it to somebody else's rules, which
    are still there: it stays. One that keeps a translation that the new rules allow stays as well.
    """
    before, after = old.applies(flow), new.applies(flow)
    if not before or not after:
        return (before and flow.translated is not None) or (after and flow.translated is None)
    # The entry does not tell the interface by which the flow leaves.
    if old.interfaces != new.interfaces:
        return True
    return flow.translated is not None and not new.allows(flow.translated, flow, old)


def flush_changed(namespaces: Namespaces, netns: str, old: NatRules | None, new: NatRules | None) -> int:
    """Delete the flows that the change from old to new rules (None for no rules) leaves stale; how many they were.

    Errors: UnsupportedError where there are flows but the kernel has no way to delete them.
    """
    pairs = [(version, Translation(old, version), Translation(new, version)) for version in (4, 6)]
    pairs = [pair for pair in pairs if old != new and (pair[1].sources or pair[2].sources)]
    if not pairs:
        return 0
    local = _local_addresses(namespaces, netns)
    with namespaces.entered(netns):
        try:
            with contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as opened:
                return sum(_flush(opened, version, before, after, local) for version, before, after in pairs)
        except (OSError, KernelError) as error:
            if error.errno not in _MISSING:
                raise
            _check_missing(error.errno)
    return 0


def _local_addresses(namespaces: Namespaces, netns: str) -> frozenset[bytes]:
    """Flows to these end here, and never come by postrouting."""
    from . import addresses  # it imports pyroute2

    replies = addresses.read(namespaces.socket(netns))
    return frozenset(ipaddress.ip_interface(reply.cidr).ip.packed for reply in replies)


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


def _flush(opened: NetlinkSocket, version: int, old: Translation, new: Translation, local: t.Container[bytes]) -> int:
    header = struct.pack("=BBH", socket.AF_INET if version == 4 else socket.AF_INET6, 0, 0)
    stale = []
    for entry in opened.dump(Message(IPCTNL_MSG_CT_GET, 0, header)):
        flow = _flow(entry, old, new)
        if flow and flow.destination not in local and is_stale(flow, old, new):
            stale.append(Message(IPCTNL_MSG_CT_DELETE, 0, header + _key(entry)))
    deleted = 0
    for answer in opened.request(stale):
        if answer.errno not in (0, errno.ENOENT):
            raise kernel_error(_ASKED, answer)
        deleted += not answer.errno
    return deleted


def _attributes(data: bytes, start: int, end: int, until: int = -1) -> Spans:
    """Start and end of each attribute's value, by type; up to a type after which nothing is of interest."""
    found = {}
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < 4:
            break
        kind &= NLA_TYPE_MASK
        found[kind] = (start + 4, start + length)
        if kind == until:
            break
        start += (length + 3) & ~3
    return found


def _flow(data: bytes, old: Translation, new: Translation) -> Flow | None:
    """None for a flow from no source of the rules."""
    tuples = _attributes(data, _BODY, len(data), until=CTA_TUPLE_REPLY)
    try:
        source, _destination, _protocol, _port = _tuple(data, *tuples[CTA_TUPLE_ORIG])
        if source not in old.sources and source not in new.sources:
            return None
        destination, translated, protocol, port = _tuple(data, *tuples[CTA_TUPLE_REPLY])
    except KeyError:
        return None
    return Flow(source, destination, protocol, None if translated == source else translated, port)


def _tuple(data: bytes, start: int, end: int) -> tuple[bytes, bytes, int, int]:
    """Source, destination, protocol and destination port, 0 where the protocol has none."""
    layout = _LAYOUTS.get(end - start)
    if layout:
        head, source, between, destination, after, number, _sport, last, port = layout.fields.unpack_from(data, start)
        if (head, between, after, last) == layout.headers:
            return source, destination, number, int.from_bytes(port, "big")
    parts = _attributes(data, start, end)
    ends = _attributes(data, *parts[CTA_TUPLE_IP])
    first = CTA_IP_V4_SRC if CTA_IP_V4_SRC in ends else CTA_IP_V6_SRC
    protocol = _attributes(data, *parts[CTA_TUPLE_PROTO])
    port = data[slice(*protocol[CTA_PROTO_DST_PORT])] if CTA_PROTO_DST_PORT in protocol else b""
    number = data[protocol[CTA_PROTO_NUM][0]]
    return data[slice(*ends[first])], data[slice(*ends[first + 1])], number, int.from_bytes(port, "big")


class _Layout:
    """How the kernel lays out the tuple of a protocol with ports: one step instead of eight."""

    def __init__(self, size: int, first: int) -> None:
        self.fields = struct.Struct(f"=8s{size}s4s{size}s8sB3x8s4s2s2x")
        inner = _ATTRIBUTE.pack
        addresses = inner(4 + 2 * (4 + size), CTA_TUPLE_IP | NLA_F_NESTED) + inner(4 + size, first)
        protocol = inner(28, CTA_TUPLE_PROTO | NLA_F_NESTED) + inner(5, CTA_PROTO_NUM)
        self.headers = (addresses, inner(4 + size, first + 1), protocol, inner(6, CTA_PROTO_DST_PORT))


_LAYOUTS = {layout.fields.size: layout for layout in (_Layout(4, CTA_IP_V4_SRC), _Layout(16, CTA_IP_V6_SRC))}


def _key(data: bytes) -> bytes:
    """What names an entry, as the kernel sent it. Without its tuple a request would delete all entries."""
    attributes = _attributes(data, _BODY, len(data))
    parts = []
    for kind in (CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID):
        if kind in attributes or kind == CTA_TUPLE_ORIG:
            start, end = attributes[kind]
            parts.append(data[start - 4 : end] + b"\0" * (-(end - start) % 4))
    return b"".join(parts)
