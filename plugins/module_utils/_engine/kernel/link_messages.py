# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and replies about links, in rtnetlink's form (rtnetlink(7), linux/if_link.h)."""

from __future__ import annotations

import functools
import struct
import sys
import typing as t
from dataclasses import dataclass, field

from . import switches
from .attributes import attribute
from .message_layout import Nested, encode
from .netlink import ATTRIBUTE, NLM_F_CREATE, NLM_F_EXCL, Message, Span, Spans, attributes

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, RTM_GETNSID = 16, 17, 18, 19, 90
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109
AF_BRIDGE = 7
IFLA_PROTINFO, IFLA_BRPORT_STATE, NLA_F_NESTED = 12, 1, 0x8000
_STATE = struct.Struct("=HHB3x")
IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
RTEXT_FILTER_SKIP_STATS = 8
COUNTERS = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped")
_HEADER_LENGTH = 16
_NOTHING = (0, 0)
_ON_ANOTHER = ("macvlan", "macvtap", "ipvlan", "ipvtap")
# Times of a bridge are in hundredths of a second (USER_HZ).
_DECLARED: dict[str, tuple[str, int]] = {
    "stp": ("IFLA_BR_STP_STATE", 1),
    "forward_delay": ("IFLA_BR_FORWARD_DELAY", 100),
    "ageing_time": ("IFLA_BR_AGEING_TIME", 100),
    "vlan_filtering": ("IFLA_BR_VLAN_FILTERING", 1),
    "multicast_snooping": ("IFLA_BR_MCAST_SNOOPING", 1),
    "nf_call_iptables": ("IFLA_BR_NF_CALL_IPTABLES", 1),
    "nf_call_ip6tables": ("IFLA_BR_NF_CALL_IP6TABLES", 1),
}
LINK_LOCAL_LEARNING = "link_local_learning"
BRIDGE_OPTIONS = (*_DECLARED, LINK_LOCAL_LEARNING)
# One bit of struct br_boolopt_multi in linux/if_bridge.h, which says the opposite. pyroute2 does not declare it.
_IFLA_BR_MULTI_BOOLOPT, _NO_LINK_LOCAL_LEARNING = 46, 1
_SWITCHES = struct.Struct("=II")  # values and which of them count
_PORT_OPTIONS = {"isolated": "IFLA_BRPORT_ISOLATED", "hairpin": "IFLA_BRPORT_MODE"}
# Of linux/if_link.h, in which replies are read.
_NUMBERS = {
    "IFLA_BR_FORWARD_DELAY": 1,
    "IFLA_BR_AGEING_TIME": 4,
    "IFLA_BR_STP_STATE": 5,
    "IFLA_BR_VLAN_FILTERING": 7,
    "IFLA_BR_MCAST_SNOOPING": 23,
    "IFLA_BR_NF_CALL_IPTABLES": 36,
    "IFLA_BR_NF_CALL_IP6TABLES": 37,
    "IFLA_BRPORT_MODE": 4,
    "IFLA_BRPORT_ISOLATED": 33,
}
_ADDRESS, _NAME, _MTU, _LINK_INDEX, _QDISC, _MASTER, _LINKINFO, _ALIAS = 1, 3, 4, 5, 6, 10, 18, 20  # IFLA_*
_STATS64, _NETNSID, _PROP_LIST, _ALT_IFNAME = 23, 37, 52, 53
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_NSID_HEADER, _NETNSA_NSID = 4, 1  # of linux/net_namespace.h
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_COUNTED = struct.Struct("=8Q")  # the first of struct rtnl_link_stats64


@dataclass(frozen=True)
class LinkReply:
    """One link as the kernel reports it. peer_index and peer_nsid are set for veth; nsid None means this namespace.

    port_state: of a port of a bridge, BR_STATE_* of linux/if_bridge.h. counters: COUNTERS, where they were asked for.
    lower: of a macvlan or ipvlan, the link of this namespace that it takes packets from. other_names: alternative ones.
    parent: of any link that stands on another one of this namespace, such as a VLAN, that one; 0 for none.
    switches: those of switches.py.
    """

    index: int
    name: str
    kind: str
    flags: int
    alias: str | None
    mac: str | None
    mtu: int
    master: int
    options: t.Mapping[str, t.Any]
    peer_index: int | None
    peer_nsid: int | None
    qdisc: str
    port_state: int | None = None
    counters: t.Mapping[str, int] = field(default_factory=dict)
    lower: int = 0
    parent: int = 0
    other_names: tuple[str, ...] = ()
    switches: t.Mapping[str, bool] = field(default_factory=dict)

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def ipv6_link_local(self) -> bool:
        """Whether it gets such an address when it comes up."""
        return self.switches.get("ipv6_link_local", False)

    @property
    def has_carrier(self) -> bool:
        """Which a link has only while it is up."""
        return bool(self.flags & _IFF_LOWER_UP)


def get_link(name: str = "", index: int = 0, counters: bool = False) -> Message:
    attributes: list[tuple[str, t.Any]] = [("IFLA_EXT_MASK", 0 if counters else RTEXT_FILTER_SKIP_STATS)]
    if name:
        attributes.insert(0, ("IFLA_IFNAME", name))
    return Message(RTM_GETLINK, 0, encode("ifinfmsg", attributes, index=index))


@functools.lru_cache(maxsize=16)
def get_links(master: int = 0, counters: bool = False) -> Message:
    """All links, or the ports of one bridge; with their counters where asked."""
    attributes: list[tuple[str, t.Any]] = [("IFLA_EXT_MASK", 0 if counters else RTEXT_FILTER_SKIP_STATS)]
    if master:
        attributes.append(("IFLA_MASTER", master))
    return Message(RTM_GETLINK, 0, encode("ifinfmsg", attributes))


def create_link(attributes: t.Sequence[tuple[str, t.Any]], index: int) -> Message:
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, encode("ifinfmsg", attributes, index=index))


def set_link(
    attributes: t.Sequence[tuple[str, t.Any]], index: int = 0, name: str = "", up: bool | None = None
) -> Message:
    """Change a link that is named by index or, where its index is not known yet, by name."""
    named = [("IFLA_IFNAME", name)] if name and not index else []
    flags = IFF_UP if up else 0
    change = 0 if up is None else IFF_UP
    return Message(RTM_NEWLINK, 0, encode("ifinfmsg", [*named, *attributes], index=index, flags=flags, change=change))


def set_families(redirects: bool | None, link_local: bool | None, index: int = 0, name: str = "") -> Message | None:
    """Set what af_spec of switches.py tells, None where that is nothing, of a link by its index or its name.

    Refused with EAFNOSUPPORT by a link without the family.
    """
    families = switches.af_spec(redirects, link_local)
    named = b"" if index else attribute(_NAME, name.encode() + b"\0")
    return Message(RTM_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + named + families) if families else None


def delete_link(name: str = "", index: int = 0) -> Message:
    return Message(RTM_DELLINK, 0, encode("ifinfmsg", [("IFLA_IFNAME", name)] if name else [], index=index))


def with_other_name(index: int, name: str) -> Message:
    """Give a link an alternative name (IFLA_ALT_IFNAME in linux/if_link.h)."""
    return Message(RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, _other_name(index, name))


def without_other_name(index: int, name: str) -> Message:
    return Message(RTM_DELLINKPROP, 0, _other_name(index, name))


def _other_name(index: int, name: str) -> bytes:
    listed = attribute(_ALT_IFNAME, name.encode() + b"\0")
    return _LINK.pack(0, 0, index, 0, 0) + attribute(_PROP_LIST | NLA_F_NESTED, listed)


def bridge_attribute(options: t.Mapping[str, t.Any]) -> tuple[str, t.Any]:
    """The kind's part of a link message for a bridge."""
    data: list[tuple[str | int, t.Any]] = [
        (name, int(options[key]) * factor) for key, (name, factor) in _DECLARED.items() if key in options
    ]
    if LINK_LOCAL_LEARNING in options:
        off = _NO_LINK_LOCAL_LEARNING * (not options[LINK_LOCAL_LEARNING])
        data.append((_IFLA_BR_MULTI_BOOLOPT, _SWITCHES.pack(off, _NO_LINK_LOCAL_LEARNING)))
    return ("IFLA_LINKINFO", [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", Nested("bridge_data", data))])


def veth_attribute(peer_attributes: t.Sequence[tuple[str, t.Any]]) -> tuple[str, t.Any]:
    """The kind's part of a link message for a veth pair: the other end, in the namespace in which it shall be."""
    peer = [("VETH_INFO_PEER", Nested("ifinfveth", peer_attributes))]
    return ("IFLA_LINKINFO", [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", Nested("veth_data", peer))])


def port_attribute(options: t.Mapping[str, bool]) -> tuple[str, t.Any]:
    """The part of a link message for a port of a bridge."""
    data = [(_PORT_OPTIONS[key], int(value)) for key, value in options.items()]
    inside = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", Nested("bridge_slave_data", data))]
    return ("IFLA_LINKINFO", inside)


def set_port_state(index: int, state: int) -> Message:
    """Have a port of a bridge forward, or not (BR_STATE_* in linux/if_bridge.h).

    By a message of the bridge family: after others the kernel takes the port for one that came up, and opens it.
    """
    port = _STATE.pack(_STATE.size - 3, IFLA_BRPORT_STATE, state)
    nested = ATTRIBUTE.pack(ATTRIBUTE.size + len(port), IFLA_PROTINFO | NLA_F_NESTED) + port
    return Message(RTM_SETLINK, 0, _LINK.pack(AF_BRIDGE, 0, index, 0, 0) + nested)


def index_of(data: bytes) -> int:
    """Of a link as the kernel reports it."""
    return int(_LINK.unpack_from(data, _HEADER_LENGTH)[2])


def switches_of(data: bytes) -> t.Mapping[str, bool]:
    """Of a link as the kernel reports it: those of switches.py."""
    return switches.read(data, attributes(data, _HEADER_LENGTH + _LINK.size, len(data)))


def parse_link(data: bytes) -> LinkReply:
    """By hand: the classes that declare requests take milliseconds to decode a reply, and hosts have thousands."""
    _family, _kind, index, flags, _change = _LINK.unpack_from(data, _HEADER_LENGTH)
    found = attributes(data, _HEADER_LENGTH + _LINK.size, len(data))
    info = attributes(data, *found.get(_LINKINFO, _NOTHING))
    kind = _text(data, info.get(_INFO_KIND))
    of_bridge = _INFO_SLAVE_KIND in info and _text(data, info[_INFO_SLAVE_KIND]) == "bridge"
    port = attributes(data, *info.get(_INFO_SLAVE_DATA, _NOTHING)) if of_bridge else {}
    bridge = attributes(data, *info.get(_INFO_DATA, _NOTHING)) if kind == "bridge" else {}
    veth = kind == "veth"
    below = _number(data, found.get(_LINK_INDEX))
    return LinkReply(
        index=index,
        name=_text(data, found.get(_NAME)),
        kind=kind,
        flags=flags,
        alias=_text(data, found[_ALIAS]) if _ALIAS in found else None,
        mac=data[slice(*found[_ADDRESS])].hex(":") if _ADDRESS in found else None,
        mtu=_number(data, found.get(_MTU)),
        master=_number(data, found.get(_MASTER)),
        options=_options(data, bridge, port) if bridge or port else {},
        peer_index=below if veth and _LINK_INDEX in found else None,
        peer_nsid=_signed(data, found[_NETNSID]) if veth and _NETNSID in found else None,
        qdisc=_text(data, found.get(_QDISC)),
        port_state=data[port[IFLA_BRPORT_STATE][0]] if IFLA_BRPORT_STATE in port else None,
        counters=dict(zip(COUNTERS, _COUNTED.unpack_from(data, found[_STATS64][0]))) if _STATS64 in found else {},
        lower=below if kind in _ON_ANOTHER and _NETNSID not in found else 0,
        parent=below if not veth and _NETNSID not in found and below != index else 0,
        other_names=_other_names(data, *found[_PROP_LIST]) if _PROP_LIST in found else (),
        switches=switches.read(data, found),
    )


def _options(data: bytes, bridge: Spans, port: Spans) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for key, (name, factor) in _DECLARED.items() if bridge else ():
        if _NUMBERS[name] in bridge:
            value = _number(data, bridge[_NUMBERS[name]])
            found[key] = value // factor if factor > 1 else bool(value)
    if _IFLA_BR_MULTI_BOOLOPT in bridge:
        values, _which = _SWITCHES.unpack_from(data, bridge[_IFLA_BR_MULTI_BOOLOPT][0])
        found[LINK_LOCAL_LEARNING] = not values & _NO_LINK_LOCAL_LEARNING
    for key, name in _PORT_OPTIONS.items() if port else ():
        if _NUMBERS[name] in port:
            found[key] = bool(data[port[_NUMBERS[name]][0]])
    return found


def _other_names(data: bytes, start: int, end: int) -> tuple[str, ...]:
    """Each is an attribute of the same type, so they cannot be told apart by it."""
    names = []
    while start + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if kind == _ALT_IFNAME:
            names.append(_text(data, (start + ATTRIBUTE.size, start + length)))
        start += max((length + 3) & ~3, ATTRIBUTE.size)
    return tuple(names)


def _text(data: bytes, span: Span | None) -> str:
    """Up to the byte that ends it."""
    return data[span[0] : span[1]].partition(b"\0")[0].decode(errors="replace") if span else ""


def _number(data: bytes, span: Span | None) -> int:
    return int.from_bytes(data[span[0] : span[1]], sys.byteorder) if span else 0


def _signed(data: bytes, span: Span) -> int:
    return int.from_bytes(data[span[0] : span[1]], sys.byteorder, signed=True)


def get_nsid(handle: int) -> Message:
    """Ask which number a namespace, given as a file descriptor, has in this one."""
    return Message(RTM_GETNSID, 0, encode("nsidmsg", [("NETNSA_FD", handle)]))


def parse_nsid(data: bytes) -> int:
    found = attributes(data, _HEADER_LENGTH + _NSID_HEADER, len(data)).get(_NETNSA_NSID)
    return _signed(data, found) if found else -1
