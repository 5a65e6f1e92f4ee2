# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that get in each other's way by their rules: overlapping sources, and ports that are taken."""

from __future__ import annotations

import typing as t

from ..errors import ConflictError
from ..model import Ruleset, Want
from ..rules import NatRules, PortPlace, PublishRules, Rules, places_of
from ..spec import values
from .state import Have
from .step import place


def check(want: Want, have: Have) -> None:
    """Errors: ConflictError that names both networks, or who listens on a port; what a firewall would refuse."""
    for refusal in have.refusals:
        raise refusal
    for netns in sorted({fact.netns for fact in want.facts if isinstance(fact, Ruleset)}):
        asked = {_key(fact): fact for fact in want.facts if isinstance(fact, Ruleset) and fact.netns == netns}
        gone = {_key(fact) for fact in want.absent if isinstance(fact, Ruleset)}
        there = [fact for fact in have.facts.values() if isinstance(fact, Ruleset) and fact.netns == netns]
        # What a request replaces or removes is in nobody's way.
        others = {_key(fact): fact for fact in there if _key(fact) not in gone}
        _unread(asked, there, gone)
        _sources(asked, {**others, **asked})
        _published(asked, {**others, **asked})
        before = [fact for fact in there if fact.purpose == "publish"]
        _listeners(asked, before, have)


def _key(fact: Ruleset) -> tuple[str, str]:
    return (fact.purpose, fact.name)


_Rulesets = t.Mapping[tuple[str, str], Ruleset]


def _unread(asked: _Rulesets, there: t.Sequence[Ruleset], gone: t.Collection[tuple[str, str]]) -> None:
    """Nobody can tell what rules that were edited by hand are for: it may be what a request takes anew."""
    edited = {fact.purpose: fact for fact in there if fact.rules is None and _key(fact) not in {*asked, *gone}}
    for key, ruleset in asked.items():
        other = edited.get(ruleset.purpose)
        before = [fact.rules for fact in there if _key(fact) == key]
        had = {item for rules in before for item in _taken(rules)}
        # Who mends edited rules of its own is not held up by those of others.
        if other is None or None in before or _taken(ruleset.rules) <= had:
            continue
        kind = "sources" if ruleset.purpose == "nat" else "ports"
        what = "translate more sources" if ruleset.purpose == "nat" else "publish more ports"
        raise ConflictError(
            f"{what} for {ruleset.name}{place(ruleset.netns)}",
            f"rules of {other.name} were edited by hand, so that nobody can tell whether they have the same {kind}",
            f"Ask for {other.name} first, or in the same request: that puts its rules right",
        )


def _taken(rules: Rules | None) -> set[t.Any]:
    """What of one network no other may have: sources, or ports of this host."""
    return set(rules.sources) if isinstance(rules, NatRules) else set(places_of(rules))


def _sources(asked: _Rulesets, everything: _Rulesets) -> None:
    """In order of their first addresses, a range overlaps the one so far that reaches furthest, or none."""
    entries = [
        (*values.span(source), source, ruleset)
        for ruleset in everything.values()
        if isinstance(ruleset.rules, NatRules)
        for source in ruleset.rules.sources
    ]
    entries.sort(key=lambda entry: (entry[0], entry[1], -entry[2]))
    furthest: tuple[int, int, int, str, Ruleset | None] = (0, 0, 0, "", None)
    for version, first, last, source, ruleset in entries:
        overlaps = furthest[0] == version and first <= furthest[2]
        owner = furthest[4]
        if overlaps and owner and owner.name != ruleset.name and {_key(owner), _key(ruleset)} & set(asked):
            mine, other = ((source, ruleset), (furthest[3], owner))
            if _key(ruleset) not in asked:
                mine, other = other, mine
            raise ConflictError(
                f"translate {mine[0]} for {mine[1].name}{place(ruleset.netns)}",
                f"it overlaps {other[0]}, which is translated for {other[1].name}",
                f"Choose ranges that do not overlap, or remove {other[1].name} first",
            )
        if not overlaps or last > furthest[2]:
            furthest = (version, first, last, source, ruleset)


def _published(asked: _Rulesets, everything: _Rulesets) -> None:
    taken: dict[PortPlace, Ruleset] = {}
    # Those that are there already come first: an error is about what is asked for.
    for key, ruleset in sorted(everything.items(), key=lambda item: item[0] in asked):
        for found in places_of(ruleset.rules):
            other = taken.setdefault(found, ruleset)
            if other.name != ruleset.name and key in asked:
                raise ConflictError(
                    f"publish {_words(found)} for {ruleset.name}{place(ruleset.netns)}",
                    f"{other.name} publishes it already",
                    f"Choose another port, or remove it from {other.name} first",
                )


def _listeners(asked: _Rulesets, before: t.Iterable[Ruleset], have: Have) -> None:
    """A port that was led away from a socket before is nothing new."""
    known = {(fact.name, found) for fact in before for found in places_of(fact.rules)}
    for ruleset in asked.values():
        for found in places_of(ruleset.rules):
            who = have.listeners.get((ruleset.netns, *found))
            if who and (ruleset.name, found) not in known and isinstance(ruleset.rules, PublishRules):
                raise ConflictError(
                    f"publish {_words(found)} for {ruleset.name}{place(ruleset.netns)}",
                    who,
                    "Publish another port, or end that program: nothing from outside would reach it any more",
                )


def _words(found: PortPlace) -> str:
    version, protocol, port = found
    return f"{protocol} {port} (IPv{version})"
