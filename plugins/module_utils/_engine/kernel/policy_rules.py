# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that choose the routing table of a packet (ip-rule(8), linux/fib_rules.h)."""

from __future__ import annotations

import socket
import struct
import typing as t

from .netlink import Message, NetlinkSocket, Spans, address_text, attributes

RTM_GETRULE = 34
_HEADER = struct.Struct("=8BI")  # struct fib_rule_hdr
_START = 16  # after nlmsghdr
_DST, _SRC, _IIFNAME, _PRIORITY, _FWMARK, _TABLE, _OIFNAME = 1, 2, 3, 6, 10, 15, 17  # FRA_*
_NAMES = {_IIFNAME: "iif", _OIFNAME: "oif"}
# What every namespace has: (priority, table).
_OWN = {(0, 255), (32766, 254), (32767, 253)}


class PolicyRule(t.NamedTuple):
    """source: a network, "" for any. text: as ip rule shows it, in short."""

    family: int
    source: str
    text: str


def read(opened: NetlinkSocket) -> list[PolicyRule]:
    """All of a namespace, without those that the kernel makes."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        request = Message(RTM_GETRULE, 0, _HEADER.pack(int(family), *([0] * 8)))
        found += [rule for rule in map(_parse, opened.dump(request)) if rule]
    return found


def _parse(data: bytes) -> PolicyRule | None:
    family, to_length, from_length, _tos, table, _res1, _res2, _action, _flags = _HEADER.unpack_from(data, _START)
    spans = attributes(data, _START + _HEADER.size, len(data))
    priority, table = _number(data, spans, _PRIORITY), _number(data, spans, _TABLE) or table
    source, destination = _network(data, spans, _SRC, from_length), _network(data, spans, _DST, to_length)
    words = [f"from {source or 'all'}"] + ([f"to {destination}"] if destination else [])
    words += [f"{name} {_text(data, spans[kind])}" for kind, name in _NAMES.items() if kind in spans]
    words += [f"fwmark {_number(data, spans, _FWMARK):#x}"] if _FWMARK in spans else []
    if (priority, table) in _OWN and words == ["from all"]:
        return None
    return PolicyRule(4 if family == socket.AF_INET else 6, source, f"{priority}: {' '.join(words)} lookup {table}")


def _number(data: bytes, spans: Spans, kind: int) -> int:
    return int(struct.unpack_from("=I", data, spans[kind][0])[0]) if kind in spans else 0


def _network(data: bytes, spans: Spans, kind: int, length: int) -> str:
    return f"{address_text(data[slice(*spans[kind])])}/{length}" if kind in spans else ""


def _text(data: bytes, span: tuple[int, int]) -> str:
    return data[slice(*span)].split(b"\0")[0].decode(errors="replace")
