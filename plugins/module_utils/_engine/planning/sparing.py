# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that leave some namespaces as they are, since something inside these stands in the way."""

from __future__ import annotations

import dataclasses
import typing as t

from ..model import HOST, Claim, Fact, Link, Namespace, Want
from .facts import Place, link_of


class Inside:
    """In which wanted namespace, or on the pair of which, something is."""

    def __init__(self, want: Want) -> None:
        self._names = {fact.name for fact in want.facts if isinstance(fact, Namespace)}
        pairs = [(fact, fact.peer) for fact in want.facts if isinstance(fact, Link) and fact.peer]
        self._pairs = {(pair.netns, pair.name): peer.netns for pair, peer in pairs}

    def of_place(self, place: Place) -> str:
        """Its name; "" for what is of the host, or of a network as a whole."""
        name = self._pairs.get(place, place[0])
        return name if name in self._names else ""

    def of(self, fact: Fact) -> str:
        """The same of a fact. What keeps packets in is of the network: rules, and what a port may send."""
        if isinstance(fact, Namespace):
            return self.of_place((fact.name, ""))
        fact = fact.setting if isinstance(fact, Claim) else fact
        return self.of_place((getattr(fact, "netns", HOST), fact.name if isinstance(fact, Link) else link_of(fact)))


def without(want: Want, spared: t.Collection[str]) -> Want:
    """The want without what is in some namespaces or on their pairs. What their ports may send is as wanted."""
    if not spared:
        return want
    inside = Inside(want)
    return dataclasses.replace(
        want,
        facts=tuple(fact for fact in want.facts if inside.of(fact) not in spared),
        absent=tuple(fact for fact in want.absent if inside.of(fact) not in spared),
        exclusive_addresses=frozenset(one for one in want.exclusive_addresses if inside.of_place(one) not in spared),
        released=frozenset(one for one in want.released if one[1] not in spared),
        exclusive_claims=frozenset(one for one in want.exclusive_claims if one[1] not in spared),
        # The ledger goes on remembering what it knows of them.
        assignments=tuple(one for one in want.assignments if one.namespace not in spared),
    )


def networks_of(want: Want, spared: t.Iterable[str]) -> dict[str, t.Collection[str]]:
    """By namespace, the networks that ask for it."""
    return {name: want.concerned.get(("namespace", name), ()) for name in spared}
