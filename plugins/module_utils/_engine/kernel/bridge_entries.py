# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding tables of bridges: which MAC address is behind which port (bridge(8), linux/neighbour.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .link_messages import AF_BRIDGE
from .netlink import Message, NetlinkSocket, attributes

RTM_GETNEIGH = 30
_NDM = struct.Struct("=BxxxiHBB")
_HEADER = 16
_NDA_LLADDR, _NDA_VLAN, _NDA_MASTER = 2, 5, 9
_NUD_NOARP, _NUD_PERMANENT = 0x40, 0x80
_NTF_EXT_LEARNED = 0x10


@dataclass(frozen=True)
class Entry:
    """bridge, port: indexes of links; the bridge itself is the port of its own addresses. vlan 0 is none.

    kind: learned from packets; static, that somebody set; external, that another program learned; local, of the port.
    """

    bridge: int
    port: int
    mac: str
    vlan: int
    kind: str


def read(opened: NetlinkSocket) -> list[Entry]:
    """Those of all bridges of a namespace, by one dump."""
    found = []
    for data in opened.dump(Message(RTM_GETNEIGH, 0, _NDM.pack(AF_BRIDGE, 0, 0, 0, 0))):
        _family, port, state, flags, _type = _NDM.unpack_from(data, _HEADER)
        spans = attributes(data, _HEADER + _NDM.size, len(data))
        # What has no bridge are addresses that a link itself listens to.
        if _NDA_MASTER in spans and _NDA_LLADDR in spans:
            mac = ":".join(f"{byte:02x}" for byte in data[slice(*spans[_NDA_LLADDR])])
            (bridge,) = struct.unpack("=I", data[slice(*spans[_NDA_MASTER])])
            vlan = struct.unpack("=H", data[slice(*spans[_NDA_VLAN])])[0] if _NDA_VLAN in spans else 0
            found.append(Entry(bridge, port, mac, vlan, _kind(state, flags)))
    return found


def _kind(state: int, flags: int) -> str:
    if state & _NUD_PERMANENT:
        return "local"
    if flags & _NTF_EXT_LEARNED:
        return "external"
    return "static" if state & _NUD_NOARP else "learned"
