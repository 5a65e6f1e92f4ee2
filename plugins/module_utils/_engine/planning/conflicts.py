# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What forbids a change. Checked before anything is done; each error says what is there and what to do."""

from __future__ import annotations

import typing as t

from ..errors import ConflictError, UnsupportedError
from ..model import (
    HOST,
    MARK,
    ROUTE_PROTOCOL,
    Address,
    Claim,
    Fact,
    File,
    Limit,
    Link,
    Namespace,
    Route,
    Setting,
    Vlans,
    Want,
    is_ours,
    named,
)
from ..spec.linux_bridge import MAX_PORTS
from .facts import Facts
from .ownership import owned
from .state import Have, ends, netns_exists
from .step import Step, destination, dotted, place, shown_rate


def check(want: Want, have: Have, predicting: bool) -> None:
    """Errors: ConflictError for the first thing that stands in the way."""
    _Check(want, have, predicting).run()


def check_claims(claims: t.Iterable[Claim]) -> None:
    """Two networks must not need different values of one setting."""
    needed: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        other = needed.setdefault((claim.netns, claim.key), claim)
        if other.value != claim.value:
            raise ConflictError(
                f"set {dotted(claim.key)} to {claim.value} for {claim.user or 'this host'}",
                f"{other.user or 'this host'} needs {other.value}",
                "Give both the same value",
            )


def check_others(want: Want, steps: t.Sequence[Step]) -> None:
    """A request for some namespaces leaves those on the same bridges their gateways, and so their subnets."""
    if not want.only:
        return
    bridges = {(fact.netns, fact.name) for fact in want.facts if isinstance(fact, Link) and fact.kind == "bridge"}
    for step in steps:
        fact = step.fact
        if isinstance(fact, Address) and step.after is None and (fact.netns, fact.link) in bridges:
            raise ConflictError(
                f"build {', '.join(sorted(want.only))} alone",
                f"the network changes for all its namespaces: {step.line}",
                "Build all of it, without only",
            )


def check_file(there: File) -> None:
    """A file of a name that only we use must be ours."""
    if not owned(Facts(), there):
        raise ConflictError(f"write {there.path}", "somebody else wrote the one that is there", "Move it away")


def refuse_to_remove(fact: Fact, protected: t.Mapping[str, str]) -> t.NoReturn:
    """Somebody else's object was asked to be removed. protected: links of the host that carry the way to it."""
    what, hand_over = _describe(fact)
    if isinstance(fact, Link) and fact.netns == HOST and fact.name in protected:
        raise ConflictError(
            f"remove {what}", f"it carries {protected[fact.name]}", "Use another interface; this one is left alone"
        )
    raise ConflictError(
        f"remove {what}",
        "it does not carry our mark, so somebody else made it, and it is left alone",
        f"Remove it yourself{hand_over}",
    )


def _describe(fact: Fact) -> tuple[str, str]:
    if isinstance(fact, Link):
        return f"link {fact.name}{place(fact.netns)}", f", or hand it over: ip link set {fact.name} alias {MARK}"
    if isinstance(fact, Namespace):
        return f"namespace {fact.name}", ""
    if isinstance(fact, Route):
        hand_over = f", or hand it over by giving it protocol {ROUTE_PROTOCOL}"
        return f"route {destination(fact)}{place(fact.netns)}", hand_over
    return named(fact.identity), ""


class _Check:
    def __init__(self, want: Want, have: Have, predicting: bool) -> None:
        self.want = want
        self.have = have
        self.predicting = predicting
        self.made = {fact.identity for fact in want.facts}
        for fact in want.facts:
            if isinstance(fact, Link) and fact.peer:
                self.made.add(fact.peer.identity)

    def run(self) -> None:
        for fact in self.want.facts:
            self._whereabouts(fact)
            if isinstance(fact, Link):
                self._link(fact)
            elif isinstance(fact, Address):
                self._address(fact)
            elif isinstance(fact, Setting):
                self._setting(fact)
            elif isinstance(fact, Limit):
                self._limit(fact)
            elif isinstance(fact, Namespace):
                self._mark(fact, self.have.facts.get(fact.identity))
                self._obstacle(fact)
        for fact in self.want.absent:
            if isinstance(fact, Namespace) and not fact.force:
                self._inhabited(fact)
        self._ports()

    def _whereabouts(self, fact: Fact) -> None:
        """What the fact lives in or on is there, or is made by the same request."""
        netns = getattr(fact, "netns", HOST)
        for name in [netns, *([fact.peer.netns] if isinstance(fact, Link) and fact.peer else [])]:
            if not netns_exists(self.have.facts, name) and ("namespace", name) not in self.made:
                self._missing(f"namespace {name}", "netpath.egress.netns", fact)
        if isinstance(fact, Link):
            for end in ends(fact):
                if end.master:
                    self._bridge(end.netns, end.master, fact)
        device = (
            fact.link if isinstance(fact, (Address, Limit, Vlans)) else fact.device if isinstance(fact, Route) else None
        )
        if device and not self._known(netns, device):
            self._missing(f"link {device}{place(netns)}", "netpath.egress.veth or netpath.egress.linux_bridge", fact)

    def _known(self, netns: str, name: str) -> bool:
        return ("link", netns, name) in self.have.facts or ("link", netns, name) in self.made

    def _missing(self, what: str, maker: str, fact: Fact) -> None:
        if not self.predicting:
            raise ConflictError(f"make {named(fact.identity)}", f"{what} does not exist", f"Make it with {maker}")

    def _bridge(self, netns: str, master: str, port: Link) -> None:
        there = self.have.facts.get(("link", netns, master))
        if there is None and ("link", netns, master) not in self.made:
            self._missing(f"bridge {master}{place(netns)}", "netpath.egress.linux_bridge", port)
        elif isinstance(there, Link) and there.kind != "bridge":
            raise ConflictError(
                f"make {port.name} a port of {master}",
                f"{master}{place(netns)} is not a bridge but {_kind(there)}",
                "Give the name of a bridge",
            )

    def _link(self, fact: Link) -> None:
        have = self.have.facts.get(fact.identity)
        if isinstance(have, Link):
            self._kind(fact, have)
            self._mark(fact, have)
            return
        if fact.kind is None:
            self._missing(f"link {fact.name}{place(fact.netns)}", "netpath.egress.veth", fact)
        if fact.peer:
            self._peer_name_is_free(fact, fact.peer)

    def _peer_name_is_free(self, fact: Link, peer: Link) -> None:
        taken = self.have.facts.get(peer.identity)
        if isinstance(taken, Link):
            raise ConflictError(
                f"make veth {fact.name} with peer {peer.name}{place(peer.netns)}",
                f"that name is taken by {_kind(taken)}" + ("" if is_ours(taken.alias) else " that somebody else made"),
                "Choose another name, or remove it",
            )

    def _kind(self, fact: Link, have: Link) -> None:
        if fact.kind and have.kind != fact.kind:
            raise ConflictError(
                f"make {fact.kind} {fact.name}{place(fact.netns)}",
                f"the name is taken by {_kind(have)}",
                "Choose another name"
                if fact.name in self.have.protected
                else "Choose another name, or remove that link",
            )
        if fact.peer and have.peer and (fact.peer.netns, fact.peer.name) != (have.peer.netns, have.peer.name):
            self._peer_name_is_free(fact, fact.peer)

    def _mark(self, fact: Link | Namespace, have: Fact | None) -> None:
        if isinstance(fact, Link) and isinstance(have, Link) and _alias(fact) not in ("", MARK):
            self._foreign_pair(fact, have)
        owner, asking = (alias[len(MARK) :] if is_ours(alias) else "" for alias in (_alias(have), _alias(fact)))
        if owner and asking and owner != asking:
            raise ConflictError(
                f"use {fact.name} for network {asking}",
                f"it belongs to network {owner}",
                f"Take it out of {owner} in a run of its own first, or choose another name",
            )

    def _foreign_pair(self, fact: Link, have: Link) -> None:
        """A pair goes with the namespace that one end is in, so a network has only pairs that were made for it."""
        if fact.peer and not any(is_ours(end.alias) for end in ends(have)):
            raise ConflictError(
                f"make veth {fact.name}{place(fact.netns)} for network {_alias(fact)[len(MARK) :]}",
                "the name is taken by a veth that somebody else made",
                f"Remove it, or hand it over: ip link set {fact.name} alias {MARK}",
            )

    def _obstacle(self, fact: Namespace) -> None:
        if fact.attach in self.have.obstacles:
            raise ConflictError(
                f"give {fact.attach} the name {fact.name}",
                self.have.obstacles[fact.attach or ""],
                "Give the PID of a process, or the path of its namespace: /proc/PID/ns/net",
            )
        if fact.name in self.have.obstacles:
            raise ConflictError(
                f"make namespace {fact.name}",
                self.have.obstacles[fact.name],
                "Remove it if nobody needs it, or choose another name",
            )

    def _inhabited(self, fact: Namespace) -> None:
        # Of a namespace that was only given a name, nothing but the name goes.
        if fact.identity in self.have.ledger.originals:
            return
        strangers = self.have.strangers.get(fact.name, ())
        if strangers:
            raise ConflictError(
                f"delete namespace {fact.name}",
                f"pairs of somebody else's lead there and would go along: {', '.join(strangers)}",
                "Move them away first. The option force of the module netns takes away its name alone",
            )
        inhabitants = self.have.inhabitants.get(fact.name, ())
        if inhabitants:
            listed = ", ".join(f"{pid} ({command})" for pid, command in inhabitants[:8])
            more = f" and {len(inhabitants) - 8} more" if len(inhabitants) > 8 else ""
            raise ConflictError(
                f"delete namespace {fact.name}",
                f"processes live in it: {listed}{more}",
                "End them first. The option force of the module netns takes away its name alone",
            )

    def _address(self, fact: Address) -> None:
        if (fact.netns, fact.link) in self.want.exclusive_addresses or fact.identity in self.have.facts:
            return
        network = fact.subnet
        for other in self.have.facts.values():
            if (
                isinstance(other, Address)
                and (other.netns, other.link) == (fact.netns, fact.link)
                and other.identity not in self.made
                and other.subnet.overlaps(network)
            ):
                raise ConflictError(
                    f"give {fact.link}{place(fact.netns)} the address {fact.cidr}",
                    f"it has {other.cidr}, of an overlapping range",
                    "Remove that address, or choose another one. A module with exclusive_addresses replaces it",
                )

    def _setting(self, fact: Setting) -> None:
        have = self.have.facts.get(fact.identity)
        if fact.identity in self.have.unsettable and (not isinstance(have, Setting) or have.value != fact.value):
            found, advice = self.have.unsettable[fact.identity]
            now = f", and is {have.value}" if isinstance(have, Setting) else ""
            raise UnsupportedError(f"set {dotted(fact.key)} to {fact.value}{place(fact.netns)}", found + now, advice)

    def _limit(self, fact: Limit) -> None:
        there = self.have.facts.get(fact.identity)
        if isinstance(there, Limit) and there.foreign:
            raise ConflictError(
                f"limit {fact.link}{place(fact.netns)} to {shown_rate(fact.rate)}",
                f"somebody else gave it the queueing discipline {there.foreign}",
                f"Leave bandwidth out, or remove that one: tc qdisc del dev {fact.link} root",
            )

    def _ports(self) -> None:
        added: dict[tuple[str, str], int] = {}
        for fact in self.want.facts:
            for end in ends(fact) if isinstance(fact, Link) else []:
                have = self.have.facts.get(fact.identity)
                if end.master and not (isinstance(have, Link) and have.master == end.master):
                    added[end.netns, end.master] = added.get((end.netns, end.master), 0) + 1
        for bridge, count in added.items():
            total = count + self.have.ports.get(bridge, 0)
            if total > MAX_PORTS:
                raise ConflictError(
                    f"give bridge {bridge[1]}{place(bridge[0])} {total} ports",
                    f"a bridge holds {MAX_PORTS}",
                    "Spread the namespaces over several networks",
                )


def _alias(fact: Fact | None) -> str:
    return getattr(fact, "alias", None) or ""


def _kind(link: Link) -> str:
    return f"a {link.kind} link" if link.kind else "a physical or other link"
