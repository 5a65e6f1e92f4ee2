"""Namespaces that nobody described: made by hand, as containers and pods have them, or without a bridge."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError

from tests.lab import privilege
from tests.lab.world import Node, World
from tests.support.container_paths import ON_A_BRIDGE
from tests.support.diagnosing import checked_undescribed

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# As Calico has it: no bridge, a route to each address, and a gateway that nobody has.
ROUTED = """
sysctl -qw net.ipv4.ip_forward=1
ip netns add pod; ip link add cali1 type veth peer name eth0 netns pod
ip link set cali1 up; sysctl -qw net.ipv4.conf.cali1.proxy_arp=1; ip route add 10.99.0.2 dev cali1
ip -n pod link set lo up; ip -n pod link set eth0 up; ip -n pod addr add 10.99.0.2/32 dev eth0
ip -n pod route add 169.254.1.1 dev eth0; ip -n pod route add default via 169.254.1.1 dev eth0
iptables-nft -t nat -A POSTROUTING -s 10.99.0.0/16 -o uplink0 -j MASQUERADE
sysctl -qw net.ipv4.neigh.cali1.proxy_delay=0
"""
# Two pairs with the same subnet on their ends.
UNBRIDGED = """
sysctl -qw net.ipv4.ip_forward=1
for i in 2 3; do
  ip netns add pod$i; ip link add v$i type veth peer name eth0 netns pod$i; ip addr add 10.77.0.1/24 dev v$i
  ip link set v$i up; ip -n pod$i link set eth0 up; ip -n pod$i addr add 10.77.0.$i/24 dev eth0
  ip -n pod$i route add default via 10.77.0.1
done
iptables-nft -t nat -A POSTROUTING -s 10.77.0.0/24 -o uplink0 -j MASQUERADE
"""
# (how it is made, what breaks it, the code, the hop)
BROKEN = {
    "not on the bridge": (ON_A_BRIDGE, "ip link set veth1 nomaster", "PORT_NOT_ON_BRIDGE", "bridge_port"),
    "no default route": (ON_A_BRIDGE, "ip -n pod route del default", "NO_DEFAULT_ROUTE", "route"),
    "no address": (ON_A_BRIDGE, "ip -n pod addr flush dev eth0", "NO_ADDRESS", "address"),
    "end down": (ON_A_BRIDGE, "ip link set veth1 down", "HOST_LINK_DOWN", "bridge_port"),
    "bridge without an address": (ON_A_BRIDGE, "ip addr flush dev cni0", "BRIDGE_NO_GATEWAY", "bridge"),
    "no translation": (ON_A_BRIDGE, "iptables-nft -t nat -F", "NAT_MISSING", "nat"),
    "forwarding off": (ON_A_BRIDGE, "sysctl -qw net.ipv4.ip_forward=0", "FORWARDING_OFF", "host_forwarding"),
    "forward drops": (ON_A_BRIDGE, "iptables-nft -P FORWARD DROP", "FORWARD_DROPPED", "forward_policy"),
    "routed, no route back": (ROUTED, "ip route del 10.99.0.2 dev cali1", "POLICY_ROUTE_CONFLICT", "return_path"),
    "routed, forwarding off": (
        ROUTED,
        "sysctl -qw net.ipv4.conf.cali1.forwarding=0",
        "FORWARDING_OFF",
        "host_forwarding",
    ),
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.mark.parametrize("made", [ON_A_BRIDGE, ROUTED], ids=["bridge", "routed"])
def test_healthy(node: Node, made: str) -> None:
    node.run(["sh", "-ec", made])
    found = node.call(checked_undescribed, ["pod"])
    assert [(one["namespace"], one["family"], one["status"], one["findings"]) for one in found] == [
        ("pod", "ipv4", "ok", [])
    ]


@pytest.mark.parametrize("title", BROKEN)
def test_broken(node: Node, title: str) -> None:
    made, inject, code, hop = BROKEN[title]
    node.run(["sh", "-ec", made])
    node.run(["sh", "-ec", inject])
    (found,) = node.call(checked_undescribed, ["pod"])
    assert (found["status"], found["code"], found["hop"]) == ("broken", code, hop), found
    assert found["evidence"]


def test_same_subnet_on_two_ends(node: Node) -> None:
    node.run(["sh", "-ec", UNBRIDGED])
    found = {one["namespace"]: one for one in node.call(checked_undescribed, ["pod2", "pod3"])}
    assert {one["code"] for one in found.values()} == {"DUPLICATE_SUBNET_ROUTE"}, found
    assert sorted(one["status"] for one in found.values()) == ["broken", "degraded"], found


def test_namespace_without_a_link(node: Node) -> None:
    node.run(["ip", "netns", "add", "empty"])
    (found,) = node.call(checked_undescribed, ["empty"])
    assert (found["status"], found["code"]) == ("broken", "LINK_MISSING"), found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"names": ["a/b"]}, "netns[0]"),
        ({"names": [""]}, "netns[0]"),
        ({"pids": [0]}, "pid[0]"),
        ({"pids": ["x"]}, "pid[0]"),
        ({"pids": [2**31]}, "pid[0]"),
    ],
)
def test_bad_input(node: Node, arguments: dict[str, t.Any], words: str) -> None:
    def refused() -> str:
        try:
            check([], [], **arguments)
        except EgressError as error:
            return str(error)
        return ""

    assert words in node.call(refused)


def test_name_that_is_not_there(node: Node) -> None:
    (found,) = node.call(checked_undescribed, ["nobody"])
    assert (found["status"], found["code"]) == ("broken", "NAMESPACE_MISSING"), found
