# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The message classes of pyroute2, without the rest of it.

Importing the package runs code that imports all of its parts, which takes four times as long as what is needed here.
So the package is entered without running that code; a program that has imported it already keeps what it has.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import types
import typing as t

OLDEST = (0, 7, 2)
_NAME = "pyroute2"


class _NoPackageError(ImportError):
    pass


def version() -> str:
    """The version of pyroute2. Errors: ImportError where it is missing."""
    try:
        with _entered_package():
            return str(importlib.import_module(f"{_NAME}.config.version").__version__)
    except _NoPackageError:
        raise
    except (ImportError, AttributeError):
        return _installed_version()


def too_old(version: str) -> bool:
    numbers = []
    for word in version.split(".")[:3]:
        digits = "".join(character for character in word if character.isdigit())
        numbers.append(int(digits or 0))
    return tuple(numbers) < OLDEST


def _installed_version() -> str:
    """What the package's metadata say: Debian 12 packages it without the module that knows its version."""
    # Imported here, because that takes a while and is rarely needed.
    import importlib.metadata

    try:
        return importlib.metadata.version(_NAME)
    except importlib.metadata.PackageNotFoundError:
        return "0"


@contextlib.contextmanager
def _entered_package() -> t.Iterator[None]:
    """Whoever imports the package afterwards gets the whole of it."""
    if _NAME in sys.modules:
        yield
        return
    found = importlib.util.find_spec(_NAME)
    if found is None or found.submodule_search_locations is None:
        raise _NoPackageError(f"No module named '{_NAME}'", name=_NAME)
    package = types.ModuleType(_NAME)
    package.__path__ = list(found.submodule_search_locations)
    package.__spec__ = found
    sys.modules[_NAME] = package
    try:
        yield
    finally:
        if sys.modules.get(_NAME) is package:
            del sys.modules[_NAME]


@functools.cache
def message_class(name: str) -> t.Any:
    """A class of rtnetlink messages, such as ifinfmsg, which has the name of its module."""
    with _entered_package():
        return getattr(importlib.import_module(f"{_NAME}.netlink.rtnl.{name}"), name)
