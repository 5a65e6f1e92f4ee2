"""The fix of a namespace that no network describes is a command, and pasted it repairs the path."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check

from tests.lab import privilege, probe
from tests.lab.world import Node, World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# As the CNI plugin bridge leaves it: a bridge with the gateway, a pair, and rules for each address.
MADE = """
sysctl -qw net.ipv4.ip_forward=1
ip link add cni0 type bridge; ip addr add 10.88.0.1/16 dev cni0; ip link set cni0 up
ip netns add pod; ip link add veth1 type veth peer name eth0 netns pod
ip link set veth1 master cni0 up; ip -n pod link set lo up; ip -n pod link set eth0 up
ip -n pod addr add 10.88.0.2/16 dev eth0; ip -n pod route add default via 10.88.0.1
iptables-nft -t nat -A POSTROUTING -s 10.88.0.2 ! -d 224.0.0.0/4 -j MASQUERADE
"""
# (what breaks it, the code)
BROKEN = {
    "loopback": ("ip -n pod link set lo down", "LOOPBACK_DOWN"),
    "link": ("ip -n pod link set eth0 down", "LINK_DOWN"),
    "route": ("ip -n pod route del default", "NO_DEFAULT_ROUTE"),
    "end": ("ip link set veth1 down", "HOST_LINK_DOWN"),
    "bridge": ("ip link set cni0 down", "BRIDGE_DOWN"),
    "gateway": ("ip addr flush dev cni0", "BRIDGE_NO_GATEWAY"),
    "gateway on the port": ("ip addr del 10.88.0.1/16 dev cni0; ip addr add 10.88.0.1/16 dev veth1", "GATEWAY_ON_PORT"),
    "translation": ("iptables-nft -t nat -F", "NAT_MISSING"),
    "forwarding": ("sysctl -qw net.ipv4.ip_forward=0", "FORWARDING_OFF"),
    "forwarding of the bridge": ("sysctl -qw net.ipv4.conf.cni0.forwarding=0", "FORWARDING_OFF"),
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.run(["sh", "-ec", MADE])
        yield made


def named() -> list[t.Any]:
    return check([], targets.parsed([probe.TARGETS[4]]), names=["pod"])


def of_process(pid: int) -> list[t.Any]:
    return check([], targets.parsed([probe.TARGETS[4]]), pids=[pid])


def test_healthy_before(node: Node) -> None:
    (found,) = node.call(named)
    assert (found["status"], found["findings"]) == ("ok", [])


@pytest.mark.parametrize("title", BROKEN)
def test_pasted_by_name(node: Node, title: str) -> None:
    repaired_by_its_fix(node, title, named)


@pytest.mark.parametrize("title", ["loopback", "link", "route", "translation"])
def test_pasted_for_a_process(node: Node, title: str) -> None:
    """Of a namespace without a name, as one of a container."""
    with node.popen(["ip", "netns", "exec", "pod", "sleep", "600"]) as process:
        # The kernel has moved the process once it runs another program.
        node.run(["sh", "-ec", f"until [ $(cat /proc/{process.pid}/comm) = sleep ]; do :; done"])
        break_it, _code = BROKEN[title]
        node.run(["sh", "-ec", f"{break_it}; umount /run/netns/pod; rm /run/netns/pod"])
        repaired_by_its_fix(node, title, of_process, process.pid, broken=True)
        process.kill()


def repaired_by_its_fix(
    node: Node, title: str, look: t.Callable[..., list[t.Any]], *arguments: int, broken: bool = False
) -> None:
    script, code = BROKEN[title]
    if not broken:
        node.run(["sh", "-ec", script])
    (found,) = node.call(look, *arguments)
    assert found["code"] == code, found
    assert {one["tier"] for one in (found, *found["findings"])} == {"advise"}
    node.run(["sh", "-ec", found["fix"]])
    (after,) = node.call(look, *arguments)
    assert (after["status"], after["findings"]) == ("ok", []), (found["fix"], after)
