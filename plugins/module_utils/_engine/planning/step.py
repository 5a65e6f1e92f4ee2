# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A step: one fact before and after. Its inverses and its line follow from that."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ..errors import printable
from ..model import (
    DEFAULT_DESTINATION,
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
    differences,
)
from ..rules import NatRules, PublishRules


@dataclass(frozen=True)
class Step:
    """before None creates, after None deletes, both change.

    along: facts, as they were, that the kernel changes or removes by itself when the step runs.
    """

    before: Fact | None
    after: Fact | None
    along: tuple[Fact, ...] = ()

    @property
    def fact(self) -> Fact:
        """The fact that the step is about, as it is named afterwards."""
        return t.cast(Fact, self.before if self.after is None else self.after)

    @property
    def identity(self) -> Identity:
        return self.fact.identity

    @property
    def inverses(self) -> list[Step]:
        """The steps that undo it."""
        return [Step(self.after, self.before), *(self._back(fact) for fact in self.along)]

    @property
    def obstacle(self) -> str:
        """Why it cannot be done: nobody knows any more what shall be there. "" where it can."""
        if isinstance(self.after, Ruleset) and self.after.rules is None:
            return "how they had been edited is not known"
        if isinstance(self.after, Link) and self.before is None and self.after.kind == "veth" and not self.after.peer:
            return "its other end was in a namespace that nothing can reach"
        return ""

    def _back(self, fact: Fact) -> Step:
        """The step that brings back a fact, on the link under the name that it had before."""
        if isinstance(fact, Link):
            return Step(dataclasses.replace(fact, master=""), fact)
        for old, new in zip(_ends(self.before), _ends(self.after)):
            if isinstance(fact, (Address, Limit, Vlans)) and (fact.netns, fact.link) == (new.netns, new.name):
                return Step(None, dataclasses.replace(fact, netns=old.netns, link=old.name))
            if isinstance(fact, Route) and (fact.netns, fact.device) == (new.netns, new.name):
                return Step(None, dataclasses.replace(fact, netns=old.netns, device=old.name))
        return Step(None, fact)

    @property
    def line(self) -> str:
        """What the step does, for a person to read: printable, as tenants choose names and aliases."""
        if self.before is None:
            return printable(_CREATE[type(self.fact)](self.fact))
        if self.after is None:
            return printable(_DELETE[type(self.fact)](self.fact))
        return printable(_change(self.before, self.after))


def _ends(fact: Fact | None) -> list[Link]:
    return [end for end in (fact, fact.peer) if end] if isinstance(fact, Link) else []


def place(netns: str) -> str:
    return "" if netns == HOST else f" in namespace {netns}"


def dotted(key: str) -> str:
    """A sysctl as people write it: with dots, unless a name in it has dots itself."""
    return key if "." in key else key.replace("/", ".")


def destination(route: Route) -> str:
    return "default" if route.destination in DEFAULT_DESTINATION.values() else route.destination


def _vlans(vlans: Vlans) -> str:
    listed = [f"VLAN {vlans.untagged}"] if vlans.untagged else []
    listed += [f"VLANs {', '.join(map(str, vlans.tagged))} tagged"] if vlans.tagged else []
    return " and ".join(listed) or "no VLAN"


def shown_rate(rate: int | None) -> str:
    """Bits per second as tc and our options write them."""
    for unit, word in ((10**9, "gbit"), (10**6, "mbit"), (10**3, "kbit")):
        if rate and not rate % unit:
            return f"{rate // unit}{word}"
    return f"{rate}bit"


def _link_name(link: Link) -> str:
    kind = f"{link.kind} " if link.kind else "link "
    return f"{kind}{link.name}{place(link.netns)}"


def _create_link(link: Link) -> str:
    details = []
    if link.peer:
        details.append(f"with peer {link.peer.name}{place(link.peer.netns) or ' on the host'}")
    if link.master:
        details.append(f"on bridge {link.master}")
    return " ".join([f"create {_link_name(link)}", *details])


def _route_name(route: Route) -> str:
    family = "-6 " if ":" in route.destination and destination(route) == "default" else ""
    words = [f"route {family}{destination(route)}"]
    if route.type not in (None, "unicast"):
        words.insert(0, str(route.type))
    if route.gateway:
        words.append(f"via {route.gateway}")
    if route.device:
        words.append(f"dev {route.device}")
    if route.table != MAIN_TABLE:
        words.append(f"table {route.table}")
    return " ".join(words) + place(route.netns)


_PURPOSES = {
    "nat": "source NAT",
    "publish": "published ports of",
    "forward": "accept in FORWARD for",
    "mss": "clamp of the MSS for",
    "guard": "guard of",
    "wall": "forwarding limits of",
}


def _rules_name(ruleset: Ruleset) -> str:
    where = "" if ruleset.backend == "nftables" else f" in {ruleset.backend}"
    return f"{_PURPOSES[ruleset.purpose]} {ruleset.name}{where}{place(ruleset.netns)}"


def _create_rules(ruleset: Ruleset) -> str:
    if isinstance(ruleset.rules, NatRules):
        return f"create {_rules_name(ruleset)} for {', '.join(ruleset.rules.sources)}"
    if isinstance(ruleset.rules, PublishRules):
        return f"create {_rules_name(ruleset)}: {', '.join(map(str, ruleset.rules.publications))}"
    return f"create {_rules_name(ruleset)}"


def _unlimited(limit: Limit) -> str:
    return f"remove {limit.discipline}" if limit.discipline else f"lift the limit of {shown_rate(limit.rate)}"


def _allowed(sender: Sender) -> str:
    addresses = "any address" if sender.any_address else ", ".join(sender.addresses or ())
    return f"{sender.mac or 'its own MAC address'} with {addresses or 'no address'}"


def _flows_name(flows: Flows) -> str:
    words = [
        str(flows.count),
        *([flows.protocol] if flows.protocol else []),
        "tracked connection" + "s" * (flows.count != 1),
    ]
    words += [f"from {flows.source}"] if flows.source else []
    words += [f"to {flows.destination}"] if flows.destination else []
    return " ".join(words) + place(flows.netns)


def _holder(occupied: Occupied) -> str:
    how = ", which has it as an alternative name" if occupied.alternative else ""
    return f"a {occupied.kind or 'loopback'} link{place(occupied.netns)}{how}"


_CREATE: dict[type[t.Any], t.Callable[[t.Any], str]] = {
    Namespace: lambda f: f"create namespace {f.name}" + (f" from {f.attach}" if f.attach else ""),
    Link: _create_link,
    Address: lambda f: f"add address {f.shown} to {f.link}{place(f.netns)}",
    Limit: lambda f: f"limit {f.link} to {shown_rate(f.rate)}{place(f.netns)}",
    Vlans: lambda f: f"put {f.link} in {_vlans(f)}{place(f.netns)}",
    Route: lambda f: f"add {_route_name(f)}",
    Setting: lambda f: f"set {dotted(f.key)} to {f.value}{place(f.netns)}",
    Ruleset: _create_rules,
    File: lambda f: f"write {f.path}",
    Claim: lambda f: f"note that {f.user or 'this host'} needs {dotted(f.key)} = {f.value}{place(f.netns)}",
    Flows: lambda f: f"leave {_flows_name(f)} as they are",
    Sender: lambda f: f"restrict what {f.link} sends to {_allowed(f)}{place(f.netns)}",
    Learned: lambda f: f"leave {f.link}{place(f.netns)} without what it had learned from router advertisements",
    Misled: lambda f: f"leave {f.gateway}{place(f.netns)} a gateway",
    Occupied: lambda f: f"give the name {f.name} back to {_holder(f)}",
}
_DELETE: dict[type[t.Any], t.Callable[[t.Any], str]] = {
    Namespace: lambda f: f"delete namespace {f.name}",
    Link: lambda f: f"delete {_link_name(f)}",
    Address: lambda f: f"delete address {f.shown} from {f.link}{place(f.netns)}",
    Limit: lambda f: f"{_unlimited(f)} from {f.link}{place(f.netns)}",
    Vlans: lambda f: f"take {f.link} out of {_vlans(f)}{place(f.netns)}",
    Route: lambda f: f"delete {_route_name(f)}",
    Setting: lambda f: f"unset {dotted(f.key)}{place(f.netns)}",
    Ruleset: lambda f: f"delete {_rules_name(f)}",
    File: lambda f: f"delete {f.path}",
    Claim: lambda f: f"note that {f.user or 'this host'} no longer needs {dotted(f.key)}{place(f.netns)}",
    Flows: lambda f: f"delete {_flows_name(f)}",
    Sender: lambda f: f"lift the restriction of what {f.link} sends{place(f.netns)}",
    Learned: lambda f: f"delete what {f.link}{place(f.netns)} learned from router advertisements",
    Misled: lambda f: f"delete routes by which {f.gateway} is no gateway{place(f.netns)}",
    Occupied: lambda f: f"take the name {f.name} from {_holder(f)}",
}


def _shown(key: str, value: t.Any) -> str:
    if value is None or value == "":
        return "host" if key.endswith("netns") else "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value.name}{place(value.netns)}" if isinstance(value, Link) else str(value)


def _change(before: Fact, after: Fact) -> str:
    if isinstance(after, File):
        return f"rewrite {after.path}"
    if isinstance(after, Ruleset):
        return f"replace {_rules_name(after)}"
    if isinstance(after, Setting) and isinstance(before, Setting):
        return f"set {dotted(after.key)} to {after.value} (was {before.value}){place(after.netns)}"
    if isinstance(after, (Claim, Sender)):
        return _CREATE[type(after)](after)
    if isinstance(after, Vlans) and isinstance(before, Vlans):
        return f"put {after.link} in {_vlans(after)} (was in {_vlans(before)}){place(after.netns)}"
    if isinstance(after, Limit) and isinstance(before, Limit):
        was = before.discipline or shown_rate(before.rate)
        return f"limit {after.link} to {shown_rate(after.rate)} (was {was}){place(after.netns)}"
    if isinstance(after, Address):
        reason = "its route was gone" if isinstance(before, Address) and before.unrouted else "another host had it"
        return f"add address {after.cidr} to {after.link} again{place(after.netns)}, as {reason}"
    if isinstance(after, Route):
        return f"replace {_route_name(after)}"
    changes = ", ".join(
        f"{key} {_shown(key, old)} -> {_shown(key, new)}" for key, (old, new) in differences(after, before).items()
    )
    name = _link_name(after) if isinstance(after, Link) else f"namespace {getattr(after, 'name', '')}"
    return f"change {name}: {changes}"
