# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table of nftables that has the kernel trace some packets, and belongs to one socket: with that it goes.

Whatever ends the process closes the socket. Written by netlink, so that no program is needed; tables with an owner came
with Linux 5.12. See linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
import typing as t
from dataclasses import dataclass

from .attributes import attribute
from .conntrack import NETLINK_NETFILTER, NLA_F_NESTED
from .namespaces import Namespaces
from .netlink import NLM_F_CREATE, NLM_F_EXCL, Message, NetlinkSocket

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEWTABLE, _NEWCHAIN, _NEWRULE = 0, 3, 6  # NFT_MSG_*
_INET, _NETDEV = 1, 5  # NFPROTO_*
_PREROUTING, _OUTPUT, _INGRESS = 0, 3, 0  # NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT, NF_NETDEV_INGRESS
_APPEND = 0x800  # NLM_F_APPEND
_OWNER = 0x2  # NFT_TABLE_F_OWNER
_PRIORITY = -400  # ahead of all chains that nft has names for
_REGISTER = 1  # NFT_REG_1, of 16 bytes
_PROTOCOL, _NFTRACE = 1, 12  # NFT_META_*
_ETHER_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
# Where a question for a neighbour has the address that it is about, and what tells it: ARP, or ICMPv6 of type 135.
_QUESTIONS = {4: (24, b"\x08\x06", None), 6: (48, b"\x86\xdd", (40, b"\x87"))}
_ENDS = {4: (12, 16), 6: (8, 24)}  # where a header has its source and its destination
_RATE = 100  # packets a second that are traced at most


@dataclass(frozen=True)
class Match:
    """Packets from an address, and to one unless that is "". asks: questions of anybody for the neighbour source."""

    source: str
    destination: str = ""
    asks: bool = False

    @property
    def family(self) -> int:
        return 6 if ":" in self.source else 4


class _Chain(t.NamedTuple):
    """device: of netdev, whose packets pass it."""

    family: int
    name: str
    hook: int
    device: str = ""


@contextlib.contextmanager
def traced(
    namespaces: Namespaces, netns: str, matches: t.Sequence[Match], devices: t.Sequence[str] = ()
) -> t.Iterator[bool]:
    """Whether packets of a namespace are traced while the block runs: not every kernel can.

    devices: links on which they are traced from where they arrive, ahead of bridges and of chains of netdev, where the
    kernel has these.
    """
    with namespaces.entered(netns):
        opened = NetlinkSocket(NETLINK_NETFILTER)
    with contextlib.closing(opened):
        chains = [_Chain(_INET, "early", _PREROUTING), _Chain(_INET, "own", _OUTPUT)]
        packets = [match for match in matches if not match.asks]
        arrivals = [_Chain(_NETDEV, f"on{number}", _INGRESS, device) for number, device in enumerate(devices)]
        if arrivals:
            _put(opened, _NETDEV, arrivals, matches)
        yield _put(opened, _INET, chains, packets)


def _put(opened: NetlinkSocket, family: int, chains: t.Sequence[_Chain], matches: t.Sequence[Match]) -> bool:
    answers = opened.transaction(_SUBSYSTEM, list(_messages(family, chains, matches)))
    return not any(answer.errno for answer in answers)


def _messages(family: int, chains: t.Sequence[_Chain], matches: t.Sequence[Match]) -> t.Iterator[Message]:
    name = f"netpath_trace_{os.getpid()}".encode() + b"\0"
    yield _message(family, _NEWTABLE, NLM_F_EXCL, attribute(1, name) + attribute(2, _number(_OWNER)))
    for chain in chains:
        place = chain.name.encode() + b"\0"
        hook = attribute(1, _number(chain.hook)) + attribute(2, struct.pack(">i", _PRIORITY))
        hook += attribute(3, chain.device.encode() + b"\0") if chain.device else b""
        said = attribute(1, name) + attribute(3, place) + _nested(4, hook) + attribute(7, b"filter\0")
        yield _message(family, _NEWCHAIN, 0, said)
        for match in matches:
            rule = attribute(1, name) + attribute(2, place) + _nested(4, _rule(match))
            yield _message(family, _NEWRULE, _APPEND, rule)


def _message(family: int, kind: int, flags: int, body: bytes) -> Message:
    header = struct.pack("=BBH", family, 0, 0)
    return Message(_SUBSYSTEM << 8 | kind, NLM_F_CREATE | flags, header + body)


def _rule(match: Match) -> bytes:
    packed = ipaddress.ip_address(match.source).packed
    if match.asks:
        offset, ether_type, kind = _QUESTIONS[match.family]
        said = _meta(_PROTOCOL) + _equals(ether_type) + _load(offset, len(packed)) + _equals(packed)
        said += _load(kind[0], len(kind[1])) + _equals(kind[1]) if kind else b""
    else:
        said = _meta(_PROTOCOL) + _equals(_ETHER_TYPES[match.family])
        for offset, address in zip(_ENDS[match.family], (match.source, match.destination)):
            if address:
                packed = ipaddress.ip_address(address).packed
                said += _load(offset, len(packed)) + _equals(packed)
    return said + _limit() + _constant(b"\1") + _set_meta(_NFTRACE)


def _meta(key: int) -> bytes:
    return _expression(b"meta", attribute(1, _number(_REGISTER)) + attribute(2, _number(key)))


def _set_meta(key: int) -> bytes:
    return _expression(b"meta", attribute(2, _number(key)) + attribute(3, _number(_REGISTER)))


def _load(offset: int, length: int) -> bytes:
    words = (_REGISTER, 1, offset, length)  # 1: NFT_PAYLOAD_NETWORK_HEADER
    return _expression(b"payload", b"".join(attribute(kind, _number(word)) for kind, word in enumerate(words, 1)))


def _equals(value: bytes) -> bytes:
    said = attribute(1, _number(_REGISTER)) + attribute(2, _number(0)) + _nested(3, attribute(1, value))
    return _expression(b"cmp", said)


def _constant(value: bytes) -> bytes:
    return _expression(b"immediate", attribute(1, _number(_REGISTER)) + _nested(2, attribute(1, value)))


def _limit() -> bytes:
    return _expression(b"limit", attribute(1, struct.pack(">Q", _RATE)) + attribute(2, struct.pack(">Q", 1)))


def _expression(name: bytes, data: bytes) -> bytes:
    return _nested(1, attribute(1, name + b"\0") + _nested(2, data))


def _nested(kind: int, data: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, data)


def _number(value: int) -> bytes:
    return struct.pack(">I", value)
