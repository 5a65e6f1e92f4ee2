# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of options, as data that both an Ansible argument spec and the engine's own check read.

An option is {"type", "required", "default", "choices", "elements", "options"}, with the meanings of Ansible's
argument specs.
"""

from __future__ import annotations

import typing as t

from ..errors import SpecError

Option = dict[str, t.Any]
Options = dict[str, Option]

NETWORK: Option = {"type": "str"}
STATE: Option = {"type": "str", "choices": ["present", "absent"], "default": "present"}

QUOTE = "quote it: without quotes YAML reads yes, no, on and off as true and false"
_MOST_SHOWN = 60  # characters of a value in an error
_MOST_DIGITS = 20  # of a number of 64 bits
_WORDS = {
    **dict.fromkeys(("yes", "on", "true", "y", "t", "1", "1.0"), True),
    **dict.fromkeys(("no", "off", "false", "n", "f", "0", "0.0"), False),
}
_TYPES: dict[str, tuple[type[t.Any], ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
    "raw": (object,),
}


def checked(data: t.Any, options: Options, key: str) -> dict[str, t.Any]:
    """data with defaults filled in. Errors: SpecError with the offending key, its value and what is allowed."""
    if not isinstance(data, dict):
        raise SpecError(key or "options", f"{shown(data)} is not a mapping", f"allowed keys are {', '.join(options)}")
    for name in data:
        if name not in options:
            raise SpecError(_join(key, str(name)), "unknown key", f"allowed are {', '.join(options)}")
    return {
        # Most options of most items are not given, and a thousand items have forty thousand of them.
        name: option.get("default")
        if data.get(name) is None and not option.get("required")
        else _value(data.get(name), option, _join(key, name))
        for name, option in options.items()
    }


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def shown(value: t.Any) -> str:
    """A value as it was written, and no more of it than fits a line."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _form(value: t.Any, option: Option) -> str:
    """What a value of the wrong type must be instead."""
    kind = option.get("type", "str")
    if kind == "str" and isinstance(value, bool):
        return QUOTE
    if kind == "dict" and "options" in option:
        return f"it must be a mapping with keys of {', '.join(option['options'])}"
    return f"it must be of type {kind}"


def is_number(text: str) -> bool:
    """Whether it is digits alone, and not so many that int() refuses them."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


def _converted(value: t.Any, kind: str) -> t.Any:
    """As Ansible converts arguments: what comes from a template or a command line is text."""
    if kind == "list" and isinstance(value, str):
        return value.split(",")
    if kind == "bool" and str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    if kind == "int" and isinstance(value, str) and is_number(value):
        return int(value)
    return str(value) if kind == "str" and isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _value(value: t.Any, option: Option, key: str) -> t.Any:
    if value is None:
        if option.get("required"):
            raise SpecError(key, "missing", "it is required")
        return option.get("default")
    kind = option.get("type", "str")
    value = _converted(value, kind)
    if not isinstance(value, _TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
        raise SpecError(key, f"{shown(value)} is of the wrong type", _form(value, option))
    if "choices" in option and value not in option["choices"]:
        allowed = ", ".join(str(choice) for choice in option["choices"])
        raise SpecError(key, f"{value!r} is not allowed", f"allowed are {allowed}")
    if kind == "dict" and "options" in option:
        return checked(value, option["options"], key)
    if kind == "list":
        element = {"type": option.get("elements", "raw"), "options": option.get("options")}
        if element["options"] is None:
            del element["options"]
        if element["type"] != "raw":
            element["required"] = True
        return [_value(item, element, f"{key}[{i}]") for i, item in enumerate(value)]
    return value
