# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of egress_networks: checked, with defaults, each alone and against each other."""

from __future__ import annotations

import hashlib
import ipaddress
import typing as t
from dataclasses import dataclass

from ..errors import SpecError
from . import link_settings, nat_masquerade, publish, values, vlans, wall
from .linux_bridge import MAX_PORTS
from .publish import Entry
from .resolv_conf import DNS, resolv_conf
from .schema import QUOTE, STATE, Option, Options, checked, shown

# RFC 6890: this network, loopback, link-local, multicast, reserved; unspecified, mapped, link-local, multicast.
NOT_FOR_HOSTS = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
    )
]
NAT: Options = {
    "mode": {"type": "str", "choices": ["masquerade", "snat", "none"], "default": "masquerade"},
    "to_source": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "random_fully": {"type": "bool", "default": False},
    "ports": {"type": "str"},
}
NAMESPACE: Options = {
    "name": {"type": "str"},
    "prefix": {"type": "str"},
    "count": {"type": "int"},
    "interface": {"type": "str", "default": "eth0"},
    "addresses": {"type": "raw", "default": "auto"},
    "dns": {"type": "dict", "options": DNS},
    "bandwidth": {"type": "str", "default": "none"},
    "accept_ra": {"type": "bool", "default": False},
    **vlans.OPTIONS,
}
OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "bridge": {"type": "str"},
    "subnets": {"type": "list", "elements": "str"},
    "gateway": {"type": "raw", "default": "first"},
    "mtu": {"type": "raw", "default": "auto"},
    "isolated": {"type": "bool", "default": False},
    **wall.OPTIONS,
    "hairpin": {"type": "bool"},
    "ipv6_link_local": {"type": "bool"},
    "vlan_filtering": {"type": "bool"},
    "vlan": vlans.OPTIONS["vlan"],
    **link_settings.OPTIONS,
    "uplink": {"type": "list", "elements": "str", "default": ["auto"]},
    "nat": {"type": "raw", "default": {}},
    "publish": {"type": "list", "elements": "dict", "options": publish.OPTIONS, "default": []},
    "mss_clamp": {"type": "bool", "default": False},
    "firewall": {"type": "str", "choices": ["auto", "nftables", "iptables", "firewalld", "none"], "default": "auto"},
    "namespaces": {"type": "list", "elements": "raw", "default": []},
    "prefix": {"type": "str"},
    "count": {"type": "int"},
    "state": STATE,
}
NETWORKS: Option = {"type": "list", "elements": "dict", "required": True, "options": OPTIONS}


@dataclass(frozen=True)
class NamespaceSpec:
    """A namespace of a network. addresses None are chosen, else as given, in canonical form."""

    name: str
    interface: str
    addresses: tuple[str, ...] | None
    dns: t.Mapping[str, t.Any] | None
    bandwidth: str
    vlans: t.Mapping[str, t.Any]
    key: str
    accept_ra: bool = False

    @property
    def host_end(self) -> str:
        """The name of the pair's end on the host: unique, since a namespace's name is."""
        return derived_name("np-", self.name)


@dataclass(frozen=True)
class Network:
    """One entry. gateways: an address with its prefix length for each subnet, in their order. mtu 0 is the uplink's.
    uplinks: none for those that the routing table chooses.

    A link-local gateway may be that of several IPv6 subnets.
    """

    name: str
    bridge: str
    subnets: tuple[str, ...]
    gateways: tuple[str, ...]
    mtu: int
    isolated: bool
    wall: wall.Wall
    hairpin: bool | None
    ipv6_link_local: bool
    vlans: t.Mapping[str, t.Any]
    link_settings: t.Mapping[str, t.Any]
    uplinks: tuple[str, ...]
    nat: t.Mapping[str, t.Any]
    publish: tuple[Entry, ...]
    mss_clamp: bool
    firewall: str
    namespaces: tuple[NamespaceSpec, ...]
    absent: bool
    key: str

    @property
    def bridge_vlans(self) -> dict[str, t.Any]:
        """Options of the bridge. A VLAN of the bridge or of a port is kept apart from others by filtering alone."""
        tagged = "vlan" in self.vlans or any(namespace.vlans for namespace in self.namespaces)
        return {**({"vlan_filtering": True} if tagged else {}), **self.vlans}


def derived_name(prefix: str, name: str) -> str:
    """An interface name from a longer one: cut, and kept apart by a hash, where it does not fit."""
    full = prefix + name
    if len(full) <= values.MAX_INTERFACE_NAME:
        return full
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{full[: values.MAX_INTERFACE_NAME - 7]}-{digest}"


def parse_networks(data: t.Any, key: str = "egress_networks", absent: bool = False) -> list[Network]:
    """The list of entries; absent: all of them are. Errors: SpecError with the key, the value and what is allowed."""
    networks = [parse_network(entry, f"{key}[{i}]", absent) for i, entry in enumerate(values.as_list(data, key))]
    check_together(networks)
    return networks


def normalized(data: t.Any, key: str) -> list[dict[str, t.Any]]:
    """Entries with their options in the right types and without what is left out. Errors: SpecError."""
    entries = (checked(entry, OPTIONS, f"{key}[{i}]") for i, entry in enumerate(values.as_list(data, key)))
    return [{name: value for name, value in entry.items() if value is not None} for entry in entries]


def check_together(networks: t.Sequence[Network]) -> None:
    """What one network may not share with another. Errors: SpecError naming the later of two."""
    _distinct((network.key, "name", network.name) for network in networks)
    _distinct((ns.key, "name", ns.name) for network in networks for ns in network.namespaces)
    ends = ((ns.key, "interface on the host", ns.host_end) for network in networks for ns in network.namespaces)
    _distinct([*((network.key, "bridge", network.bridge) for network in networks), *ends])
    _no_overlap([(f"{n.key}.subnets", subnet) for n in networks if not n.absent for subnet in n.subnets])


def _link_local(asked: bool | None, subnets: t.Sequence[str]) -> bool:
    return any(values.family(subnet) == 6 for subnet in subnets) if asked is None else asked


def parse_network(entry: t.Any, key: str, absent: bool = False) -> Network:
    """One entry, by itself. Errors: SpecError with the key, the value and what is allowed."""
    data = checked(entry, OPTIONS, key)
    name = values.network_name(data["name"], f"{key}.name")
    absent = absent or data["state"] == "absent"
    subnets = _subnets(data["subnets"], key)
    if not subnets and not absent:
        raise SpecError(f"{key}.subnets", "missing", "give at least one, such as 10.22.33.0/24")
    bridge = data["bridge"] or derived_name("br-", name)
    network = Network(
        name=name,
        bridge=values.interface_in_rules(values.new_interface_name(bridge, f"{key}.bridge"), f"{key}.bridge"),
        subnets=subnets,
        gateways=_gateways(data["gateway"], subnets, f"{key}.gateway"),
        mtu=_mtu(data["mtu"], f"{key}.mtu"),
        isolated=data["isolated"],
        wall=wall.parse(data, name, absent, key),
        hairpin=data["hairpin"],
        ipv6_link_local=_link_local(data["ipv6_link_local"], subnets),
        vlans=_vlans(data, ("vlan_filtering", "vlan"), key),
        link_settings={name: data[name] for name in link_settings.OPTIONS if data[name] is not None},
        uplinks=_uplinks(data["uplink"], f"{key}.uplink"),
        nat=_nat(data["nat"], name, subnets, data["firewall"], f"{key}.nat") if not absent else {"mode": "none"},
        publish=tuple(publish.entries(data["publish"], f"{key}.publish")) if not absent else (),
        mss_clamp=data["mss_clamp"],
        firewall=data["firewall"],
        namespaces=tuple(_namespaces(data, subnets, key)),
        absent=absent,
        key=key,
    )
    _check_members(network)
    _check_vlans(network)
    _check_published(network)
    check_mtu(network, network.mtu, "")
    return network


def _uplinks(given: t.Sequence[str], key: str) -> tuple[str, ...]:
    if list(given) == ["auto"]:
        return ()
    if not given or "auto" in given:
        raise SpecError(key, f"{list(given)!r}", "allowed are auto alone, and names of interfaces")
    names = (values.interface_in_rules(name.strip(), f"{key}[{i}]") for i, name in enumerate(given))
    return tuple(dict.fromkeys(names))


def _mtu(given: t.Any, key: str) -> int:
    if isinstance(given, str) and given != "auto" and not given.isdigit():
        raise SpecError(key, f"{given!r} is no MTU", "allowed are auto and a number")
    return 0 if given == "auto" else values.mtu(given, key)


def check_mtu(network: Network, mtu: int | None, origin: str) -> None:
    """IPv6 goes with MTUs from 1280 (RFC 8200, section 5). origin says where a value comes from that nobody gave."""
    six = next((subnet for subnet in network.subnets if values.family(subnet) == 6), None)
    if mtu and mtu < values.SMALLEST_IPV6_MTU and six:
        raise SpecError(
            f"{network.key}.mtu",
            f"{mtu}{origin} is too small for {six}",
            f"IPv6 needs at least {values.SMALLEST_IPV6_MTU}",
        )


def _subnets(given: list[str] | None, key: str) -> tuple[str, ...]:
    subnets = tuple(values.subnet(value, f"{key}.subnets[{i}]") for i, value in enumerate(given or []))
    for i, subnet in enumerate(subnets):
        network = ipaddress.ip_network(subnet)
        if "/" not in str((given or [])[i]):
            raise SpecError(
                f"{key}.subnets[{i}]", f"{subnet.split('/')[0]} has no prefix length", "such as 10.22.33.0/24"
            )
        if network.prefixlen > network.max_prefixlen - 1:
            raise SpecError(f"{key}.subnets[{i}]", f"{subnet} has no room", "it must hold a gateway and a namespace")
        if any(network.overlaps(other) for other in NOT_FOR_HOSTS if other.version == network.version):
            raise SpecError(f"{key}.subnets[{i}]", f"{subnet} is no range for hosts", "give a private range")
    _no_overlap([(f"{key}.subnets[{i}]", subnet) for i, subnet in enumerate(subnets)])
    return subnets


def first_host(network: values.IpNetwork) -> int:
    """The lowest address of a subnet that a host may have, as a number."""
    only_hosts = network.prefixlen >= network.max_prefixlen - 1
    return int(network.network_address) + (0 if only_hosts else 1)


def last_host(network: values.IpNetwork) -> int:
    keeps_broadcast = network.version == 4 and network.prefixlen < 31
    return int(network.broadcast_address) - (1 if keeps_broadcast else 0)


def _gateways(given: t.Any, subnets: tuple[str, ...], key: str) -> tuple[str, ...]:
    networks = [ipaddress.ip_network(subnet) for subnet in subnets]
    if given == "first":
        return tuple(f"{type(n.network_address)(first_host(n))}/{n.prefixlen}" for n in networks)
    chosen: dict[values.IpNetwork, str] = {}
    link_local = ""
    for i, item in enumerate([given] if isinstance(given, str) else values.as_list(given, key)):
        address = ipaddress.ip_address(values.address(item, f"{key}[{i}]"))
        home = next((network for network in networks if address in network), None)
        if home is None and address.version == 6 and address.is_link_local:
            if link_local:
                raise SpecError(f"{key}[{i}]", f"{address} is a second link-local one", "give one")
            link_local = f"{address}/64"
            continue
        if home is None:
            raise SpecError(
                f"{key}[{i}]", f"{address} is in none of {', '.join(subnets)}", "give an address of a subnet"
            )
        if home in chosen:
            raise SpecError(f"{key}[{i}]", f"{address} is a second gateway for {home}", "give one for each subnet")
        chosen[home] = values.interface_address(f"{address}/{home.prefixlen}", f"{key}[{i}]")
    for network in networks:
        if link_local and network.version == 6:
            chosen.setdefault(network, link_local)
        if network not in chosen:
            raise SpecError(key, f"none for {network}", "give one for each subnet, or first")
    return tuple(chosen[network] for network in networks)


def _nat(given: t.Any, name: str, subnets: tuple[str, ...], firewall: str, key: str) -> dict[str, t.Any]:
    if not isinstance(given, (str, dict)):
        modes = ", ".join(NAT["mode"]["choices"])
        raise SpecError(key, f"{given!r} is neither a mode nor a mapping", f"allowed modes are {modes}")
    data = checked({"mode": given} if isinstance(given, str) else given, NAT, key)
    if data["mode"] == "none":
        return data
    options = dict.fromkeys(nat_masquerade.OPTIONS)
    request = {**options, **data, "name": name, "sources": list(subnets), "backend": firewall, "state": "present"}
    nat_masquerade.rules(request, f"{key}.")
    return data


def _namespaces(data: t.Mapping[str, t.Any], subnets: tuple[str, ...], key: str) -> t.Iterator[NamespaceSpec]:
    entries = [(f"{key}.namespaces[{i}]", entry) for i, entry in enumerate(data["namespaces"])]
    if data["count"] is not None or data["prefix"] is not None:
        entries.append((key, {"prefix": data["prefix"], "count": data["count"]}))
    for place, entry in entries:
        if not isinstance(entry, (str, dict)):
            advice = QUOTE if isinstance(entry, bool) else "quote a name that looks like a number"
            raise SpecError(place, f"{shown(entry)} is neither a name nor a mapping", advice)
        options = checked({"name": entry} if isinstance(entry, str) else entry, NAMESPACE, place)
        names = [values.namespace_name(name, f"{place}.name") for name in _names(options, place)]
        if names:
            # What they share is looked at once: there may be a thousand of them.
            shared: dict[str, t.Any] = {
                "interface": values.new_interface_name(options["interface"], f"{place}.interface"),
                "addresses": _addresses(options["addresses"], subnets, f"{place}.addresses"),
                "dns": _dns(options["dns"], f"{place}.dns"),
                "bandwidth": _bandwidth(options["bandwidth"], f"{place}.bandwidth"),
                "accept_ra": options["accept_ra"],
                "vlans": _vlans(_port(options, data), tuple(vlans.OPTIONS), place),
            }
            yield from (NamespaceSpec(name=name, key=place, **shared) for name in names)


def _dns(dns: t.Mapping[str, t.Any] | None, key: str) -> t.Mapping[str, t.Any] | None:
    if dns:
        resolv_conf(dns, "", key)
    return dns


def _port(options: t.Mapping[str, t.Any], network: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """VLANs of a namespace's port: a trunk has no VLAN of its own unless it is given."""
    own = options["vlan"] if options["trunk"] is not None or options["vlan"] is not None else network["vlan"]
    return {"vlan": own, "trunk": options["trunk"]}


def _vlans(options: t.Mapping[str, t.Any], names: t.Sequence[str], key: str) -> dict[str, t.Any]:
    """Those of the options that are given, checked."""
    vlans.members({"vlan": options["vlan"], "trunk": options.get("trunk")}, f"{key}.")
    return {name: options[name] for name in names if options[name] is not None}


def _bandwidth(text: str, key: str) -> str:
    if text != "none":
        values.bandwidth(text, key)
    return text


def _names(options: t.Mapping[str, t.Any], key: str) -> list[str]:
    if options["name"] is not None:
        if options["count"] is not None or options["prefix"] is not None:
            raise SpecError(f"{key}.count", "given together with name", "give name, or prefix and count")
        return [options["name"]]
    for one, other in (("prefix", "count"), ("count", "prefix")):
        if options[one] is None and options[other] is not None:
            raise SpecError(f"{key}.{one}", "missing", f"{other} needs it")
    if options["count"] is None:
        raise SpecError(f"{key}.name", "missing", "give name, or prefix and count")
    if options["addresses"] != "auto":
        raise SpecError(f"{key}.addresses", "given for many namespaces", "leave it out together with prefix and count")
    count = values.number(options["count"], f"{key}.count", 0, MAX_PORTS)
    return [f"{options['prefix']}{number}" for number in range(1, count + 1)]


def _addresses(given: t.Any, subnets: tuple[str, ...], key: str) -> tuple[str, ...] | None:
    if given == "auto":
        return None
    found = []
    for i, item in enumerate(values.as_list(given, key)):
        cidr = values.interface_address(item, f"{key}[{i}]")
        network = values.interface(cidr).network
        if str(network) not in subnets:
            inside = [s for s in subnets if values.interface(cidr).ip in ipaddress.ip_network(s)]
            advice = f"use the prefix length of {inside[0]}" if inside else "give an address of a subnet"
            raise SpecError(f"{key}[{i}]", f"{cidr} is not of {' or '.join(subnets)}", advice)
        found.append(cidr)
    values.no_duplicates(found, key)
    if not found:
        raise SpecError(key, "an empty list", "give addresses, or auto")
    return tuple(found)


def _check_members(network: Network) -> None:
    """Addresses of a network's own: each once, none the gateway's, and no more ports than a bridge has."""
    if len(network.namespaces) > MAX_PORTS:
        raise SpecError(
            f"{network.key}.namespaces",
            f"{len(network.namespaces)} namespaces on one bridge",
            f"a bridge holds {MAX_PORTS} ports; spread them over several networks",
        )
    owners = dict.fromkeys(network.gateways, f"the gateway of {network.key}")
    for namespace in network.namespaces:
        for cidr in namespace.addresses or ():
            if cidr in owners:
                raise SpecError(f"{namespace.key}.addresses", f"{cidr} is already {owners[cidr]}", "choose another one")
            owners[cidr] = f"the address of {namespace.key}"


def _check_vlans(network: Network) -> None:
    tagged = [namespace.key for namespace in network.namespaces if namespace.vlans]
    tagged += [network.key] if "vlan" in network.vlans else []
    if tagged and network.vlans.get("vlan_filtering") is False:
        found = f"false, and {tagged[0]} has a VLAN"
        raise SpecError(f"{network.key}.vlan_filtering", found, "leave it out, or leave out vlan and trunk")


def _check_published(network: Network) -> None:
    """Each entry leads to a namespace of the network or to an address of its subnets."""
    names = [namespace.name for namespace in network.namespaces]
    for entry in network.publish:
        if publish.is_address(entry.to):
            address = publish.in_networks(entry.to, network.subnets, f"{entry.key}.to")
            if address in (gateway.split("/")[0] for gateway in network.gateways):
                raise SpecError(f"{entry.key}.to", f"{address} is the gateway", "give the address of a namespace")
        elif entry.to not in names:
            known = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none"
            raise SpecError(
                f"{entry.key}.to", f"{entry.to!r} is no namespace of {network.name}", f"its namespaces are {known}"
            )
    asked = {"publish": network.publish, "mss_clamp": network.mss_clamp, "nat": network.nat["mode"] == "snat"}
    for option, given in asked.items():
        if given and network.firewall == "none":
            raise SpecError(f"{network.key}.{option}", "given with firewall none", "that takes rules; allow some")


def _distinct(entries: t.Iterable[tuple[str, str, str]]) -> None:
    seen: dict[str, str] = {}
    for key, what, value in entries:
        if value in seen:
            raise SpecError(
                f"{key}.{what}" if " " not in what else key,
                f"{what} {value!r} is already that of {seen[value]}",
                "choose another one",
            )
        seen[value] = key


def _no_overlap(entries: t.Sequence[tuple[str, str]]) -> None:
    """In order of their addresses, an overlap is always between neighbours."""
    parsed = [(ipaddress.ip_network(subnet), key) for key, subnet in entries]
    ordered = sorted(parsed, key=lambda e: (e[0].version, int(e[0].network_address), e[0].prefixlen))
    for (first, first_key), (second, second_key) in zip(ordered, ordered[1:]):
        if first.version == second.version and int(second.network_address) <= int(first.broadcast_address):
            raise SpecError(
                second_key, f"{second} overlaps {first} of {first_key}", "choose ranges that do not overlap"
            )
