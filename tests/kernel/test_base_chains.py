"""Tables and base chains that iptables-nft makes for our rules: they go with these, and those of others stay."""

from __future__ import annotations

import shutil
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build, build_at_once, refusal
from tests.support.quick_nodes import new_node
from tests.support.shell import script
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-nft-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# Without namespaces, so that nothing waits for duplicate address detection.
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "firewall": "iptables",
    "mss_clamp": True,
    "publish": [{"port": 8080, "to": "10.22.33.2:80"}, {"port": 8080, "to": "[fd00:22:33::2]:80"}],
}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "firewall": "iptables"}
WAYS = pytest.mark.parametrize("way", [build, build_at_once])
Way = t.Callable[..., list[str]]

# Each in a table of its own.
THEIRS = {
    "iptables-nft -t nat -A PREROUTING -i lo -j ACCEPT": {"ip nat", "PREROUTING in ip nat"},
    "iptables-nft -P INPUT ACCEPT": {"ip filter", "INPUT in ip filter"},
    "ip6tables-nft -N mine": {"ip6 filter", "mine in ip6 filter"},
    "nft add table ip6 nat": {"ip6 nat"},
    "nft add table ip mangle; nft 'add set ip mangle own { type ipv4_addr; }'": {"ip mangle"},
}
THEIRS_LATER = {
    "iptables-nft -t nat -A POSTROUTING -o lo -j ACCEPT": {"ip nat", "POSTROUTING in ip nat"},
    "iptables-nft -P INPUT DROP": {"ip filter", "INPUT in ip filter"},
    "ip6tables-nft -I FORWARD -i lo -j ACCEPT": {"ip6 filter", "FORWARD in ip6 filter"},
    "ip6tables-nft -t nat -N mine": {"ip6 nat", "mine in ip6 nat"},
    "nft 'add set ip mangle own { type ipv4_addr; }'": {"ip mangle"},
    "nft 'add chain ip6 mangle own { type filter hook output priority 1; }'": {"ip6 mangle", "own in ip6 mangle"},
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with new_node(world) as made:
        yield made


def containers(node: Node) -> set[str]:
    """Tables and chains of nftables."""
    found = set()
    table = ""
    for line in node.run(["nft", "list", "ruleset"]).stdout.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            table = " ".join(words[1:3])
            found.add(table)
        elif words[:1] == ["chain"]:
            found.add(f"{words[1]} in {table}")
    return found


@pytest.mark.parametrize("theirs", [[], list(THEIRS)], ids=["", "beside theirs"])
def test_what_was_made_for_our_rules_goes_with_them(node: Node, theirs: list[str]) -> None:
    script(node, *theirs)
    before = settled(node)
    node.call(build_at_once, [PODS])
    assert containers(node) > {"ip nat", "ip6 nat", "ip filter", "ip6 filter", "ip mangle", "ip6 mangle"}
    assert node.call(build_at_once, [PODS]) == []
    node.call(build_at_once, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


def test_what_others_use_meanwhile_stays(node: Node) -> None:
    node.call(build_at_once, [PODS])
    script(node, *THEIRS_LATER)
    node.call(build_at_once, [PODS], absent=True)
    assert containers(node) == set().union(*THEIRS_LATER.values())
    assert node.run(["ls", "/var/lib/netpath"], check=False).stdout == ""


@WAYS
def test_tables_stay_while_a_network_needs_them(node: Node, way: Way) -> None:
    before = settled(node)
    node.call(way, [APPS])
    alone = settled(node)
    node.call(way, [PODS, APPS])
    node.call(way, [{**PODS, "state": "absent"}, APPS])
    assert {"ip nat", "ip filter"} <= containers(node)
    assert not [table for table in containers(node) if "ip6" in table]
    node.call(way, [APPS], absent=True)
    assert difference(before, settled(node)) == ""
    assert "ip nat" in alone["nftables"]


def test_tables_go_when_the_rules_move_elsewhere(node: Node) -> None:
    node.call(build_at_once, [{**PODS, "firewall": "nftables"}])
    before = containers(node)
    node.call(build_at_once, [PODS])
    assert "ip nat" in containers(node)
    node.call(build_at_once, [{**PODS, "firewall": "nftables"}])
    assert containers(node) == before


def test_run_that_fails_leaves_no_tables(node: Node) -> None:
    script(node, "mkdir -p /etc/sysctl.d; mount -t tmpfs -o ro none /etc/sysctl.d")
    before = settled(node)
    refused = refusal(node, build_at_once, [PODS])
    assert refused.rolled_back
    assert difference(before, settled(node)) == ""
