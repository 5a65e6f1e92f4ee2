"""The network that tests of the diagnosis break, and the verdicts on its paths."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.promises import check

from tests.lab import probe
from tests.lab.node import Node
from tests.support.spec_questions import Options

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}
TARGETS = tuple(probe.TARGETS.values())


def checked(networks: list[Options], probe: bool = True, asked: t.Sequence[str] = TARGETS) -> list[t.Any]:
    return check(networks, targets.parsed(asked), probe)


def told(
    node: Node, namespace: str, networks: list[Options], probe: bool = True, asked: t.Sequence[str] = TARGETS
) -> dict[str, t.Any]:
    found = node.call(checked, networks, probe, asked)
    return {one["family"]: one for one in found if one["namespace"] == namespace}


def checked_undescribed(names: t.Sequence[str]) -> list[t.Any]:
    """The verdicts on namespaces that no network describes."""
    return check([], targets.parsed(TARGETS), names=names)


def record(told_by: t.Mapping[str, t.Any], row: int | str, title: str, into: t.Callable[[str, object], None]) -> None:
    """Have a verdict in the table of failures at the end of the run. into: record_property of the test."""
    evidence = "; ".join(told_by["evidence"])
    into("row of the catalogue", (str(row), title, f"{told_by['code']} at {told_by['hop']}", evidence))
