# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repairs that end something of which nobody knows whether it is needed: only if somebody asks for them by name."""

from __future__ import annotations

import os
import typing as t

from ..errors import ConflictError, KernelError
from ..kernel.links import Links
from ..kernel.lock import locked
from ..kernel.namespaces import Namespaces, is_namespace, path_of
from ..model import HOST, Link, is_ours
from ..spec.network import derived_name
from .decision import Decision


def stands_in_the_way(decision: Decision) -> bool:
    return any(code in _REPAIRS for code in decision.codes)


def repair(decision: Decision, check: bool) -> list[str]:
    """What stands in the way of a build, taken away; lines on what was done. Errors: EgressError."""
    done = []
    for finding in decision.repaired:
        action = _REPAIRS.get(finding["code"])
        line = action(finding["namespace"], decision.network, check) if action else ""
        done += [line] if line and line not in done else []
    return done


def _remove_handle(namespace: str, _network: str, check: bool) -> str:
    """A file below /run/netns that is no namespace: nothing can live in it."""
    path = path_of(namespace)
    with locked():
        if is_namespace(path) or not os.path.lexists(path):
            return ""  # somebody was faster
        if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path):
            raise ConflictError(f"remove {path}", "it is no empty file", "See what it is, and remove it")
        if not check:
            try:
                os.unlink(path)
            except OSError as error:
                raise KernelError(f"remove {path}", os.strerror(error.errno or 0), error.errno or 0) from error
    return f"delete {path}, which is no namespace"


def _remove_pair(namespace: str, network: str, check: bool) -> str:
    """The host's end of a pair of ours, whose other end is in a namespace without a name."""
    with locked(), Namespaces() as namespaces:
        links = Links(namespaces)
        name = derived_name("np-", namespace)
        reply = links.get(HOST, name)
        if reply is None or not is_ours(reply.alias):
            return ""
        line = f"delete {name} of {network}, whose other end is in a namespace without a name"
        if not check:
            links.delete(Link(HOST, name, kind="veth"), line)
        return line


_REPAIRS: t.Mapping[str, t.Callable[[str, str, bool], str]] = {
    "STALE_HANDLE": _remove_handle,
    "DANGLING_VETH": _remove_pair,
    "LEAKED_NAMESPACE": _remove_pair,
}
