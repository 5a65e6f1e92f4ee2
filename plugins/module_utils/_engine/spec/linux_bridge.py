# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module linux_bridge, as facts."""

from __future__ import annotations

import typing as t

from ..errors import SpecError
from ..model import HOST, Address, Fact, File, Link, Want
from . import link_settings, values, vlans
from .drop_ins import MANAGERS, drop_in
from .schema import NETWORK, STATE, Options

MAX_PORTS = 1023  # BR_MAX_PORTS - 1 in the kernel's net/bridge/br_private.h

OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "netns": {"type": "str"},
    "addresses": {"type": "list", "elements": "str"},
    "exclusive_addresses": {"type": "bool", "default": False},
    "former_addresses": {"type": "list", "elements": "str"},
    "ports": {"type": "list", "elements": "str"},
    "exclusive_ports": {"type": "bool", "default": False},
    "mtu": {"type": "int"},
    "mac": {"type": "str"},
    "stp": {"type": "bool"},
    "forward_delay": {"type": "int"},
    "ageing_time": {"type": "int"},
    "vlan_filtering": {"type": "bool"},
    "vlan": {"type": "int"},
    "multicast_snooping": {"type": "bool"},
    "link_local_learning": {"type": "bool"},
    "nf_call_iptables": {"type": "bool"},
    "nf_call_ip6tables": {"type": "bool"},
    "ipv6": {"type": "bool"},
    "ipv6_dad": {"type": "bool"},
    **link_settings.OPTIONS,
    "unmanaged": {"type": "list", "elements": "str"},
    "up": {"type": "bool", "default": True},
    "network": NETWORK,
    "state": STATE,
}


class Managed(t.Protocol):
    """Which programs manage links of the host."""

    def managers(self) -> t.Collection[str]: ...


def wanted(options: t.Mapping[str, t.Any], host: Managed, key: str = "") -> Want:
    """Options of one bridge to facts. host is asked only where links are to be left alone."""
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    name = values.new_interface_name(options["name"], f"{key}name")
    cidrs = [values.interface_address(v, f"{key}addresses[{i}]") for i, v in enumerate(options["addresses"] or [])]
    values.no_duplicates(cidrs, f"{key}addresses")
    dad = options["ipv6_dad"] is not False
    addresses = tuple(Address(netns, name, cidr, network=options["network"] or "", dad=dad) for cidr in cidrs)
    if options["state"] == "absent":
        drop_ins = [File(drop_in(manager, name).path) for manager in MANAGERS] if netns == HOST else []
        return Want(absent=(Link(netns, name, kind="bridge"), *addresses, *drop_ins))
    ports = _ports(options, netns, name, key)
    bridge = Link(
        netns,
        name,
        kind="bridge",
        alias=values.mark(options["network"], f"{key}network"),
        mac=None if options["mac"] is None else values.mac(options["mac"], f"{key}mac"),
        mtu=None if options["mtu"] is None else values.mtu(options["mtu"], f"{key}mtu"),
        stp=options["stp"],
        forward_delay=_seconds(options, "forward_delay", key, 0 if options["stp"] is not True else 2, 30),
        ageing_time=_seconds(options, "ageing_time", key, 0, 1000000),
        vlan_filtering=options["vlan_filtering"],
        multicast_snooping=options["multicast_snooping"],
        link_local_learning=options["link_local_learning"],
        nf_call_iptables=options["nf_call_iptables"],
        nf_call_ip6tables=options["nf_call_ip6tables"],
        ipv6=options["ipv6"],
        ipv6_dad=options["ipv6_dad"],
        up=options["up"],
    )
    facts: tuple[Fact, ...] = (bridge, *ports, *addresses, *link_settings.settings(options, bridge))
    facts += (*vlans.vlans(options, bridge, key), *_drop_ins(options, netns, name, host, key))
    return Want(
        facts,
        _former(options, netns, name, cidrs, key),
        exclusive_addresses=frozenset([(netns, name)] if options["exclusive_addresses"] else []),
        exclusive_ports=frozenset([(netns, name)] if options["exclusive_ports"] else []),
    )


def _former(
    options: t.Mapping[str, t.Any], netns: str, name: str, kept: t.Container[str], key: str
) -> tuple[Address, ...]:
    given = enumerate(options["former_addresses"] or [])
    cidrs = [values.interface_address(v, f"{key}former_addresses[{i}]") for i, v in given]
    return tuple(Address(netns, name, cidr) for cidr in cidrs if cidr not in kept)


def _drop_ins(options: t.Mapping[str, t.Any], netns: str, bridge: str, host: Managed, key: str) -> tuple[File, ...]:
    if options["unmanaged"] is None:
        return ()
    if netns != HOST:
        raise SpecError(f"{key}unmanaged", f"given for a bridge in namespace {netns}", "nobody else manages it there")
    links = [values.interface_name(v, f"{key}unmanaged[{i}]") for i, v in enumerate(options["unmanaged"])]
    return tuple(drop_in(manager, bridge, links, options["network"] or "") for manager in host.managers())


def _ports(options: t.Mapping[str, t.Any], netns: str, bridge: str, key: str) -> tuple[Link, ...]:
    names = [values.interface_name(v, f"{key}ports[{i}]") for i, v in enumerate(options["ports"] or [])]
    values.no_duplicates(names, f"{key}ports")
    if bridge in names:
        raise SpecError(f"{key}ports", f"{bridge!r} is the bridge itself", "leave it out")
    if len(names) > MAX_PORTS:
        raise SpecError(f"{key}ports", f"{len(names)} ports", f"a bridge holds {MAX_PORTS}")
    return tuple(Link(netns, port, master=bridge) for port in names)


def _seconds(options: t.Mapping[str, t.Any], option: str, key: str, least: int, most: int) -> int | None:
    value = options[option]
    return None if value is None else values.number(value, f"{key}{option}", least, most)
