"""Another tool's flow table, which carries packets of a path past all rules once a connection is there."""

from __future__ import annotations

import pytest

from tests.lab.node import Node
from tests.support.building import build_at_once
from tests.support.stock_path import PODS, checked, is_healthy, seen, state

TABLE = """
table inet fast {
    flowtable f { hook ingress priority 0; devices = { uplink0, DEVICE }; }
    chain forward { type filter hook forward priority 0; meta l4proto { tcp, udp } flow add @f; }
}
"""


@pytest.mark.parametrize("device", ["np-c1", "br0"])
def test_offloaded_connections(node: Node, device: str) -> None:
    before = state(node)
    node.call(build_at_once, [PODS])
    node.run(["nft", "-f", "-"], input=TABLE.replace("DEVICE", device))
    assert seen(node) == [node.address, node.address6]
    verdicts = checked(node, [PODS])
    assert is_healthy(verdicts), verdicts
    assert node.call(build_at_once, [PODS]) == []
    node.call(build_at_once, [PODS], absent=True)
    assert "flowtable f" in node.run(["nft", "list", "table", "inet", "fast"]).stdout
    node.run(["nft", "delete", "table", "inet", "fast"])
    assert state(node) == before
