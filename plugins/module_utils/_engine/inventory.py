# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything of a host that matters to egress, as plain data. Read-only."""

from __future__ import annotations

import contextlib
import functools
import os
import typing as t

from . import orphans
from .errors import EgressError
from .kernel import addresses, bridge_entries, features, files, neighbours, peers, routes, rulesets, sysctls
from .kernel.ledger_file import readable_ledger
from .kernel.link_messages import LinkReply
from .kernel.links import Links
from .kernel.mounts import is_namespace
from .kernel.namespace_marks import marks_of
from .kernel.namespaces import DIRECTORY, Namespaces, path_of
from .kernel.processes import namespaces_of_processes
from .kernel.snapshot import Snapshot
from .ledger import Ledger
from .model import FILE_MARK, HOST, MARK, is_ours
from .planning.ownership import lent_addresses, routes_of_networks, senders_noted
from .planning.state import FORWARD4, FORWARD6
from .rules import NAT_BACKENDS
from .spec import values
from .spec.resolv_conf import RESOLVERS, resolv_conf_path

SECTIONS = (
    "namespaces",
    "links",
    "counters",
    "bridges",
    "fdb",
    "neighbours",
    "routes",
    "forwarding",
    "nat",
    "conntrack",
    "bridge_netfilter",
    "uplinks",
    "resolvers",
    "restricted",
    "orphans",
)
_FORWARDING = {"ipv4": FORWARD4, "ipv6": FORWARD6}
_CONNTRACK = {"count": "net/netfilter/nf_conntrack_count", "max": "net/netfilter/nf_conntrack_max"}
_BRIDGE_NETFILTER = {key: f"{features.BRIDGE_NETFILTER}call-{key}" for key in ("iptables", "ip6tables", "arptables")}

Data = dict[str, t.Any]


def inventory(sections: t.Sequence[str] = SECTIONS) -> Data:
    """The asked sections, each as documented for the module egress_info. Errors: UnsupportedError without rights."""
    features.require_privilege()
    if not set(sections) & set(SECTIONS):
        return {}
    with Namespaces() as namespaces:
        return read_sections(namespaces, sections)


def read_sections(namespaces: Namespaces, sections: t.Sequence[str], anonymous: bool = True) -> Data:
    """The same with handles that are open already, and if asked without namespaces that have no name."""
    return _Inventory(namespaces, anonymous, "counters" in sections).sections(sections)


def label(alias: str | None) -> str | None:
    """The network that a mark names: "" for the bare mark, None for what is not ours."""
    return alias[len(MARK) :] if alias is not None and is_ours(alias) else None


def added(ledger: Ledger) -> dict[tuple[str, str], list[Data]]:
    """Addresses that networks added to links of others, by namespace and link."""
    found: dict[tuple[str, str], list[Data]] = {}
    for netns, link, cidr, network in lent_addresses(ledger):
        found.setdefault((netns, link), []).append({"address": cidr, "network": network})
    return found


def restricted(ledger: Ledger) -> dict[str, str]:
    """{port of the host that sends from its own addresses alone: network that asked for it}."""
    return {port: network for (netns, port), (_mac, network) in senders_noted(ledger).items() if netns == HOST}


def resolvers() -> dict[str, str]:
    """{namespace: network for which its resolv.conf was written}, of files with our mark."""
    found = {}
    for name in os.listdir(RESOLVERS) if os.path.isdir(RESOLVERS) else []:
        if os.path.islink(f"{RESOLVERS}/{name}"):
            continue  # what is there is another namespace's
        with contextlib.suppress(EgressError):
            values.namespace_name(name, RESOLVERS)
            mark = (files.read(resolv_conf_path(name)) or "").partition("\n")[0]
            found.update({name: mark[len(FILE_MARK) :]} if mark.startswith(FILE_MARK) else {})
    return found


class _Inventory:
    def __init__(self, namespaces: Namespaces, anonymous: bool, counters: bool) -> None:
        self.open = namespaces
        self.snapshot = Snapshot(namespaces, counters)
        self.links_of = Links(namespaces, self.snapshot)
        self.known = self._known_namespaces(anonymous)
        self.ledger = readable_ledger()
        self.added = added(self.ledger)
        self.replies = {place: list(self.snapshot.read(place).links.values()) for place in self.known}
        self.names = {place: {link.index: link.name for link in links} for place, links in self.replies.items()}
        self.ends = peers.other_ends(namespaces, self.replies)

    def sections(self, names: t.Sequence[str]) -> Data:
        return {name: getattr(self, f"_{name}")() for name in SECTIONS if name in names}

    def _known_namespaces(self, anonymous: bool) -> dict[str, Data]:
        """By the engine's name of each: the host's, those with a handle, and those that only processes hold."""
        processes = namespaces_of_processes()
        found: dict[str, Data] = {}
        seen: set[tuple[int, int]] = set()
        names = sorted(os.listdir(DIRECTORY)) if os.path.isdir(DIRECTORY) else []
        for place in [HOST, *(name for name in names if is_namespace(path_of(name)))]:
            if self.open.may_enter(place):
                status = os.fstat(self.open.handle(place))
                identity = (status.st_dev, status.st_ino)
                seen.add(identity)
                found[place] = _namespace(place or None, path_of(place), status.st_ino, processes.get(identity, []))
        for (device, inode), inhabitants in processes.items() if anonymous else ():
            path = f"/proc/{inhabitants[0][0]}/ns/net"
            if (device, inode) not in seen and self.open.may_enter(path):
                found[path] = _namespace(None, path, inode, inhabitants)
        return found

    def _namespaces(self) -> list[Data]:
        listed = []
        names = [place for place in self.known if place != HOST and "/" not in place]
        marks = marks_of(self.open, self.links_of, names, self.ledger)
        for place, data in self.known.items():
            if place != HOST:
                given = self.ledger.assignments.get(place)
                mark = (self._marks_of_pairs if "/" in place else marks).get(place)
                listed.append({**data, "network": label(mark), "assigned": list(given.addresses) if given else []})
        return listed

    @functools.cached_property
    def _marks_of_pairs(self) -> dict[str, str]:
        """Of namespaces, what the end on the host of a pair says that leads there."""
        ends = [reply for reply in self.replies[HOST] if reply.kind == "veth" and is_ours(reply.alias)]
        peers = [(self._peer(HOST, reply), reply.alias or "") for reply in ends]
        return {peer["netns"]: alias for peer, alias in peers if peer}

    def _links(self) -> list[Data]:
        listed = []
        for place, replies in self.replies.items():
            held = self.snapshot.read(place).addresses
            listed += [self._link(place, reply, held.get(reply.index, ())) for reply in replies]
        return listed

    def _link(self, place: str, reply: LinkReply, held: t.Sequence[addresses.AddressReply]) -> Data:
        return {
            "netns": place,
            "name": reply.name,
            "index": reply.index,
            "kind": reply.kind,
            "mac": reply.mac,
            "mtu": reply.mtu,
            "up": reply.up,
            "carrier": bool(reply.flags & 0x10000),
            "master": self.names[place].get(reply.master, ""),
            "alias": reply.alias,
            "network": label(reply.alias),
            "peer": self._peer(place, reply),
            "addresses": [item.cidr for item in held if not item.link_local],
            "link_local": [item.cidr for item in held if item.link_local],
            "added": self.added.get((place, reply.name), []),
        }

    def _peer(self, place: str, reply: LinkReply) -> Data | None:
        """The other end of a veth. One of ours is looked for also where only processes hold the namespace."""
        end = self.ends.get((place, reply.index))
        if end:
            return {"netns": end[0], "name": end[1].name, "index": end[1].index}
        found = self.links_of.fact(place, reply).peer if reply.kind == "veth" and is_ours(reply.alias) else None
        return {"netns": found.netns, "name": found.name, "index": found.index} if found else None

    def _counters(self) -> list[Data]:
        return [
            {"netns": place, "name": reply.name, **reply.counters}
            for place, replies in self.replies.items()
            for reply in replies
        ]

    def _bridges(self) -> list[Data]:
        listed = []
        for place, replies in self.replies.items():
            members: dict[int, list[str]] = {}
            for port in replies:
                members.setdefault(port.master, []).append(port.name)
            for reply in replies:
                if reply.kind == "bridge":
                    ports = members.get(reply.index, [])
                    network = label(reply.alias)
                    listed.append(
                        {"netns": place, "name": reply.name, "network": network, "ports": ports, **reply.options}
                    )
        return listed

    def _fdb(self) -> list[Data]:
        return [
            {
                "netns": place,
                "bridge": self.names[place].get(entry.bridge, ""),
                "port": self.names[place].get(entry.port, ""),
                "mac": entry.mac,
                "vlan": entry.vlan or None,
                "kind": entry.kind,
            }
            for place, replies in self.replies.items()
            if any(reply.kind == "bridge" for reply in replies)
            for entry in bridge_entries.read(self.open.socket(place))
        ]

    def _neighbours(self) -> list[Data]:
        return [
            {
                "netns": place,
                "link": self.names[place].get(item.index, ""),
                "address": item.address,
                "mac": item.mac or None,
                "state": item.state,
            }
            for place in self.replies
            for item in neighbours.read(self.open.socket(place))
        ]

    def _routes(self) -> list[Data]:
        listed, made = [], routes_of_networks(self.ledger)
        for place, replies in self.replies.items():
            names = self.names[place]
            for family in (4, 6):
                for found in routes.read(self.open.socket(place), family, netns=place) if replies else []:
                    fact = found.fact
                    listed.append(
                        {
                            "netns": place,
                            "family": f"ipv{family}",
                            "dest": fact.destination,
                            "gateway": fact.gateway or None,
                            "device": names.get(found.device),
                            "metric": fact.metric,
                            "table": fact.table,
                            "type": fact.type,
                            "protocol": fact.protocol,
                            "network": made.get(fact.identity),
                        }
                    )
        return listed

    def _forwarding(self) -> list[Data]:
        listed = []
        for place in self.known:
            values = sysctls.read(self.open, place, _FORWARDING.values())
            listed.append({"netns": place, **{key: values.get(name) == "1" for key, name in _FORWARDING.items()}})
        return listed

    def _nat(self) -> list[Data]:
        listed = []
        # Rules of ours are in the host's namespace or in one with a name, and there in our own table.
        for place in [place for place in self.known if "/" not in place]:
            for backend in NAT_BACKENDS if place == HOST else NAT_BACKENDS[:1]:
                for (purpose, name), rules in rulesets.read(self.open, place, backend, ("nat",)).items():
                    found = {"netns": place, "name": name, "backend": backend, "intact": rules is not None}
                    if purpose == "nat":
                        listed.append({**found, **(_nat(rules) if rules else {})})
        return listed

    def _conntrack(self) -> Data:
        values = sysctls.read(self.open, HOST, _CONNTRACK.values())
        return {key: int(values[name]) if name in values else None for key, name in _CONNTRACK.items()}

    def _bridge_netfilter(self) -> Data:
        """Whether packets that the host's bridges forward pass the rules of iptables; None without br_netfilter."""
        values = sysctls.read(self.open, HOST, _BRIDGE_NETFILTER.values())
        switches = {key: values[name] == "1" if name in values else None for key, name in _BRIDGE_NETFILTER.items()}
        return {"loaded": bool(values), **switches}

    def _uplinks(self) -> Data:
        """The best way out of each family, with its link's MTU, and all of them."""
        found: Data = {}
        links = {reply.index: reply for reply in self.replies[HOST]}
        for family in (4, 6):
            ways = [
                (
                    route.fact,
                    [links[i] for i in route.devices if i in links and routes.leads_out(route, links[i].alias)],
                )
                for route in routes.ways_out(self.open.socket(HOST), family)
            ]
            ways = [(fact, there) for fact, there in ways if there]
            every = [{"interfaces": [r.name for r in there], "metric": fact.metric} for fact, there in ways]
            found[f"ipv{family}"] = None
            if ways:
                fact, (link, *_others) = ways[0]
                best = {"interface": link.name, "gateway": fact.gateway or None, "mtu": link.mtu}
                found[f"ipv{family}"] = {**best, "routes": every}
        return found

    def _resolvers(self) -> list[Data]:
        return [{"netns": name, "network": network} for name, network in sorted(resolvers().items())]

    def _restricted(self) -> list[Data]:
        return [{"port": port, "network": network} for port, network in sorted(restricted(self.ledger).items())]

    def _orphans(self) -> list[Data]:
        """What nobody seems to need any more, with what says so. Nothing is judged by its name."""
        # What a tenant wrote on its links says nothing.
        networks = {label(reply.alias) for reply in self.replies[HOST]}
        ends = [reply for reply in self.replies[HOST] if reply.kind == "veth" and is_ours(reply.alias)]
        return [
            *orphans.stale_handles(),
            *orphans.leaked_namespaces(self._namespaces()),
            *(orphans.dangling_end(reply) for reply in ends if self._peer(HOST, reply) is None),
            *orphans.rules(self.open, {network for network in networks if network}),
        ]


def _namespace(name: str | None, path: str, inode: int, inhabitants: t.Sequence[tuple[int, str]]) -> Data:
    processes = [{"pid": pid, "command": command} for pid, command in inhabitants]
    return {"name": name, "path": path, "inode": inode, "processes": processes}


def _nat(rules: t.Any) -> Data:
    mode = "snat" if any(rules.to_source) else "masquerade"
    return {
        "sources": list(rules.sources),
        "exclude": list(rules.exclude),
        "mode": mode,
        "to_source": [source for source in rules.to_source if source],
        "out_interface": list(rules.out_interfaces) or None,
        "not_out_interface": rules.not_out_interface or None,
        "ports": f"{rules.ports[0]}-{rules.ports[1]}" if rules.ports else None,
        "random_fully": rules.random_fully,
    }
