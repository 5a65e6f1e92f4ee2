"""Hosts with several uplinks: packets leave by each, and the internet sees its address."""

from __future__ import annotations

import shutil
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check

from tests.lab import privilege, probe
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import GATEWAY, PUBLIC, Node, World, wire
from tests.support.building import build, build_at_once, seen_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-nft-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1"],
}
SECOND = ("198.18.99.1", "2001:db8:18::9901")
TARGETS = (probe.TARGETS[4], probe.TARGETS[6])
# Where the second uplink leads to, besides a default route.
OTHER = PUBLIC[1]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    """A node with two uplinks, which drops what it is not told to forward."""
    with world.add_node() as made:
        world.internet.run(["ip", "neigh", "flush", "all"])
        for program in ("iptables-nft", "ip6tables-nft"):
            made.run([program, "-P", "FORWARD", "DROP"])
        wire(world.segment, made, "uplink1", port=f"{made.name}-2")
        commands = f"""
link set uplink1 up
address add {SECOND[0]}/16 dev uplink1
address add {SECOND[1]}/64 dev uplink1 nodad
"""
        made.run(["ip", "-batch", "-"], input=commands)
        yield made


def routed(node: Node, *commands: str) -> None:
    node.run(["ip", "-batch", "-"], input="".join(f"{command}\n" for command in commands))


def seen(node: Node) -> tuple[str, ...]:
    """Whom the internet saw at an address of each family."""
    return tuple(node.call(seen_from, "c1", target) for target in TARGETS)


def test_default_route_of_an_uplink_that_takes_over(node: Node) -> None:
    """Without a run in between."""
    routed(
        node,
        "route add default via 198.18.0.1 dev uplink1 metric 900",
        "route add default via 2001:db8:18::1 dev uplink1 metric 2000",
    )
    node.call(build_at_once, [PODS])
    assert seen(node) == (node.address, node.address6)
    routed(node, "route del default dev uplink0", "route del default via 2001:db8:18::1 dev uplink0")
    assert seen(node) == SECOND


def test_default_route_by_several_uplinks_at_once(node: Node) -> None:
    before = settled(node)
    routed(
        node,
        "route replace default nexthop via 198.18.0.1 dev uplink0 nexthop via 198.18.0.1 dev uplink1",
        "route replace default nexthop via 2001:db8:18::1 dev uplink0 nexthop via 2001:db8:18::1 dev uplink1",
        "link set uplink1 mtu 1400",
    )
    node.call(build_at_once, [PODS])
    for target, addresses in zip(TARGETS, zip((node.address, node.address6), SECOND)):
        # The kernel chooses by a hash of addresses.
        assert node.call(seen_from, "c1", target) in addresses
    for uplink, addresses in (("uplink0", (node.address, node.address6)), ("uplink1", SECOND)):
        routed(
            node,
            f"route replace default via 198.18.0.1 dev {uplink}",
            f"route replace default via 2001:db8:18::1 dev {uplink}",
        )
        assert seen(node) == addresses
    assert "mtu 1400" in node.run(["ip", "link", "show", "br0"]).stdout
    node.call(build_at_once, [PODS], absent=True)
    routed(
        node,
        "link set uplink1 mtu 1500",
        "route replace default via 198.18.0.1 dev uplink0",
        "route replace default via 2001:db8:18::1 dev uplink0",
    )
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("way", [build, build_at_once])
@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_uplinks_by_name(node: Node, firewall: str, way: t.Callable[..., list[str]]) -> None:
    """Only what leaves by one of them is let through and translated."""
    routed(node, f"route add {OTHER} dev uplink1")
    networks: list[Options] = [{**PODS, "firewall": firewall, "uplink": ["uplink0", "uplink1"]}]
    node.call(way, networks)
    assert seen(node) == (node.address, node.address6)
    assert node.call(seen_from, "c1", OTHER) == SECOND[0]
    assert node.call(way, networks) == []
    node.call(way, [{**networks[0], "uplink": "uplink0"}])
    assert seen(node) == (node.address, node.address6)
    assert node.call(seen_from, "c1", OTHER, 0.4).startswith("no answer")
    node.call(way, [{**networks[0], "uplink": ["uplink1"]}])
    assert node.call(seen_from, "c1", OTHER) == SECOND[0]
    assert [node.call(seen_from, "c1", target, 0.4)[:9] for target in TARGETS] == ["no answer"] * 2


LEAVES_BY_THE_SECOND = (
    f"route add default via {GATEWAY} dev uplink1 table 40",
    "route add unreachable default metric 4278198272 table 40",
    "rule add from 10.22.33.0/24 priority 1000 table 40",
    "rule add to 10.22.33.0/24 priority 999 table main",
)
HIDDEN: Options = {**PODS, "subnets": ["10.22.33.0/24"], "uplink": ["uplink1"]}


def told(node: Node, *asked: str) -> t.Any:
    (verdict,) = node.call(lambda: check([HIDDEN], targets.parsed(asked)))
    return verdict


def test_uplink_that_the_hosts_own_packets_do_not_use(node: Node) -> None:
    """As of a VPN."""
    routed(node, *LEAVES_BY_THE_SECOND)
    node.call(build_at_once, [HIDDEN])
    assert node.call(seen_from, "c1", TARGETS[0]) == SECOND[0]
    assert (told(node, TARGETS[0])["status"], told(node, TARGETS[0])["findings"]) == ("ok", [])
    # The gateway of another uplink says nothing about it.
    assert (told(node)["status"], told(node)["findings"], told(node)["targets"]) == ("unknown", [], [])
    node.run(["ip", "link", "del", "uplink1"])
    for verdict in (told(node), told(node, TARGETS[0])):
        assert [one["code"] for one in verdict["findings"]] == ["UPLINK_DOWN"], verdict
        assert verdict["evidence"][0] == "pods is to leave by uplink1, and there is no such link"
        assert verdict["fix"] == "bring uplink1 back, or name another uplink"
