# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that keep an old translation: the kernel decides on NAT once for each flow, so changed rules miss old ones.

See linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h.
"""

from __future__ import annotations

import bisect
import ipaddress
import struct
import typing as t
from dataclasses import dataclass

from ..model import NatRules
from ..spec.values import family
from .nftables import PORT_PROTOCOLS, UNTRANSLATED

if t.TYPE_CHECKING:
    pass

NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | message
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_ZONE = 1, 2, 12, 18
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
NLA_TYPE_MASK = 0x3FFF
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_ATTRIBUTE = struct.Struct("=HH")
_BODY = 20  # after nlmsghdr and nfgenmsg


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
    """What rules do to packets of one family."""

    def __init__(self, rules: NatRules | None, version: int) -> None:
        self.rules = rules
        self.sources = Networks(rules.sources if rules else (), version)
        self._exempt = Networks((*rules.exclude, *UNTRANSLATED[version]) if rules else (), version)
        first, _dash, last = (rules.to_source[0 if version == 4 else 1] if rules else "").partition("-")
        self.target = tuple(ipaddress.ip_address(end).packed for end in (first, last or first) if end)

    def applies(self, source: bytes, destination: bytes) -> bool:
        """Whether a flow is translated, if it leaves by an interface that the rules are for."""
        return source in self.sources and destination not in self.sources and destination not in self._exempt

    def could_have_made(self, flow: Flow, before: Translation) -> bool:
        """Whether a flow that was translated by other rules looks as if these had done it."""
        assert self.rules is not None and flow.translated is not None
        if self.target:
            address = self.target[0] <= flow.translated <= self.target[1]
        else:
            address = not before.target
        ports = self.rules.ports if flow.protocol in PORT_PROTOCOLS else None
        return address and (ports is None or ports[0] <= flow.port <= ports[1])


def is_stale(flow: Flow, old: Translation, new: Translation) -> bool:
    """Whether a flow was treated by the old rules as the new ones would not treat it.

    A flow that the old rules left alone and that has a translation owes it to somebody else's rules, which
    are still there: it stays. One that keeps a translation that the new rules allow stays as well.
    """
    before = old.applies(flow.source, flow.destination)
    after = new.applies(flow.source, flow.destination)
    if not before or not after:
        return (before and flow.translated is not None) or (after and flow.translated is None)
    # The entry does not tell the interface by which the flow leaves.
    if _interfaces(old) != _interfaces(new):
        return True
    return flow.translated is not None and not new.could_have_made(flow, old)


def _interfaces(translation: Translation) -> tuple[str, str]:
    assert translation.rules is not None
    return translation.rules.out_interface, translation.rules.not_out_interface


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
        opened = _open()
        if opened is None:
            return 0
        try:
            return sum(_flush(opened, version, before, after, local) for version, before, after in pairs)
        finally:
            opened.close()


def _local_addresses(namespaces: Namespaces, netns: str) -> frozenset[bytes]:
    """Flows to these end here, and never come by postrouting."""
    from . import addresses  # it imports pyroute2

    replies = addresses.read(namespaces.socket(netns))
    return frozenset(ipaddress.ip_interface(reply.cidr).ip.packed for reply in replies)


def _open() -> NetlinkSocket | None:
    """A socket that can dump and delete entries; None where there is no connection tracking, and so nothing to flush."""
    try:
        opened = NetlinkSocket(NETLINK_NETFILTER)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
            raise
        return _without_ctnetlink()
    # Nobody has this tuple: ENOENT is the answer of a kernel that knows the request.
    unused = _nested(CTA_TUPLE_ORIG, _nested(CTA_TUPLE_IP, _ipv4(0) + _ipv4(1)) + _nested(CTA_TUPLE_PROTO, _protocol()))
    return opened


def _flush(opened: NetlinkSocket, version: int, old: Translation, new: Translation, local: t.Container[bytes]) -> int:
    header = struct.pack("=BBH", socket.AF_INET if version == 4 else socket.AF_INET6, 0, 0)
    stale = []
    for entry in opened.dump(Message(IPCTNL_MSG_CT_GET, 0, header)):
        parts = _attributes(entry, _BODY, len(entry))
        flow = _flow(entry, parts, (old.sources, new.sources))
        if flow and flow.destination not in local and is_stale(flow, old, new):
            stale.append(Message(IPCTNL_MSG_CT_DELETE, 0, header + _key(entry, parts)))
    deleted = 0
    for answer in opened.request(stale):
        if answer.errno not in (0, errno.ENOENT):
            raise kernel_error("delete a tracked connection", answer)
        deleted += not answer.errno
    return deleted
