"""Uplinks of kinds that the kernel of a test machine often lacks: packets leave by them, and come back."""

from __future__ import annotations

import json

from tests.lab.node import Node
from tests.lab.world import World, wire
from tests.support.building import ask, build_at_once, refusal
from tests.support.stock_path import PODS, built_and_removed, checked, seen

INTERNET_SIDE = "198.18.200.1/24", "2001:db8:18:200::1/64"
NODE_SIDE = "198.18.200.2/24", "2001:db8:18:200::2/64"
HERE = ["198.18.200.2", "2001:db8:18:200::2"]


def batch(node: Node, commands: str) -> None:
    node.run(["ip", "-batch", "-"], input=commands)


def routed(node: Node, link: str) -> None:
    """Have both default routes lead to the other side of a link."""
    batch(
        node,
        f"addr add {NODE_SIDE[0]} dev {link}\naddr add {NODE_SIDE[1]} dev {link} nodad\n"
        f"route replace default via 198.18.200.1 dev {link}\nroute replace default via 2001:db8:18:200::1 dev {link}\n",
    )


def aggregated(world: World, node: Node, create: str) -> None:
    """Make a link of two, which takes over the addresses and routes of the uplink."""
    wire(world.segment, node, "uplink1", port=f"{node.name}-2")
    batch(node, "link set uplink0 down\naddr flush dev uplink0\n")
    node.run(["sh", "-ec", create])
    batch(
        node,
        f"link set dev both0 up\naddr add {node.address}/16 dev both0\naddr add {node.address6}/64 dev both0 nodad\n"
        "route add default via 198.18.0.1\nroute add default via 2001:db8:18::1\n",
    )


BOND = """
ip link add both0 type bond mode active-backup miimon 50
ip link set uplink0 master both0; ip link set uplink1 master both0
"""

TEAM = """
teamd -d -t both0 -c '{"runner": {"name": "activebackup"}, "link_watch": {"name": "ethtool"}}'
# It would come when the daemon has chosen a port.
ip link set both0 addrgenmode none
ip link set uplink1 down
ip link set uplink0 master both0; ip link set uplink1 master both0
"""


def test_vlan(world: World, node: Node) -> None:
    made = "link add link uplink0 name up.5 type vlan id 5\nlink set up.5 up\n"
    batch(world.internet, made)
    batch(world.internet, f"addr add {INTERNET_SIDE[0]} dev up.5\naddr add {INTERNET_SIDE[1]} dev up.5 nodad\n")
    try:
        batch(node, made)
        routed(node, "up.5")
        built_and_removed(node, PODS, HERE)
    finally:
        batch(world.internet, "link del up.5\n")


def test_bond(world: World, node: Node) -> None:
    aggregated(world, node, BOND)
    built_and_removed(node, PODS, [node.address, node.address6])
    node.call(build_at_once, [PODS])
    node.run(["ip", "link", "set", "uplink0", "down"])
    assert seen(node) == [node.address, node.address6]


def test_team(world: World, node: Node) -> None:
    """Its driver leaves to a daemon which port is in use."""
    aggregated(world, node, TEAM)
    try:
        built_and_removed(node, PODS, [node.address, node.address6])
        told = refusal(node, ask, "linux_bridge", {"name": "br9", "ports": ["uplink0"]})
        assert "both0" in told.found
    finally:
        node.run(["teamd", "-k", "-t", "both0"])


def test_wireguard(world: World, node: Node) -> None:
    """All of the network leaves by the tunnel, whose MTU the path has."""
    script = """
    umask 077; ip link add wg0 type wireguard; wg genkey >/run/key
    wg set wg0 listen-port 51820 private-key /run/key; ip link set wg0 up; wg show wg0 public-key
    """
    near, far = (one.run(["sh", "-ec", script]).stdout.strip() for one in (node, world.internet))
    try:
        world.internet.run(["wg", "set", "wg0", "peer", near, "allowed-ips", ",".join(HERE)])
        batch(world.internet, f"addr add {INTERNET_SIDE[0]} dev wg0\naddr add {INTERNET_SIDE[1]} dev wg0 nodad\n")
        node.run(["wg", "set", "wg0", "peer", far, "endpoint", "198.18.0.1:51820", "allowed-ips", "0.0.0.0/0,::/0"])
        routed(node, "wg0")
        network = {**PODS, "uplink": ["wg0"]}
        built_and_removed(node, network, HERE)
        node.call(build_at_once, [network])
        assert "mtu 1420" in node.run(["ip", "link", "show", "br0"]).stdout
    finally:
        batch(world.internet, "link del wg0\n")


def test_uplink_beside_a_vrf(world: World, node: Node) -> None:
    """As of management: its routes and rule are not those of the path."""
    wire(world.segment, node, "mgmt0", port=f"{node.name}-2")
    batch(
        node,
        "link add mgmt type vrf table 77\nlink set mgmt up\nlink set mgmt0 master mgmt\nlink set mgmt0 up\n"
        "addr add 198.18.200.2/24 dev mgmt0\nroute add default via 198.18.200.1 table 77\n",
    )
    built_and_removed(node, PODS, [node.address, node.address6])


def test_dummy(node: Node) -> None:
    """It answers nobody, which is said of the world behind it and not of the path."""
    batch(node, "link add silent0 type dummy\nlink set silent0 up\n")
    routed(node, "silent0")
    node.call(build_at_once, [PODS])
    found = [one for one in checked(node, [PODS]) if one["namespace"] == "c1"]
    assert {one["code"] for one in found} == {"UPSTREAM_UNREACHABLE"}, found
    assert {one["hop"] for one in found} == {"upstream"}, found


def test_port_of_the_uplink_is_refused_to_a_bridge(world: World, node: Node) -> None:
    aggregated(world, node, BOND)
    node.run(["ip", "link", "set", "uplink1", "nomaster"])
    told = refusal(node, ask, "linux_bridge", {"name": "br9", "ports": ["uplink0"]})
    assert "both0" in told.found
    (link,) = json.loads(node.run(["ip", "-j", "link", "show", "uplink0"]).stdout)
    assert link["master"] == "both0"
    assert node.run(["ping", "-c1", "-W2", "198.18.0.1"], check=False).returncode == 0
