"""What is said of a packet that came no further for want of a neighbour, by what was looked up then."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.path import Path
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.probe_checks import findings
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.probing import Probing
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.structure import Place, Seen
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.link_messages import LinkReply
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.neighbours import Table
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.probes import Sight, Target, Trace
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.route_lookup import Lookup

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


def _link(index: int, name: str, qdisc: str = "noqueue") -> LinkReply:
    return LinkReply(index, name, "veth", 1, None, "02:00:00:00:00:01", 1500, 0, {}, None, None, qdisc)


HOST = Place({link.name: link for link in (_link(2, "uplink0"), _link(3, "br0"), _link(4, "np-ns1", "pfifo"))})
SEEN = Seen(
    PATH, TARGET, HOST, Place(), interface=_link(2, "eth0"), plainly=Lookup(0, "unicast", 2, gateway="198.18.0.1")
)
INSIDE = "10.22.33.2"
FULL = {"neighbours": Table(1024, 7)}
GOING = (
    Sight("inside", "eth0", True, False, INSIDE),
    Sight("host", "np-ns1", False, False, INSIDE),
    Sight("host", "br0", False, False, INSIDE),
)
RETURNING = (
    *GOING,
    Sight("host", "uplink0", True, False, "198.18.0.11"),
    Sight("host", "uplink0", False, True, TARGET.address),
)


@pytest.mark.parametrize(
    ("sights", "missing", "code", "direction", "words"),
    [
        (GOING, {"neighbour_out": "FAILED"}, "UPSTREAM_UNREACHABLE", "out", "198.18.0.1 is FAILED"),
        (GOING, {"neighbour_out": "NONE", **FULL}, "NEIGHBOUR_TABLE_FULL", "out", "198.18.0.1 is NONE"),
        (RETURNING, {"neighbour_back": "FAILED"}, "NEIGHBOUR_FILTERED", "return", "np-ns1 has the queue pfifo"),
        (RETURNING, {"neighbour_back": "NONE", **FULL}, "NEIGHBOUR_TABLE_FULL", "return", "10.22.33.2 is NONE"),
    ],
)
def test_unresolved_neighbour_of_the_host(
    sights: t.Sequence[Sight], missing: dict[str, t.Any], code: str, direction: str, words: str
) -> None:
    (found,) = findings(SEEN, Probing(TARGET, Trace(sights=list(sights)), **missing))
    assert (found.code, found.direction) == (code, direction)
    assert any(words in line for line in found.evidence), found.evidence
