# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbours of a namespace (ARP and neighbour discovery; rtnetlink(7), linux/neighbour.h)."""

from __future__ import annotations

import collections
import contextlib
import errno
import ipaddress
import socket
import struct
import threading
import typing as t
from dataclasses import dataclass

from .namespaces import Namespaces
from .netlink import ATTRIBUTE, Answer, Message, NetlinkSocket, Spans, attributes

RTM_DELNEIGH, RTM_GETNEIGH, RTM_GETNEIGHTBL = 29, 30, 66
_NDM = struct.Struct("=BxxxiHBB")
_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_NDT = struct.Struct("=Bxxx")
_NDTA_THRESH3, _NDTA_STATS = 4, 7
_LIMIT, _TABLE_FULLS = struct.Struct("=I"), struct.Struct("=80xQ")  # gc_thresh3, and the last of struct ndt_stats
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


class Place(t.NamedTuple):
    """An address on a link, which is given by its index, of a namespace."""

    netns: str
    link: int
    address: str


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
            found.append(Neighbour(index, address, _mac(data, spans), _STATES.get(number, str(number))))
    return found


def forget(opened: NetlinkSocket, index: int) -> None:
    """Have the kernel ask again who has the addresses on a link, but for entries that somebody made for good."""
    found = [one for one in read(opened) if one.index == index and one.state != "PERMANENT"]
    messages = [_about(RTM_DELNEIGH, index, one.address) for one in found]
    if messages:
        # One that is gone by now needs nothing.
        opened.request(messages)


def _about(kind: int, index: int, address: str) -> Message:
    packed = ipaddress.ip_address(address).packed
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    named = ATTRIBUTE.pack(ATTRIBUTE.size + len(packed), _NDA_DST) + packed
    return Message(kind, 0, _NDM.pack(family, index, 0, 0, 0) + named)


class Visits:
    """Probes to addresses on links, side by side in threads.

    What the kernel learns by them alone is taken away after the last that may need it: it has one table for all
    namespaces, and refuses new neighbours when that is full.
    """

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._lock = threading.Lock()
        self._guests: collections.Counter[Place] = collections.Counter()
        self._unknown: set[Place] = set()

    @contextlib.contextmanager
    def to(self, places: t.Sequence[Place]) -> t.Iterator[None]:
        """For the block, somebody visits them."""
        with contextlib.ExitStack() as stack:
            for place in places:
                self._come(place)
                stack.callback(self._go, place)
            yield

    def _come(self, place: Place) -> None:
        with self._lock:
            if not self._guests[place] and self._ask(RTM_GETNEIGH, place).errno == errno.ENOENT:
                self._unknown.add(place)
            self._guests[place] += 1

    def _go(self, place: Place) -> None:
        with self._lock:
            self._guests[place] -= 1
            if not self._guests[place] and place in self._unknown:
                self._unknown.remove(place)
                replies = self._ask(RTM_GETNEIGH, place).replies
                # Somebody may have put one there for good meanwhile.
                if replies and not _NDM.unpack_from(replies[0], _HEADER)[2] & (_NUD_NOARP | _NUD_PERMANENT):
                    self._ask(RTM_DELNEIGH, place)

    def _ask(self, kind: int, place: Place) -> Answer:
        with self._namespaces.entered(place.netns), contextlib.closing(NetlinkSocket()) as opened:
            (answer,) = opened.request([_about(kind, place.link, place.address)])
        return answer


class Table(t.NamedTuple):
    """The kernel's table of one family, for all namespaces. refused: how many it has ever had no room for."""

    limit: int
    refused: int


def table(family: int) -> Table:
    """family: 4 or 6. Errors: KernelError."""
    with contextlib.closing(NetlinkSocket()) as opened:
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        for data in opened.dump(Message(RTM_GETNEIGHTBL, 0, _NDT.pack(kind))):
            found = attributes(data, _HEADER + _NDT.size, len(data))
            # The others are about single links.
            if data[_HEADER] == kind and _NDTA_STATS in found:
                (limit,) = _LIMIT.unpack_from(data, found[_NDTA_THRESH3][0])
                (refused,) = _TABLE_FULLS.unpack_from(data, found[_NDTA_STATS][0])
                return Table(limit, refused)
    return Table(0, 0)


def state(namespaces: Namespaces, netns: str, address: str) -> str:
    """How far the kernel is with an address: INCOMPLETE, REACHABLE and so on, or NONE."""
    return entry(namespaces, netns, address)[0]


def entry(namespaces: Namespaces, netns: str, address: str) -> tuple[str, str]:
    """(its state, the MAC address or "").

    On a socket of its own: threads that wait for answers on one socket would take each other's.
    """
    with namespaces.entered(netns), contextlib.closing(NetlinkSocket()) as opened:
        return _entry(opened, address)


def _entry(opened: NetlinkSocket, address: str) -> tuple[str, str]:
    packed = ipaddress.ip_address(address).packed
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for data in opened.dump(Message(RTM_GETNEIGH, 0, _NDM.pack(family, 0, 0, 0, 0))):
        found = attributes(data, _HEADER + _NDM.size, len(data))
        if _NDA_DST in found and data[slice(*found[_NDA_DST])] == packed:
            number = _NDM.unpack_from(data, _HEADER)[2]
            return _STATES.get(number, str(number)), _mac(data, found)
    return "NONE", ""


def _mac(data: bytes, found: Spans) -> str:
    return ":".join(f"{byte:02x}" for byte in data[slice(*found[_NDA_LLADDR])]) if _NDA_LLADDR in found else ""
