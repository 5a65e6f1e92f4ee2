"""netpath-egress watch: what differs is told or put right, more and more seldom where that does not last."""

from __future__ import annotations

import json
import re
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import (
    installation,
    watch_memory,
)

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1", "c2"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}
METRICS = "/var/lib/netpath.prom"
DONE, DIFFERS, FAILED = 0, 1, 4


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [APPS, PODS])
        asked = installation.Asked("/etc/netpath-egress", sys.executable, [APPS, PODS])
        made.call(lambda: installation.install(asked).actions)
        yield made


class Look(t.NamedTuple):
    """What one look says, by its exit code, its lines and its metrics."""

    status: int
    output: str
    errors: str
    metrics: dict[str, float]


def look(node: Node, program: str, *options: str) -> Look:
    done = node.run([program, "watch", "--metrics", METRICS, *options], check=False)
    lines = [line for line in node.run(["cat", METRICS]).stdout.splitlines() if not line.startswith("#")]
    metrics = {name: float(value) for name, _space, value in (line.rpartition(" ") for line in lines)}
    return Look(done.returncode, done.stdout, done.stderr, metrics)


def paths(metrics: t.Mapping[str, float]) -> dict[str, str]:
    """{"namespace family": its code, or its status where there is none}."""
    found = {}
    for name in metrics:
        if name.startswith("netpath_path_status"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            found[f"{labels['namespace']} {labels['family']}"] = labels["code"] or labels["status"]
    return found


def lines_of_audit(node: Node) -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in node.run(["cat", audit.PATH]).stdout.splitlines()]


HEALTHY = {"a1 ipv4": "ok", "c1 ipv4": "ok", "c1 ipv6": "ok", "c2 ipv4": "ok", "c2 ipv6": "ok"}


def test_healthy_host_is_only_measured(node: Node, program: str) -> None:
    before = settled(node)
    told = look(node, program, "--repair")
    assert (told.status, told.output, told.errors) == (DONE, "", "")
    assert paths(told.metrics) == HEALTHY
    assert told.metrics['netpath_drift_steps{network="pods"}'] == 0
    assert told.metrics["netpath_conntrack_entries_limit"] > 0
    assert told.metrics["netpath_last_run_timestamp_seconds"] > 1.7e9
    node.run(["rm", METRICS, watch_memory.MEMORY])
    assert difference(before, settled(node)) == ""


def test_drift_is_told_and_left(node: Node, program: str) -> None:
    node.run(["ip", "link", "set", "np-c1", "nomaster"])
    told = look(node, program)
    assert told.status == DIFFERS
    assert "pods differs: would change veth np-c1: master none -> br-pods" in told.output
    assert told.metrics['netpath_drift_steps{network="pods"}'] == 1
    assert told.metrics['netpath_drift_steps{network="apps"}'] == 0
    assert paths(told.metrics) == {**HEALTHY, "c1 ipv4": "PORT_NOT_ON_BRIDGE", "c1 ipv6": "PORT_NOT_ON_BRIDGE"}
    assert unreachable_from(node, "c1", broken=["c1 ipv4", "c1 ipv6"]) == ["c1 ipv4", "c1 ipv6"]


def test_drift_is_put_right_and_noted(node: Node, program: str) -> None:
    before = settled(node)
    node.run(["ip", "link", "set", "np-c1", "nomaster"])
    told = look(node, program, "--repair")
    assert told.status == DONE, told
    assert "pods: change veth np-c1: master none -> br-pods" in told.output
    assert paths(told.metrics) == HEALTHY
    assert told.metrics['netpath_drift_repairs_total{network="pods"}'] == 1
    assert unreachable_from(node, "c1") == []
    (line,) = lines_of_audit(node)
    assert (line["by"], line["network"], line["error"]) == ("watch", "pods", "")
    assert line["actions"] == ["change veth np-c1: master none -> br-pods, isolated none -> off"]
    assert (line["before"]["c1 ipv4"], line["after"]["c1 ipv4"]) == ("PORT_NOT_ON_BRIDGE", "ok")
    node.run(["rm", "-r", METRICS, watch_memory.MEMORY, "/var/log/netpath"])
    assert difference(before, settled(node)) == ""


def test_repair_that_does_not_last_is_tried_more_seldom(node: Node, program: str) -> None:
    def undo() -> None:
        node.run(["ip", "link", "set", "np-c1", "nomaster"])

    undo()
    assert look(node, program, "--repair").status == DONE
    undo()
    again = look(node, program, "--repair")
    assert (again.status, again.metrics['netpath_drift_repairs_in_vain{network="pods"}']) == (DONE, 2)
    undo()
    left = look(node, program, "--repair")
    assert (left.status, "repaired in vain" in left.output) == (DIFFERS, True), left
    assert left.metrics['netpath_drift_repairs_total{network="pods"}'] == 2
    # Another network does not wait for it.
    node.run(["ip", "link", "set", "np-a1", "nomaster"])
    other = look(node, program, "--repair")
    assert other.metrics['netpath_drift_repairs_total{network="apps"}'] == 1
    assert unreachable_from(node, "a1", families=["ipv4"]) == []
    # Its time has come.
    memory = json.loads(node.run(["cat", watch_memory.MEMORY]).stdout)
    memory["networks"]["pods"]["not_before"] = 0
    node.run(["sh", "-c", f"cat >{watch_memory.MEMORY}"], input=json.dumps(memory))
    assert look(node, program, "--repair").metrics['netpath_drift_repairs_total{network="pods"}'] == 3
    # It lasted.
    assert look(node, program, "--repair").metrics['netpath_drift_repairs_in_vain{network="pods"}'] == 0


def test_what_others_break_is_told(node: Node, program: str) -> None:
    node.run(["nft", "add table inet x; add chain inet x y { type filter hook forward priority -5; policy drop; }"])
    told = look(node, program, "--repair")
    assert told.status == DIFFERS
    assert "pods: broken: c1 (IPv4)" in told.output
    assert "FORWARD_DROPPED" in set(paths(told.metrics).values())
    assert "policy drop" in node.run(["nft", "list", "ruleset"]).stdout


def test_network_that_cannot_be_built(node: Node, program: str) -> None:
    node.run(["sh", "-ec", "ip netns del c1; ip netns del c2; ip link del br-pods"])
    node.run(["ip", "link", "add", "br-pods", "type", "veth", "peer", "name", "other"])
    told = look(node, program, "--repair")
    assert (told.status, "pods: " in told.errors) == (FAILED, True), told
    assert told.metrics['netpath_network_failed{network="pods"}'] == 1
    assert told.metrics['netpath_network_failed{network="apps"}'] == 0
    assert paths(told.metrics)["a1 ipv4"] == "ok"


@pytest.mark.parametrize("memory", ["", "{", "[]", '{"version": 1, "networks": {"pods": {"x": 1}}}', "\xff"])
def test_memory_that_is_damaged_is_forgotten(node: Node, program: str, memory: str) -> None:
    node.run(["sh", "-c", f"cat >{watch_memory.MEMORY}"], input=memory)
    assert look(node, program, "--repair").status == DONE
    assert json.loads(node.run(["cat", watch_memory.MEMORY]).stdout)["version"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        '{"done": "x"}',
        '{"done": null}',
        '{"in_vain": 1.5}',
        '{"in_vain": -1}',
        '{"not_before": "x"}',
        '{"not_before": NaN}',
        '{"not_before": 9e99}',
        "[" * 100000,
    ],
    ids=range(8),
)
def test_memory_that_makes_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: str) -> None:
    """A look does without it. A pause until long after now was written before a clock was set back."""
    monkeypatch.setattr(watch_memory, "MEMORY", str(tmp_path / "watch.json"))
    Path(watch_memory.MEMORY).write_text('{"version": 1, "networks": {"pods": ' + fields + "}}")
    for repairs in watch_memory.Memory.read().networks.values():
        assert repairs == watch_memory.Repairs()


def test_full_disk_is_no_reason_to_forget_the_rest(node: Node, program: str) -> None:
    """What cannot be written is told; the repair is done, and the metrics are there."""
    node.run(["sh", "-ec", "mkdir -p /var/log/netpath; mkdir /var/log/netpath/audit.jsonl"])
    node.run(["ip", "link", "set", "np-c1", "nomaster"])
    done = node.run([program, "watch", "--repair", "--metrics", METRICS], check=False)
    assert f"write {audit.PATH}" in done.stdout + done.stderr
    assert unreachable_from(node, "c1") == []
    assert "netpath_drift_repairs_total" in node.run(["cat", METRICS]).stdout
    assert node.run(["cat", watch_memory.MEMORY]).stdout.count('"done": 1') == 1
