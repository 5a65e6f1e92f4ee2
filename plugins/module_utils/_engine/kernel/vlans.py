# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VLANs of a bridge's ports and of the bridge itself (linux/if_bridge.h, net/bridge/br_netlink.c in the kernel)."""

from __future__ import annotations

import struct
import typing as t

from ..model import Vlans
from .attributes import attribute, attributes
from .link_messages import RTM_DELLINK, RTM_GETLINK
from .netlink import Message, NetlinkSocket

RTM_SETLINK = 19
_AF_BRIDGE = 7
_IFLA_AF_SPEC, _IFLA_EXT_MASK = 26, 29
_IFLA_BRIDGE_FLAGS, _IFLA_BRIDGE_VLAN_INFO = 0, 2
_BRIDGE_FLAGS_SELF = 2
_RTEXT_FILTER_BRVLAN = 2
_PVID, _UNTAGGED = 2, 4
DEFAULT = 1  # in which the kernel puts a new port
_HEADER = struct.Struct("=BxHiII")
_NLMSG_HEADER = 16


def read(opened: NetlinkSocket, netns: str, links: t.Mapping[int, str]) -> list[Vlans]:
    """Those of ports and bridges, given as {index: name}."""
    request = _HEADER.pack(_AF_BRIDGE, 0, 0, 0, 0) + attribute(_IFLA_EXT_MASK, struct.pack("=I", _RTEXT_FILTER_BRVLAN))
    replies = [reply[_NLMSG_HEADER:] for reply in opened.dump(Message(RTM_GETLINK, 0, request))]
    return [parse(reply, netns, links[_index(reply)]) for reply in replies if _index(reply) in links]


def _index(body: bytes) -> int:
    return int(_HEADER.unpack_from(body)[2])


def parse(body: bytes, netns: str, name: str) -> Vlans:
    """One link of a listing. A VLAN that arrives untagged and leaves tagged, or the other way, counts as tagged."""
    untagged, tagged = 0, []
    for kind, data in attributes(dict(attributes(body[_HEADER.size :])).get(_IFLA_AF_SPEC, b"")):
        if kind == _IFLA_BRIDGE_VLAN_INFO:
            flags, vlan = struct.unpack_from("=HH", data)
            if flags & _PVID and flags & _UNTAGGED:
                untagged = vlan
            else:
                tagged.append(vlan)
    return Vlans(netns, name, untagged, tuple(sorted(tagged)))


def put(before: Vlans | None, after: Vlans, index: int, is_bridge: bool) -> list[Message]:
    """Leave the VLANs that are not wanted, and join those that are."""
    old = {DEFAULT} if before is None else _members(before)
    new = _members(after)
    leave = [_message(RTM_DELLINK, index, is_bridge, vlan, 0) for vlan in sorted(old - new)]
    flags = {after.untagged: _PVID | _UNTAGGED}
    return leave + [_message(RTM_SETLINK, index, is_bridge, vlan, flags.get(vlan, 0)) for vlan in sorted(new)]


def _members(vlans: Vlans) -> set[int]:
    return {vlan for vlan in (vlans.untagged or 0, *(vlans.tagged or ())) if vlan}


def _message(kind: int, index: int, is_bridge: bool, vlan: int, flags: int) -> Message:
    spec = attribute(_IFLA_BRIDGE_FLAGS, struct.pack("=H", _BRIDGE_FLAGS_SELF)) if is_bridge else b""
    spec += attribute(_IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags, vlan))
    return Message(kind, 0, _HEADER.pack(_AF_BRIDGE, 0, index, 0, 0) + attribute(_IFLA_AF_SPEC, spec))
