"""The catalogue of failures: each one is injected on a built path, recognised with its hop, put right, and healthy."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check

from tests.kernel.building import build_at_once, unreachable_from
from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.world import World
from tests.unit.asking import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}
TARGETS = list(probe.TARGETS.values())
BOTH = ("ipv4", "ipv6")


@dataclass(frozen=True)
class Fault:
    """A script that breaks c1's path, what is said about it, and the script that puts it right, "" for the next run.

    families: in which it shows. status: of the verdict. others: more codes that are true as well.
    """

    inject: str
    code: str
    fix: str = ""
    families: t.Sequence[str] = BOTH
    status: str = "broken"
    network: t.Mapping[str, t.Any] = field(default_factory=dict)
    hop: str = ""


FAULTS = {
    "no default route": Fault("ip -n c1 route del default", "NO_DEFAULT_ROUTE", families=["ipv4"]),
    "no IPv6 default route": Fault(
        "ip -n c1 -6 route del default", "V6_ADDRESS_UNUSABLE", families=["ipv6"], hop="route"
    ),
    "namespace end down": Fault("ip -n c1 link set eth0 down", "LINK_DOWN"),
    "loopback down": Fault("ip -n c1 link set lo down", "LOOPBACK_DOWN", status="degraded"),
    "no address": Fault("ip -n c1 -4 addr flush dev eth0", "NO_ADDRESS", families=["ipv4"]),
    "namespace is not there": Fault("ip netns del c1", "NAMESPACE_MISSING"),
    "host end down": Fault("ip link set np-c1 down", "HOST_LINK_DOWN"),
    "port on no bridge": Fault("ip link set np-c1 nomaster", "PORT_NOT_ON_BRIDGE"),
    "port on another bridge": Fault(
        "ip link add br9 type bridge; ip link set br9 up; ip link set np-c1 master br9", "PORT_ON_WRONG_BRIDGE"
    ),
    "bridge down": Fault("ip link set br0 down", "BRIDGE_DOWN"),
    "bridge without the gateway": Fault("ip addr del 10.22.33.1/24 dev br0", "BRIDGE_NO_GATEWAY", families=["ipv4"]),
    "forwarding off": Fault("sysctl -qw net.ipv4.ip_forward=0", "FORWARDING_OFF", families=["ipv4"]),
    "IPv6 forwarding off": Fault("sysctl -qw net.ipv6.conf.all.forwarding=0", "V6_FORWARDING_OFF", families=["ipv6"]),
    "no rule translates": Fault("nft delete table inet netpath_egress", "NAT_MISSING"),
    "forward drops": Fault(
        "nft 'add table inet eg; add chain inet eg forward { type filter hook forward priority 0; policy drop; }'",
        "FORWARD_DROPPED",
        "nft delete table inet eg",
    ),
    "address of another subnet": Fault(
        "ip -n c1 -4 addr flush dev eth0; ip -n c1 addr add 10.22.34.2/24 dev eth0;"
        "ip -n c1 route add default via 10.22.34.1",
        "WRONG_SUBNET",
        families=["ipv4"],
    ),
    "interface under another name": Fault(
        "ip -n c1 link set eth0 down; ip -n c1 link set eth0 name x0; ip -n c1 link set x0 up", "WRONG_INTERFACE_NAME"
    ),
    "policy rule": Fault(
        "ip rule add from 10.22.33.0/24 table 77; ip route add blackhole default table 77",
        "POLICY_ROUTE_CONFLICT",
        "ip rule del from 10.22.33.0/24 table 77; ip route flush table 77",
        families=["ipv4"],
    ),
    "ARP filtered": Fault(
        "nft 'add table bridge eg; add chain bridge eg in { type filter hook input priority 0; };"
        " add rule bridge eg in ether type arp counter drop'; ip -n c1 neigh flush all; ip neigh flush all",
        "NEIGHBOUR_FILTERED",
        "nft delete table bridge eg",
        families=["ipv4"],
    ),
    "neighbour discovery filtered": Fault(
        "nft 'add table bridge eg; add chain bridge eg in { type filter hook input priority 0; };"
        " add rule bridge eg in icmpv6 type nd-neighbor-solicit counter drop'; ip -n c1 -6 neigh flush all",
        "NEIGHBOUR_FILTERED",
        "nft delete table bridge eg",
        families=["ipv6"],
    ),
    "link back on the host": Fault("ip -n c1 link set eth0 netns $$ name vp", "LINK_NOT_MOVED"),
    "handle that is no namespace": Fault("ip netns del c1; touch /run/netns/c1", "STALE_HANDLE", "rm /run/netns/c1"),
    "translation in the namespace alone": Fault(
        "nft delete table inet netpath_egress; ip netns exec c1 nft 'add table inet eg;"
        " add chain inet eg post { type nat hook postrouting priority 100; }; add rule inet eg post masquerade'",
        "NAT_WRONG_NAMESPACE",
        "ip netns exec c1 nft delete table inet eg",
    ),
    "gateway on a port": Fault(
        "ip addr del 10.22.33.1/24 dev br0; ip addr add 10.22.33.1/24 dev np-c1",
        "GATEWAY_ON_PORT",
        "ip addr del 10.22.33.1/24 dev np-c1",
        families=["ipv4"],
    ),
    "subnet on another link": Fault(
        "ip link add d0 type bridge; ip link set d0 up; ip addr add 10.22.33.250/24 dev d0",
        "DUPLICATE_SUBNET_ROUTE",
        "ip link del d0",
        families=["ipv4"],
        status="degraded",
    ),
    "port that listens": Fault(
        "ip link set br0 type bridge stp_state 1 forward_delay 3000; ip link set np-c1 nomaster;"
        " ip link set np-c1 master br0",
        "PORT_NOT_FORWARDING",
        "ip link set br0 type bridge stp_state 0 forward_delay 200;"
        " ip link set np-c1 nomaster; ip link set np-c1 master br0",
    ),
    "MTU of the uplink": Fault(
        "ip link set uplink0 mtu 1400", "MTU_MISMATCH", "ip link set uplink0 mtu 1500", status="degraded"
    ),
    "host without a route": Fault(
        "ip route del default", "NO_HOST_ROUTE", "ip route add default via 198.18.0.1", families=["ipv4"]
    ),
    "host without an IPv6 route": Fault(
        "ip -6 route del default", "NO_HOST_ROUTE", "ip -6 route add default via 2001:db8:18::1", families=["ipv6"]
    ),
    "rule for other sources": Fault(
        "nft flush set inet netpath_egress src4_pods; nft add element inet netpath_egress src4_pods { 10.99.0.0/24 }",
        "NAT_WRONG_SOURCE",
        families=["ipv4"],
    ),
    "rules emptied": Fault("nft flush chain inet netpath_egress nat_pods", "NAT_MISSING"),
    "IPv6 off in the namespace": Fault(
        "ip netns exec c1 sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
        "V6_ADDRESS_UNUSABLE",
        "ip netns exec c1 sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0",
        families=["ipv6"],
    ),
    "forwarding off on the bridge alone": Fault(
        "sysctl -qw net.ipv4.conf.br0.forwarding=0", "FORWARDING_OFF", families=["ipv4"]
    ),
    "rule that drops ahead of ours": Fault(
        "iptables-nft -I FORWARD -i br0 -j DROP", "FORWARD_DROPPED", "iptables-nft -D FORWARD -i br0 -j DROP", ["ipv4"]
    ),
    "answers dropped": Fault(
        "iptables-nft -I FORWARD -o br0 -j DROP", "FORWARD_DROPPED", "iptables-nft -D FORWARD -o br0 -j DROP", ["ipv4"]
    ),
    "port by which answers do not reach the namespace": Fault(
        "nft 'add table bridge eg; add chain bridge eg out { type filter hook output priority 0; };"
        " add rule bridge eg out ip saddr 198.51.100.80 drop'",
        "UNEXPLAINED_DROP",
        "nft delete table bridge eg",
        families=["ipv4"],
        hop="bridge",
    ),
    "nobody answers upstream": Fault(
        "nft 'add table inet eg; add chain inet eg in { type filter hook prerouting priority -300; };"
        " add rule inet eg in iifname uplink0 ip saddr 198.51.100.80 drop'",
        "FORWARD_DROPPED",
        "nft delete table inet eg",
        families=["ipv4"],
    ),
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture(scope="module")
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def checked(networks: list[Options], probe: bool = True, asked: t.Sequence[str] = TARGETS) -> list[t.Any]:
    return check(networks, targets.parsed(asked), probe)


def told(node: Node, namespace: str, networks: list[Options], probe: bool = True) -> dict[str, t.Any]:
    return {one["family"]: one for one in node.call(checked, networks, probe) if one["namespace"] == namespace}


@pytest.mark.parametrize("title", FAULTS)
def test_fault_is_named(node: Node, title: str) -> None:
    fault = FAULTS[title]
    networks = [{**PODS, **fault.network}]
    node.call(build_at_once, networks)
    assert unreachable_from(node, "c1", "c2") == []
    healthy = node.call(checked, networks)
    assert [(one["status"], one["findings"]) for one in healthy] == [("ok", [])] * 4, healthy
    node.run(["sh", "-ec", fault.inject])
    try:
        found = told(node, "c1", networks)
    finally:
        node.run(["sh", "-ec", fault.fix or "true"])
        node.call(build_at_once, networks)
    assert unreachable_from(node, "c1", "c2") == []
    for family in BOTH:
        verdict = found[family]
        if family in fault.families:
            assert (verdict["code"], verdict["status"]) == (fault.code, fault.status), verdict
            assert verdict["hop"] == (fault.hop or CODES[fault.code].hop)
            assert verdict["evidence"]
        else:
            assert (verdict["status"], verdict["findings"]) == ("ok", []), verdict
    healed = told(node, "c1", networks)
    assert {family: one["status"] for family, one in healed.items()} == dict.fromkeys(BOTH, "ok"), healed


def test_routed_network_that_the_world_does_not_know(node: Node) -> None:
    networks = [{**PODS, "nat": "none"}]
    node.call(build_at_once, networks)
    found = told(node, "c1", networks)
    assert {(one["code"], one["status"]) for one in found.values()} == {("NO_RETURN_ROUTE", "broken")}, found


def test_nobody_upstream(node: Node) -> None:
    node.call(build_at_once, [PODS])
    found = node.call(checked, [PODS], True, ["198.51.100.99", "tcp://[2001:db8:51::99]:80"])
    assert {(one["code"], one["hop"]) for one in found} == {("UPSTREAM_UNREACHABLE", "upstream")}, found


@pytest.mark.parametrize("port", [7070, 9])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_protocols(node: Node, protocol: str, port: int) -> None:
    """A refusal is an answer as well: the packet was there and back."""
    node.call(build_at_once, [PODS])
    asked = [f"{protocol}://{TARGETS[0]}:{port}", f"{protocol}://[{TARGETS[1]}]:{port}"]
    found = node.call(checked, [PODS], True, asked)
    assert {one["status"] for one in found} == {"ok"}, found


def test_without_a_target_it_is_the_gateway_of_the_uplink(node: Node) -> None:
    node.call(build_at_once, [PODS])
    found = node.call(checked, [PODS], True, [])
    assert {one["status"] for one in found} == {"ok"}, found


def test_nothing_is_sent_unless_asked(world: World, node: Node) -> None:
    node.call(build_at_once, [PODS])
    before = world.internet.seen()
    found = node.call(checked, [PODS], False)
    assert {(one["status"], one["code"]) for one in found} == {("unknown", None)}, found
    assert world.internet.seen() == before


def test_many_at_once_that_get_no_answer(node: Node) -> None:
    networks = [{"name": "many", "subnets": ["10.44.0.0/24"], "prefix": "n", "count": 12}]
    node.call(build_at_once, networks)
    found = node.call(checked, networks, True, ["198.51.100.99", f"udp://{TARGETS[0]}:53"])
    assert {one["code"] for one in found} == {"UPSTREAM_UNREACHABLE"}, found
    node.call(build_at_once, networks, absent=True)
