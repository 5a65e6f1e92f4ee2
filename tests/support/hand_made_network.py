"""A network as a person makes it with `ip`, and its description."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.description.description import description

from tests.lab.node import Node


def looked(node: Node) -> dict[str, t.Any]:
    return node.call(description)


BRIDGE = """
ip link add br0 type bridge
ip address add 10.22.33.1/24 dev br0
ip address add fd00:22:33::1/64 dev br0 nodad
ip link set br0 up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
"""
SIX = "ip6tables -t nat -A POSTROUTING -s fd00:22:33::/64 -o uplink0 -j MASQUERADE"


def member(name: str, number: int, interface: str = "eth0", mtu: int = 1500) -> str:
    """What makes a namespace behind the bridge."""
    return f"""
ip netns add {name}
ip -n {name} link set lo up
ip link add veth-{name} mtu {mtu} type veth peer name {interface} mtu {mtu} netns {name}
ip link set veth-{name} master br0 up
ip -n {name} address add 10.22.33.{number}/24 dev {interface}
ip -n {name} address add fd00:22:33::{number}/64 dev {interface} nodad
ip -n {name} link set {interface} up
ip -n {name} route add default via 10.22.33.1
ip -n {name} route add default via fd00:22:33::1
"""
