# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and replies about links, in rtnetlink's form (rtnetlink(7), linux/if_link.h)."""

from __future__ import annotations

import struct
import typing as t
from dataclasses import dataclass, field

from .message_classes import ifinfmsg, nsidmsg
from .netlink import NLM_F_CREATE, NLM_F_EXCL, Message

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK, RTM_GETNSID = 16, 17, 18, 19, 90
AF_BRIDGE = 7
IFLA_PROTINFO, IFLA_BRPORT_STATE, NLA_F_NESTED = 12, 1, 0x8000
_BRIDGE_PORT = struct.Struct("=BxHiII")  # ifinfomsg
_ATTRIBUTE, _STATE = struct.Struct("=HH"), struct.Struct("=HHB3x")
IFF_UP = 0x1
RTEXT_FILTER_SKIP_STATS = 8
COUNTERS = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "rx_errors", "tx_errors", "rx_dropped", "tx_dropped")
_HEADER_LENGTH = 16
_ON_ANOTHER = ("macvlan", "macvtap", "ipvlan", "ipvtap")
# Times of a bridge are in hundredths of a second (USER_HZ).
BRIDGE_OPTIONS: dict[str, tuple[str, int]] = {
    "stp": ("IFLA_BR_STP_STATE", 1),
    "forward_delay": ("IFLA_BR_FORWARD_DELAY", 100),
    "ageing_time": ("IFLA_BR_AGEING_TIME", 100),
    "vlan_filtering": ("IFLA_BR_VLAN_FILTERING", 1),
    "multicast_snooping": ("IFLA_BR_MCAST_SNOOPING", 1),
    "nf_call_iptables": ("IFLA_BR_NF_CALL_IPTABLES", 1),
    "nf_call_ip6tables": ("IFLA_BR_NF_CALL_IP6TABLES", 1),
}
_PORT_OPTIONS = {"isolated": "IFLA_BRPORT_ISOLATED", "hairpin": "IFLA_BRPORT_MODE"}


@dataclass(frozen=True)
class LinkReply:
    """One link as the kernel reports it. peer_index and peer_nsid are set for veth; nsid None means this namespace.

    port_state: of a port of a bridge, BR_STATE_* of linux/if_bridge.h. counters: COUNTERS, where they were asked for.
    lower: of a macvlan or ipvlan, the link of this namespace that it takes packets from.
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

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)


def body(message: t.Any, attributes: t.Sequence[tuple[str, t.Any]], **fields: int) -> bytes:
    """A message's bytes after the netlink header."""
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)[_HEADER_LENGTH:]


def get_link(name: str = "", index: int = 0, counters: bool = False) -> Message:
    attributes: list[tuple[str, t.Any]] = [("IFLA_EXT_MASK", 0 if counters else RTEXT_FILTER_SKIP_STATS)]
    if name:
        attributes.insert(0, ("IFLA_IFNAME", name))
    return Message(RTM_GETLINK, 0, body(ifinfmsg(), attributes, index=index))


def get_links(master: int = 0, counters: bool = False) -> Message:
    """All links, or the ports of one bridge; with their counters where asked."""
    attributes: list[tuple[str, t.Any]] = [("IFLA_EXT_MASK", 0 if counters else RTEXT_FILTER_SKIP_STATS)]
    if master:
        attributes.append(("IFLA_MASTER", master))
    return Message(RTM_GETLINK, 0, body(ifinfmsg(), attributes))


def create_link(attributes: t.Sequence[tuple[str, t.Any]], up: bool, index: int) -> Message:
    flags = IFF_UP if up else 0
    message = body(ifinfmsg(), attributes, index=index, flags=flags, change=flags)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, message)


def set_link(
    attributes: t.Sequence[tuple[str, t.Any]], index: int = 0, name: str = "", up: bool | None = None
) -> Message:
    """Change a link that is named by index or, where its index is not known yet, by name."""
    named = [("IFLA_IFNAME", name)] if name and not index else []
    flags = IFF_UP if up else 0
    change = 0 if up is None else IFF_UP
    return Message(RTM_NEWLINK, 0, body(ifinfmsg(), [*named, *attributes], index=index, flags=flags, change=change))


def delete_link(name: str) -> Message:
    return Message(RTM_DELLINK, 0, body(ifinfmsg(), [("IFLA_IFNAME", name)]))


def bridge_attribute(options: t.Mapping[str, t.Any]) -> tuple[str, t.Any]:
    """The kind's part of a link message for a bridge."""
    data = [(name, int(options[key]) * factor) for key, (name, factor) in BRIDGE_OPTIONS.items() if key in options]
    return ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]})


def veth_attribute(peer_attributes: t.Sequence[tuple[str, t.Any]]) -> tuple[str, t.Any]:
    """The kind's part of a link message for a veth pair: the other end, in the namespace in which it shall be."""
    peer = ("VETH_INFO_PEER", {"attrs": list(peer_attributes)})
    return ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [peer]})]})


def port_attribute(options: t.Mapping[str, bool]) -> tuple[str, t.Any]:
    """The part of a link message for a port of a bridge."""
    data = [(_PORT_OPTIONS[key], int(value)) for key, value in options.items()]
    return (
        "IFLA_LINKINFO",
        {"attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]},
    )


def set_port_state(index: int, state: int) -> Message:
    """Have a port of a bridge forward, or not (BR_STATE_* in linux/if_bridge.h).

    By a message of the bridge family: after others the kernel takes the port for one that came up, and opens it.
    """
    port = _STATE.pack(_STATE.size - 3, IFLA_BRPORT_STATE, state)
    nested = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(port), IFLA_PROTINFO | NLA_F_NESTED) + port
    return Message(RTM_SETLINK, 0, _BRIDGE_PORT.pack(AF_BRIDGE, 0, index, 0, 0) + nested)


def parse_link(data: bytes) -> LinkReply:
    message = ifinfmsg(data)
    message.decode()
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") if info else None) or ""
    peer_index = message.get_attr("IFLA_LINK") if kind == "veth" else None
    return LinkReply(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind,
        flags=message["flags"],
        alias=message.get_attr("IFLA_IFALIAS"),
        mac=message.get_attr("IFLA_ADDRESS"),
        mtu=message.get_attr("IFLA_MTU") or 0,
        master=message.get_attr("IFLA_MASTER") or 0,
        options=_options(info, kind) if info else {},
        peer_index=peer_index,
        peer_nsid=message.get_attr("IFLA_LINK_NETNSID") if kind == "veth" else None,
        qdisc=message.get_attr("IFLA_QDISC") or "",
        port_state=_port(info).get_attr("IFLA_BRPORT_STATE") if _port(info) else None,
        counters=_counters(message.get_attr("IFLA_STATS64")),
        lower=_lower(message, kind),
    )


def _lower(message: t.Any, kind: str) -> int:
    here = kind in _ON_ANOTHER and message.get_attr("IFLA_LINK_NETNSID") is None
    return int(message.get_attr("IFLA_LINK") or 0) if here else 0


def _counters(stats: t.Any) -> dict[str, int]:
    return {name: stats[name] for name in COUNTERS} if stats else {}


def _port(info: t.Any) -> t.Any:
    """What a link is as the port of a bridge, if it is one."""
    is_port = info and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    return info.get_attr("IFLA_INFO_SLAVE_DATA") if is_port else None


def _options(info: t.Any, kind: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    data: t.Any = info.get_attr("IFLA_INFO_DATA") if kind == "bridge" else None
    for key, (name, factor) in BRIDGE_OPTIONS.items() if data else ():
        value = data.get_attr(name)
        if value is not None:
            found[key] = value // factor if factor > 1 else bool(value)
    port = _port(info)
    for key, name in _PORT_OPTIONS.items() if port else ():
        value = port.get_attr(name)
        if value is not None:
            found[key] = bool(value)
    return found


def get_nsid(handle: int) -> Message:
    """Ask which number a namespace, given as a file descriptor, has in this one."""
    return Message(RTM_GETNSID, 0, body(nsidmsg(), [("NETNSA_FD", handle)]))


def parse_nsid(data: bytes) -> int:
    message = nsidmsg(data)
    message.decode()
    number = message.get_attr("NETNSA_NSID")
    # pyroute2 reads it without its sign.
    return -1 if number is None or number >= 1 << 31 else int(number)
