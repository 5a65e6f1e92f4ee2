# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts as data of JSON, for what is remembered: {"fact": "Setting", "netns": "", "key": ..., "value": ...}."""

from __future__ import annotations

import dataclasses
import typing as t

from .model import FACTS, Assignment, Fact, Link
from .rules import ClampRules, ForwardRules, GuardRules, NatRules, Publication, PublishRules, WallRules

_RULES = (NatRules, PublishRules, ForwardRules, ClampRules, GuardRules, WallRules)
_PARTS: dict[str, type[t.Any]] = {kind.__name__: kind for kind in (*_RULES, Publication, Assignment)}
_KINDS: dict[str, type[t.Any]] = {**FACTS, **_PARTS}
_VALUES = (str, int, bool, tuple, *_KINDS.values())
_PLAIN = frozenset([str, int, bool])
_TEXTS = frozenset(["netns", "name", "link", "cidr", "destination", "key", "value", "path", "content", "user", "alias"])


class UnknownFactError(ValueError):
    """A kind of fact, or a field of one, that a later release wrote."""


def to_data(fact: Fact | Assignment | None) -> dict[str, t.Any] | None:
    return t.cast("dict[str, t.Any] | None", _to_data(fact))


def _to_data(value: t.Any) -> t.Any:
    kind = type(value)
    if kind is tuple:
        return [_to_data(item) for item in value]
    if kind.__name__ not in _KINDS:
        return value
    data: dict[str, t.Any] = {"fact": kind.__name__}
    for name, field in value.__dict__.items():
        if field is not None:
            data[name] = field if type(field) in _PLAIN else _to_data(field)
    return data


def from_data(data: t.Any) -> t.Any:
    """The fact again. Errors: UnknownFactError; TypeError, ValueError, KeyError or AttributeError where it is none."""
    if data is None:
        return None
    kind = _kind(data["fact"])
    unknown = sorted(set(data) - {"fact", *(item.name for item in dataclasses.fields(kind))})
    if unknown:
        raise UnknownFactError(f"{kind.__name__} has the field {unknown[0]!r}")
    fields = {name: _field(name, value) for name, value in data.items() if name != "fact"}
    for name, value in fields.items():
        if not isinstance(value, _VALUES) or (name in _TEXTS and not isinstance(value, str)):
            raise TypeError(f"{name} is {value!r}")
    return kind(**fields)


def _kind(name: t.Any) -> type[t.Any]:
    if isinstance(name, str) and name not in _KINDS:
        raise UnknownFactError(f"there is a {name!r}")
    return _KINDS[name]


def _field(name: str, value: t.Any) -> t.Any:
    if isinstance(value, list):
        return tuple(_field("", item) for item in value)
    if isinstance(value, dict):
        # The other end of a pair was once written without its kind.
        return from_data({"fact": Link.__name__, **value} if name == "peer" else value)
    return value
