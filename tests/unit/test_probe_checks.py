"""What is said of a packet that never left its namespace, by what was looked up then."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.path import Path
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.probe_checks import findings
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.probing import Probing
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.structure import Place, Seen
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.neighbours import Table
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.probes import Target, Trace

PATH = Path("ns1", "pods", 4, "eth0", "np-ns1", "br0", "10.22.33.2/24", "10.22.33.1")
TARGET = Target("198.51.100.80")


@pytest.mark.parametrize(
    ("state", "table", "code", "words"),
    [
        ("INCOMPLETE", None, "NEIGHBOUR_FILTERED", "10.22.33.1 is INCOMPLETE among the neighbours of ns1"),
        ("FAILED", Table(1024, 0), "NEIGHBOUR_FILTERED", "10.22.33.1 is FAILED among the neighbours of ns1"),
        ("NONE", Table(1024, 7), "NEIGHBOUR_TABLE_FULL", "no room for 7 neighbours since the probes began"),
        ("FAILED", Table(1024, 7), "NEIGHBOUR_TABLE_FULL", "no room for 7 neighbours since the probes began"),
        ("REACHABLE", Table(1024, 7), "UNEXPLAINED_DROP", "never sent it"),
        # Nobody asked for it, so nobody kept silent.
        ("NONE", Table(1024, 0), "UNEXPLAINED_DROP", "never sent it"),
    ],
)
def test_unresolved_gateway(state: str, table: Table | None, code: str, words: str) -> None:
    probing = Probing(TARGET, Trace(), neighbour=state, neighbours=table)
    (found,) = findings(Seen(PATH, TARGET, Place(), Place()), probing)
    assert found.code == code
    assert any(words in line for line in found.evidence)
