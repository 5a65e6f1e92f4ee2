# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the engine. Each says what was asked, what is there, and what to do."""

from __future__ import annotations

import contextlib
import typing as t


def printable(text: str) -> str:
    """One line that steers no terminal: control characters, and what else is not printable, are shown as escapes.

    Names of links, processes, files and rules are chosen by others than root.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


_Error = t.TypeVar("_Error", bound="EgressError")


class EgressError(Exception):
    """Base of every error that a user is meant to read."""

    joint = ". "
    # Whether it stands in the way of every network of this host.
    of_host = False
    # Wanted namespaces that it is about, where it is about nothing else.
    namespaces: frozenset[str] = frozenset()

    def __init__(self, asked: str, found: str, advice: str = "") -> None:
        self.asked = printable(asked)
        self.found = printable(found)
        self.advice = printable(advice)
        super().__init__(f"{self.asked}: {self.found}" + (f"{self.joint}{self.advice}" if advice else ""))

    def for_all(self: _Error) -> _Error:
        """The same, as one that stands in the way of every network of this host."""
        self.of_host = True
        return self

    def inside(self: _Error, names: t.Iterable[str]) -> _Error:
        """The same, as one about namespaces. names: where each part of it is, "" for elsewhere."""
        found = frozenset(names)
        self.namespaces = frozenset() if "" in found else found
        return self

    def __reduce__(self) -> tuple[t.Any, ...]:
        """Errors pass from process to process whole, whatever their constructors take."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[EgressError], arguments: tuple[t.Any, ...], fields: dict[str, t.Any]) -> EgressError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(fields)
    return error


class SpecError(EgressError):
    """The request itself is wrong; the system was not looked at. asked names the offending key."""

    joint = "; "


class ConflictError(EgressError):
    """The request is right, but something of somebody else's stands in its way. Nothing was changed."""


class UnsupportedError(EgressError):
    """This host cannot do it: a kernel feature, a program or a privilege is missing. Nothing was changed."""


class ApplyError(EgressError):
    """A step failed half way. rolled_back tells whether the state before the run was restored."""

    def __init__(self, asked: str, found: str, advice: str = "", rolled_back: bool = False) -> None:
        super().__init__(asked, found, advice)
        self.rolled_back = rolled_back


class KernelError(EgressError):
    """The kernel refused one request. errno as in errno(3)."""

    def __init__(self, asked: str, found: str, errno: int, advice: str = "") -> None:
        super().__init__(asked, found, advice)
        self.errno = errno


def attempt(step: t.Callable[..., object], *arguments: object) -> None:
    """One step of a way back, whatever becomes of it: its own error would hide the one that led there."""
    with contextlib.suppress(EgressError, OSError):
        step(*arguments)
