"""Namespaces as container runtimes make them, which no network describes."""

from __future__ import annotations

# As the CNI plugin bridge leaves it: a bridge with the gateway, a pair, and rules for each address.
ON_A_BRIDGE = """
sysctl -qw net.ipv4.ip_forward=1
ip link add cni0 type bridge; ip addr add 10.88.0.1/16 dev cni0; ip link set cni0 up
ip netns add pod; ip link add veth1 type veth peer name eth0 netns pod
ip link set veth1 master cni0 up; ip -n pod link set lo up; ip -n pod link set eth0 up
ip -n pod addr add 10.88.0.2/16 dev eth0; ip -n pod route add default via 10.88.0.1
iptables-nft -t nat -A POSTROUTING -s 10.88.0.2 ! -d 224.0.0.0/4 -j MASQUERADE
"""
