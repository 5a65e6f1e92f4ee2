"""Bridge VLAN filtering, which the kernel of a test machine often lacks: ports are in their VLANs, and stay there."""

from __future__ import annotations

import json

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path

from tests.lab.node import Node
from tests.support.building import ask, build_at_once
from tests.support.spec_questions import Options
from tests.support.stock_path import PODS

BRIDGE: Options = {"name": "br0", "network": "pods"}
PAIR: Options = {"name": "ve1", "master": "br0", "peer": {"name": "eth0"}, "network": "pods"}
NETWORK: Options = {
    **PODS,
    "vlan": 10,
    "namespaces": ["a", {"name": "b", "vlan": 20}, "c", {"name": "d", "trunk": [20, 30]}],
}
ACCESS_20 = [(20, ["PVID", "Egress Untagged"])]


def shown(node: Node, link: str) -> list[tuple[int, list[str]]]:
    (listed,) = json.loads(node.run(["bridge", "-j", "vlan", "show", "dev", link]).stdout)
    return [(item["vlan"], item.get("flags", [])) for item in listed["vlans"]]


def test_ports_are_in_their_vlans(node: Node) -> None:
    node.call(ask, "linux_bridge", {**BRIDGE, "vlan_filtering": True, "vlan": 10})
    assert shown(node, "br0") == [(10, ["PVID", "Egress Untagged"])]
    options = {**PAIR, "vlan": 10, "trunk": [30, 20]}
    made = node.call(ask, "veth", options)
    assert made.actions[-1] == "put ve1 in VLAN 10 and VLANs 20, 30 tagged"
    assert node.call(ask, "veth", options).actions == node.call(ask, "veth", PAIR).actions == []
    assert shown(node, "ve1") == [(10, ["PVID", "Egress Untagged"]), (20, []), (30, [])]
    node.call(ask, "veth", {**PAIR, "vlan": 20})
    assert shown(node, "ve1") == ACCESS_20
    node.run(["bridge", "vlan", "add", "dev", "ve1", "vid", "99"])
    line = "put ve1 in VLAN 20 (was in VLAN 20 and VLANs 99 tagged)"
    assert node.call(ask, "veth", {**PAIR, "vlan": 20}).actions == [line]


def test_namespaces_of_different_vlans_do_not_meet(node: Node) -> None:
    node.call(build_at_once, [NETWORK])
    script = """
    ip link add link eth0 name v20 type vlan id 20; ip addr add 10.22.33.50/32 dev v20; ip link set v20 up
    ip route add 10.22.33.3/32 dev v20 src 10.22.33.50
    """
    node.namespace_run("d", ["sh", "-ec", script])
    addresses = {"b": "10.22.33.3", "c": "10.22.33.4", "d": "10.22.33.50"}
    ways = [("a", "c"), ("a", "b"), ("c", "b"), ("b", "d"), ("a", "d")]
    ping = ["ping", "-c", "1", "-W", "2"]
    met = [way for way in ways if not node.namespace_run(way[0], [*ping, addresses[way[1]]], check=False).returncode]
    assert met == [("a", "c"), ("b", "d")]
    assert node.call(build_at_once, [NETWORK]) == []
    assert node.call(build_at_once, [NETWORK], absent=True)


def test_rolled_back_removal_keeps_vlans(node: Node) -> None:
    node.call(build_at_once, [NETWORK])
    before = {name: shown(node, f"np-{name}") for name in "abcd"}
    assert before["b"] == ACCESS_20

    def removed() -> None:
        def refuse() -> None:
            raise EgressError("see the host", "the judge refuses it", "")

        with pytest.raises(EgressError):
            run(lambda host: path.wanted({"networks": [NETWORK], "state": "absent"}, host), judge=refuse)

    node.call(removed)
    assert {name: shown(node, f"np-{name}") for name in "abcd"} == before
    assert node.call(build_at_once, [NETWORK]) == []
