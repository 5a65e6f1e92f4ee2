# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of a namespace (rtnetlink(7), linux/rtnetlink.h)."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import socket
import struct
import typing as t

from ..model import DEFAULT_DESTINATION, MAIN_TABLE, MARK, ROUTE_PROTOCOL, Route, is_ours
from . import nexthops
from .message_layout import encode
from .netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Message, NetlinkSocket, Spans, address_text, attributes

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA = 1, 2, 9
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH = 1, 2, 4, 5, 6, 7, 8, 9
RTA_TABLE, RTA_VIA, RTA_NH_ID, RTAX_MTU = 15, 18, 30, 2
RTM_F_CLONED, RTM_F_FIB_MATCH, RTNH_F_ONLINK = 0x200, 0x2000, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 2, 3, 4, 5
LOCAL_TABLE = 255
TYPES = {"unicast": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}
_START = 16  # after nlmsghdr
_HEADER, _NUMBER = struct.Struct("=8BI"), struct.Struct("=I")  # struct rtmsg, and most of its attributes
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop
_TYPE_NAMES = {number: name for name, number in TYPES.items()}
# For lookups of the way out, which send nothing: a host may have a route of its own to one of them.
FAR = {4: ("203.0.113.1", "192.0.2.1"), 6: ("2001:db8::1", "2000::1")}
_HALVES = 3  # bits of prefixes at most by which programs divide the internet, to go ahead of a default route


class RouteReply(t.NamedTuple):
    """One route as the kernel reports it; fact has no device.

    device: by index, 0 for none or several. devices: all of them. nexthop: the object that has them, 0 for none.
    """

    fact: Route
    device: int
    devices: tuple[int, ...]
    nexthop: int = 0


def read(opened: NetlinkSocket, family: int, table: int = 0, device: int = 0, netns: str = "") -> list[RouteReply]:
    """Routes of a family (4 or 6), of one table and one device where given. The kernel filters.

    Without those for packets of some sources alone (ip route add ... from), which are not a way for all.
    """
    parsed = [_parse(reply, netns) for reply in opened.dump(_question(family, table, device))]
    found = _resolved(opened, [reply for reply in parsed if reply])
    return [reply for reply in found if table in (0, reply.fact.table) and device in (0, reply.device)]


def _resolved(opened: NetlinkSocket, replies: list[RouteReply]) -> list[RouteReply]:
    """With the devices and gateways of next hops that are objects of their own: routes have their number alone where
    net.ipv4.nexthop_compat_mode is 0.
    """
    if all(reply.devices or not reply.nexthop for reply in replies):
        return replies
    known = nexthops.read(opened)
    return [_by_nexthop(reply, known) if reply.nexthop and not reply.devices else reply for reply in replies]


def _by_nexthop(reply: RouteReply, known: t.Mapping[int, nexthops.NextHop]) -> RouteReply:
    hops = nexthops.members(known, reply.nexthop)
    devices = tuple(hop.device for hop in hops if hop.device)
    alone = hops[0] if len(hops) == 1 else None
    kind = "blackhole" if alone and alone.blackhole else reply.fact.type
    fact = dataclasses.replace(reply.fact, gateway=alone.gateway if alone else reply.fact.gateway, type=kind)
    return reply._replace(fact=fact, device=alone.device if alone else 0, devices=devices)


@functools.lru_cache(maxsize=16)
def _question(family: int, table: int, device: int) -> Message:
    asked = [("RTA_TABLE", table)] if table else []
    if device:
        asked.append(("RTA_OIF", device))
    return Message(RTM_GETROUTE, 0, encode("rtmsg", asked, family=_family(family)))


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def learned(opened: NetlinkSocket, device: int, cidrs: t.Iterable[str]) -> list[RouteReply]:
    """IPv6 routes that a device has from router advertisements or redirects. cidrs: its own addresses.

    The kernel calls those to prefixes of an advertisement its own, like those to the networks of addresses.
    """
    own = {str(ipaddress.ip_interface(cidr).network) for cidr in cidrs}
    return [
        reply
        for reply in read(opened, 6, device=device)
        if reply.fact.protocol in (RTPROT_REDIRECT, RTPROT_RA)
        or (reply.fact.protocol == RTPROT_KERNEL and reply.fact.table == MAIN_TABLE and _is_of_a_prefix(reply, own))
    ]


def _is_of_a_prefix(reply: RouteReply, own: t.Container[str]) -> bool:
    network = ipaddress.ip_network(reply.fact.destination)
    return not (network.is_link_local or network.is_multicast or str(network) in own)


def misleading(opened: NetlinkSocket, gateway: str, held: bool = False) -> list[Message]:
    """Messages that delete the IPv4 routes by which a gateway is none: to it as what no host has, or as the namespace's
    own address. held: it has that, with which the kernel has a route.
    """
    address = ipaddress.IPv4Address(gateway)
    kinds = (RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST, *(() if held else (RTN_LOCAL,)))
    deletions = []
    for table in (LOCAL_TABLE, MAIN_TABLE):
        for data in opened.dump(_question(4, table, 0)):
            _family, length, _source, tos, number, _protocol, _scope, kind, flags = _HEADER.unpack_from(data, _START)
            if kind not in kinds or tos or flags & RTM_F_CLONED:
                continue
            found = attributes(data, _START + _HEADER.size, len(data))
            destination = _address(data, found, RTA_DST) or str(ipaddress.IPv4Address(0))
            network = ipaddress.ip_network(f"{destination}/{length}")
            if (_number(data, found, RTA_TABLE) or number) != table or address not in network:
                continue
            metric = _number(data, found, RTA_PRIORITY)
            asked: list[tuple[str, t.Any]] = [("RTA_TABLE", table), ("RTA_DST", destination)]
            asked += [("RTA_PRIORITY", metric)] if metric else []
            told = {"dst_len": length, "table": table, "scope": RT_SCOPE_NOWHERE, "type": kind}
            deletions.append(Message(RTM_DELROUTE, 0, encode("rtmsg", asked, family=int(socket.AF_INET), **told)))
    return deletions


def _parse(data: bytes, netns: str) -> RouteReply | None:
    """None for what is no route of somebody's choice, as local, broadcast and cached ones, or not for all sources."""
    family, length, source, _tos, table, protocol, _scope, kind, flags = _HEADER.unpack_from(data, _START)
    if kind not in _TYPE_NAMES or source or flags & RTM_F_CLONED:
        return None
    found = attributes(data, _START + _HEADER.size, len(data))
    version = 4 if family == socket.AF_INET else 6
    destination = _address(data, found, RTA_DST)
    fact = Route(
        netns,
        f"{destination}/{length}" if destination else DEFAULT_DESTINATION[version],
        _number(data, found, RTA_TABLE) or table,
        _number(data, found, RTA_PRIORITY),
        type=_TYPE_NAMES[kind],
        gateway=_gateway(data, found) or ("" if _TYPE_NAMES[kind] == "unicast" else None),
        source=_address(data, found, RTA_PREFSRC),
        mtu=_number(data, attributes(data, *found[RTA_METRICS]), RTAX_MTU) or None if RTA_METRICS in found else None,
        onlink=bool(flags & RTNH_F_ONLINK),
        protocol=protocol,
    )
    device = _number(data, found, RTA_OIF)
    hops = _hops(data, *found[RTA_MULTIPATH]) if RTA_MULTIPATH in found else (device,)
    return RouteReply(fact, device, tuple(filter(None, hops)), _number(data, found, RTA_NH_ID))


def _gateway(data: bytes, found: Spans) -> str | None:
    """RTA_VIA has one of the other family, behind the number of that."""
    if RTA_VIA in found:
        start, end = found[RTA_VIA]
        return address_text(data[start + 2 : end])
    return _address(data, found, RTA_GATEWAY)


def _address(data: bytes, found: Spans, kind: int) -> str | None:
    return address_text(data[slice(*found[kind])]) if kind in found else None


def _number(data: bytes, found: Spans, kind: int) -> int:
    return int(_NUMBER.unpack_from(data, found[kind][0])[0]) if kind in found else 0


def _hops(data: bytes, start: int, end: int) -> tuple[int, ...]:
    """The devices of a route that has several next hops."""
    devices = []
    while start + _NEXT_HOP.size <= end:
        length, _flags, _weight, device = _NEXT_HOP.unpack_from(data, start)
        devices.append(device)
        start += max((length + 3) & ~3, _NEXT_HOP.size)
    return tuple(devices)


def add(route: Route, device: int) -> Message:
    """Refused with EEXIST where it is there. A learned route of IPv6 may have the same metric, and stays beside it:
    with NLM_F_EXCL the kernel would refuse that as well.
    """
    alone = NLM_F_EXCL if ":" not in route.destination else 0
    return Message(RTM_NEWROUTE, NLM_F_CREATE | alone, _body(route, device))


def replace(route: Route, device: int) -> Message:
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, _body(route, device))


def delete(route: Route, device: int) -> Message:
    return Message(RTM_DELROUTE, 0, _body(route, device))


def _body(route: Route, device: int) -> bytes:
    network = ipaddress.ip_network(route.destination)
    asked: list[tuple[str, t.Any]] = [("RTA_TABLE", route.table)]
    if network.prefixlen:
        asked.append(("RTA_DST", str(network.network_address)))
    if route.metric:
        asked.append(("RTA_PRIORITY", route.metric))
    if route.gateway and (":" in route.gateway) == (network.version == 6):
        asked.append(("RTA_GATEWAY", route.gateway))
    elif route.gateway:
        asked.append(("RTA_VIA", route.gateway))
    if device:
        asked.append(("RTA_OIF", device))
    if route.source:
        asked.append(("RTA_PREFSRC", route.source))
    if route.mtu:
        asked.append(("RTA_METRICS", [("RTAX_MTU", route.mtu)]))
    kind = route.type or "unicast"
    on_link = network.version == 4 and kind == "unicast" and not route.gateway
    return encode(
        "rtmsg",
        asked,
        family=_family(network.version),
        dst_len=network.prefixlen,
        table=route.table if route.table < 256 else 0,
        proto=ROUTE_PROTOCOL if route.protocol is None else route.protocol,
        scope=RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE,
        type=TYPES[kind],
        flags=RTNH_F_ONLINK if route.onlink else 0,
    )


def leads_out(reply: RouteReply, alias: str | None, protected: bool = False) -> bool:
    """Whether a default route by a link with an alias may lead out of this host.

    Links of networks lead to tenants, and what a managed link learned is a tenant's word. protected: whether the route
    is to be kept, as one that an administrator set by such a link is.
    """
    if not is_ours(alias):
        return True
    return reply.fact.protocol not in (RTPROT_RA, RTPROT_REDIRECT) and (protected or alias == MARK)


def ways_out(opened: NetlinkSocket, family: int, main: t.Iterable[RouteReply] | None = None) -> list[RouteReply]:
    """The route that the kernel takes to what is far, by whatever rule and table, and the main table's default routes.

    main: the routes of that table, if they are known.
    """
    found = default_uplinks(opened, family) if main is None else defaults(main, family)
    chosen = _chosen(opened, family)
    if chosen is None or _way(chosen) in map(_way, found[:1]):
        return found
    return [chosen, *(reply for reply in found if _way(reply) != _way(chosen))]


def _way(reply: RouteReply) -> tuple[tuple[int, ...], str | None]:
    return reply.devices, reply.fact.gateway


def _chosen(opened: NetlinkSocket, family: int) -> RouteReply | None:
    for address in FAR[family]:
        bits = 32 if family == 4 else 128
        asked = [("RTA_DST", address)]
        body = encode("rtmsg", asked, family=_family(family), dst_len=bits, flags=RTM_F_FIB_MATCH)
        (answer,) = opened.request([Message(RTM_GETROUTE, 0, body)])
        reply = _parse(answer.replies[0], "") if answer.replies and not answer.errno else None
        if reply and int(reply.fact.destination.partition("/")[2]) <= _HALVES:
            (reply,) = _resolved(opened, [reply])
            return reply if reply.fact.type == "unicast" and reply.devices else None
    return None


def default_uplinks(opened: NetlinkSocket, family: int) -> list[RouteReply]:
    """Default routes of the main table, best first."""
    return defaults(read(opened, family, MAIN_TABLE), family)


def sources_of_defaults(opened: NetlinkSocket, family: int) -> list[str]:
    """The networks for whose addresses alone there is a default route (ip route add default from NETWORK)."""
    found: dict[str, None] = {}
    for data in opened.dump(_question(family, MAIN_TABLE, 0)):
        _family, length, bits, *_rest = _HEADER.unpack_from(data, _START)
        spans = attributes(data, _START + _HEADER.size, len(data))
        source = _address(data, spans, RTA_SRC)
        if source and bits and not length:
            found[f"{source}/{bits}"] = None
    return list(found)


def defaults(replies: t.Iterable[RouteReply], family: int) -> list[RouteReply]:
    """Those of a table's routes that lead somewhere by default, best first."""
    found = [
        reply
        for reply in replies
        if reply.fact.destination == DEFAULT_DESTINATION[family] and reply.fact.type == "unicast" and reply.devices
    ]
    return sorted(found, key=lambda reply: reply.fact.metric)
