# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as the YAML of a file of variables. No I/O, and no library: the program on the node has none."""

from __future__ import annotations

import json
import re
import typing as t

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*|[0-9]+(\.[0-9]+){3}(/[0-9]+)?")
# Plain, these are no texts in YAML 1.1.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
# What Ansible takes for a template.
_TEMPLATE = re.compile(r"\{[{%#]")
_WIDTH = 100


def as_yaml(networks: t.Sequence[t.Mapping[str, t.Any]], notes: t.Sequence[t.Mapping[str, str]]) -> str:
    """egress_networks, after a comment on each thing that has no place in it."""
    told = [f"# {one['about']}: {one['seen']} ({one['reason']})" for one in notes]
    comments = ["# Seen, and not described:", *told] if told else []
    lines = ["egress_networks:", *_items(networks, "  ")] if networks else ["egress_networks: []"]
    return "".join(f"{_shown(line)}\n" for line in [*comments, *lines])


def _items(values: t.Iterable[t.Any], indent: str) -> t.Iterator[str]:
    for value in values:
        if isinstance(value, dict) and value:
            first, *rest = _fields(value, f"{indent}  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_flow(value)}"


def _fields(values: t.Mapping[str, t.Any], indent: str) -> t.Iterator[str]:
    for key, value in values.items():
        line = f"{indent}{_scalar(str(key))}: {_flow(value)}"
        if isinstance(value, list) and (len(line) > _WIDTH or (key == "namespaces" and _has_mappings(value))):
            yield f"{indent}{_scalar(str(key))}:"
            yield from _items(value, f"{indent}  ")
        else:
            yield line


def _has_mappings(values: t.Sequence[t.Any]) -> bool:
    return any(isinstance(value, dict) for value in values)


def _flow(value: t.Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: t.Any) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return f"!unsafe {quoted}" if _TEMPLATE.search(text) else quoted


def _shown(line: str) -> str:
    """Control characters and halves of characters as escapes."""
    return "".join(one if one.isprintable() else _escaped(ord(one)) for one in line)


def _escaped(number: int) -> str:
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
