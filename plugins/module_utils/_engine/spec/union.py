# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many requests as one: each object is asked for once, and no two requests contradict each other."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import SpecError
from ..model import Fact, Identity, Want, differences, merged, named


def union(wants: t.Sequence[tuple[str, Want]]) -> Want:
    """The union of requests, each with the key that names it in errors ("config[2]")."""
    facts: dict[Identity, tuple[str, Fact]] = {}
    gone: dict[Identity, str] = {}
    subjects: dict[Identity, str] = {}
    for key, want in wants:
        _one_subject(key, want, subjects)
        for fact in want.facts:
            other_key, other = facts.get(fact.identity, ("", None))
            facts[fact.identity] = (key, fact if other is None else _both(key, fact, other_key, other))
        for fact in want.absent:
            gone[fact.identity] = key
    for identity, key in gone.items():
        if identity in facts:
            raise SpecError(
                key, f"{named(identity)} shall be absent here and present in {facts[identity][0]}", "choose one"
            )
    total = Want.of([want for _key, want in wants])
    return dataclasses.replace(total, facts=tuple(fact for _key, fact in facts.values()))


def _one_subject(key: str, want: Want, subjects: dict[Identity, str]) -> None:
    """The first fact of a request is what it is about, and no other request is about the same."""
    for fact in (*want.facts, *want.absent)[:1]:
        if fact.identity in subjects:
            raise SpecError(key, f"{named(fact.identity)} is already in {subjects[fact.identity]}", "list it once")
        subjects[fact.identity] = key


def _both(key: str, fact: Fact, other_key: str, other: Fact) -> Fact:
    for field, (there, here) in differences(fact, other).items():
        if there is not None:
            raise SpecError(
                f"{key}.{field}",
                f"{here!r} contradicts {there!r} for {named(fact.identity)} in {other_key}",
                "choose one",
            )
    return merged(other, fact)
