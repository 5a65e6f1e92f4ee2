"""br_netfilter as a module, which another tool's rule brings in on demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.node import Node
from tests.support.building import ask, build_at_once, refusal
from tests.support.stock_path import PODS, built_and_removed, checked, is_healthy

LOADED = Path("/sys/module/br_netfilter")


@pytest.fixture
def without(node: Node) -> Node:
    """A node, on a kernel that has not loaded it."""
    # Not by modprobe, which would take the bridges' module too.
    node.run(["rmmod", "xt_physdev"], check=False)
    node.run(["rmmod", "br_netfilter"], check=False)
    assert not LOADED.exists()
    return node


def test_what_needs_it_is_refused_until_it_is_loaded(without: Node) -> None:
    options = {"name": "br0", "nf_call_iptables": True}
    told = refusal(without, ask, "linux_bridge", options)
    assert "br_netfilter is not loaded" in told.found
    assert "modprobe br_netfilter" in told.advice
    assert not LOADED.exists()
    without.run(["modprobe", "br_netfilter"])
    assert without.call(ask, "linux_bridge", options).changed


def test_bridged_packets_once_a_rule_loads_it(without: Node) -> None:
    """The path between two namespaces is dropped then, as the host forwards nothing else."""
    network = {**PODS, "firewall": "none"}
    without.call(build_at_once, [PODS])
    assert is_healthy(checked(without, [PODS]))
    assert not LOADED.exists()
    without.run(["iptables", "-A", "FORWARD", "-m", "physdev", "--physdev-in", "np-c1", "-j", "DROP"])
    assert LOADED.exists()
    found = [one for one in checked(without, [network]) if one["namespace"] == "c1" and one["family"] == "ipv4"]
    assert [one["status"] for one in found] == ["broken"], found
    assert found[0]["code"] in ("FORWARD_DROPPED", "BRIDGE_NF_DROPS"), found
    without.run(["iptables", "-F", "FORWARD"])


def test_path_with_it(without: Node) -> None:
    without.run(["modprobe", "br_netfilter"])
    built_and_removed(without, PODS, [without.address, without.address6])
