# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that the next boot makes, from the files of sysctl.d(5)."""

from __future__ import annotations

import os
import typing as t

from ..errors import EgressError
from . import files

# Of files with the same name the first counts; /etc/sysctl.conf is read last.
_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
_LAST = "/etc/sysctl.conf"


def persisted(keys: t.Collection[str]) -> dict[str, str]:
    """The values of those of the keys, in slash form, that a file sets."""
    files: dict[str, str] = {}
    for directory in _DIRECTORIES:
        for name in os.listdir(directory) if os.path.isdir(directory) else ():
            if name.endswith(".conf"):
                files.setdefault(name, f"{directory}/{name}")
    found: dict[str, str] = {}
    for path in [*(files[name] for name in sorted(files)), _LAST]:
        found.update((key, value) for key, value in _assignments(path) if key in keys)
    return found


def _assignments(path: str) -> t.Iterator[tuple[str, str]]:
    try:
        lines = (files.read(path, follow=True) or "").splitlines()
    except EgressError:
        return
    for line in lines:
        key, equals, value = line.strip().lstrip("-").partition("=")
        if equals and not key.startswith(("#", ";")):
            yield _slashed(key.strip()), " ".join(value.split())


def _slashed(key: str) -> str:
    """The first separator says which of the two is meant."""
    dot, slash = key.find("."), key.find("/")
    dotted = dot >= 0 and (slash < 0 or dot < slash)
    return key.translate(str.maketrans("./", "/.")) if dotted else key
