# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnosis beside the plan: no path is ok where a run would change its network. Read-only, without the lock."""

from __future__ import annotations

import typing as t

from ..diagnosis.verdict import Data, Finding, with_finding
from ..errors import EgressError
from ..kernel.probes import Target
from ..model import Address, Fact, Link, Route, Ruleset, Setting
from ..planning.step import Step
from ..spec import path
from . import foreseen, promises

_HOPS: dict[type[t.Any], str] = {
    Address: "address",
    Route: "route",
    Link: "bridge_port",
    Setting: "host_forwarding",
}
_SHOWN = 5  # steps of a network


def checked(networks: t.Any, targets: t.Sequence[Target] = (), probe: bool = True, **more: t.Any) -> list[Data]:
    """The verdicts of promises.check, and DRIFT for networks without a finding that are not as asked for."""
    verdicts = promises.check(networks, targets, probe, **more)
    told = {one["network"] for one in verdicts if one["findings"]}
    sound = {one["network"] for one in verdicts if one["network"]} - told
    found = _drift(networks, sound) if sound else {}
    return [with_finding(one, found[one["network"]]) if one["network"] in found else one for one in verdicts]


def _drift(networks: t.Sequence[t.Any], sound: t.Collection[str]) -> dict[str, Finding]:
    """{network: what a run would change}. Each by itself only where something differs."""
    if not _steps(networks, sound):
        return {}
    each = {name: _steps(networks, {name}) for name in sorted(sound)}
    return {name: _finding(steps) for name, steps in each.items() if steps}


def _steps(networks: t.Sequence[t.Any], chosen: t.Collection[str]) -> t.Sequence[Step]:
    """Those that a run would take for some of the networks. What stands in its way, it reports itself."""
    options = {"networks": list(networks), "state": "present"}
    try:
        return foreseen.steps(lambda observer: path.wanted(options, observer, chosen=chosen))
    except EgressError:
        return ()


def _finding(steps: t.Sequence[Step]) -> Finding:
    lines = [f"a run would {step.line}" for step in steps[:_SHOWN]]
    lines += [f"and {len(steps) - _SHOWN} more steps"] if len(steps) > _SHOWN else []
    return Finding("DRIFT", tuple(lines), hop=_hop(steps[0].fact))


def _hop(fact: Fact) -> str:
    """Where the first of the steps is."""
    if isinstance(fact, Ruleset):
        return {"forward": "forward_policy", "wall": "bridge"}.get(fact.purpose, "nat")
    return _HOPS.get(type(fact), "bridge")
