# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan(want, have): the ordered steps from what is found to what is wanted, and the ledger that goes with them."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import typing as t
from dataclasses import dataclass

from ..errors import ConflictError
from ..ledger import EMPTY, Draft, Ledger
from ..model import (
    HOST,
    MARK,
    Address,
    Claim,
    Fact,
    File,
    Flows,
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
    is_ours,
    merged,
)
from ..spec.drop_ins import manager_of
from . import conflicts, containers, management_path, rule_conflicts, wall
from .facts import Facts, interface_of
from .guarding import guards, widened
from .ownership import (
    hairpin_lent,
    owned,
    released_originals,
    restored_link,
    with_senders,
    without_hairpin,
    written_down,
)
from .state import FORWARD4, FORWARD6, Have, ends, is_on_link, setting_now, side_effects, simulate
from .step import Step
from .sysctl_file import SYSCTL_FILE, sysctl_file

_NO_FACTS = Facts()
_ORDER: tuple[type[t.Any], ...] = (
    *(Namespace, Occupied, Link, Learned, Limit, Vlans, Address, Claim, Setting, Misled, Route, File, Flows),
)
# What keeps packets in, in the order in which it comes; other rules follow.
_KEEPING_IN = {"wall": 2, "guard": 3}
# Behind all that comes.
_AT_THE_END = 5


@dataclass(frozen=True)
class Plan:
    """steps in the order in which they run. ledger is the one that holds once they have."""

    steps: tuple[Step, ...] = ()
    ledger: Ledger = EMPTY

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def actions(self) -> list[str]:
        return [step.line for step in self.steps]


def make_plan(want: Want, have: Have, predicting: bool = False) -> Plan:
    """The steps from have to want.

    predicting: what want refers to but does not itself make (a namespace, a bridge) may be missing, since
    another part of the same change will make it. Errors: ConflictError, before anything is changed.
    """
    conflicts.check(want, have, predicting)
    rule_conflicts.check(want, have)
    planner = _Planner(want, have)
    for fact in sorted(want.absent, key=_order, reverse=True):
        if planner.waits(fact) is None:
            planner.remove(fact)
    for user, netns, start in sorted(want.released):
        planner.release(netns, planner.ledger.claims_of(user, netns, start))
    for user, netns in sorted(want.exclusive_claims):
        stale = planner.stale_claims(user, netns)
        if stale:
            planner.release(netns, stale)
    planner.release_misplaced()
    planner.converge_all()
    planner.ledger = with_senders(planner.ledger, [fact for fact in want.facts if isinstance(fact, Sender)])
    planner.assign()
    planner.write_sysctl_file()
    planner.forget_what_is_as_it_was()
    try:
        management_path.check(planner.steps, have)
    except ConflictError as error:
        error.for_all()
        raise
    conflicts.check_others(want, planner.steps)
    return Plan(tuple(planner.steps), planner.draft.finished())


_Order = tuple[int, str, int, bool]


def _order(fact: Fact) -> _Order:
    """Rules; namespaces, bridges, other links; then all that is inside one namespace, the host last; then files.

    Rules come before anything can send, those that keep packets in first, and go when nothing can any more. Those
    inside a namespace come right after it. A gateway may be reached by a route that has none.
    """
    if isinstance(fact, (Sender, Ruleset)):
        rank = 1 if isinstance(fact, Sender) else _KEEPING_IN.get(fact.purpose, 4)
        return (-1 if fact.netns == HOST else 0, "", rank, True)
    kind = _ORDER.index(type(fact))
    if isinstance(fact, File) and manager_of(fact.path):
        # Ahead of the links that it is about.
        return (0, "", 0, True)
    if isinstance(fact, Link):
        return (1, "", 0 if fact.kind == "bridge" else 1, True)
    if isinstance(fact, (Limit, Vlans, Address, Claim, Setting, Misled, Route)):
        # Ahead of the addresses that it would refuse.
        ahead = isinstance(fact, Setting) and fact.key.endswith("/disable_ipv6")
        last = not isinstance(fact, Route) or bool(fact.gateway)
        # The host's last: its bridges come up when all their ports are ready.
        return (3 if fact.netns == HOST else 2, fact.netns, -1 if ahead else kind, last)
    return (0 if kind == 0 else 4, "", kind, True)


class _Planner:
    """Walks the facts once and keeps the state that the steps so far lead to."""

    def __init__(self, want: Want, have: Have) -> None:
        self.want = want
        self.have = have
        self.facts = Facts(have.facts)
        self.draft = Draft(have.ledger)
        self.ledger: Ledger = self.draft
        self.steps: list[Step] = []
        self.pending: list[tuple[_Order, int, t.Callable[[t.Any], None], Fact]] = []
        self.count = itertools.count()
        self.named = {fact.identity for fact in (*want.facts, *want.absent)}
        self.rulesets = {fact.identity[:4] for fact in want.facts if isinstance(fact, Ruleset)}
        self.assignments = wall.completed(want.assignments, have)
        self.drifted = any(isinstance(fact, (Learned, Occupied)) for fact in have.facts.values())

    def add(self, step: Step) -> None:
        effects = side_effects(self.facts, step)
        along = sorted((self.facts[identity] for identity in effects), key=_order)
        step = dataclasses.replace(step, along=tuple(along))
        self.ledger = written_down(self.ledger, self.facts, step, effects)
        if isinstance(step.after, Ruleset):
            self.ledger = containers.written_down(self.ledger, self.have.containers, step.after)
        lost = [fact for fact in along if effects[fact.identity] is None]
        self.steps.append(step)
        simulate(self.facts, step, effects)
        for fact in lost:
            original = self.ledger.originals.get(fact.identity)
            if self._stays(step, fact):
                self._later(_order(fact), self.keep, fact)
            elif isinstance(original, Route) and isinstance(step.before, Link):
                self._later(_order(original), self.give_back, original)

    def _stays(self, step: Step, lost: Fact) -> bool:
        """Whether it is an address or a route of others on a link that the step leaves where it is."""
        if lost.identity in self.named or not isinstance(lost, (Address, Route)):
            return False
        place = (lost.netns, lost.link if isinstance(lost, Address) else lost.device or "")
        if isinstance(lost, Address) and place in self.want.exclusive_addresses:
            return False
        if isinstance(step.before, Link):
            after = ends(step.after) if isinstance(step.after, Link) else []
            if any(old.ipv6 and new.ipv6 is False for old, new in zip(ends(step.before), after)):
                return False
            pairs = zip(ends(step.before), after)
            return place in {(new.netns, new.name) for old, new in pairs if old.netns == new.netns}
        return isinstance(step.before, Address)

    def _later(self, order: _Order, action: t.Callable[[t.Any], None], fact: Fact) -> None:
        heapq.heappush(self.pending, (order, next(self.count), action, fact))

    def waits(self, fact: Fact) -> _Order | None:
        """The turn of what goes among what comes; None for what goes ahead of all that."""
        if isinstance(fact, Limit):
            # Its link may first have to get the name or the place by which it is known here.
            return _order(fact)
        if not isinstance(fact, Ruleset):
            return None
        # The same network has its rules elsewhere: these come first, without a gap. The guard is the last to go.
        moves = fact.identity[:4] in self.rulesets
        return (_AT_THE_END, "", 1 if guards(fact) else 0, False) if moves or guards(fact) else None

    def converge_all(self) -> None:
        """Do what is wanted, in order; what a step takes along and shall stay is put back in its turn."""
        strangers = self.strangers()
        # Ahead of these addresses: a run that is killed in between would not find the routes any more.
        for route in self.left_behind(strangers):
            self._later(
                (*_order(Address(route.netns, route.device or "", ""))[:3], False), self.remove_left_behind, route
            )
        # Secondary ones first: whether they go with their primary one is up to promote_secondaries. The last one
        # first, as what is put back is listed last.
        secondary = [fact for fact in strangers if _is_secondary(fact)]
        for stranger in (*reversed(secondary), *(fact for fact in strangers if not _is_secondary(fact))):
            # Ahead of the wanted addresses, and after the change of links that these are on.
            order = _order(stranger) if isinstance(stranger, Address) else (-1, "", 0, False)
            self._later((*order[:3], False), self.remove_stranger, stranger)
        for misled in [fact for fact in self.facts.values() if isinstance(fact, Misled)]:
            self._later(_order(misled), self.remove_misled, misled)
        for fact in self.want.facts:
            self._later(_order(fact), self.converge, fact)
        for fact in self.want.absent:
            turn = self.waits(fact)
            if turn is not None:
                self._later(turn, self.remove, fact)
        while self.pending:
            _order_of_it, _number, action, fact = heapq.heappop(self.pending)
            action(fact)

    def keep(self, fact: Address | Route) -> None:
        """Put back what a step took along, unless nothing leads to a route's gateway any more."""
        if fact.identity in self.facts:
            return
        if isinstance(fact, Address) or not fact.gateway or fact.onlink or is_on_link(self.facts, fact):
            self.add(Step(None, fact))

    def give_back(self, original: Route) -> None:
        """A route of somebody else's that ours had taken the place of."""
        gone = any(self._takes_away(step, original) for step in self.steps)
        if not gone and original.identity not in self.facts:
            self.add(Step(None, original))
        self.ledger = self.ledger.forgotten(original.identity)

    def _takes_away(self, step: Step, route: Route) -> bool:
        """Whether a route's namespace or link goes with a step: it was handed over, and its route with it."""
        if step.after is not None:
            return False
        place = (route.netns, route.device or "")
        at_link = isinstance(step.before, Link) and any((end.netns, end.name) == place for end in ends(step.before))
        return at_link or step.identity == ("namespace", route.netns)

    def converge(self, fact: Fact) -> None:
        have = setting_now(self.facts, fact) if isinstance(fact, Setting) else self.facts.get(fact.identity)
        if isinstance(fact, Link):
            if isinstance(have, Link) and fact.peer and not have.peer:
                # Its other end is in a namespace that has no name and no process, so that nothing can reach it.
                self._delete(fact, have)
                have = None
            self.ledger, fact = hairpin_lent(self.ledger, fact, have)
            fact = wall.closed(wall.with_mac(fact, have, self.assignments, self.have.macs), have, self.want.present)
            self.make_room(fact, have)
        elif isinstance(fact, Namespace):
            fact = wall.closed_namespace(fact, have, self.want.present)
        if have is None:
            self.add(Step(None, fact))
            return
        changed = differences(fact, have)
        if isinstance(fact, (Link, Namespace)):
            # The mark is given at birth only: what was there before us never becomes ours.
            fact, changed = _without_mark(fact, t.cast("Link | Namespace", have), changed)
        if isinstance(fact, Ruleset) and isinstance(have, Ruleset) and guards(fact):
            while_changing = widened(fact, have)
            if while_changing != fact:
                self._later((_AT_THE_END, "", 1, False), self.narrow, fact)
                fact, changed = while_changing, differences(while_changing, have)
        if changed:
            self.add(Step(have, merged(have, fact)))
        for learned in wall.forgettable(fact, self.facts) if self.drifted and isinstance(fact, Link) else ():
            self.add(Step(learned, None))

    def make_room(self, fact: Link, have: Fact | None) -> None:
        """Names that the ends are to get, and that something in a managed namespace has."""
        old = ends(have) if isinstance(have, Link) else []
        for end in ends(fact) if self.drifted else ():
            there = self.facts.get(("occupied", end.netns, end.name))
            if there is not None and not any((other.netns, other.name) == (end.netns, end.name) for other in old):
                self.add(Step(there, None))

    def release_misplaced(self) -> None:
        """What has managed links accept router advertisements; the links themselves are closed in their turn."""
        for claim in wall.misplaced_claims(self.ledger.claims.values(), self.facts):
            self.add(Step(claim, None))
            self.ledger = self.ledger.unclaimed(claim).forgotten(claim.setting.identity)

    def assign(self) -> None:
        """Have the ledger remember what namespaces have, and forget it with the network."""
        for user, _netns, start in self.want.released or ():
            self.ledger = self.ledger.unassigned(network=user) if user and not start else self.ledger
        self.ledger = self.ledger.assigned(self.assignments.values())

    def narrow(self, fact: Ruleset) -> None:
        """The guard as it is wanted, when nothing of the network is as it was any more."""
        have = self.facts[fact.identity]
        if differences(fact, have):
            self.add(Step(have, fact))

    def remove(self, fact: Fact) -> None:
        have = self.facts.get(fact.identity)
        if have is None or self._goes_with_link(fact):
            self.ledger = self._without(fact).forgotten(fact.identity)
        elif self.ledger.originals.get(fact.identity) is not None:
            self._restore(have, self.ledger.originals[fact.identity])
        elif fact.identity in self.ledger.originals or owned(self.facts, have):
            self._delete(fact, have)
            self.ledger = self.ledger.forgotten(fact.identity)
        elif not isinstance(fact, (Address, Limit, File)) and not self._only_lent(fact):
            conflicts.refuse_to_remove(have, self.have.protected)

    def _without(self, fact: Fact) -> Ledger:
        """The ledger without what was in or behind something that is gone already, as after a run that was killed."""
        if isinstance(fact, Namespace):
            return self.ledger.without_namespace(fact.name)
        return self.ledger.unassigned(link=fact.name) if isinstance(fact, Link) and fact.netns == HOST else self.ledger

    def _only_lent(self, fact: Fact) -> bool:
        """A link of somebody else's that only had addresses added to it: these go, and it stays."""
        place = ("address", *fact.identity[1:]) if isinstance(fact, Link) else ("",)
        return any(isinstance(other, Address) and other.identity[:3] == place for other in self.want.absent)

    def _delete(self, fact: Fact, have: Fact) -> None:
        if isinstance(fact, Ruleset) and isinstance(have, Ruleset):
            self.add(Step(dataclasses.replace(have, flush=fact.flush), None))
        else:
            self.add(Step(have, None))
        if isinstance(fact, Namespace):
            self.ledger = self.ledger.without_namespace(fact.name)
        if isinstance(have, Link):
            self.ledger = without_hairpin(self.ledger, have).unassigned(link=fact.identity[2])

    def _goes_with_link(self, fact: Fact) -> bool:
        """An address on a link of ours that is to be removed itself."""
        link = ("link", fact.netns, fact.link) if isinstance(fact, Address) else ("",)
        have = self.facts.get(link)
        return link in self.named and have is not None and owned(self.facts, have)

    def _restore(self, have: Fact, original: Fact | None) -> None:
        target = original
        if isinstance(have, Link) and isinstance(original, Link):
            target = restored_link(have, original)
        if target != have:
            self.add(Step(have, target))
        self.ledger = self.ledger.forgotten(have.identity)

    def stale_claims(self, user: str, netns: str) -> list[Claim]:
        """Those on forwarding, and on settings of interfaces, that the user no longer names."""
        stale = [claim for claim in self.ledger.claims_of(user, netns) if claim.identity not in self.named]
        return [claim for claim in stale if claim.key in (FORWARD4, FORWARD6) or interface_of(claim.key)]

    def release(self, netns: str, claims: t.Sequence[Claim]) -> None:
        """End claims, and put back what nobody claims any more."""
        for claim in claims:
            self.add(Step(claim, None))
            self.ledger = self.ledger.unclaimed(claim)
        wanted = [fact for fact in self.want.facts if isinstance(fact, Claim)]
        for original in released_originals(self.ledger, wanted, netns):
            have = self.facts.get(original.identity)
            if isinstance(have, Setting) and have.value != original.value:
                self.add(Step(have, original))
            self.ledger = self.ledger.forgotten(original.identity)

    def strangers(self) -> list[Address | Link]:
        """Addresses and ports that an exclusive list does not name."""
        return [
            fact
            for fact in self.facts.values()
            if isinstance(fact, (Address, Link))
            and fact.identity not in self.named
            and (
                fact.intruding or (fact.netns, fact.link) in self.want.exclusive_addresses
                if isinstance(fact, Address)
                else (fact.netns, fact.master or "") in self.want.exclusive_ports
            )
        ]

    def left_behind(self, strangers: t.Sequence[Address | Link]) -> list[Route]:
        """Managed routes that nobody asks for, by gateways that nothing leads to without these addresses.

        The kernel keeps such a route, but for IPv4 where its link loses all addresses: connections wait instead of
        failing.
        """
        gone = {fact.identity for fact in (*strangers, *self.want.absent)}
        losing = {(fact.netns, fact.link, ":" in fact.cidr) for fact in strangers if isinstance(fact, Address)}
        routes = [
            fact
            for fact in self.facts.values()
            if isinstance(fact, Route)
            and fact.gateway
            and fact.identity not in self.named
            and owned(self.facts, fact)
            and (fact.netns, fact.device or "", ":" in fact.destination) in losing
        ]
        places = {(route.netns, route.device or "") for route in routes}
        wanted = Facts({one.identity: one for one in self.want.facts if places and isinstance(one, (Address, Route))})
        found = []
        for route in routes:
            place = (route.netns, route.device or "")
            kept = {name: fact for name, fact in self.facts.on(*place).items() if name not in gone}
            stays = _has_address(kept.values(), route)
            after = Facts({**kept, **wanted.on(*place)})
            reachable = _has_address(after.values(), route) and (route.onlink or is_on_link(after, route))
            if not reachable and (stays or ":" in route.destination):
                found.append(route)
        return found

    def remove_left_behind(self, route: Route) -> None:
        if route.identity in self.facts:
            self.add(Step(route, None))

    def remove_misled(self, fact: Misled) -> None:
        if fact.identity in self.facts:
            self.add(Step(fact, None))

    def remove_stranger(self, fact: Address | Link) -> None:
        if fact.identity in self.facts:
            self.add(Step(fact, dataclasses.replace(fact, master="") if isinstance(fact, Link) else None))

    def forget_what_is_as_it_was(self) -> None:
        """A link of somebody else's that went back by itself, as the port of a bridge that is gone."""
        for identity, original in list(self.ledger.originals.items()):
            there = self.facts.get(identity)
            if isinstance(original, Link) and isinstance(there, Link) and not differences(original, there):
                self.ledger = self.ledger.forgotten(identity)
        for identity in containers.unneeded(self.ledger, self.want, self.facts):
            self.ledger = self.ledger.forgotten(identity)

    def write_sysctl_file(self) -> None:
        """Keep the file that makes settings last in step with the claims."""
        ledger = self.ledger
        for step in self.steps:
            if isinstance(step.after, Claim):
                ledger = ledger.claimed(step.after)
        self.ledger = ledger
        asked = any(isinstance(fact, Claim) for fact in (*self.want.facts, *(step.fact for step in self.steps)))
        if not asked and not self.want.released:
            return
        conflicts.check_claims(ledger.claims.values())
        persisted = {
            claim.key: claim.value or "" for claim in ledger.claims.values() if claim.persist and claim.netns == HOST
        }
        have = self.facts.get(("file", SYSCTL_FILE))
        content = sysctl_file(persisted)
        written_before = any(claim.persist and claim.netns == HOST for claim in self.have.ledger.claims.values())
        if isinstance(have, File) and persisted and not written_before:
            conflicts.check_file(have)
        if persisted and (not isinstance(have, File) or have.content != content):
            self.add(Step(have, File(SYSCTL_FILE, content)))
        elif not persisted and have is not None and (written_before or owned(self.facts, have)):
            self.add(Step(have, None))


def _is_secondary(fact: Fact) -> bool:
    return isinstance(fact, Address) and fact.secondary


def _has_address(facts: t.Iterable[Fact], route: Route) -> bool:
    """Whether one of them is an address of the route's family."""
    return any(isinstance(fact, Address) and (":" in fact.cidr) == (":" in route.destination) for fact in facts)


def _without_mark(
    fact: Link | Namespace, have: Link | Namespace, changed: dict[str, t.Any]
) -> tuple[Link | Namespace, dict[str, t.Any]]:
    """What is not ours stays unmarked, and a request that names no network keeps the network's label."""
    kept = {
        key for key in ("alias", "peer.alias") if not owned(_NO_FACTS, have) or changed.get(key, ("", ""))[1] == MARK
    }
    kept -= {key for key in kept if owned(_NO_FACTS, have) and not is_ours(changed.get(key, ("", ""))[0])}
    if "alias" in kept:
        fact = dataclasses.replace(fact, alias=None)
    if "peer.alias" in kept and isinstance(fact, Link) and fact.peer:
        fact = dataclasses.replace(fact, peer=dataclasses.replace(fact.peer, alias=None))
    return fact, {key: value for key, value in changed.items() if key not in kept}
