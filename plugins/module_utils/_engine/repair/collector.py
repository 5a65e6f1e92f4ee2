# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector: ends of ours that lead nowhere are removed, and other leftovers by name, after a second look.

Rules of ours may be for links of somebody else, so that nobody knows but the user whether they are needed.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .. import inventory, orphans
from ..errors import SpecError
from ..kernel import features
from ..kernel.namespaces import path_of, remove_leftover
from ..model import HOST, Link, Want
from ..observe import Observer
from ..result import Result
from ..run import run
from ..transaction.confirmation import exclusive

Data = dict[str, t.Any]
_END, _RULES, _HANDLE = "dangling_veth", "rules_without_network", "stale_handle"


@dataclass(frozen=True)
class Collected:
    """orphans: all that were there, with what says so. result: what became of them."""

    orphans: list[Data]
    result: Result


def collect(handles: t.Sequence[str] = (), networks: t.Sequence[str] = (), check: bool = False) -> Collected:
    """handles: names below /run/netns that are no namespaces. networks: whose rules are to go, as no link has the mark.

    Errors: EgressError; SpecError for a name that is no such leftover. Then nothing was changed, or it was put back.
    """
    features.require_privilege()
    found: list[Data] = inventory.inventory(["orphans"])["orphans"]
    _require("handles", handles, found, _HANDLE, "is no handle without a namespace")
    _require("networks", networks, found, _RULES, "is no network without links that has rules")
    with exclusive():
        for name in handles:
            remove_leftover(name, check=True)
    result = run(lambda observer: _unwanted(observer, networks), check)
    actions = [*result.actions, *(_remove_handle(name, check) for name in dict.fromkeys(handles))]
    return Collected(found, Result(bool(actions), actions, result.difference))


def _require(key: str, names: t.Sequence[str], found: t.Sequence[Data], kind: str, told: str) -> None:
    there = [item["name"] for item in found if item["kind"] == kind]
    for name in names:
        if name not in there:
            raise SpecError(key, f"{name!r} {told}", f"there are {', '.join(there) or 'none'}")


def _unwanted(observer: Observer, networks: t.Collection[str]) -> Want:
    """Looked for again under the lock: no run is under way that might just make them."""
    found = inventory.read_sections(observer.namespaces, ["orphans", "links"])
    ends = [Link(HOST, item["name"], kind="veth") for item in found["orphans"] if item["kind"] == _END]
    living = {link["network"] for link in found["links"] if link["network"]}
    rulesets = orphans.rulesets_without(observer.namespaces, living)
    return Want(absent=(*ends, *(ruleset for ruleset in rulesets if ruleset.name in networks)))


def _remove_handle(name: str, check: bool) -> str:
    with exclusive():
        remove_leftover(name, check)
    return f"delete {path_of(name)}, which is no namespace"
