# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel and the files hold of everything that a want names, read by name."""

from __future__ import annotations

import collections
import dataclasses
import functools
import ipaddress
import typing as t

from .errors import ConflictError, EgressError
from .kernel import (
    addresses,
    base_chains,
    conntrack,
    files,
    limits,
    listeners,
    management,
    port_table,
    routes,
    rulesets,
    sysctls,
    vlans,
)
from .kernel.link_messages import LinkReply
from .kernel.links import Links, stable_mac
from .kernel.namespace_marks import marks_of
from .kernel.namespaces import Namespaces, handles, obstacle_to_attach, obstacle_to_name
from .kernel.snapshot import Snapshot
from .ledger import Ledger
from .model import (
    HOST,
    MAIN_TABLE,
    Address,
    Claim,
    Fact,
    File,
    Flows,
    Identity,
    Learned,
    Limit,
    Link,
    Misled,
    Namespace,
    Occupied,
    Route,
    Ruleset,
    Sender,
    Setting,
    Vlans,
    Want,
    differences,
    is_closed_by_itself,
    is_ours,
)
from .planning import containers, wall
from .planning.facts import interface_of
from .planning.state import FORWARD4, FORWARD6, Have, ends
from .planning.step import place as place_of
from .planning.sysctl_file import SYSCTL_FILE
from .rules import PortPlace, Rules, interfaces_of, places_of
from .spec import link_settings
from .spec.values import family

_REDIRECTS = "net/ipv4/conf/all/accept_redirects"
# Of so many links of the host, each is asked for by its name; of more, all are read.
FEW = 8


class Observation:
    """One look at all that a want names."""

    def __init__(
        self,
        namespaces: Namespaces,
        snapshot: Snapshot,
        want: Want,
        ledger: Ledger,
        sessions: t.Callable[[], t.Sequence[listeners.Connection]],
    ) -> None:
        """sessions: those by which somebody controls this host."""
        self.namespaces = namespaces
        self.sessions = sessions
        self.snapshot = snapshot
        self.links = Links(namespaces, snapshot)
        self.want = want
        self.asked: tuple[Fact, ...] = (*want.facts, *want.absent)
        self.facts: dict[Identity, Fact] = {}
        self.ledger = ledger

    def have(self) -> Have:
        self._namespaces()
        self._refuse_other_names()
        self._links()
        self.located = self._locate()
        self._learned()
        self._addresses()
        self._limits()
        self._vlans()
        self._intruders()
        self._routes()
        self._misled()
        self._settings()
        self._rulesets()
        self._senders()
        self._files()
        self._flows()
        kinds = (Address, Link, Route, Setting)
        touched = {fact.netns for fact in self.asked if isinstance(fact, kinds)} | self._released_places()
        touches_host = HOST in touched
        sessions = self.sessions() if touches_host else []
        protected = management.protected_links(self.namespaces, self.links, sessions) if touches_host else {}
        ways_back = management.ways_back(self.namespaces, self.links, sessions)
        return Have(
            self.facts,
            self._living(self.ledger),
            self._ports(),
            protected,
            self.namespaces.inhabitants(self._leaving),
            self._obstacles(),
            self._unsettable(),
            self._listeners(),
            self._containers(),
            self._refusals(),
            ways_back,
            self._strangers(),
            self._macs(),
        )

    def _refuse_other_names(self) -> None:
        """Rules and sysctls know a link by its own name alone: by an alternative one they would be without effect."""
        named: set[tuple[str, str]] = set()
        for fact in self.want.facts:
            if isinstance(fact, (Setting, Claim)):
                named.add((fact.netns, interface_of(fact.key)))
            elif isinstance(fact, Ruleset):
                named.update((fact.netns, name) for name in interfaces_of(fact.rules))
        # Of one that is to be made, the link itself is refused.
        made = {_place(end) for fact in self.want.facts if isinstance(fact, Link) for end in ends(fact)}
        for netns, name in sorted(named - made):
            there = self.links.holder(netns, name) if name else None
            if there is not None and there.name != name:
                found = f"it is an alternative name of link {there.name}"
                raise ConflictError(f"use the interface {name}{place_of(netns)}", found, f"Name {there.name}")

    def _namespaces(self) -> None:
        named = {fact.name for fact in self.asked if isinstance(fact, Namespace)}
        for fact in self.asked:
            named.update(end.netns for end in ends(fact)) if isinstance(fact, Link) else None
            named.add(getattr(fact, "netns", HOST))
        named.update(self._released_places())
        there = [name for name in sorted(named - {HOST}) if self.namespaces.exists(name)]
        for name in there:
            self.snapshot.read(name)
        if sum(isinstance(fact, Link) and fact.netns == HOST for fact in self.asked) > FEW:
            self.snapshot.read(HOST)
            self.namespaces.numbers(HOST, there)
        marks = marks_of(self.namespaces, self.links, there, self.ledger)
        for name in there:
            loopback = self.links.get(name, index=1)
            self.facts["namespace", name] = Namespace(
                name,
                alias=marks.get(name),
                loopback=bool(loopback and loopback.up),
                accept_redirects=self._accepts_redirects(name, marks.get(name)),
            )

    def _accepts_redirects(self, name: str, mark: str | None) -> bool | None:
        """Managed namespaces are made without that. Those of release 1.0.0 are looked at until they are in the ledger:
        a look costs more than all else that is read of a namespace.
        """
        if mark is None or name in self.ledger.assignments:
            return False if mark else None
        return sysctls.read(self.namespaces, name, [_REDIRECTS]).get(_REDIRECTS) == "1"

    def _released_places(self) -> set[str]:
        """Namespaces in which claims on settings may end."""
        return {netns for _user, netns, *_start in (*self.want.released, *self.want.exclusive_claims)}

    def _links(self) -> None:
        for fact in self.asked:
            if isinstance(fact, Link):
                self._link(fact)
        for place in sorted(self._referred_links()):
            if ("link", *place) not in self.facts:
                found = self.links.get(*place)
                if found:
                    self.facts["link", place[0], place[1]] = self.links.fact(place[0], found)
        removed = {_place(fact) for fact in self.want.absent if isinstance(fact, Link) and fact.kind == "bridge"}
        for netns, bridge in sorted(self.want.exclusive_ports | removed):
            for port in self.links.ports(netns, bridge):
                self.facts.setdefault(("link", netns, port.name), self.links.fact(netns, port))

    def _link(self, fact: Link) -> None:
        found = self.links.find(fact)
        if found:
            self.facts[fact.identity] = found
        if fact.peer and not (found and found.peer and _place(found.peer) == _place(fact.peer)):
            self._occupied(fact.peer)

    def _occupied(self, place: Link) -> None:
        """Another link may have the name that the end of a pair is to get. What a tenant made gives way."""
        there = self.links.holder(place.netns, place.name)
        if there is None:
            return
        namespace = self.facts.get(("namespace", place.netns))
        managed = isinstance(namespace, Namespace) and is_ours(namespace.alias)
        fact = self.links.fact(place.netns, there) if there.name == place.name else None
        if not managed or (fact and self._is_of_the_host(there, fact)):
            if fact:
                self.facts.setdefault(place.identity, fact)
            return
        taken = Occupied(place.netns, place.name, there.index, there.kind, alternative=there.name != place.name)
        self.facts[taken.identity] = taken

    def _is_of_the_host(self, reply: LinkReply, fact: Link) -> bool:
        """Whether nobody in the namespace can have made it: a device of the machine, a pair that ends on the host."""
        device = not reply.kind and reply.index != 1
        return device or (fact.peer is not None and fact.peer.netns == HOST)

    def _referred_links(self) -> set[tuple[str, str]]:
        referred = set()
        for fact in self.asked:
            if isinstance(fact, (Address, Limit, Vlans)):
                referred.add((fact.netns, fact.link))
            elif isinstance(fact, Route) and fact.device:
                referred.add((fact.netns, fact.device))
            elif isinstance(fact, Link):
                referred.update((end.netns, end.master) for end in ends(fact) if end.master)
        # The other end of a pair is known through the pair.
        known = {_place(end) for fact in self.facts.values() if isinstance(fact, Link) for end in ends(fact)}
        made = {_place(end) for fact in self.want.facts if isinstance(fact, Link) for end in ends(fact)}
        return referred - known - made

    def _locate(self) -> dict[tuple[str, str], Link]:
        """Where each link that is asked for by its wanted place really is."""
        pairs = {fact.identity: fact for fact in self.asked if isinstance(fact, Link) and fact.peer}
        located: dict[tuple[str, str], Link] = {}
        for identity, fact in self.facts.items():
            if isinstance(fact, Link):
                located[identity[1], identity[2]] = fact
                if fact.peer:
                    wanted = pairs.get(identity)
                    located[_place(wanted.peer if wanted and wanted.peer else fact.peer)] = fact.peer
        return located

    def _learned(self) -> None:
        """What managed links have from router advertisements. One that accepts none, and has no address with a
        lifetime, has no routes either: these are deleted when it is closed.
        """
        for fact in self.want.facts:
            have = self.facts.get(fact.identity)
            if isinstance(fact, Link) and isinstance(have, Link) and is_closed_by_itself(have):
                for wanted, end in zip(ends(fact), ends(have)):
                    if self._has_learned(end):
                        found = Learned(wanted.netns, wanted.name)
                        self.facts[found.identity] = found

    def _has_learned(self, end: Link) -> bool:
        index = end.index or 0
        held = self._held(end.netns, index)
        if any(addresses.is_learned(reply) for reply in held):
            return True
        own = [reply.cidr for reply in held]
        return bool(end.accept_ra) and bool(routes.learned(self.namespaces.socket(end.netns), index, own))

    def _addresses(self) -> None:
        places = {(fact.netns, fact.link) for fact in self.asked if isinstance(fact, Address)}
        places |= self.want.exclusive_addresses | self._moving
        asked = {fact.identity for fact in self.asked}
        for place in sorted(places):
            link = self.located.get(place)
            if link and link.index:
                replies = self._held(link.netns, link.index)
                cidrs = {reply.cidr for reply in replies if ("address", *place, reply.cidr) in asked}
                for fact in addresses.facts(replies, *place, cidrs):
                    unrouted = self._is_unrouted(fact, link)
                    self.facts[fact.identity] = dataclasses.replace(fact, unrouted=True) if unrouted else fact

    def _intruders(self) -> None:
        """Addresses of wanted gateways on any link of a managed namespace, by which no route could be made."""
        for (netns, device), gateways in self._gateways.items():
            namespace = self.facts.get(("namespace", netns))
            if netns in self.snapshot.places and isinstance(namespace, Namespace) and is_ours(namespace.alias):
                place = self.snapshot.read(netns)
                held = [(place.links[i].name, reply) for i, some in place.addresses.items() for reply in some]
                for name, reply in held:
                    if name != device and ipaddress.ip_interface(reply.cidr).ip in gateways:
                        fact = Address(netns, name, reply.cidr, intruding=True, peer=reply.peer)
                        self.facts.setdefault(fact.identity, fact)

    def _misled(self) -> None:
        """What makes wanted gateways none, where routes are to be made: that is refused by the kernel."""
        remade = {netns for netns, _name in self._moving | self._losing_addresses()}
        remade |= {fact.netns for fact in self.facts.values() if isinstance(fact, Address) and fact.unrouted}
        for fact in self.want.facts:
            if isinstance(fact, Route) and fact.netns != HOST and fact.gateway and fact.netns not in remade:
                have = self.facts.get(fact.identity)
                remade |= {fact.netns} if have is None or differences(fact, have) else set()
        for (netns, _device), gateways in self._gateways.items():
            namespace = self.facts.get(("namespace", netns))
            if netns in remade and isinstance(namespace, Namespace) and is_ours(namespace.alias):
                opened = self.namespaces.socket(netns)
                held = {ipaddress.ip_interface(reply.cidr).ip for reply in addresses.read(opened)}
                for gateway in gateways:
                    if gateway.version == 4 and routes.misleading(opened, str(gateway), gateway in held):
                        misled = Misled(netns, str(gateway))
                        self.facts[misled.identity] = misled

    def _is_unrouted(self, fact: Address, link: Link) -> bool:
        """Whether a tenant took away the route to a wanted gateway, or made that its broadcast address."""
        gateways = self._gateways.get((fact.netns, fact.link), ())
        if fact.broadcast and ipaddress.ip_address(fact.broadcast) in gateways:
            return True
        if not link.up or link.netns != fact.netns:
            return False
        network = fact.subnet
        if not any(gateway in network for gateway in gateways):
            return False
        replies = self.snapshot.routes(fact.netns, network.version, MAIN_TABLE)
        return not any(reply.device == link.index and reply.fact.destination == str(network) for reply in replies)

    @functools.cached_property
    def _gateways(self) -> dict[tuple[str, str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]]:
        """Of wanted routes inside namespaces, by the place of their links."""
        found: dict[tuple[str, str], list[ipaddress.IPv4Address | ipaddress.IPv6Address]] = {}
        for fact in self.want.facts:
            if isinstance(fact, Route) and fact.netns != HOST and fact.gateway and not fact.onlink:
                found.setdefault((fact.netns, fact.device or ""), []).append(ipaddress.ip_address(fact.gateway))
        return found

    def _held(self, netns: str, index: int) -> t.Sequence[addresses.AddressReply]:
        if netns in self.snapshot.places:
            return self.snapshot.read(netns).addresses.get(index, ())
        return addresses.read(self.namespaces.socket(netns), index)

    def _limits(self) -> None:
        places = {(fact.netns, fact.link) for fact in self.asked if isinstance(fact, Limit)} | self._moving
        asked: dict[tuple[str, str], dict[int, str]] = {}
        for netns, name in sorted(places):
            link = self.located.get((netns, name))
            if link and link.index and link.qdisc not in (None, "", *limits.NONE):
                asked.setdefault((link.netns, netns), {})[link.index] = name
        for (there, netns), links in asked.items():
            namespace = self.facts.get(("namespace", netns))
            managed = isinstance(namespace, Namespace) and is_ours(namespace.alias)
            for fact in limits.read(self.namespaces.socket(there), netns, links):
                # In a managed namespace nobody but its tenant can have chosen another one.
                tenant = managed and bool(fact.foreign)
                theirs = dataclasses.replace(fact, foreign="", discipline=fact.foreign)
                self.facts[fact.identity] = theirs if tenant else fact

    def _vlans(self) -> None:
        asked: dict[tuple[str, str], dict[int, str]] = {}
        named = {(fact.netns, fact.link) for fact in self.asked if isinstance(fact, Vlans)}
        for netns, name in sorted(named | self._filtered()):
            link = self.located.get((netns, name))
            if link and link.index and (link.master or link.kind == "bridge"):
                asked.setdefault((link.netns, netns), {})[link.index] = name
        for (there, netns), links in asked.items():
            for found in vlans.read(self.namespaces.socket(there), netns, links):
                self.facts[found.identity] = found

    def _filtered(self) -> set[tuple[str, str]]:
        """Bridges that filter VLANs, and their ports, where a link is to go: what goes with it must be known."""
        if not any(isinstance(fact, Link) for fact in self.want.absent):
            return set()
        links = [end for fact in self.facts.values() if isinstance(fact, Link) for end in ends(fact)]
        filtering = {_place(link) for link in links if link.vlan_filtering}
        return {_place(link) for link in links if _place(link) in filtering or (link.netns, link.master) in filtering}

    @functools.cached_property
    def _moving(self) -> set[tuple[str, str]]:
        """Places of links that were found elsewhere or that shall go: what is on them goes along."""
        places: set[tuple[str, str]] = set()
        for fact in self.asked:
            have = self.facts.get(fact.identity)
            if isinstance(fact, Link) and isinstance(have, Link):
                if fact.identity in self.want.gone:
                    places.update(_place(end) for end in ends(have))
                else:
                    pairs = zip(ends(fact), ends(have))
                    places.update(_place(want) for want, there in pairs if _place(want) != _place(there))
        return places

    def _routes(self) -> None:
        for netns, name in sorted(self._moving | self._losing_addresses()):
            link = self.located.get((netns, name))
            if link and link.index and link.up:
                self._routes_of(link, netns, name)
        tables = {(f.netns, family(f.destination), f.table) for f in self.asked if isinstance(f, Route)}
        wanted = {fact.identity for fact in self.asked if isinstance(fact, Route)}
        for netns, version, table in sorted(tables):
            if self.namespaces.exists(netns):
                for reply in self.snapshot.routes(netns, version, table):
                    # A learned one may have the same metric, and is another route.
                    learned = reply.fact.protocol == routes.RTPROT_RA and version == 6 and netns != HOST
                    if reply.fact.identity in wanted and reply.fact.identity not in self.facts and not learned:
                        self._add_route(reply, netns)

    def _losing_addresses(self) -> set[tuple[str, str]]:
        """Places of addresses that shall go: the last one takes the routes of its link along."""
        return {
            (fact.netns, fact.link)
            for fact in self.facts.values()
            if isinstance(fact, Address)
            and fact.identity not in self.want.present
            and (fact.identity in self.want.gone or (fact.netns, fact.link) in self.want.exclusive_addresses)
        }

    def _routes_of(self, link: Link, netns: str, name: str) -> None:
        """Routes on a link, filed under the place where it shall be."""
        for version in (4, 6):
            for reply in routes.read(self.namespaces.socket(link.netns), version, device=link.index or 0, netns=netns):
                if reply.fact.protocol not in (routes.RTPROT_KERNEL, routes.RTPROT_RA):
                    fact = dataclasses.replace(reply.fact, device=name)
                    self.facts.setdefault(fact.identity, fact)

    def _add_route(self, reply: routes.RouteReply, netns: str) -> None:
        link = self.links.get(netns, index=reply.device) if reply.device else None
        device = link.name if link and reply.fact.type == "unicast" else None
        self.facts[reply.fact.identity] = dataclasses.replace(reply.fact, device=device)

    def _settings(self) -> None:
        keys: dict[str, set[str]] = {}
        for fact in self.asked:
            if isinstance(fact, Setting):
                keys.setdefault(fact.netns, set()).update(_with_defaults(fact.key))
        # They go with their link, and come back with it.
        going = [self.facts.get(fact.identity) for fact in self.want.absent]
        for link in [end for fact in going if isinstance(fact, Link) for end in ends(fact)]:
            keys.setdefault(link.netns, set()).update(link_settings.keys(link))
        for netns in self._released_places():
            known = [f for f in self.ledger.originals.values() if isinstance(f, Setting) and f.netns == netns]
            keys.setdefault(netns, set()).update(fact.key for fact in known)
        for netns, wanted in sorted(keys.items()):
            for key, value in self._values(netns, wanted).items():
                self.facts["setting", netns, key] = Setting(netns, key, value)
        for claim in self.ledger.claims.values():
            self.facts[claim.identity] = claim

    def _values(self, netns: str, keys: set[str]) -> dict[str, str]:
        if not self.namespaces.exists(netns):
            return sysctls.read_in_new_namespace(keys)
        found = sysctls.read(self.namespaces, netns, keys)
        for switch, pattern in ((FORWARD4, "net/ipv4/conf/*/forwarding"), (FORWARD6, "net/ipv6/conf/*/forwarding")):
            if switch in keys and self._will_change(netns, switch, found.get(switch)):
                governed = sysctls.matching(self.namespaces, netns, pattern)
                if switch == FORWARD4:
                    governed.append("net/ipv4/conf/all/accept_redirects")
                found.update(sysctls.read(self.namespaces, netns, set(governed) - keys))
        return found

    def _will_change(self, netns: str, switch: str, value: str | None) -> bool:
        wanted = [fact.value for fact in self.want.facts if isinstance(fact, Setting) and fact.key == switch]
        return any(value != other for other in wanted) or any(netns == ns for _user, ns, _start in self.want.released)

    def _rulesets(self) -> None:
        asked: dict[tuple[str, str], set[str]] = {}
        named = {fact.name for fact in self.asked if isinstance(fact, Ruleset)}
        for fact in self.asked:
            if isinstance(fact, Ruleset):
                asked.setdefault((fact.netns, fact.backend), set()).add(fact.purpose)
        for (netns, backend), purposes in sorted(asked.items()):
            if self.namespaces.exists(netns):
                for (purpose, name), rules in rulesets.read(self.namespaces, netns, backend, purposes, named).items():
                    found = Ruleset(netns, name, rules, backend, purpose)
                    self.facts[found.identity] = found

    def _senders(self) -> None:
        asked = {fact.identity for fact in self.asked if isinstance(fact, Sender)}
        for netns in {identity[1] for identity in asked}:
            if self.namespaces.exists(netns):
                for found in port_table.read(self.namespaces, netns).values():
                    if found.identity in asked:
                        self.facts[found.identity] = found

    def _refusals(self) -> list[EgressError]:
        """Why firewalls would not take the rules that they do not have yet, or let go of those that they have."""
        asked: dict[tuple[str, str], list[tuple[Ruleset, Rules | None]]] = {}
        for fact in self.want.facts:
            if isinstance(fact, Ruleset) and self.namespaces.exists(fact.netns):
                found = self.facts.get(fact.identity)
                if not isinstance(found, Ruleset) or found.rules != fact.rules:
                    asked.setdefault((fact.netns, fact.backend), []).append((fact, fact.rules))
        for fact in self.want.absent:
            if isinstance(fact, Ruleset) and fact.identity in self.facts:
                asked.setdefault((fact.netns, fact.backend), []).append((fact, None))
        refusals = [rulesets.refusal(self.namespaces, *place, changes) for place, changes in asked.items()]
        senders = [fact for fact in self.want.facts if isinstance(fact, Sender)]
        places = {fact.netns for fact in senders if differences(fact, self.facts.get(fact.identity, Sender("", "")))}
        refusals += [port_table.refusal(self.namespaces, netns) for netns in places if self.namespaces.exists(netns)]
        return [refusal for refusal in refusals if refusal]

    def _files(self) -> None:
        paths = {fact.path for fact in self.asked if isinstance(fact, File)}
        if self.want.released or any(isinstance(fact, Claim) for fact in self.want.facts) or self._misplaced:
            paths.add(SYSCTL_FILE)
        for path in sorted(paths):
            content = files.read(path)
            if content is not None:
                self.facts["file", path] = File(path, content, files.mode(path))

    @property
    def _misplaced(self) -> bool:
        return bool(wall.misplaced_claims(self.ledger.claims.values(), self.facts))

    def _flows(self) -> None:
        for fact in self.want.absent:
            if isinstance(fact, Flows) and self.namespaces.exists(fact.netns):
                count = conntrack.matching(self.namespaces, fact.netns, fact)
                if count:
                    self.facts[fact.identity] = dataclasses.replace(fact, count=count)

    @functools.cached_property
    def _leaving(self) -> list[str]:
        named = [fact.name for fact in self.want.absent if isinstance(fact, Namespace)]
        return [name for name in named if self.namespaces.exists(name)]

    def _strangers(self) -> dict[str, list[str]]:
        if not self._leaving:
            return {}
        return {name: strange for name in self._leaving for strange in [self._strange(name)] if strange}

    def _strange(self, name: str) -> list[str]:
        """Pairs that were not made here: with an unmarked end on the host, or with one in another tool's namespace.

        Those that a tenant made lead within the namespace, or to one that it made in there.
        """
        pairs = [link for link in self.links.all(name) if link.kind == "veth" and link.peer_nsid is not None]
        here = self.namespaces.numbers(name, [HOST]).get(HOST) if pairs else None
        strange = []
        elsewhere = []
        for link in pairs:
            if link.peer_nsid != here:
                elsewhere.append(link)
                continue
            end = self.links.get(HOST, index=link.peer_index or 0)
            if end is not None and not is_ours(end.alias):
                strange.append(link.name)
        if elsewhere:
            others = [other for other in handles() if other != name]
            marks = marks_of(self.namespaces, self.links, others, self.ledger)
            foreign = set(self.namespaces.numbers(name, [one for one in others if one not in marks]).values())
            strange += [link.name for link in elsewhere if link.peer_nsid in foreign]
        return sorted(strange)

    def _macs(self) -> dict[str, str]:
        """Of ends that the ledger does not know the MAC they have, but for one that another has as well."""
        known = self.ledger.assignments
        asked = [one for one in self.want.assignments if not (one.namespace in known and known[one.namespace].mac)]
        if not asked:
            return {}
        pairs = {fact.name: fact for fact in self.want.facts if isinstance(fact, Link) and fact.peer}
        links = [fact for fact in self.facts.values() if isinstance(fact, Link)]
        held = collections.Counter(end.mac for link in links for end in ends(link))
        held.update(one.mac for one in known.values() if one.mac)
        found = {}
        for one in asked:
            have, want = self.facts.get(("link", HOST, one.link)), pairs[one.link].peer
            mac = have.peer.mac if isinstance(have, Link) and have.peer else None
            made = stable_mac(want.netns, want.name) if want else ""
            found[one.namespace] = mac if mac and (held[mac] == 1 or mac == made) else made
        return found

    def _obstacles(self) -> dict[str, str]:
        wanted = [fact for fact in self.want.facts if isinstance(fact, Namespace)]
        found = {fact.attach: obstacle_to_attach(fact.attach) for fact in wanted if fact.attach}
        replaceable = self.want.replaceable
        found.update({fact.name: obstacle_to_name(fact.name, fact.name in replaceable) for fact in wanted})
        return {subject: obstacle for subject, obstacle in found.items() if obstacle}

    def _unsettable(self) -> dict[Identity, tuple[str, str]]:
        """Of an interface, or in a namespace, that is still to come, a setting may be still to come as well."""
        found = {}
        for fact in self.want.facts:
            if isinstance(fact, Setting) and not interface_of(fact.key) and self.namespaces.exists(fact.netns):
                obstacle = sysctls.obstacle(self.namespaces, fact.netns, fact.key)
                if obstacle:
                    found[fact.identity] = obstacle
        return found

    def _listeners(self) -> dict[tuple[str, int, str, int], str]:
        """Who listens on the ports that shall be published."""
        asked: dict[str, set[PortPlace]] = {}
        for fact in self.want.facts:
            if isinstance(fact, Ruleset) and self.namespaces.exists(fact.netns):
                asked.setdefault(fact.netns, set()).update(places_of(fact.rules))
        return {
            (netns, *place): who
            for netns, places in asked.items()
            if places
            for place, who in listeners.listening(self.namespaces, netns, places).items()
        }

    def _living(self, ledger: Ledger) -> Ledger:
        """Without what was changed of ports, links and namespaces that are gone."""
        for identity in list(ledger.originals):
            if identity[0] in ("address", "link", "route", "setting") and not self.namespaces.exists(identity[1]):
                ledger = ledger.forgotten(identity)
                continue
            original = ledger.originals[identity]
            places = {"hairpin": identity[2:4], "address": identity[1:3]}
            if isinstance(original, Route) and original.netns != HOST and original.device:
                places["route"] = (original.netns, original.device)
            netns, link = places.get(identity[0], ("", ""))
            # A port goes some time after the namespace that it leads to.
            leads_nowhere = identity[0] == "hairpin" and not self.namespaces.exists(identity[1])
            if leads_nowhere or (link and self.namespaces.exists(netns) and not self.links.get(netns, link)):
                ledger = ledger.forgotten(identity)
        return ledger

    def _containers(self) -> frozenset[Identity]:
        rulesets_asked = [fact for fact in self.want.facts if isinstance(fact, Ruleset)]
        places = {fact.netns for fact in rulesets_asked if fact.backend == containers.BACKEND}
        there = (base_chains.present(self.namespaces, netns) for netns in places if self.namespaces.exists(netns))
        return frozenset[Identity]().union(*there)

    def _ports(self) -> dict[tuple[str, str], int]:
        """How many ports each bridge has that gets more."""
        bridges = set()
        for fact in self.want.facts:
            have = self.facts.get(fact.identity)
            for end in ends(fact) if isinstance(fact, Link) else []:
                if end.master and not (isinstance(have, Link) and have.master == end.master):
                    bridges.add((end.netns, end.master))
        return {
            bridge: len(self.links.ports(*bridge)) for bridge in sorted(bridges) if self.namespaces.exists(bridge[0])
        }


def _place(link: Link) -> tuple[str, str]:
    return (link.netns, link.name)


def _with_defaults(key: str) -> list[str]:
    """The key and, of an interface's, the one that a new interface inherits from."""
    parts = key.split("/")
    if len(parts) > 4 and parts[2] == "conf":
        return [key, "/".join([*parts[:3], "default", *parts[4:]])]
    return [key]
