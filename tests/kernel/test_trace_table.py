"""The table by which the kernel tells what drops a packet: it sees both families, and goes with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.world import Node, World
from tests.support.building import build_at_once, unreachable_from
from tests.support.diagnosing import PODS, checked, told
from tests.support.fault_catalogue import FAULTS

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

_DROPPED = "rule that drops ahead of ours"


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=0) as world, world.add_node() as made:
        made.call(build_at_once, [PODS])
        yield made


def _tables() -> str:
    return subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def killed_while_it_traces(patience: float = 20.0) -> tuple[str, str]:
    """The tables that there are during a check, and once it was killed."""
    child = os.fork()
    if not child:
        checked([PODS])
        os._exit(1)
    give_up = time.monotonic() + patience
    found = ""
    while "netpath_trace" not in found and time.monotonic() < give_up:
        found = _tables()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return found, _tables()


def test_table_goes_with_its_process(node: Node) -> None:
    node.run(["sh", "-ec", FAULTS[_DROPPED].inject])
    during, after = node.call(killed_while_it_traces)
    assert "netpath_trace" in during
    assert "netpath_trace" not in after
    assert "netpath_egress" in after
    assert told(node, "c1", [PODS])["ipv4"]["code"] == "FORWARD_DROPPED"
    node.run(["sh", "-ec", FAULTS[_DROPPED].fix])
    assert "netpath_trace" not in node.call(_tables)


def test_chain_is_named_in_both_families(node: Node) -> None:
    # The chain drops neighbour discovery as well, so they must know each other.
    assert unreachable_from(node, "c1") == []
    drop = "nft 'add table inet eg; add chain inet eg in { type filter hook prerouting priority -300; };"
    node.run(["sh", "-ec", f"{drop} add rule inet eg in iifname br0 counter drop'"])
    for verdict in told(node, "c1", [PODS]).values():
        assert verdict["code"] == "FORWARD_DROPPED"
        assert 'the nftables chain inet eg in drops it: iifname "br0" counter' in verdict["evidence"][-1]
    node.run(["nft", "delete", "table", "inet", "eg"])
