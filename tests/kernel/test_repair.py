"""egress_repair: what is ours is healed, what is somebody else's is left, and nothing becomes worse."""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.diagnosing import PODS
from tests.support.fault_catalogue import FAULTS, GONE
from tests.support.repairing import repaired, statuses

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [PODS])
        yield made


@pytest.mark.smoke
def test_healthy_host_is_not_touched(node: Node) -> None:
    before = settled(node)
    result = repaired(node)
    assert (result["actions"], result["repaired"], result["left"]) == ([], {}, {})
    assert statuses(result["after"]) == {"ok"}
    assert difference(before, settled(node)) == ""


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
