"""egress_repair: what is ours is healed, what is somebody else's is left, and nothing becomes worse."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.decision import BY_NAME

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.diagnosing import PODS, TARGETS
from tests.support.fault_catalogue import FAULTS, GONE, Fault
from tests.support.run_module import Options, Result, run

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# Somebody else's, or what the network itself asks for.
OTHERS = (
    *("forward drops", "rule that drops ahead of ours", "answers dropped", "nobody answers upstream", "IPv6 dropped"),
    *("raw table that drops", "wrong neighbour on the host", "policy rule"),
    *("subnet on another link", "fixed source address gone", "neighbours translated"),
)
HEALED = [
    title
    for title, fault in FAULTS.items()
    if title not in OTHERS and (CODES[fault.code].tier in ("auto", "declared") or fault.code in BY_NAME)
]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [PODS])
        yield made


def repaired(node: Node, check: bool = False, **options: t.Any) -> Result:
    asked: Options = {"networks": [PODS], "targets": list(TARGETS), **options}
    result = run(node, "egress_repair", asked, check)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] == bool(result["actions"])
    return result


def broken(node: Node, fault: Fault) -> Options:
    """Break the path of c1. Returns what is asked for."""
    network = {**PODS, **fault.network}
    node.run(["sh", "-ec", fault.before])
    node.call(build_at_once, [{**network, **fault.wrong}])
    node.run(["sh", "-ec", fault.inject])
    return {"networks": [network], "targets": list(fault.targets)}


def statuses(verdicts: t.Sequence[t.Any]) -> set[str]:
    return {one["status"] for one in verdicts}


def test_healthy_host_is_not_touched(node: Node) -> None:
    before = settled(node)
    result = repaired(node)
    assert (result["actions"], result["repaired"], result["left"]) == ([], {}, {})
    assert statuses(result["after"]) == {"ok"}
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("title", HEALED)
def test_fault_is_healed(node: Node, title: str) -> None:
    fault = FAULTS[title]
    asked = broken(node, fault)
    before = settled(node)
    by_name = [fault.code] if CODES[fault.code].tier == "confirm" else []
    foreseen = repaired(node, check=True, codes=by_name, **asked)
    assert difference(before, settled(node)) == ""
    result = repaired(node, codes=by_name, **asked)
    assert fault.code in {one["code"] for one in result["before"]}
    assert fault.code in result["repaired"]["pods"]
    assert (result["failed_networks"], statuses(result["after"])) == ({}, {"ok"}), result
    assert foreseen["actions"] == result["actions"] != []
    assert unreachable_from(node, "c1", "c2") == []
    (line,) = [json.loads(line) for line in node.run(["cat", audit.PATH]).stdout.splitlines()]
    assert (line["by"], line["network"], line["actions"]) == ("remediate", "pods", result["actions"])
    assert fault.code in line["before"].values()
    assert set(line["after"].values()) == {"ok"}
    node.run(["sh", "-ec", fault.after])


@pytest.mark.parametrize("title", OTHERS)
def test_what_is_for_a_person_is_left(node: Node, title: str) -> None:
    fault = FAULTS[title]
    asked = broken(node, fault)
    before = settled(node)
    result = repaired(node, **asked)
    assert "for a person" in result["left"]["pods"][fault.code]
    assert (result["repaired"], result["failed_networks"]) == ({}, {})
    assert difference(before, settled(node)) == ""
    node.run(["sh", "-ec", fault.fix or "true"])
    node.run(["sh", "-ec", fault.after])


@pytest.mark.parametrize(
    ("inject", "tiers", "code", "takes"),
    [
        ("sysctl -qw net.ipv4.ip_forward=0", ["auto"], "FORWARDING_OFF", ""),
        ("ip link set np-c1 nomaster", ["declared"], "PORT_NOT_ON_BRIDGE", ""),
        (
            "sysctl -qw net.ipv4.ip_forward=0; ip link set np-c1 nomaster",
            ["auto"],
            "FORWARDING_OFF",
            "net.ipv4.ip_forward",
        ),
    ],
)
def test_tier_that_is_not_allowed(node: Node, inject: str, tiers: list[str], code: str, takes: str) -> None:
    node.run(["sh", "-ec", inject])
    before = settled(node)
    result = repaired(node, tiers=tiers)
    assert "which is not to be repaired" in result["left"]["pods"][code]
    assert takes in result["failed_networks"].get("pods", "")
    assert difference(before, settled(node)) == ""


def test_by_name_alone(node: Node) -> None:
    """A pair into a namespace without a name may be somebody's."""
    fault = FAULTS["other end with a process alone"]
    node.run(["sh", "-ec", fault.inject])
    before = settled(node)
    result = repaired(node)
    assert result["left"]["pods"][fault.code] == f"only if {fault.code} is asked for by name (remediate_codes, codes)"
    assert result["actions"] == []
    assert difference(before, settled(node)) == ""


def test_end_in_a_namespace_that_nobody_can_name(node: Node) -> None:
    """Nothing but an open file holds it, so that its end of the pair cannot be reached."""
    hold = "exec 3</run/netns/c1; ip netns del c1; echo held; read -r _"
    with node.popen(["sh", "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        before = settled(node)
        foreseen = repaired(node, check=True)
        assert difference(before, settled(node)) == ""
        result = repaired(node)
        assert (result["failed_networks"], statuses(result["after"])) == ({}, {"ok"}), result
        assert foreseen["actions"] == result["actions"] != []
        assert unreachable_from(node, "c1", "c2") == []
        process.communicate("\n")


def test_file_that_is_not_empty_stays(node: Node) -> None:
    node.run(["sh", "-ec", f"{GONE}; echo theirs >/run/netns/c1"])
    before = settled(node)
    result = repaired(node, codes=["STALE_HANDLE"])
    assert "is a file that is no namespace" in result["failed_networks"]["pods"]
    assert difference(before, settled(node)) == ""


def test_repair_that_makes_things_worse_is_put_back(node: Node) -> None:
    """Forwarding of c1's link is off, and somebody drops all of the network as soon as it is on."""
    node.run(["ip", "link", "set", "np-c1", "nomaster"])
    # What the repair does to c1 cuts off c2: whoever sees a second port on the bridge.
    watcher = (
        "ip -o monitor link dev np-c1 | while read -r line; do case $line in *master*)"
        " nft 'add table inet theirs; add chain inet theirs f { type filter hook forward priority -10; policy drop; }';"
        " break;; esac; done"
    )
    process = node.popen(["sh", "-c", watcher])
    try:
        result = repaired(node)
    finally:
        process.kill()
        process.wait()
    assert "it made things worse: ok before: c2 (IPv4)" in result["failed_networks"]["pods"]
    assert "The state before this run was restored" in result["failed_networks"]["pods"]
    assert "master br0" not in node.run(["ip", "link", "show", "np-c1"]).stdout
    (line,) = [json.loads(line) for line in node.run(["cat", audit.PATH]).stdout.splitlines()]
    assert "it made things worse" in line["error"]
