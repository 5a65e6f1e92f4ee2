"""A kernel without nf_tables, where iptables-legacy alone filters and translates."""

from __future__ import annotations

import pytest

from tests.lab.node import Node
from tests.support.building import build_at_once, refusal
from tests.support.spec_questions import Options
from tests.support.stock_path import PODS, built_and_removed, state

pytestmark = pytest.mark.boot(hidden=["nf_tables"])

LEGACY = """
for program in iptables ip6tables; do ln -sf /usr/sbin/$program-legacy /etc/alternatives/$program; done
iptables -P FORWARD DROP; ip6tables -P FORWARD DROP
"""


@pytest.fixture
def legacy(node: Node) -> Node:
    """A host whose iptables is the older one, and drops what it is not told to forward."""
    assert node.run(["nft", "list", "tables"], check=False).returncode != 0
    node.run(["sh", "-ec", LEGACY])
    return node


OPEN: Options = {"spoof_protection": False, "isolated": False, "inbound": "open", "peers": ["all"]}


@pytest.mark.parametrize("firewall", ["auto", "iptables"])
def test_open_network_is_built_by_iptables(legacy: Node, firewall: str) -> None:
    network: Options = {**PODS, **OPEN, "firewall": firewall}
    built_and_removed(legacy, network, [legacy.address, legacy.address6])


def test_protections_are_refused_before_anything_changes(legacy: Node) -> None:
    before = state(legacy)
    found = refusal(legacy, build_at_once, [PODS])
    assert "spoof_protection: false" in found.text
    assert state(legacy) == before
