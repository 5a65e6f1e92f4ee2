# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks from files: those below /etc/netpath/networks.d, or one that the user names.

A file has a network, a list of networks, or {"version": 1, "network": {...}}, as JSON in the form of egress_networks.
"""

from __future__ import annotations

import json
import os
import sys
import typing as t

from ..errors import SpecError

DIRECTORY = "/etc/netpath/networks.d"
FORMAT = 1
LARGEST = 16 << 20  # bytes
STDIN = "-"

Networks = list[t.Any]


def installed() -> Networks:
    """Those of all files of the directory, in the order of their names; none without any. Errors: SpecError."""
    try:
        names = sorted(name for name in os.listdir(DIRECTORY) if name.endswith(".json") and not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SpecError(DIRECTORY, f"cannot be read: {os.strerror(error.errno or 0)}") from error
    return [network for name in names for network in read(f"{DIRECTORY}/{name}")]


def read(path: str) -> Networks:
    """Those of one file, "-" for what comes by the standard input. Errors: SpecError naming it."""
    name = "standard input" if path == STDIN else path
    try:
        return _networks(json.loads(_content(path, name)), name)
    except OSError as error:
        raise SpecError(name, f"cannot be read: {os.strerror(error.errno or 0)}") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(name, f"is no JSON: {error}", "write networks as in egress_networks, as JSON") from error


def _content(path: str, name: str) -> str:
    if path == STDIN:
        if t.cast("t.TextIO | None", sys.stdin) is None:
            raise SpecError("--networks", "the standard input is closed", "give a file, or redirect one")
        data = sys.stdin.buffer.read(LARGEST + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise SpecError(name, f"is larger than {LARGEST} bytes", "name a file of networks")
    return data.decode()


def _networks(data: t.Any, name: str) -> Networks:
    if isinstance(data, dict) and "version" in data:
        if data["version"] != FORMAT or isinstance(data["version"], bool):
            raise SpecError(name, f"has version {data['version']!r}", f"this program reads version {FORMAT}")
        data = data.get("network")
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list):
        raise SpecError(name, "has no network", "allowed are a network, a list of them, or a version and a network")
    return data
