# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan(want, have): the ordered steps from what is found to what is wanted, and the ledger that goes with them."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ..ledger import EMPTY, Ledger
from ..model import (
    HOST,
    MARK,
    Address,
    Claim,
    Fact,
    File,
    Link,
    Namespace,
    Route,
    Ruleset,
    Setting,
    Want,
    differences,
    merged,
)
from . import conflicts
from .ownership import owned, released_originals, restored_link, written_down
from .state import Facts, Have, ends, setting_now, side_effects, simulate
from .step import Step
from .sysctl_file import SYSCTL_FILE, sysctl_file

_ORDER: tuple[type[t.Any], ...] = (Namespace, Link, Address, Claim, Setting, Route, Ruleset, File)


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
    planner = _Planner(want, have)
    for fact in sorted(want.absent, key=_order, reverse=True):
        planner.remove(fact)
    for user, netns in sorted(want.released):
        planner.release(user, netns)
    for fact in planner.strangers():
        planner.remove_stranger(fact)
    for fact in sorted(want.facts, key=_order):
        planner.converge(fact)
    planner.write_sysctl_file()
    return Plan(tuple(planner.steps), planner.ledger)


def _order(fact: Fact) -> tuple[int, str, int]:
    """Namespaces, bridges, other links; then all that is inside one namespace; then rules and files."""
    kind = _ORDER.index(type(fact))
    if isinstance(fact, Link):
        return (1, "", 0 if fact.kind == "bridge" else 1)
    if isinstance(fact, (Address, Claim, Setting, Route)):
        return (2, fact.netns, kind)
    return (0 if kind == 0 else 3, "", kind)


class _Planner:
    """Walks the facts once and keeps the state that the steps so far lead to."""

    def __init__(self, want: Want, have: Have) -> None:
        self.want = want
        self.have = have
        self.facts: Facts = dict(have.facts)
        self.ledger = have.ledger
        self.steps: list[Step] = []
        self.named = {fact.identity for fact in (*want.facts, *want.absent)}

    def add(self, step: Step) -> None:
        effects = side_effects(self.facts, step)
        step = dataclasses.replace(step, along=tuple(self.facts[identity] for identity in effects))
        self.ledger = written_down(self.ledger, self.facts, step, effects)
        restore = self._kept_through(step, [self.facts[key] for key, gone in effects.items() if gone is None])
        self.steps.append(step)
        simulate(self.facts, step, effects)
        for fact in restore:
            self.add(Step(None, fact))

    def _kept_through(self, step: Step, lost: t.Sequence[Fact]) -> list[Fact]:
        """Addresses and routes of others that a rename takes along: they are put back right after it."""
        if not isinstance(step.before, Link) or not isinstance(step.after, Link):
            return []
        stays = {
            (new.netns, new.name) for old, new in zip(ends(step.before), ends(step.after)) if old.netns == new.netns
        }
        return [
            fact
            for fact in sorted(lost, key=_order)
            if fact.identity not in self.named
            and isinstance(fact, (Address, Route))
            and (fact.netns, fact.link if isinstance(fact, Address) else fact.device) in stays
            and (fact.netns, getattr(fact, "link", "")) not in self.want.exclusive_addresses
        ]

    def converge(self, fact: Fact) -> None:
        have = setting_now(self.facts, fact) if isinstance(fact, Setting) else self.facts.get(fact.identity)
        if have is None:
            self.add(Step(None, fact))
            return
        changed = differences(fact, have)
        if isinstance(fact, (Link, Namespace)):
            # The mark is given at birth only: what was there before us never becomes ours.
            fact, changed = _without_mark(fact, t.cast("Link | Namespace", have), changed)
        if changed:
            self.add(Step(have, merged(have, fact)))

    def remove(self, fact: Fact) -> None:
        have = self.facts.get(fact.identity)
        if have is None or self._goes_with_link(fact):
            self.ledger = self.ledger.forgotten(fact.identity)
        elif self.ledger.originals.get(fact.identity) is not None:
            self._restore(have, self.ledger.originals[fact.identity])
        elif fact.identity in self.ledger.originals:
            self._delete(fact, have)
            self.ledger = self.ledger.forgotten(fact.identity)
        elif owned(self.facts, have):
            self._delete(fact, have)
        elif not isinstance(fact, Address):
            conflicts.refuse_to_remove(have)

    def _delete(self, fact: Fact, have: Fact) -> None:
        if isinstance(fact, Ruleset) and isinstance(have, Ruleset):
            self.add(Step(dataclasses.replace(have, flush=fact.flush), None))
        else:
            self.add(Step(have, None))
        if isinstance(fact, Namespace):
            self.ledger = self.ledger.without_namespace(fact.name)

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

    def release(self, user: str, netns: str) -> None:
        """End a user's claims, and put back what nobody claims any more."""
        for claim in self.ledger.claims_of(user, netns):
            self.add(Step(claim, None))
            self.ledger = self.ledger.unclaimed(claim)
        for original in released_originals(self.ledger, netns):
            have = self.facts.get(original.identity)
            if isinstance(have, Setting) and have.value != original.value:
                self.add(Step(have, original))
            self.ledger = self.ledger.forgotten(original.identity)

    def strangers(self) -> list[Fact]:
        """Addresses and ports that an exclusive list does not name."""
        return [
            fact
            for fact in self.facts.values()
            if fact.identity not in self.named
            and (
                (isinstance(fact, Address) and (fact.netns, fact.link) in self.want.exclusive_addresses)
                or (isinstance(fact, Link) and (fact.netns, fact.master or "") in self.want.exclusive_ports)
            )
        ]

    def remove_stranger(self, fact: Fact) -> None:
        self.add(Step(fact, dataclasses.replace(fact, master="") if isinstance(fact, Link) else None))

    def write_sysctl_file(self) -> None:
        """Keep the file that makes settings last in step with the claims."""
        ledger = self.ledger
        for step in self.steps:
            if isinstance(step.after, Claim):
                ledger = ledger.claimed(step.after)
        self.ledger = ledger
        if not any(isinstance(fact, Claim) for fact in self.want.facts) and not self.want.released:
            return
        conflicts.check_claims(ledger.claims.values())
        persisted = {
            claim.key: claim.value or "" for claim in ledger.claims.values() if claim.persist and claim.netns == HOST
        }
        have = self.facts.get(("file", SYSCTL_FILE))
        content = sysctl_file(persisted)
        if persisted and (not isinstance(have, File) or have.content != content):
            self.add(Step(have, File(SYSCTL_FILE, content)))
        elif not persisted and have is not None:
            self.add(Step(have, None))


def _without_mark(
    fact: Link | Namespace, have: Link | Namespace, changed: dict[str, t.Any]
) -> tuple[Link | Namespace, dict[str, t.Any]]:
    peers = isinstance(fact, Link) and isinstance(have, Link) and fact.peer and have.peer
    if not owned({}, have):
        fact = dataclasses.replace(fact, alias=None)
        if isinstance(fact, Link) and peers:
            fact = dataclasses.replace(fact, peer=dataclasses.replace(t.cast(Link, fact.peer), alias=None))
        return fact, {key: value for key, value in changed.items() if key not in ("alias", "peer.alias")}
    if fact.alias == MARK and "alias" in changed:
        # A request that names no network keeps the network's label.
        return dataclasses.replace(fact, alias=None), {k: v for k, v in changed.items() if k != "alias"}
    return fact, changed
