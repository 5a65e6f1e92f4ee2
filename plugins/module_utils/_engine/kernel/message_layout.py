# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests from what pyroute2 declares of messages: their fields, the numbers of attributes and their forms.

Its own encoder makes an object for each attribute, at some fifty times the cost, and a run sends thousands of them.
"""

from __future__ import annotations

import functools
import socket
import struct
import sys
import typing as t

from .message_classes import message_class
from .netlink import ATTRIBUTE

# By name; by number and as bytes those that pyroute2 does not declare.
Attributes = t.Sequence[tuple[t.Union[str, int], t.Any]]
_PAD = (b"", b"\0\0\0", b"\0\0", b"\0")


class Nested(t.NamedTuple):
    """Attributes within one whose form depends on others. form: the name of the class that declares them."""

    form: str
    attributes: Attributes


def encode(message: str, attributes: Attributes, **fields: int) -> bytes:
    """The bytes after the netlink header of a message of pyroute2, such as ifinfmsg; fields that are not given are 0.

    Values are text for names and addresses, numbers, or attributes for a form that holds some.
    """
    return _layout(message_class(message)).encode(attributes, fields)


class _Layout:
    """What one class declares."""

    def __init__(self, declared: t.Any) -> None:
        self._declared = declared
        named = [item[:2] for item in declared.fields]
        self._header = struct.Struct("=" + "".join(form for _name, form in named))
        self._names = [name for name, form in named if "x" not in form]
        self._numbers: dict[str, tuple[int, str]] = {}
        for place, item in enumerate(declared.nla_map):
            number, name, form = item if len(item) == 3 else (place, *item)
            self._numbers[name] = (number, form)
        self._encoders: dict[str | int, tuple[int, t.Callable[[t.Any], bytes]]] = {}

    def encode(self, attributes: Attributes, fields: t.Mapping[str, int]) -> bytes:
        parts = [self._header.pack(*(fields.get(name, 0) for name in self._names))]
        parts.append(_PAD[self._header.size % 4])
        known = self._encoders
        for name, value in attributes:
            number, encoder = known.get(name) or self._learn(name)
            data = encoder(value)
            length = len(data)
            parts += (ATTRIBUTE.pack(length + 4, number), data, _PAD[length % 4])
        return b"".join(parts)

    def _learn(self, name: str | int) -> tuple[int, t.Callable[[t.Any], bytes]]:
        if isinstance(name, int):
            return (name, bytes)
        number, form = self._numbers[name]
        if form in _FORMS:
            found: tuple[int, t.Callable[[t.Any], bytes]] = (number, _FORMS[form])
        else:
            declared: t.Any = getattr(self._declared, form)
            fields: t.Any = getattr(declared, "fields", ())
            if not isinstance(declared, type):
                found = (number, self._nested)
            elif getattr(declared, "nla_map", ()):
                found = (
                    number | getattr(declared, "nla_flags", 0),
                    functools.partial(_layout(declared).encode, fields={}),
                )
            else:
                found = (number, struct.Struct("=" + fields[0][1].lstrip("=")).pack)
        self._encoders[name] = found
        return found

    def _nested(self, value: Nested) -> bytes:
        declared = getattr(self._declared, value.form, None) or getattr(
            sys.modules[self._declared.__module__], value.form
        )
        return _layout(declared).encode(value.attributes, {})


@functools.cache
def _layout(declared: t.Any) -> _Layout:
    return _Layout(declared)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _address(value: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)


def _via(value: str) -> bytes:
    """struct rtvia."""
    packed = _address(value)
    return struct.pack("=H", socket.AF_INET if len(packed) == 4 else socket.AF_INET6) + packed


_FORMS: dict[str, t.Callable[[t.Any], bytes]] = {
    "asciiz": _text,
    "l2addr": _mac,
    "ipaddr": _address,
    "target": _address,
    "rtvia": _via,
}
