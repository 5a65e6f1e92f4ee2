# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module veth, as facts."""

from __future__ import annotations

import typing as t

from ..errors import SpecError
from ..model import BURST_UNIT, HOST, Address, Assignment, Fact, Limit, Link, Sender, Want
from . import link_settings, values, vlans
from .schema import NETWORK, STATE, Options

# A burst lasts for 10 ms, and what would wait longer than 50 ms is dropped.
SMALLEST_BURST, LARGEST_BURST = 8 * BURST_UNIT, 1024 * BURST_UNIT
_BURSTS_A_SECOND, _QUEUES_A_SECOND = 100, 20

_END = ("netns", "name", "kind", "alias", "mac", "mtu", "ipv6_link_local", "ipv6", "ipv6_dad", "accept_ra", "up")

OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "netns": {"type": "str"},
    "master": {"type": "str"},
    "mtu": {"type": "int"},
    "mac": {"type": "str"},
    "addresses": {"type": "list", "elements": "str"},
    "up": {"type": "bool", "default": True},
    "ipv6_link_local": {"type": "bool"},
    "ipv6": {"type": "bool"},
    "ipv6_dad": {"type": "bool"},
    "accept_ra": {"type": "bool"},
    "isolated": {"type": "bool"},
    "hairpin": {"type": "bool"},
    "published": {"type": "bool"},
    "bandwidth": {"type": "str"},
    "spoof_protection": {"type": "bool"},
    **link_settings.OPTIONS,
    **vlans.OPTIONS,
    "peer": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "netns": {"type": "str"},
            "mtu": {"type": "int"},
            "mac": {"type": "str"},
            "addresses": {"type": "list", "elements": "str"},
            "up": {"type": "bool", "default": True},
            "ipv6_link_local": {"type": "bool"},
            "ipv6": {"type": "bool"},
            "ipv6_dad": {"type": "bool"},
            "accept_ra": {"type": "bool"},
            **link_settings.OPTIONS,
        },
    },
    "network": NETWORK,
    "state": STATE,
}


def wanted(options: t.Mapping[str, t.Any], key: str = "") -> Want:
    """Options of one pair to facts."""
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    name = values.new_interface_name(options["name"], f"{key}name")
    if options["state"] == "absent":
        return Want(absent=(Link(netns, name, kind="veth", peer=_peer_place(options, key)), Sender(netns, name)))
    if not options["peer"]:
        raise SpecError(f"{key}peer", "missing", "a pair has two ends; give at least peer.name")
    link = _end({**options, "peer": None}, key, None)
    peer = _end({**options["peer"], "network": options["network"]}, f"{key}peer.", options["mtu"])
    if (peer.netns, peer.name) == (netns, name):
        raise SpecError(
            f"{key}peer.name", f"both ends are called {name!r}", "the two ends need different names or namespaces"
        )
    master = options["master"]
    link = Link(
        **{
            **_fields(link),
            "master": master if not master else values.interface_name(master, f"{key}master"),
            "isolated": options["isolated"],
            # Where bridged packets pass the rules, what it sends to its own published port stays on the bridge.
            "hairpin": (options["published"] or None) if options["hairpin"] is None else options["hairpin"],
            "published": options["published"] if options["hairpin"] is None else None,
            "peer": peer,
        }
    )
    if not master and any(options[name] is not None for name in ("isolated", "hairpin", "published")):
        raise SpecError(f"{key}isolated", "the pair is on no bridge", "isolated, hairpin and published need master")
    addresses = _addresses(options, link, key) + _addresses(options["peer"], peer, f"{key}peer.")
    settings = (*link_settings.settings(options, link), *link_settings.settings(options["peer"], peer))
    port = vlans.vlans(options, link, key)
    if port and not master:
        raise SpecError(f"{key}vlan", "the pair is on no bridge", "vlan and trunk need master")
    return (
        Want((link,), assignments=_assigned(options, link, addresses.facts))
        + addresses
        + _limits(options, link, key)
        + Want((*settings, *port))
        + _sender(options, link, key)
    )


def _sender(options: t.Mapping[str, t.Any], link: Link, key: str) -> Want:
    """What the port may send: from the addresses that its other end gets, by whatever MAC address that has."""
    if options["spoof_protection"] is None:
        return Want()
    sender = Sender(link.netns, link.name)
    if not options["spoof_protection"]:
        return Want(absent=(sender,))
    trunk = bool(options["trunk"])
    if not link.master or (options["peer"]["addresses"] is None and not trunk):
        missing = "peer.addresses" if link.master else "master"
        raise SpecError(f"{key}spoof_protection", f"given without {missing}", "give the bridge, and all its addresses")
    addresses = {values.interface(cidr).ip for cidr in options["peer"]["addresses"] or ()}
    ordered = sorted(addresses, key=lambda address: (address.version, int(address)))
    allowed = () if trunk else tuple(map(str, ordered))
    return Want((Sender(link.netns, link.name, None, allowed, trunk, network=options["network"] or ""),))


def _assigned(options: t.Mapping[str, t.Any], link: Link, facts: t.Iterable[Fact]) -> tuple[Assignment, ...]:
    """What the ledger remembers of the namespace behind a network's pair."""
    peer = link.peer
    unasked = options["peer"]["addresses"] is None
    if not options["network"] or peer is None or link.netns != HOST or peer.netns == HOST or unasked:
        return ()
    cidrs = tuple(fact.cidr for fact in facts if isinstance(fact, Address) and fact.netns == peer.netns)
    return (Assignment(peer.netns, options["network"], link.name, cidrs, peer.mac),)


def _limits(options: t.Mapping[str, t.Any], link: Link, key: str) -> Want:
    """The same limit on what each end sends, so in both directions."""
    if options["bandwidth"] is None:
        return Want()
    ends = [end for end in (link, link.peer) if end]
    if options["bandwidth"] == "none":
        return Want(absent=tuple(Limit(end.netns, end.name) for end in ends))
    rate = values.bandwidth(options["bandwidth"], f"{key}bandwidth")
    limits = []
    for end in ends:
        # What a frame larger than the burst would be is dropped.
        least = max(min(rate // 8 // _BURSTS_A_SECOND, LARGEST_BURST), SMALLEST_BURST, 2 * (end.mtu or 0))
        burst = -(-least // BURST_UNIT) * BURST_UNIT
        limits.append(Limit(end.netns, end.name, rate, burst, burst + rate // 8 // _QUEUES_A_SECOND))
    return Want(tuple(limits))


def _fields(link: Link) -> dict[str, t.Any]:
    return {name: getattr(link, name) for name in _END}


def _peer_place(options: t.Mapping[str, t.Any], key: str) -> Link | None:
    """Where the other end is, so that the pair is found by either."""
    peer = options["peer"]
    if not peer:
        return None
    netns = values.namespace_name(peer["netns"], f"{key}peer.netns", host=True)
    return Link(netns, values.new_interface_name(peer["name"], f"{key}peer.name"), kind="veth")


def _end(options: t.Mapping[str, t.Any], key: str, default_mtu: int | None) -> Link:
    mtu = options["mtu"] if options["mtu"] is not None else default_mtu
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    if options["accept_ra"] and netns == HOST:
        found = "on for an end on the host"
        raise SpecError(f"{key}accept_ra", found, "who is at the other end must not lead the host's packets")
    return Link(
        netns,
        values.new_interface_name(options["name"], f"{key}name"),
        kind="veth",
        alias=values.mark(options["network"], f"{key}network"),
        mac=None if options["mac"] is None else values.mac(options["mac"], f"{key}mac"),
        mtu=None if mtu is None else values.mtu(mtu, f"{key}mtu"),
        ipv6_link_local=options["ipv6_link_local"],
        ipv6=options["ipv6"],
        ipv6_dad=options["ipv6_dad"],
        accept_ra=options["accept_ra"],
        up=options["up"],
    )


def _addresses(options: t.Mapping[str, t.Any], link: Link, key: str) -> Want:
    """The listed addresses and no others; with no list given, whatever is there."""
    if options["addresses"] is None:
        return Want()
    place = (link.netns, link.name)
    cidrs = [values.interface_address(v, f"{key}addresses[{i}]") for i, v in enumerate(options["addresses"])]
    values.no_duplicates(cidrs, f"{key}addresses")
    facts = tuple(Address(*place, cidr, dad=options["ipv6_dad"] is not False) for cidr in cidrs)
    return Want(facts, exclusive_addresses=frozenset([place]))
