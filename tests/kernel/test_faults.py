"""Each row of the catalogue of faults once: it is injected, named with its hop, repaired by the next run, and by name.

A fault is a test of its own: the network is built, healthy, broken, diagnosed, repaired by the next run, compared with
what it was, broken again, repaired by egress_repair, or left by it where that is for a person.
"""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.decision import BY_NAME

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build, build_at_once, unreachable_from
from tests.support.built_network import Bench, Built
from tests.support.diagnosing import PODS, TARGETS, record, told
from tests.support.drift_catalogue import DRIFT, FORGET, NAMES
from tests.support.fault_catalogue import BOTH, FAULTS, Fault
from tests.support.repairing import repaired, statuses
from tests.support.scope import smoke_rows

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# Faults that egress_repair leaves: another tool made them, or the network itself asks for what is wrong.
LEFT = (
    *("forward drops", "rule that drops ahead of ours", "answers dropped", "nobody answers upstream", "IPv6 dropped"),
    *("raw table that drops", "wrong neighbour on the host", "policy rule", "policy of IPsec"),
    *(title for title, fault in FAULTS.items() if fault.hop in ("bridge_port", "bridge", "uplink") and fault.fix),
    *("subnet on another link", "fixed source address gone", "neighbours translated"),
)
REPAIRED = [
    title
    for title, fault in FAULTS.items()
    if title not in LEFT and (CODES[fault.code].tier in ("auto", "declared") or fault.code in BY_NAME)
]
# In the namespace, on the bridge, in the settings and the rules of the host, and one that is left.
SMOKE = (
    *("no default route", "port on no bridge", "forwarding off", "no rule translates"),
    *("forwarding until the next boot", "forward drops"),
)


@pytest.fixture(scope="module")
def bench() -> t.Iterator[Bench]:
    with World(nodes=0) as world:
        yield Bench(world)


def _on_the_common_network(title: str) -> bool:
    """Nothing of it is left for the next fault."""
    fault = FAULTS[title]
    stays_the_same = fault.before == "true" and not (title in DRIFT and DRIFT[title].left)
    return stays_the_same and not fault.network and not fault.wrong and tuple(fault.targets) == TARGETS


@pytest.mark.parametrize("title", smoke_rows(FAULTS, *SMOKE))
def test_fault(bench: Bench, title: str, record_property: t.Callable[[str, object], None]) -> None:
    fault = FAULTS[title]
    own = bench.fresh({**PODS, **fault.network}, fault.before, fault.targets)
    with bench.use() if _on_the_common_network(title) else own as built:
        _break(built, fault)
        verdicts = told(built.node, "c1", built.networks, asked=fault.targets)
        _assert_named(fault, verdicts)
        _assert_promises_are_kept(built, fault, verdicts)
        record(verdicts[fault.families[0]], fault.row or "beyond", title, record_property)
        if title in LEFT:
            _assert_left(built, fault)
        _assert_next_run_repairs(built, title)
        if title in REPAIRED:
            # What was there before may be gone with the fault.
            built.inject(f"set +e; {fault.before} 2>/dev/null; true")
            _break(built, fault)
            _assert_repaired_by_name(built, fault)


def _break(built: Built, fault: Fault) -> None:
    if fault.wrong:
        built.node.call(build_at_once, [{**network, **fault.wrong} for network in built.networks])
    built.inject(fault.inject)


def _assert_named(fault: Fault, verdicts: t.Mapping[str, t.Any]) -> None:
    for family in BOTH:
        verdict = verdicts[family]
        if family in fault.families:
            assert (verdict["code"], verdict["status"]) == (fault.code, fault.status), verdict
            assert verdict["hop"] == (fault.hop or CODES[fault.code].hop)
            assert fault.proof in "; ".join(verdict["evidence"]), verdict
            assert verdict["evidence"]
        else:
            assert (verdict["status"], verdict["findings"]) == ("ok", []), verdict


def _assert_promises_are_kept(built: Built, fault: Fault, verdicts: t.Mapping[str, t.Any]) -> None:
    """What is said to be repaired by a run is changed by one; of the rest nobody says so."""
    tiers = {one["tier"] for verdict in verdicts.values() for one in verdict["findings"]}
    foreseen = repaired(built.node, check=True, networks=built.networks, targets=list(fault.targets))
    assert bool(foreseen["actions"]) == bool(tiers & {"auto", "declared"}), (tiers, foreseen)
    fixes = [one["fix"] for verdict in verdicts.values() for one in verdict["findings"] if one["tier"] == "advise"]
    assert not [fix for fix in fixes if fix.startswith("run the role")]


def _assert_left(built: Built, fault: Fault) -> None:
    before = settled(built.node)
    result = repaired(built.node, networks=built.networks, targets=list(fault.targets))
    assert "for a person" in result["left"]["pods"][fault.code]
    assert (result["repaired"], result["failed_networks"]) == ({}, {})
    assert difference(before, settled(built.node)) == ""


def _assert_next_run_repairs(built: Built, title: str) -> None:
    """Where the way is known step by step: that it is no longer, is foreseen, and leaves nothing different."""
    fault, drift, node = FAULTS[title], DRIFT.get(title), built.node
    if drift:
        assert unreachable_from(node, *NAMES, broken=drift.broken) == list(drift.broken)
        predicted = node.call(build_at_once, built.networks, check=True)
        assert node.call(build, built.networks) == list(drift.actions)
        assert sorted(predicted) == sorted(drift.actions)
        node.run(["sh", "-ec", FORGET])
        assert node.call(build_at_once, built.networks) == []
        assert built.wrong(*drift.left) == []
    else:
        built.inject(fault.fix or "true")
        node.call(build_at_once, built.networks)
    assert "nat" in fault.network or unreachable_from(node, *NAMES) == []
    healed = told(node, "c1", built.networks, asked=fault.targets)
    assert {family: one["status"] for family, one in healed.items()} == dict.fromkeys(BOTH, "ok"), healed


def _assert_repaired_by_name(built: Built, fault: Fault) -> None:
    """By its code, where that must be asked for."""
    node = built.node
    codes = [fault.code] if CODES[fault.code].tier == "confirm" else []
    asked: dict[str, t.Any] = {"networks": built.networks, "targets": list(fault.targets), "codes": codes}
    node.run(["rm", "-f", audit.PATH])
    before = settled(node)
    foreseen = repaired(node, check=True, **asked)
    assert difference(before, settled(node)) == ""
    result = repaired(node, **asked)
    assert fault.code in {one["code"] for one in result["before"]}
    assert fault.code in result["repaired"]["pods"]
    assert (result["failed_networks"], statuses(result["after"])) == ({}, {"ok"}), result
    assert foreseen["actions"] == result["actions"] != []
    assert unreachable_from(node, *NAMES) == []
    (line,) = [json.loads(line) for line in node.run(["cat", audit.PATH]).stdout.splitlines()]
    assert (line["by"], line["network"], line["actions"]) == ("remediate", "pods", result["actions"])
    assert fault.code in line["before"].values()
    assert set(line["after"].values()) == {"ok"}
