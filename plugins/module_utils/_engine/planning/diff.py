# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The difference that a plan makes, as YAML of the affected objects alone."""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ..model import Claim, Fact, Identity, compared_fields
from .step import Step, dotted


def difference(steps: t.Sequence[Step]) -> dict[str, str]:
    """{"before": YAML, "after": YAML}."""
    before: dict[Identity, Fact | None] = {}
    after: dict[Identity, Fact | None] = {}
    for step in steps:
        if isinstance(step.fact, Claim):
            continue
        before.setdefault(step.identity, step.before)
        after[step.identity] = step.after
    return {"before": _yaml(before), "after": _yaml(after)}


def _yaml(facts: t.Mapping[Identity, Fact | None]) -> str:
    lines: list[str] = []
    for identity, fact in facts.items():
        if fact is not None:
            lines.append(f"{_title(identity)}:")
            lines += _fields(fact, "  ")
    return "".join(f"{line}\n" for line in lines)


def _title(identity: Identity) -> str:
    words = [identity[0], *(dotted(word) if identity[0] == "setting" else word for word in identity[1:] if word)]
    return " ".join(words)


def _fields(fact: Fact, indent: str) -> list[str]:
    lines: list[str] = []
    for name in compared_fields(fact):
        value = getattr(fact, name)
        if value is None or (name in _named_by_identity(fact)):
            continue
        if dataclasses.is_dataclass(value):
            lines.append(f"{indent}{name}:")
            lines += _fields(t.cast(Fact, value), indent + "  ")
        elif isinstance(value, (tuple, list)):
            lines.append(f"{indent}{name}: {json.dumps(list(value), default=str)}")
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}")
    return lines or [f"{indent}present: true"]


def _scalar(value: str | int) -> str:
    if isinstance(value, str):
        # Without white space or signs nothing is to be escaped, which is far faster to tell.
        return f'"{value}"' if value.isalnum() and value.isascii() else json.dumps(value)
    return str(value).lower()


def _named_by_identity(fact: Fact) -> tuple[str, ...]:
    return ("key", "path", "link", "cidr", "duplicate") if not hasattr(fact, "peer") else ()
