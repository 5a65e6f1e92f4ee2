"""A kernel that is booted without IPv6."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.node import Node
from tests.support.building import build_at_once, refusal
from tests.support.spec_questions import Options
from tests.support.stock_path import PODS, built_and_removed, state

pytestmark = pytest.mark.boot(cmdline="ipv6.disable=1")

ONLY_IPV4: Options = {**PODS, "subnets": ["10.22.33.0/24"]}
# What only the path needs.
ON_DEMAND = ("nf_tables", "nf_nat", "nf_conntrack", "nft_chain_nat", "nft_masq", "sch_tbf")


def loaded() -> list[str]:
    return [name for name in ON_DEMAND if Path("/sys/module", name).exists()]


def test_modules_load_on_demand(node: Node) -> None:
    """The first in its boot, so nothing has loaded them before."""
    assert loaded() == []
    network = {**ONLY_IPV4, "namespaces": [{"name": "c1", "bandwidth": "100mbit"}, "c2"]}
    built_and_removed(node, network, [node.address], ["ipv4"])
    assert loaded() == list(ON_DEMAND)


def test_ipv6_network_is_refused(node: Node) -> None:
    before = state(node)
    told = refusal(node, build_at_once, [PODS])
    assert told.asked.startswith("set net.ipv6.")
    assert state(node) == before
