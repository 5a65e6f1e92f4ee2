# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Next hops that are objects of their own, which routes have by their number (ip-nexthop(8), linux/nexthop.h)."""

from __future__ import annotations

import struct
import typing as t

from .netlink import Message, NetlinkSocket, address_text, attributes

RTM_GETNEXTHOP = 106
_HEADER = struct.Struct("=4BI")  # struct nhmsg
_START = 16  # after nlmsghdr
_ID, _GROUP, _BLACKHOLE, _OIF, _GATEWAY = 1, 2, 4, 5, 6  # NHA_*
_NUMBER = struct.Struct("=I")
_MEMBER = struct.Struct("=IBBH")  # struct nexthop_grp


class NextHop(t.NamedTuple):
    """device: by index. gateway: "" for a neighbour. group: the numbers of those that it stands for."""

    device: int
    gateway: str
    blackhole: bool
    group: tuple[int, ...]


def read(opened: NetlinkSocket) -> dict[int, NextHop]:
    """{number: next hop} of all in a namespace."""
    found = {}
    for data in opened.dump(Message(RTM_GETNEXTHOP, 0, _HEADER.pack(0, 0, 0, 0, 0))):
        values = {kind: data[slice(*span)] for kind, span in attributes(data, _START + _HEADER.size, len(data)).items()}
        group = tuple(number for number, *_rest in _MEMBER.iter_unpack(values.get(_GROUP, b"")))
        gateway = address_text(values[_GATEWAY]) if _GATEWAY in values else ""
        found[_number(values, _ID)] = NextHop(_number(values, _OIF), gateway, _BLACKHOLE in values, group)
    return found


def members(known: t.Mapping[int, NextHop], number: int) -> list[NextHop]:
    """The one with a number, or those that it stands for; none where it went meanwhile."""
    found = known.get(number)
    if found is None:
        return []
    return [known[one] for one in found.group if one in known] if found.group else [found]


def _number(values: t.Mapping[int, bytes], kind: int) -> int:
    return int(_NUMBER.unpack(values[kind])[0]) if kind in values else 0
