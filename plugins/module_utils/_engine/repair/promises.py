# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis whose promises are kept: a finding of the tier auto or declared is one that a run changes something about.

What the plan of the network does not touch is left to a person, with what that person does.
"""

from __future__ import annotations

import typing as t

from ..diagnosis import check as diagnosis
from ..diagnosis.verdict import Data, Promised
from ..errors import EgressError
from ..kernel import features
from ..kernel.probes import Target
from ..model import HOST, Fact, Link, Want
from ..observe import Observer
from ..planning.state import ends
from ..planning.step import Step
from ..spec import path
from ..spec.union import union
from . import foreseen
from .besides import beyond_the_network
from .decision import Decision


def check(networks: t.Any, targets: t.Sequence[Target] = (), probe: bool = True, **beside: t.Any) -> list[Data]:
    """Verdicts as diagnosis.check gives them, with the promises that a plan keeps. Errors: as those."""

    def unkept(promised: t.Sequence[Promised]) -> dict[Promised, str]:
        # They were read by now, and have names.
        described = {network["name"]: network for network in networks}
        found = {}
        for name in dict.fromkeys(one.path.network for one in promised):
            of_network = [one for one in promised if one.path.network == name]
            found.update(_unkept(described[name], of_network) if name in described else {})
        return found

    return diagnosis.check(networks, targets, probe, unkept=unkept, **beside)


def _unkept(network: t.Mapping[str, t.Any], promised: t.Sequence[Promised]) -> dict[Promised, str]:
    """{promise: why no run keeps it}, "" where nothing that the network asks for differs.

    Of a network that cannot be built now, nothing is known: a repair is tried, and fails with the reason.
    """
    try:
        steps = _steps(network, promised)
    except EgressError:
        return {}
    return {one: "" for one in promised if not any(_is_about(step, one) for step in steps)}


def _steps(network: t.Mapping[str, t.Any], promised: t.Sequence[Promised]) -> t.Sequence[Step]:
    """Those of a repair."""
    findings = [{"code": one.finding.code, "namespace": one.path.namespace} for one in promised]

    def wanted(observer: Observer) -> Want:
        network_alone = path.wanted({"networks": [network], "state": "present"}, observer)
        decision = Decision(str(network["name"]), tuple(findings))
        want = union([("network", network_alone), ("repair", beyond_the_network(decision, network_alone))])
        features.require(observer.namespaces, want.facts)
        return want

    return foreseen.steps(wanted)


def _is_about(step: Step, promised: Promised) -> bool:
    """What only another namespace of the network lacks does not repair this one."""
    facts = [fact for fact in (step.before, step.after) if fact is not None]
    return any(_concerns(fact, promised) for fact in facts)


def _concerns(fact: Fact, promised: Promised) -> bool:
    way = promised.path
    if isinstance(fact, Link) and fact.peer is not None:
        return any(end.netns == way.namespace or end.name == way.host_end for end in ends(fact))
    place = str(getattr(fact, "netns", HOST))
    link = str(getattr(fact, "link", "") or getattr(fact, "device", "") or "")
    if place == HOST and link:
        return link in (way.host_end, way.bridge)
    return place in (HOST, way.namespace)
