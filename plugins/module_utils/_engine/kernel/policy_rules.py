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
_DST, _SRC, _IIFNAME, _PRIORITY, _FWMARK, _SUPPRESSED, _TABLE, _OIFNAME = 1, 2, 3, 6, 10, 14, 15, 17  # FRA_*
_TO_TABLE, _REFUSALS = 1, {6: "blackhole", 7: "unreachable", 8: "prohibit"}  # FR_ACT_*
_INVERTED = 0x2  # FIB_RULE_INVERT
_NONE = 0xFFFFFFFF
_NAMES = {_IIFNAME: "iif", _OIFNAME: "oif"}
# What every namespace has: (priority, table).
_OWN = {(0, 255), (32766, 254), (32767, 253)}


class PolicyRule(t.NamedTuple):
    """source and destination: networks, "" for any. text: as ip rule shows it, in short. table: 0 where there is none.

    suppressed: bits of prefixes up to which its routes are passed over, -1 for none. refusal: the type, "" for none.
    """

    family: int
    source: str
    text: str
    destination: str = ""
    arrives_by: str = ""
    leaves_by: str = ""
    mark: int = 0
    table: int = 0
    suppressed: int = -1
    refusal: str = ""
    inverted: bool = False
    is_of_the_kernel: bool = False


def read(opened: NetlinkSocket) -> list[PolicyRule]:
    """All of a namespace, without those that the kernel makes."""
    return [rule for family in (4, 6) for rule in read_all(opened, family) if not rule.is_of_the_kernel]


def read_all(opened: NetlinkSocket, family: int) -> list[PolicyRule]:
    """Those of a family in the order in which the kernel asks them."""
    number = int(socket.AF_INET if family == 4 else socket.AF_INET6)
    return list(map(_parse, opened.dump(Message(RTM_GETRULE, 0, _HEADER.pack(number, *([0] * 8))))))


def _parse(data: bytes) -> PolicyRule:
    family, to_length, from_length, _tos, table, _res1, _res2, action, flags = _HEADER.unpack_from(data, _START)
    spans = attributes(data, _START + _HEADER.size, len(data))
    priority, table = _number(data, spans, _PRIORITY), _number(data, spans, _TABLE) or table
    source, destination = _network(data, spans, _SRC, from_length), _network(data, spans, _DST, to_length)
    words = [f"from {source or 'all'}"] + ([f"to {destination}"] if destination else [])
    words += [f"{name} {_text(data, spans[kind])}" for kind, name in _NAMES.items() if kind in spans]
    words += [f"fwmark {_number(data, spans, _FWMARK):#x}"] if _FWMARK in spans else []
    inverted = bool(flags & _INVERTED)
    suppressed = _number(data, spans, _SUPPRESSED) if _SUPPRESSED in spans else _NONE
    leads = f"lookup {table}" if action == _TO_TABLE else _REFUSALS.get(action, f"action {action}")
    leads += f" suppress_prefixlength {suppressed}" if suppressed != _NONE else ""
    return PolicyRule(
        4 if family == socket.AF_INET else 6,
        source,
        f"{priority}: {'not ' if inverted else ''}{' '.join(words)} {leads}",
        destination,
        arrives_by=_text(data, spans[_IIFNAME]) if _IIFNAME in spans else "",
        leaves_by=_text(data, spans[_OIFNAME]) if _OIFNAME in spans else "",
        mark=_number(data, spans, _FWMARK),
        table=table if action == _TO_TABLE else 0,
        suppressed=-1 if suppressed == _NONE else suppressed,
        refusal=_REFUSALS.get(action, ""),
        inverted=inverted,
        is_of_the_kernel=(priority, table) in _OWN and words == ["from all"],
    )


def _number(data: bytes, spans: Spans, kind: int) -> int:
    return int(struct.unpack_from("=I", data, spans[kind][0])[0]) if kind in spans else 0


def _network(data: bytes, spans: Spans, kind: int, length: int) -> str:
    return f"{address_text(data[slice(*spans[kind])])}/{length}" if kind in spans else ""


def _text(data: bytes, span: tuple[int, int]) -> str:
    return data[slice(*span)].split(b"\0")[0].decode(errors="replace")
