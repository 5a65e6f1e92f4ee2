# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of a namespace (rtnetlink(7), linux/rtnetlink.h)."""

from __future__ import annotations

import ipaddress
import socket
import typing as t
from dataclasses import dataclass

from ..model import DEFAULT_DESTINATION, MAIN_TABLE, ROUTE_PROTOCOL, Route
from .link_messages import body
from .message_classes import rtmsg
from .netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Message, NetlinkSocket

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTPROT_KERNEL, RTPROT_RA = 2, 9
RTNH_F_ONLINK = 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
TYPES = {"unicast": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}


@dataclass(frozen=True)
class RouteReply:
    """One route as the kernel reports it; fact has no device.

    device: by index, 0 for none or several. devices: all of them.
    """

    fact: Route
    device: int
    devices: tuple[int, ...]


def read(opened: NetlinkSocket, family: int, table: int = 0, device: int = 0, netns: str = "") -> list[RouteReply]:
    """Routes of a family (4 or 6), of one table and one device where given. The kernel filters."""
    attributes = [("RTA_TABLE", table)] if table else []
    if device:
        attributes.append(("RTA_OIF", device))
    message = Message(RTM_GETROUTE, 0, body(rtmsg(), attributes, family=_family(family)))
    found = []
    for reply in opened.dump(message):
        parsed = _parse(reply, netns)
        if parsed and table in (0, parsed.fact.table) and device in (0, parsed.device):
            found.append(parsed)
    return found


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def _parse(data: bytes, netns: str) -> RouteReply | None:
    """None for what is no route of somebody's choice: local and broadcast entries, cached ones."""
    message = rtmsg(data)
    message.decode()
    if message["type"] not in _TYPE_NAMES or message["flags"] & 0x200:
        return None
    version = 4 if message["family"] == socket.AF_INET else 6
    address = message.get_attr("RTA_DST")
    destination = f"{address}/{message['dst_len']}" if address else DEFAULT_DESTINATION[version]
    metrics = message.get_attr("RTA_METRICS")
    kind = _TYPE_NAMES[message["type"]]
    fact = Route(
        netns,
        str(ipaddress.ip_network(destination)),
        message.get_attr("RTA_TABLE") or message["table"],
        message.get_attr("RTA_PRIORITY") or 0,
        type=kind,
        gateway=message.get_attr("RTA_GATEWAY") or ("" if kind == "unicast" else None),
        source=message.get_attr("RTA_PREFSRC"),
        mtu=metrics.get_attr("RTAX_MTU") if metrics else None,
        onlink=bool(message["flags"] & RTNH_F_ONLINK),
        protocol=message["proto"],
    )
    device = message.get_attr("RTA_OIF") or 0
    devices = tuple(hop["oif"] for hop in message.get_attr("RTA_MULTIPATH") or ()) or (device,)
    return RouteReply(fact, device, tuple(filter(None, devices)))


def add(route: Route, device: int) -> Message:
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, _body(route, device))


def replace(route: Route, device: int) -> Message:
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _body(route, device))


def delete(route: Route, device: int) -> Message:
    return Message(RTM_DELROUTE, 0, _body(route, device))


def _body(route: Route, device: int) -> bytes:
    network = ipaddress.ip_network(route.destination)
    attributes: list[tuple[str, t.Any]] = [("RTA_TABLE", route.table)]
    if network.prefixlen:
        attributes.append(("RTA_DST", str(network.network_address)))
    if route.metric:
        attributes.append(("RTA_PRIORITY", route.metric))
    if route.gateway:
        attributes.append(("RTA_GATEWAY", route.gateway))
    if device:
        attributes.append(("RTA_OIF", device))
    if route.source:
        attributes.append(("RTA_PREFSRC", route.source))
    if route.mtu:
        attributes.append(("RTA_METRICS", {"attrs": [("RTAX_MTU", route.mtu)]}))
    kind = route.type or "unicast"
    on_link = network.version == 4 and kind == "unicast" and not route.gateway
    return body(
        rtmsg(),
        attributes,
        family=_family(network.version),
        dst_len=network.prefixlen,
        table=route.table if route.table < 256 else 0,
        proto=ROUTE_PROTOCOL if route.protocol is None else route.protocol,
        scope=RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE,
        type=TYPES[kind],
        flags=RTNH_F_ONLINK if route.onlink else 0,
    )


def default_uplinks(opened: NetlinkSocket, family: int) -> list[RouteReply]:
    """Default routes of the main table, best first."""
    found = [
        reply
        for reply in read(opened, family, MAIN_TABLE)
        if reply.fact.destination == DEFAULT_DESTINATION[family] and reply.fact.type == "unicast" and reply.devices
    ]
    return sorted(found, key=lambda reply: reply.fact.metric)
