"""VLANs on a bridge: kept apart where the kernel can, and a clear error where it cannot."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.run_module import Options, done, refused

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

BRIDGE: Options = {"name": "br0", "network": "pods"}
PAIR: Options = {"name": "ve1", "master": "br0", "peer": {"name": "eth0"}, "network": "pods"}


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(internet=False) as world:
        yield world.nodes[0]


def filters_vlans(node: Node) -> bool:
    made = node.run(["ip", "link", "add", "probe9", "type", "bridge", "vlan_filtering", "1"], check=False)
    node.run(["ip", "link", "del", "probe9"], check=False)
    return made.returncode == 0


@pytest.fixture
def able(node: Node) -> Node:
    if not filters_vlans(node):
        pytest.skip("this kernel is built without CONFIG_BRIDGE_VLAN_FILTERING")
    return node


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("linux_bridge", {**BRIDGE, "vlan_filtering": True}),
        ("linux_bridge", {**BRIDGE, "vlan": 10}),
        ("veth", {**PAIR, "vlan": 10}),
        ("veth", {**PAIR, "trunk": [10, 20]}),
    ],
)
def test_kernel_without_vlan_filtering_says_so(node: Node, module: str, options: Options) -> None:
    if filters_vlans(node):
        pytest.skip("this kernel filters VLANs")
    if module == "veth":
        done(node, "linux_bridge", BRIDGE)
    answer = refused(node, module, options)
    assert answer["asked"] == "set vlan_filtering"
    assert answer["found"] == "this kernel is built without bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)"


def shown(node: Node, link: str) -> list[tuple[int, list[str]]]:
    (listed,) = json.loads(node.run(["bridge", "-j", "vlan", "show", "dev", link]).stdout)
    return [(item["vlan"], item.get("flags", [])) for item in listed["vlans"]]


def test_ports_are_in_their_vlans(able: Node) -> None:
    done(able, "linux_bridge", {**BRIDGE, "vlan_filtering": True, "vlan": 10})
    assert shown(able, "br0") == [(10, ["PVID", "Egress Untagged"])]
    options = {**PAIR, "vlan": 10, "trunk": [30, 20]}
    assert done(able, "veth", options)[-1] == "put ve1 in VLAN 10 and VLANs 20, 30 tagged"
    assert done(able, "veth", options) == done(able, "veth", PAIR) == []
    assert shown(able, "ve1") == [(10, ["PVID", "Egress Untagged"]), (20, []), (30, [])]
    done(able, "veth", {**PAIR, "vlan": 20})
    assert shown(able, "ve1") == [(20, ["PVID", "Egress Untagged"])]
    able.run(["bridge", "vlan", "add", "dev", "ve1", "vid", "99"])
    line = "put ve1 in VLAN 20 (was in VLAN 20 and VLANs 99 tagged)"
    assert done(able, "veth", {**PAIR, "vlan": 20}) == [line]


def test_namespaces_of_different_vlans_do_not_meet(able: Node) -> None:
    namespaces = ["a", {"name": "b", "vlan": 20}, "c"]
    network = {"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24"], "vlan_filtering": True, "vlan": 10}
    able.call(build_at_once, [{**network, "namespaces": namespaces}])
    for target, reached in (("10.22.33.1", True), ("10.22.33.3", False), ("10.22.33.4", True)):
        answered = able.namespace_run("a", ["ping", "-c1", "-W1", target], check=False).returncode == 0
        assert answered == reached, target
