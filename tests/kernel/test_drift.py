"""Whatever drifted in a built network: the same run repairs it with the fewest steps, and touches nothing else.

Drift that the diagnosis has a name for is in test_faults.py.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.drift import checked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab import privilege
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build, build_at_once, unreachable_from, without_macs
from tests.support.built_network import Bench
from tests.support.diagnosing import PODS
from tests.support.drift_catalogue import DRIFT, FORGET, NAMES, script_of
from tests.support.scope import smoke_rows

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture(scope="module")
def bench() -> t.Iterator[Bench]:
    with World(nodes=0) as world:
        yield Bench(world)


_ROWS = smoke_rows([title for title, drift in DRIFT.items() if drift.script], "rule added by hand", "spanning tree on")


@pytest.mark.parametrize("title", _ROWS)
def test_drift_is_repaired(bench: Bench, title: str) -> None:
    drift = DRIFT[title]
    with bench.fresh() if drift.spoils or drift.left else bench.use() as built:
        node = built.node
        built.inject(drift.script)
        assert unreachable_from(node, *NAMES, broken=drift.broken) == list(drift.broken)
        # Nothing that a run would change is ok, whether or not packets pass.
        assert any(one["findings"] for one in node.call(checked, [PODS], probe=False)) or not drift.actions
        predicted = node.call(build_at_once, [PODS], check=True)
        assert without_macs(node.call(build, [PODS])) == list(drift.actions)
        assert sorted(without_macs(predicted)) == sorted(drift.actions)
        node.run(["sh", "-ec", FORGET])
        assert unreachable_from(node, *NAMES) == []
        assert node.call(build_at_once, [PODS]) == []
        assert [one["findings"] for one in node.call(checked, [PODS], probe=False) if one["code"] == "DRIFT"] == []
        assert built.wrong(*drift.left) == []


# Two of them may well hide or undo each other.
_MIXED = [title for title, drift in DRIFT.items() if not drift.left]


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(titles=st.lists(st.sampled_from(_MIXED), min_size=2, max_size=4, unique=True), at_once=st.booleans())
def test_faults_that_come_together_are_put_right(bench: Bench, titles: list[str], at_once: bool) -> None:
    with bench.use() as built:
        for title in titles:
            # What the one fault took away the next one may miss.
            built.inject(f"set +e; {script_of(title)}; true")
        built.node.call(build_at_once if at_once else build, [PODS])
        assert unreachable_from(built.node, *NAMES) == []
        assert built.node.call(build, [PODS]) == []
        # A port that came back may have another number.
        assert built.wrong('"ifname": "np-c') == []


@pytest.mark.smoke
def test_teardown_after_drift_gives_the_host_back(bench: Bench) -> None:
    with bench.fresh() as built:
        for title in ("default route by somebody else", "forwarding off on the bridge alone", "link back on the host"):
            built.inject(script_of(title))
            built.node.call(build, [PODS])
        built.node.call(build, [PODS], absent=True)
        assert difference(built.empty, built.node.snapshot()) == ""


@pytest.mark.parametrize(
    ("script", "change"),
    [
        ("ip -n c1 link set eth0 name x0", {}),
        ("true", {"namespaces": [{"name": "c1", "addresses": ["10.22.33.77/24", "fd00:22:33::77/64"]}, "c2"]}),
    ],
    ids=["renamed", "another address"],
)
def test_routes_of_others_stay(bench: Bench, script: str, change: dict[str, t.Any]) -> None:
    """Those whose gateway can be reached afterwards."""
    with bench.use() as built:
        node = built.node
        built.inject(script)
        device = "x0" if "x0" in script else "eth0"
        node.run(["ip", "-n", "c1", "route", "add", "10.9.0.9", "dev", device])
        node.run(["ip", "-n", "c1", "route", "add", "10.78.0.0/16", "via", "10.22.33.3", "metric", "9"])
        node.run(["ip", "-n", "c1", "route", "add", "10.79.0.0/16", "via", "10.9.0.9"])
        node.run(["ip", "-n", "c1", "-6", "route", "add", "fd00:78::/64", "via", "fd00:22:33::3"])
        node.call(build, [{**PODS, **change}])
        assert unreachable_from(node, *NAMES) == []
        routes = node.run(["sh", "-c", "ip -n c1 route; ip -n c1 -6 route"]).stdout
        for words in (
            "10.9.0.9 dev eth0 scope link",
            "10.78.0.0/16 via 10.22.33.3 dev eth0 metric 9",
            "10.79.0.0/16 via 10.9.0.9 dev eth0",
            "fd00:78::/64 via fd00:22:33::3 dev eth0",
        ):
            assert words in routes
