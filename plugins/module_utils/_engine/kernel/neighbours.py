# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbours of a namespace (ARP and neighbour discovery; rtnetlink(7), linux/neighbour.h)."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from dataclasses import dataclass

from .namespaces import Namespaces
from .netlink import ATTRIBUTE, Message, NetlinkSocket, attributes

RTM_DELNEIGH, RTM_GETNEIGH = 29, 30
_NDM = struct.Struct("=BxxxiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_NOARP = 0x40
_HEADER = 16
_STATES = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}


@dataclass(frozen=True)
class Neighbour:
    """index: of the link that it is on. mac "" while nobody knows it. state: as ip-neighbour(8) has it."""

    index: int
    address: str
    mac: str
    state: str


def read(opened: NetlinkSocket) -> list[Neighbour]:
    """All of a namespace in both families, by one dump; without what needs no asking, such as multicast groups."""
    found = []
    for data in opened.dump(Message(RTM_GETNEIGH, 0, _NDM.pack(socket.AF_UNSPEC, 0, 0, 0, 0))):
        family, index, number, _flags, _type = _NDM.unpack_from(data, _HEADER)
        spans = attributes(data, _HEADER + _NDM.size, len(data))
        if family in (socket.AF_INET, socket.AF_INET6) and _NDA_DST in spans and not number & _NUD_NOARP:
            address = str(ipaddress.ip_address(data[slice(*spans[_NDA_DST])]))
            mac = ":".join(f"{byte:02x}" for byte in data[slice(*spans[_NDA_LLADDR])]) if _NDA_LLADDR in spans else ""
            found.append(Neighbour(index, address, mac, _STATES.get(number, str(number))))
    return found


def forget(opened: NetlinkSocket, index: int) -> None:
    """Have the kernel ask again who has the addresses on a link, but for entries that somebody made for good."""
    found = [one for one in read(opened) if one.index == index and one.state != "PERMANENT"]
    messages = []
    for one in found:
        packed = ipaddress.ip_address(one.address).packed
        family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
        body = _NDM.pack(family, index, 0, 0, 0) + ATTRIBUTE.pack(ATTRIBUTE.size + len(packed), _NDA_DST) + packed
        messages.append(Message(RTM_DELNEIGH, 0, body))
    if messages:
        # One that is gone by now needs nothing.
        opened.request(messages)


def state(namespaces: Namespaces, netns: str, address: str) -> str:
    """How far the kernel is with an address: INCOMPLETE, REACHABLE and so on, or NONE.

    On a socket of its own: threads that wait for answers on one socket would take each other's.
    """
    with namespaces.entered(netns), contextlib.closing(NetlinkSocket()) as opened:
        return _state(opened, address)


def _state(opened: NetlinkSocket, address: str) -> str:
    packed = ipaddress.ip_address(address).packed
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for data in opened.dump(Message(RTM_GETNEIGH, 0, _NDM.pack(family, 0, 0, 0, 0))):
        found = attributes(data, _HEADER + _NDM.size, len(data))
        if _NDA_DST in found and data[slice(*found[_NDA_DST])] == packed:
            number = _NDM.unpack_from(data, _HEADER)[2]
            return _STATES.get(number, str(number))
    return "NONE"
