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
import socket
import struct
import typing as t
from dataclasses import dataclass

from .attributes import attribute
from .conntrack import NETLINK_NETFILTER, NLA_F_NESTED
from .netlink import NLM_F_CREATE, NLM_F_EXCL, Message, NetlinkSocket

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEWTABLE, _NEWCHAIN, _NEWRULE = 0, 3, 6  # NFT_MSG_*
_INET = 1  # NFPROTO_INET
_APPEND = 0x800  # NLM_F_APPEND
_OWNER = 0x2  # NFT_TABLE_F_OWNER
_PRIORITY = -400  # ahead of all chains that nft has names for
_REGISTER = 1  # NFT_REG_1, of 16 bytes
_NFTRACE, _NFPROTO = 12, 15  # NFT_META_*
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_ENDS = {4: (12, 16), 6: (8, 24)}  # where a header has its source and its destination
_RATE = 100  # packets a second that are traced at most


@dataclass(frozen=True)
class Match:
    """Packets from an address, and to one unless that is ""."""

    source: str
    destination: str = ""


@contextlib.contextmanager
def traced(matches: t.Sequence[Match]) -> t.Iterator[bool]:
    """Whether packets of the namespace of this thread are traced while the block runs: not every kernel can."""
    with contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as opened:
        answers = opened.transaction(_SUBSYSTEM, list(_messages(matches)))
        yield not any(answer.errno for answer in answers)


def _messages(matches: t.Sequence[Match]) -> t.Iterator[Message]:
    name = f"netpath_trace_{os.getpid()}".encode() + b"\0"
    chain = b"early\0"
    yield _message(_NEWTABLE, NLM_F_EXCL, attribute(1, name) + attribute(2, _number(_OWNER)))
    hook = attribute(1, _number(0)) + attribute(2, struct.pack(">i", _PRIORITY))  # NF_INET_PRE_ROUTING
    said = attribute(1, name) + attribute(3, chain) + _nested(4, hook) + attribute(7, b"filter\0")
    yield _message(_NEWCHAIN, 0, said)
    for match in matches:
        yield _message(_NEWRULE, _APPEND, attribute(1, name) + attribute(2, chain) + _nested(4, _rule(match)))


def _message(kind: int, flags: int, body: bytes) -> Message:
    header = struct.pack("=BBH", _INET, 0, 0)
    return Message(_SUBSYSTEM << 8 | kind, NLM_F_CREATE | flags, header + body)


def _rule(match: Match) -> bytes:
    family = 6 if ":" in match.source else 4
    said = _meta(_NFPROTO) + _equals(bytes([_FAMILY[family]]))
    for offset, address in zip(_ENDS[family], (match.source, match.destination)):
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
