# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks expanded into the options of the modules that build them: one list for each module."""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import SpecError
from ..rules import ALL_NETWORKS
from . import publish, values
from .allocation import allocate, gateway_for
from .host import HostView
from .network import NamespaceSpec, Network, check_mtu, parse_networks
from .wall import OPEN

ModuleOptions = dict[str, list[dict[str, t.Any]]]
_MODULES = ("netns", "linux_bridge", "veth", "ns_route", "sysctl_forward", "nat_masquerade", "forward_accept")
_NO_RESOLVER: dict[str, t.Any] = {"servers": []}


def module_options(
    data: t.Any,
    host: HostView,
    key: str = "egress_networks",
    absent: bool = False,
    only: t.Collection[str] | None = None,
) -> ModuleOptions:
    """{module: [options, ...]} that build the networks on the host, in the order in which the modules run.

    absent: every network is to be removed. only: namespaces, if not all; then none is removed either.
    Errors: SpecError with the offending key.
    """
    return expanded(parse_networks(data, key, absent), host, absent, only)


def expanded(
    networks: t.Sequence[Network], host: HostView, absent: bool = False, only: t.Collection[str] | None = None
) -> ModuleOptions:
    """The same of networks that are parsed. Errors: SpecError with the offending key."""
    parts = by_network(networks, host, absent, only)
    return {name: [item for part in parts.values() for item in part[name]] for name in _MODULES}


def by_network(
    networks: t.Sequence[Network],
    host: HostView,
    absent: bool = False,
    only: t.Collection[str] | None = None,
    chosen: t.Collection[str] | None = None,
) -> dict[str, ModuleOptions]:
    """The same for each network by its name.

    chosen: names of those that are built or removed, if not all. What the others list is theirs all the same.
    """
    _check_only(networks, absent, only)
    beside = [network for network in networks if not (absent or network.absent)]
    claimed = {namespace.name for network in beside for namespace in network.namespaces}
    networks = [network for network in networks if chosen is None or network.name in chosen]
    listed = {network.name for network in networks}
    # Of what is to be restricted for another network, and of what stays where it is until that one is built.
    taken = _ports(network for network in beside if network.name in listed)
    waiting = taken | (_ports(beside) & host.owners.keys())
    parts: dict[str, ModuleOptions] = {network.name: {name: [] for name in _MODULES} for network in networks}
    for network in networks:
        options = parts[network.name]
        if absent or network.absent:
            _remove(network, host, options, taken)
        else:
            _check_against_host(network, host, listed)
            _build(network, host, options, only, beside)
            if only is None:
                _remove_strays(network, host, options, claimed)
                options["forward_accept"][-1].update(_former_ports(network, host, waiting))
    for network in networks:
        _take_back(network, host, parts, absent or network.absent)
    _remove_resolvers({name: owner for name, owner in host.resolvers.items() if owner in listed}, host, parts, only)
    if only is None:
        kept = {route["dest"] for options in parts.values() for route in options["ns_route"]}
        for destination, owner in sorted(host.routed.items()):
            if owner in listed and destination not in kept:
                parts[owner]["ns_route"].append({"dest": destination, "state": "absent"})
    return parts


def _check_only(networks: t.Sequence[Network], absent: bool, only: t.Collection[str] | None) -> None:
    if only is not None and absent:
        raise SpecError("only", "some namespaces of networks that are to be removed", "leave it out with state absent")
    named = {namespace.name for network in networks if not network.absent for namespace in network.namespaces}
    for name in only or ():
        if name not in named:
            raise SpecError("only", f"{name!r} is no namespace of the networks", "list it in one of them")


def _build(
    network: Network,
    host: HostView,
    options: ModuleOptions,
    only: t.Collection[str] | None,
    beside: t.Sequence[Network],
) -> None:
    families = {values.family(subnet) for subnet in network.subnets}
    narrowest = narrowest_uplink(network, host, families)
    mtu = network.mtu or host.mtus.get(narrowest)
    check_mtu(network, mtu, f", the MTU of {narrowest},")
    addresses = allocate(network, host.assigned, host.found)
    ours = host.owners.get(network.bridge, network.name) == network.name
    options["linux_bridge"].append(
        {
            "name": network.bridge,
            "network": network.name,
            "addresses": list(dict.fromkeys(network.gateways)),
            "exclusive_addresses": ours,
            "mtu": mtu,
            # A port of a bridge with STP carries nothing for half a minute.
            "stp": False if ours else None,
            # Tenants are its ports: nothing that they send decides how the host reaches others.
            **({"ipv6": 6 in families, "ipv6_dad": False, "link_local_learning": False} if ours else {}),
            **network.link_settings,
            **network.bridge_vlans,
            "unmanaged": [namespace.host_end for namespace in network.namespaces],
        }
    )
    for namespace in network.namespaces if only is None else [one for one in network.namespaces if one.name in only]:
        _build_namespace(network, namespace, addresses[namespace.name], mtu, ours, options)
        if host.namespaces.get(namespace.name, "") is None:
            # Somebody else's loopback is theirs.
            options["netns"][-1]["loopback"] = False
    options["ns_route"] += _routes(network)
    options["sysctl_forward"].append(
        {
            "network": network.name,
            "ipv4": True if 4 in families else None,
            "ipv6": True if 6 in families else None,
            # Replies arrive by the uplink, and each interface has a switch of its own.
            "interfaces": [network.bridge, *_uplinks(network, host, families)],
        }
    )
    leaves_by_bridge = not ours and any(network.bridge in way for ways in host.uplinks.values() for way in ways)
    guard = {
        "bridge": network.bridge,
        "shared": leaves_by_bridge,
        # Behind the bridge of another tool there may be others.
        "strict": ours,
        "replies": network.wall.inbound == OPEN,
        "exclude": _untranslated_peers(network, beside),
    }
    options["nat_masquerade"].append(_nat(network, addresses, leaves_by_bridge, guard))
    options["forward_accept"].append({**_forward(network), **(_wall(network) if ours else {})})


def _build_namespace(
    network: Network,
    namespace: NamespaceSpec,
    cidrs: tuple[str, ...],
    mtu: int | None,
    ours: bool,
    options: ModuleOptions,
) -> None:
    """ours: the bridge has no ports but those of the network, so that its addresses are known to be free."""
    options["netns"].append({"name": namespace.name, "network": network.name, "dns": namespace.dns})
    options["veth"].append(
        {
            "name": namespace.host_end,
            "network": network.name,
            "master": network.bridge,
            "mtu": mtu,
            "isolated": network.isolated,
            **({} if network.hairpin is None else {"hairpin": network.hairpin}),
            "published": namespace.name in {entry.to for entry in network.publish},
            "bandwidth": namespace.bandwidth,
            "spoof_protection": network.wall.spoof_protection,
            **namespace.vlans,
            "addresses": [],
            # As a port it has no use for one.
            "ipv6_link_local": False,
            "peer": {
                "name": namespace.interface,
                "netns": namespace.name,
                "addresses": list(cidrs),
                "ipv6_link_local": network.ipv6_link_local or namespace.accept_ra,
                **_ipv6_of(network, namespace, ours),
                **network.link_settings,
            },
        }
    )
    for version in (4, 6):
        cidr = next((cidr for cidr in cidrs if values.family(cidr) == version), None)
        if cidr:
            options["ns_route"].append(
                {
                    "netns": namespace.name,
                    "dest": "default",
                    "gateway": gateway_for(network, cidr),
                    "device": namespace.interface,
                    "family": f"ipv{version}",
                }
            )


def _ipv6_of(network: Network, namespace: NamespaceSpec, ours: bool) -> dict[str, bool]:
    """What the end in a namespace needs of IPv6. Addresses that are known to be free are not checked for duplicates, to
    which whoever is on the link may object.
    """
    found = {"accept_ra": True} if namespace.accept_ra else {}
    if any(values.family(subnet) == 6 for subnet in network.subnets):
        found.update({"ipv6": True}, **({"ipv6_dad": False} if ours else {}))
    return found


def _routes(network: Network) -> list[dict[str, t.Any]]:
    """The host's routes to subnets that it has no address of, since their gateway is link-local."""
    pairs = zip(network.subnets, network.gateways)
    return [
        {"dest": subnet, "device": network.bridge, "network": network.name}
        for subnet, gateway in pairs
        if ipaddress.ip_interface(gateway).ip.is_link_local and values.family(subnet) == 6
    ]


def _remove_resolvers(
    written: t.Mapping[str, str],
    host: HostView,
    parts: t.Mapping[str, ModuleOptions],
    only: t.Collection[str] | None,
) -> None:
    """Files that were written for networks, of namespaces that shall have none, and that networks lost."""
    known = {item["name"]: item for options in parts.values() for item in options["netns"]}
    for name, owner in sorted(written.items()):
        if name in known:
            # One that goes takes its file along.
            known[name].update({} if known[name].get("dns") or "state" in known[name] else {"dns": _NO_RESOLVER})
        elif only is None:
            there = {"loopback": False, "dns": _NO_RESOLVER}
            parts[owner]["netns"].append({"name": name, **(there if name in host.namespaces else {"state": "absent"})})


def _nat(
    network: Network, addresses: t.Mapping[str, tuple[str, ...]], leaves_by_bridge: bool, guard: dict[str, t.Any]
) -> dict[str, t.Any]:
    published = _published(network, addresses)
    if (network.nat["mode"] == "none" and not published) or network.firewall == "none":
        return {"name": network.name, "state": "absent"}
    chosen = {key: value for key, value in network.nat.items() if value is not None}
    return {
        **chosen,
        "name": network.name,
        "sources": list(network.subnets),
        # On a bridge that is the uplink too, destinations alone tell what leaves.
        "not_out_interface": None if leaves_by_bridge else network.bridge,
        "out_interface": list(network.uplinks) or None,
        "publish": published,
        "backend": network.firewall,
        "guard": guard,
    }


def _untranslated_peers(network: Network, beside: t.Iterable[Network]) -> list[str]:
    """Subnets of peers that are not translated: their bridges are not among those of guarded networks."""
    return [
        subnet
        for other in beside
        if other.nat["mode"] == "none" and other.name != network.name and _are_peers(network, other)
        for subnet in other.subnets
    ]


def _are_peers(one: Network, other: Network) -> bool:
    """It is enough that one of them names the other."""
    pairs = ((one, other.name), (other, one.name))
    return any(name in network.wall.peers or ALL_NETWORKS in network.wall.peers for network, name in pairs)


def _published(network: Network, addresses: t.Mapping[str, tuple[str, ...]]) -> list[dict[str, t.Any]]:
    """Towards the first address of each family of the namespaces that are named."""
    found = []
    for entry in network.publish:
        targets = [entry.to]
        if not publish.is_address(entry.to):
            firsts = {values.family(cidr): cidr.split("/")[0] for cidr in reversed(addresses[entry.to])}
            targets = [firsts[version] for version in sorted(firsts)]
        found += [(entry.key, entry.towards(target)) for target in targets]
    publish.no_duplicates(found)
    return [publish.as_options(publication) for _key, publication in found]


def _forward(network: Network) -> dict[str, t.Any]:
    if network.firewall == "none":
        return {"name": network.name, "state": "absent"}
    return {
        "name": network.name,
        "bridge": network.bridge,
        "uplink": list(network.uplinks) or None,
        "sources": list(network.subnets),
        "published": bool(network.publish),
        "mss_clamp": network.mss_clamp,
        "backend": network.firewall if network.firewall in ("iptables", "firewalld") else "auto",
    }


def _wall(network: Network) -> dict[str, t.Any]:
    """What holds for packets of a bridge that is the network's own; others are used for more than the network."""
    if network.firewall == "none" or not network.wall.needs_rules(network.isolated):
        return {}
    return {
        "inbound": network.wall.inbound,
        "peers": list(network.wall.peers),
        "isolated": network.isolated,
        "spoof_protection": network.wall.spoof_protection,
    }


def _ports(networks: t.Iterable[Network]) -> set[str]:
    return {namespace.host_end for network in networks for namespace in network.namespaces}


def _former_ports(network: Network, host: HostView, stay: t.Container[str]) -> dict[str, list[str]]:
    """Ports that were restricted for the network, but for those that stay so, for it or another network."""
    gone = sorted(port for port, owner in host.restricted.items() if owner == network.name and port not in stay)
    return {"former_ports": gone} if gone else {}


def _remove_strays(network: Network, host: HostView, options: ModuleOptions, claimed: t.Collection[str]) -> None:
    """Namespaces and links that were made for the network and are no longer in it, nor claimed by another one."""
    gone = {name for name, owner in host.namespaces.items() if owner == network.name and name not in claimed}
    options["netns"] += [{"name": name, "state": "absent"} for name in sorted(gone)]
    members = {ns.name for ns in network.namespaces}
    _remove_links(network, host, options, gone | members, {network.bridge, *(ns.host_end for ns in network.namespaces)})


def _remove_links(
    network: Network, host: HostView, options: ModuleOptions, places: t.Collection[str], stay: t.Collection[str]
) -> None:
    """Links of the host that carry the network's mark, but for those that stay, and pairs into some namespaces:
    these go with the namespace, or are put right if they are not as they shall be.
    """
    done = set(stay)
    for name, owner in sorted(host.owners.items()):
        module = {"bridge": "linux_bridge", "veth": "veth"}.get(host.kinds.get(name) or "")
        peer_place, peer = host.peers.get(name, ("", ""))
        if owner == network.name and module and name not in done and peer_place not in places and peer not in done:
            options[module].append({"name": name, "state": "absent"})
            done.add(name)


def _take_back(network: Network, host: HostView, parts: t.Mapping[str, ModuleOptions], absent: bool) -> None:
    """Addresses that were added for the network to bridges of others, and that are no longer in it."""
    for link, added in host.lent.items():
        kept = network.gateways if link == network.bridge and not absent else ()
        stale = [cidr for cidr, owner in added.items() if owner == network.name and cidr not in kept]
        bridges = (item for options in parts.values() for item in options["linux_bridge"])
        item = next((item for item in bridges if item["name"] == link), None)
        if stale and item is None:
            parts[network.name]["linux_bridge"].append({"name": link, "state": "absent", "addresses": stale})
        elif item is not None:
            key = "addresses" if item.get("state") == "absent" else "former_addresses"
            item[key] = list(dict.fromkeys([*item.get(key, []), *stale]))


def _remove(network: Network, host: HostView, options: ModuleOptions, taken: t.Container[str]) -> None:
    """Everything of a network; of what others made, only what was added to it. taken: ports of networks that come."""
    gone = {name for name, owner in host.namespaces.items() if owner == network.name}
    options["netns"] += [{"name": name, "state": "absent"} for name in sorted(gone)]
    _remove_links(network, host, options, gone, {network.bridge})
    addresses = list(dict.fromkeys(network.gateways))
    # Also where the bridge is gone already, as its files go with it. Of others there is at most an address to take.
    if addresses or host.owners.get(network.bridge, network.name) == network.name:
        options["linux_bridge"].append({"name": network.bridge, "state": "absent", "addresses": addresses})
    options["sysctl_forward"].append({"network": network.name, "state": "restored"})
    options["nat_masquerade"].append({"name": network.name, "state": "absent"})
    ports = _former_ports(network, host, taken)
    options["forward_accept"].append({"name": network.name, "state": "absent", **ports})


def narrowest_uplink(network: Network, host: HostView, families: t.Collection[int]) -> str:
    """The one with the smallest MTU of those given, or of the best default routes; "" on a host without any."""
    best = [name for version in sorted(families) for name in (*host.uplinks.get(version, ()), ())[0]]
    return min(network.uplinks or best, key=lambda name: host.mtus.get(name, 0), default="")


def _uplinks(network: Network, host: HostView, families: t.Collection[int]) -> list[str]:
    """Those given, or all that default routes of the families lead to, without the network's own bridge."""
    routed = [name for version in sorted(families) for links in host.uplinks.get(version, ()) for name in links]
    return [name for name in dict.fromkeys(network.uplinks or routed) if name != network.bridge]


def _check_against_host(network: Network, host: HostView, listed: t.Collection[str]) -> None:
    for uplink in network.uplinks:
        if uplink not in host.mtus:
            # The ends of pairs of ours lead nowhere.
            known = ", ".join(sorted(name for name in host.mtus if name != "lo" and host.owners.get(name) is None))
            raise SpecError(f"{network.key}.uplink", f"this host has no interface {uplink!r}", f"it has {known}")
        if uplink in ("lo", network.bridge):
            found = "the loopback" if uplink == "lo" else "the network's own bridge"
            raise SpecError(f"{network.key}.uplink", found, "give the interface that leads out")
    given_back = {(link, cidr) for link, added in host.lent.items() for cidr, owner in added.items() if owner in listed}
    used = [
        (cidr, f"{cidr} on {link}" + (f" of network {host.owners[link]}" if host.owners.get(link) else ""))
        for link, cidrs in host.addresses.items()
        if link != network.bridge and host.owners.get(link) not in listed
        for cidr in cidrs
        if (link, cidr) not in given_back
    ]
    for subnet in network.subnets:
        _refuse_overlap(network, subnet, used, host.routes)
    owner = host.owners.get(network.bridge)
    if owner in listed and owner != network.name:
        raise SpecError(
            f"{network.key}.bridge",
            f"link {network.bridge} is one of network {owner}",
            f"let {owner} have another one in a run of its own first",
        )
    for namespace in network.namespaces:
        # One that somebody else made is connected by a pair of the network's.
        for kind, name, owners in (
            ("namespace", namespace.name, host.namespaces),
            ("link", namespace.host_end, host.owners),
        ):
            owner = owners.get(name)
            if owner in listed and owner != network.name:
                raise SpecError(
                    namespace.key,
                    f"{kind} {name} is one of network {owner}",
                    f"take {namespace.name} out of {owner} in a run of its own first",
                )


def _refuse_overlap(
    network: Network, subnet: str, used: t.Sequence[tuple[str, str]], routes: t.Mapping[str, str]
) -> None:
    """A range of the host's own, or one that it has a route for that is as specific, is not free for a network."""
    wanted = ipaddress.ip_network(subnet)
    for cidr, where in used:
        if _overlap(ipaddress.ip_interface(cidr).network, wanted):
            raise SpecError(
                f"{network.key}.subnets",
                f"{subnet} overlaps {where} of this host",
                "choose a range that the host does not use",
            )
    for destination, device in routes.items():
        routed = ipaddress.ip_network(destination)
        if device != network.bridge and _overlap(routed, wanted) and routed.prefixlen >= wanted.prefixlen:
            raise SpecError(
                f"{network.key}.subnets",
                f"this host has a route to {destination} by {device or 'nothing'}",
                f"choose a range other than {subnet}",
            )


def _overlap(one: values.IpNetwork, other: values.IpNetwork) -> bool:
    return one.version == other.version and bool(one.overlaps(other))
