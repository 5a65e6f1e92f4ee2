# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rule that translates addresses, in the same terms whichever program wrote it."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass

from ..spec.values import span

Networks = tuple[str, ...]
Chain = tuple[str, ...]
REFUSED = "! "  # ahead of a condition that is not to hold


@dataclass(frozen=True)
class Rule:
    """sources, destinations: None for any; networks as text. family: 4, 6, or 0 for both.

    action: masquerade, snat, dnat, redirect, or pass for what leaves packets as they are. to: an address, or
    "first-last". to_ports: (first, last) or None. ports: those of the destination. local: only to addresses of the
    host itself. strange: conditions that have no place here. text: where the rule is, for a person.
    chain: the calls that lead to it. ends: of a pass the chain whose rules are not asked any more; its conditions are
    those that not all rules of that chain have.
    """

    text: str
    family: int = 0
    action: str = ""
    to: str = ""
    to_ports: tuple[int, int] | None = None
    sources: Networks | None = None
    not_sources: Networks = ()
    destinations: Networks | None = None
    not_destinations: Networks = ()
    into: tuple[str, ...] = ()
    out: tuple[str, ...] = ()
    not_out: tuple[str, ...] = ()
    protocol: str = ""
    ports: tuple[tuple[int, int], ...] = ()
    local: bool = False
    random_fully: bool = False
    strange: tuple[str, ...] = ()
    chain: Chain = ()
    ends: Chain = ()

    def within(self, **more: t.Any) -> Rule:
        """With further conditions."""
        return dataclasses.replace(self, **more)

    def but(self, condition: str) -> Rule:
        """With a condition that has no place."""
        return dataclasses.replace(self, strange=(*self.strange, condition))


def ahead(chain: Chain, others: t.Iterable[Chain]) -> bool:
    """Whether the chain is one of the others, or is called from one."""
    return any(chain[: len(other)] == other for other in others)


def inside(network: str, others: t.Iterable[str]) -> bool:
    """Whether one of the others holds all of the network."""
    family, first, last = span(network)
    return any(found[0] == family and found[1] <= first and last <= found[2] for found in map(span, others))


def touches(network: str, others: t.Iterable[str]) -> bool:
    """Whether one of the others has anything of the network."""
    family, first, last = span(network)
    return any(found[0] == family and found[1] <= last and first <= found[2] for found in map(span, others))
