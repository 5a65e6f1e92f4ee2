"""Runs of egress_repair on the network of tests.support.diagnosing."""

from __future__ import annotations

import typing as t

from tests.lab.node import Node
from tests.support.diagnosing import PODS, TARGETS
from tests.support.run_module import Options, Result, run


def repaired(node: Node, check: bool = False, **options: t.Any) -> Result:
    asked: Options = {"networks": [PODS], "targets": list(TARGETS), **options}
    result = run(node, "egress_repair", asked, check)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] == bool(result["actions"])
    return result


def statuses(verdicts: t.Sequence[t.Any]) -> set[str]:
    return {one["status"] for one in verdicts}
