# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leftovers on a host: each with its kind, its name and what says that nobody needs it any more."""

from __future__ import annotations

import os
import typing as t

from .errors import UnsupportedError
from .kernel import rulesets
from .kernel.link_messages import LinkReply
from .kernel.mounts import is_namespace
from .kernel.namespaces import DIRECTORY, Namespaces, path_of, seen_by
from .model import HOST, Ruleset
from .rules import (
    CLAMP_BACKENDS,
    FORWARD_BACKENDS,
    GUARD_BACKENDS,
    NAT_BACKENDS,
    PUBLISH_BACKENDS,
    WALL_BACKENDS,
)

Data = dict[str, t.Any]
_BACKENDS = tuple(
    dict.fromkeys((*NAT_BACKENDS, *PUBLISH_BACKENDS, *FORWARD_BACKENDS, *CLAMP_BACKENDS, *GUARD_BACKENDS))
)
_PURPOSES = ("nat", "publish", "forward")


def stale_handles() -> list[Data]:
    names = os.listdir(DIRECTORY) if os.path.isdir(DIRECTORY) else []
    stale = [name for name in sorted(names) if not is_namespace(path_of(name)) and not seen_by(name)]
    return [_orphan("stale_handle", name, f"{DIRECTORY}/{name} is no namespace") for name in stale]


def leaked_namespaces(namespaces: t.Iterable[Data]) -> list[Data]:
    """Of those that the inventory lists, ours that have no name."""
    found = []
    for data in namespaces:
        if data["name"] is None and data["network"] is not None:
            held = ", ".join(f"{item['pid']} ({item['command']})" for item in data["processes"])
            made = f"made by us for network {data['network']}" if data["network"] else "made by us"
            found.append(_orphan("leaked_namespace", data["path"], f"{made}, has no name, held by {held}"))
    return found


def dangling_end(reply: LinkReply) -> Data:
    return _orphan("dangling_veth", reply.name, f"its other end (nsid {reply.peer_nsid}) is nowhere to be found")


def rules(namespaces: Namespaces, networks: t.Collection[str]) -> list[Data]:
    """Rules of ours on the host, in any back end, for a network of which no link has the mark."""
    found: dict[str, list[str]] = {}
    for ruleset in rulesets_without(namespaces, networks):
        found.setdefault(ruleset.name, []).append(f"{ruleset.purpose} in {ruleset.backend}")
    said = "no link carries this network's mark, and there are rules for it"
    return [_orphan("rules_without_network", name, f"{said}: {', '.join(places)}") for name, places in found.items()]


def rulesets_without(namespaces: Namespaces, networks: t.Collection[str]) -> list[Ruleset]:
    """Those of the host that are for none of the networks."""
    found: list[Ruleset] = []
    for backend in _BACKENDS:
        try:
            others = (("mss", CLAMP_BACKENDS), ("guard", GUARD_BACKENDS), ("wall", WALL_BACKENDS))
            more = [purpose for purpose, backends in others if backend in backends]
            held = rulesets.read(namespaces, HOST, backend, (*_PURPOSES, *more))
        except UnsupportedError:
            continue  # what the host cannot read, nobody wrote
        for purpose, name in held:
            if name not in networks:
                found.append(Ruleset(HOST, name, backend=backend, purpose=purpose))
    return found


def _orphan(kind: str, name: str, evidence: str) -> Data:
    return {"kind": kind, "name": name, "evidence": evidence}
