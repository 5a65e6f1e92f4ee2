# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks from files: those below /etc/netpath/networks.d, or one that the user names.

A file has a network, or {"version": 1, "network": {...}, "addresses": {namespace: [...]}}, as JSON in the form of
egress_networks; one that the user names may have a list of networks as well. The addresses are those that namespaces
had when the file was written.
"""

from __future__ import annotations

import os
import sys
import typing as t
from dataclasses import dataclass, field

from ..errors import ConflictError, SpecError
from ..kernel import files
from ..model import NETWORK_FILES
from ..sealed import SealError, unseal
from ..spec import network_file, values
from ..spec.network import parse_networks

DIRECTORY = NETWORK_FILES
LARGEST = 16 << 20  # bytes
STDIN = "-"

Networks = list[t.Any]
_SUFFIX, _ASIDE = ".json", ".damaged"


@dataclass(frozen=True)
class Stored:
    """A network with its namespaces, and the addresses that they keep.

    error: why its file cannot be used. damaged: it is not as somebody wrote it. aside: moved away.
    """

    name: str
    path: str
    network: t.Any = None
    namespaces: frozenset[str] = frozenset()
    addresses: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)
    error: SpecError | None = None
    damaged: bool = False
    aside: bool = False


def installed() -> Networks:
    """Those of all files of the directory, in the order of their names; none without any. Errors: SpecError."""
    paths = [network_file.path(name) for name in _names()]
    return [_only(read(path, _installed), path) for path in paths]


def stored() -> list[Stored]:
    """All files of the directory, in the order of their names. Errors: SpecError where it cannot be read."""
    names = _names()
    aside = [_aside(name) for name in _names(_SUFFIX + _ASIDE) if name not in names]
    return [*(_stored(name, network_file.path(name)) for name in names), *aside]


def _aside(name: str) -> Stored:
    """One that was damaged stays a failure until somebody writes it anew."""
    path = network_file.path(name) + _ASIDE
    error = SpecError(path, "was damaged, and is set aside", "run the role egress again")
    return Stored(name, path, error=error, aside=True)


def set_aside(path: str) -> str:
    """Move a damaged file away, so that it is tried no more; its new path. Errors: EgressError."""
    number = 0
    while os.path.lexists(f"{path}{_ASIDE}{number or ''}"):
        number += 1
    aside = f"{path}{_ASIDE}{number or ''}"
    files.move(path, os.path.basename(aside))
    return aside


def damaged(name: str) -> list[str]:
    """The files of a network that were set aside."""
    start = f"{name}{_SUFFIX}{_ASIDE}"
    listed = os.listdir(DIRECTORY) if os.path.isdir(DIRECTORY) else []
    numbered = [file for file in listed if file.startswith(start) and not file[len(start) :].strip("0123456789")]
    return sorted(f"{DIRECTORY}/{file}" for file in numbered)


def _names(suffix: str = _SUFFIX) -> list[str]:
    try:
        listed = os.listdir(DIRECTORY)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SpecError(DIRECTORY, f"cannot be read: {os.strerror(error.errno or 0)}") from error
    return sorted(name[: -len(suffix)] for name in listed if name.endswith(suffix) and not name.startswith("."))


def _stored(name: str, path: str) -> Stored:
    """Whole, or with what is wrong with it: nothing of a damaged file is believed."""
    try:
        data = unseal(_installed(path))
        network = _only(_networks(data, path), path)
        (parsed,) = parse_networks([network], path)
        kept = data.get("addresses", {}) if isinstance(data, dict) else {}
        error = None
        if network["name"] != name:
            error = SpecError(path, f"is about the network {network['name']!r}", "name it as the network")
        namespaces = frozenset(namespace.name for namespace in parsed.namespaces)
        return Stored(name, path, network, namespaces, _addresses(kept, path), error)
    except SpecError as error:
        return Stored(name, path, error=error)
    except (ConflictError, FileNotFoundError):
        why = SpecError(path, "is not a plain file", "run the role egress again")
        return Stored(name, path, error=why, damaged=True)
    except OSError as error:
        return Stored(name, path, error=SpecError(path, f"cannot be read: {os.strerror(error.errno or 0)}"))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        why = SpecError(path, f"is damaged: {error}", "run the role egress again")
        return Stored(name, path, error=why, damaged=True)


def _only(found: Networks, path: str) -> t.Any:
    if len(found) != 1:
        raise SpecError(path, f"has {len(found)} networks", "give each a file of its own, which has its name")
    return found[0]


def _addresses(data: t.Any, path: str) -> dict[str, list[str]]:
    if not isinstance(data, dict):
        raise SpecError(f"{path}: addresses", f"{data!r} is no mapping", "run the role egress again")
    return {
        values.namespace_name(name, f"{path}: addresses"): [
            values.interface_address(cidr, f"{path}: addresses.{name}") for cidr in values.as_list(cidrs, path)
        ]
        for name, cidrs in data.items()
    }


def read(path: str, content: t.Callable[[str], str] | None = None) -> Networks:
    """Those of one file, "-" for what comes by the standard input. content: how it is read. Errors: SpecError."""
    name = "standard input" if path == STDIN else path
    try:
        return _networks(unseal((content or _content)(path)), name)
    except ConflictError as error:
        raise SpecError(name, f"cannot be read: {error.found}", error.advice) from error
    except OSError as error:
        raise SpecError(name, f"cannot be read: {os.strerror(error.errno or 0)}") from error
    except SealError as error:
        raise SpecError(name, f"is damaged: {error}", "run the role egress again") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(name, f"is no JSON: {error}", "write networks as in egress_networks, as JSON") from error


def _installed(path: str) -> str:
    with os.fdopen(files.opened(path, follow=True), "rb") as file:
        return _limited(file, path)


def _content(path: str) -> str:
    if path == STDIN:
        if t.cast("t.TextIO | None", sys.stdin) is None:
            raise SpecError("--networks", "the standard input is closed", "give a file, or redirect one")
        return _limited(sys.stdin.buffer, "standard input")
    # A pipe may be what the user means.
    with open(path, "rb") as file:
        return _limited(file, path)


def _limited(file: t.IO[bytes], name: str) -> str:
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise SpecError(name, f"is larger than {LARGEST} bytes", "name a file of networks")
    return data.decode()


def _networks(data: t.Any, name: str) -> Networks:
    if isinstance(data, dict) and "version" in data:
        if data["version"] != network_file.FORMAT or isinstance(data["version"], bool):
            raise SpecError(
                name, f"has version {data['version']!r}", f"this program reads version {network_file.FORMAT}"
            )
        data = data.get("network")
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, list):
        raise SpecError(name, "has no network", "allowed are a network, a list of them, or a version and a network")
    return data
