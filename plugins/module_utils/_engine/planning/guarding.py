# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard while a network changes: what may still be on its way with an old address, or by an old bridge."""

from __future__ import annotations

import dataclasses
import ipaddress

from ..model import Ruleset
from ..rules import GuardRules
from ..spec.values import collapsed, family


def guards(fact: Ruleset) -> bool:
    return fact.purpose == "guard"


def widened(want: Ruleset, have: Ruleset) -> Ruleset:
    """What guards both what is there and what is wanted; want itself where that is enough."""
    new, old = want.rules, have.rules
    if not isinstance(new, GuardRules) or not isinstance(old, GuardRules):
        return want
    bridges = tuple(sorted({*new.bridges, *old.bridges}))
    former = tuple(source for source in old.every_source if not _within(source, new.sources))
    if bridges == new.bridges and not former:
        return want
    both = dataclasses.replace(
        new,
        bridges=bridges,
        former=former,
        shared=new.shared or old.shared,
        strict=new.strict and old.strict and not (new.shared or old.shared),
    )
    return dataclasses.replace(want, rules=both)


def _within(source: str, networks: tuple[str, ...]) -> bool:
    """Whether other networks have all addresses of one."""
    version = family(source)
    others = [ipaddress.ip_network(text) for text in networks if family(text) == version]
    return collapsed([*others, ipaddress.ip_network(source)]) == collapsed(others)
