"""A kernel without nf_tables, where iptables-legacy alone filters and translates."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import KernelError

from tests.lab.node import Node
from tests.support.spec_questions import Options
from tests.support.stock_path import PODS, built_and_removed

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


@pytest.mark.xfail(strict=True, raises=KernelError, reason="a kernel that refuses to list nftables ends each run")
@pytest.mark.parametrize("firewall", ["auto", "iptables"])
def test_path(legacy: Node, firewall: str) -> None:
    network: Options = {**PODS, "firewall": firewall}
    built_and_removed(legacy, network, [legacy.address, legacy.address6])
