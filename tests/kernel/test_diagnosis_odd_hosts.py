"""Hosts that are set up in an unusual way and are healthy, and what is said where an answer is nobody's duty."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.world import Node, World, wire
from tests.support.building import build_at_once
from tests.support.container_paths import ON_A_BRIDGE
from tests.support.diagnosing import PODS, TARGETS, checked, checked_undescribed, told

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

_NOBODY = "198.51.100.99"
SECOND_NETWORK = """
ip link add cni1 type bridge; ip addr add 10.89.0.1/16 dev cni1; ip link set cni1 up
ip link add veth2 type veth peer name eth1 netns pod; ip link set veth2 master cni1 up
ip -n pod link set eth1 up; ip -n pod addr add 10.89.0.2/16 dev eth1
ip -n pod route replace default via 10.89.0.1
iptables-nft -t nat -A POSTROUTING -s 10.89.0.2 ! -d 224.0.0.0/4 -j MASQUERADE
"""
# A filter of somebody else's that drops what none of its rules accepts; RULE is what it has for the network. It does
# not see bridged packets.
_DROPPING = """sysctl -eqw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0
nft 'add table inet eg; add chain inet eg fw { type filter hook forward priority 0; policy drop; };
add rule inet eg fw ct state established,related accept; add set inet eg lan { type ifname; elements = { br0 }; };
add chain inet eg pre { type filter hook prerouting priority mangle; }; add rule inet eg fw RULE'"""
# Rules that let the network through and do not name its bridge.
_ACCEPTS = {
    "wildcard": 'iifname "br*" accept',
    "sources": "ip saddr 10.0.0.0/8 accept; add rule inet eg fw ip6 saddr fd00::/8 accept",
    "set": "iifname @lan accept",
    "all but the uplink": 'iifname != "uplink0" accept',
    "the uplink": 'oifname "uplink0" accept',
    "mark": "meta mark 7 accept; add rule inet eg pre iifname br0 meta mark set 7",
}
# (what the host is like, after the network is built) and nothing is wrong with it.
HEALTHY = {
    **{f"filter that accepts by {words}": _DROPPING.replace("RULE", rule) for words, rule in _ACCEPTS.items()},
    "filter that accepts by group": f"ip link set br0 group 7; {_DROPPING.replace('RULE', 'iifgroup 7 accept')}",
    "forwarding of links alone": "sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.br0.forwarding=1"
    " net.ipv4.conf.uplink0.forwarding=1",
    "IPv6 forwarding off on the bridge": "sysctl -qw net.ipv6.conf.br0.forwarding=0",
    "wider subnet on the uplink": "ip addr add 10.0.0.5/8 dev uplink0",
    "subnet on a link that is down": "ip link add d0 type bridge; ip addr add 10.22.33.250/24 dev d0",
    "strict reverse path filter": "sysctl -qw net.ipv4.conf.all.rp_filter=1",
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [PODS])
        yield made


def test_larger_mtu_asked_for_than_the_uplink_takes(node: Node) -> None:
    """To run the role again would change nothing."""
    networks = [{**PODS, "mtu": 9000}]
    node.call(build_at_once, networks)
    for one in node.call(checked, networks):
        assert (one["code"], one["status"], one["tier"], one["fix"]) == (
            *("MTU_MISMATCH", "degraded", "advise"),
            "ask for mtu 1500, or auto",
        )
        assert one["evidence"] == ["eth0 takes 9000 bytes, and uplink0 1500", "the network asks for 9000"]


@pytest.mark.parametrize("title", HEALTHY)
def test_nothing_is_wrong(node: Node, title: str) -> None:
    node.run(["sh", "-ec", HEALTHY[title]])
    found = node.call(checked, [PODS])
    assert [(one["status"], one["findings"]) for one in found] == [("ok", [])] * 4, found


def test_gateway_that_is_link_local(world: World) -> None:
    asked = {"name": "six", "bridge": "br6", "subnets": ["fd00:66::/64"], "gateway": "fe80::1", "namespaces": ["s1"]}
    with world.add_node() as node:
        node.call(build_at_once, [asked])
        found = node.call(checked, [asked])
        assert [(one["status"], one["findings"]) for one in found] == [("ok", [])], found


def test_way_by_a_rule_to_the_uplink_that_is_named(world: World) -> None:
    asked = {"name": "other", "subnets": ["10.22.66.0/24"], "uplink": "uplink1", "namespaces": ["o1"]}
    with world.add_node() as node:
        wire(world.segment, node, "uplink1", port=f"{node.name}-2")
        by_rule = (
            "ip address add 198.18.66.1/16 dev uplink1; ip link set uplink1 up;"
            " ip route add default via 198.18.0.1 dev uplink1 table 66;"
            " ip rule add from 10.22.66.0/24 priority 66 table 66; ip rule add to 10.22.66.0/24 priority 65 table main"
        )
        node.run(["sh", "-ec", by_rule])
        node.call(build_at_once, [asked])
        found = node.call(checked, [asked])
        assert [(one["status"], one["findings"]) for one in found] == [("ok", [])], found


def test_accept_of_somebody_else(node: Node) -> None:
    """It is drift, as the network's own accept is not there, and packets pass."""
    accepts = "iptables-nft -P FORWARD DROP; for way in -i -o; do iptables-nft -A FORWARD $way br0 -j ACCEPT; done"
    node.run(["sh", "-ec", accepts])
    found = told(node, "c1", [PODS])["ipv4"]
    assert (found["status"], found["code"]) == ("degraded", "FORWARD_DROPPED"), found
    assert "does not know the network" in found["summary"]


def test_filter_that_may_drop(node: Node) -> None:
    """What its rules accept a packet shows; without one nobody can tell."""
    node.run(["sh", "-ec", _DROPPING.replace("RULE", _ACCEPTS["wildcard"])])
    found = node.call(checked, [PODS], False)
    assert {(one["status"], one["code"], one["tier"]) for one in found} == {("degraded", "FORWARD_DROPPED", "advise")}
    assert all("may drop" in one["summary"] for one in found), found
    found = node.call(checked, [PODS], True, [_NOBODY])
    assert {one["code"] for one in found if one["family"] == "ipv4"} == {"UPSTREAM_UNREACHABLE"}, found


def test_filter_that_lets_some_packets_through(node: Node) -> None:
    """What was asked for decides."""
    node.run(["sh", "-ec", _DROPPING.replace("RULE", "meta l4proto { icmp, icmpv6 } accept")])
    assert {one["status"] for one in node.call(checked, [PODS])} == {"ok"}
    found = told(node, "c1", [PODS], asked=[f"tcp://{TARGETS[0]}:7070"])["ipv4"]
    assert (found["status"], found["code"], found["tier"]) == ("broken", "FORWARD_DROPPED", "advise"), found
    assert "may" not in found["summary"]


_BY_PROTOCOL = "nft 'table ip one { chain a { type filter hook forward priority 1; ip protocol icmp drop; }; }'"
_BY_PORT = "nft 'table ip two { chain b { type filter hook forward priority 1; tcp dport 7070 drop; }; }'"
_ICMP, _TCP = TARGETS[0], f"tcp://{TARGETS[0]}:7070"
# (what others do, targets, codes of c1's findings, what their evidence has, what it must not have)
_SEVERAL: dict[str, tuple[str, list[str], list[str], list[str], list[str]]] = {
    "nobody there, and a filter": (
        _BY_PORT,
        ["198.18.0.77", _TCP],
        ["FORWARD_DROPPED", "UPSTREAM_UNREACHABLE"],
        ["chain ip two b drops it: tcp dport 7070", "198.18.0.77 is"],
        [],
    ),
    "nobody there upstream, and a filter": (
        _BY_PORT,
        [_NOBODY, _TCP],
        ["FORWARD_DROPPED", "UPSTREAM_UNREACHABLE"],
        ["chain ip two b drops it"],
        ["no chain drops it"],
    ),
    "two filters": (f"{_BY_PROTOCOL}; {_BY_PORT}", [_ICMP, _TCP], ["FORWARD_DROPPED"], ["ip one a", "ip two b"], []),
    "filter that may drop, and one that goes nowhere": (
        _DROPPING.replace("RULE", "tcp dport 99 accept") + "; ip route add blackhole 203.0.113.7",
        ["203.0.113.7", _ICMP],
        ["FORWARD_DROPPED", "NO_HOST_ROUTE"],
        ["inet eg fw"],
        [],
    ),
    "filter that let one through, and one that goes nowhere": (
        _DROPPING.replace("RULE", _ACCEPTS["sources"]) + "; ip route add blackhole 203.0.113.7",
        ["203.0.113.7", _ICMP],
        ["NO_HOST_ROUTE"],
        [],
        ["inet eg fw"],
    ),
}


@pytest.mark.parametrize("title", _SEVERAL)
def test_several_targets(node: Node, title: str) -> None:
    script, asked, codes, has, has_not = _SEVERAL[title]
    node.run(["sh", "-ec", script])
    for targets in (asked, asked[::-1]):
        found = told(node, "c1", [PODS], asked=targets)["ipv4"]["findings"]
        evidence = "; ".join(said for one in found for said in one["evidence"])
        assert sorted(one["code"] for one in found) == codes, found
        assert [words for words in has if words not in evidence] == [], evidence
        assert [words for words in has_not if words in evidence] == [], evidence


def test_each_namespace_has_the_chain_that_drops_its_own(node: Node) -> None:
    for table, address in (("one", "10.22.33.2"), ("two", "10.22.33.3")):
        drop = f"ip saddr {address} drop"
        node.run(["nft", f"table ip {table} {{ chain f {{ type filter hook forward priority 1; {drop}; }}; }}"])
    found = node.call(checked, [PODS], True, [TARGETS[0]])
    said = {one["namespace"]: "; ".join(one["evidence"]) for one in found if one["family"] == "ipv4"}
    assert "ip one f" in said["c1"]
    assert "ip two f" in said["c2"]


# Ways out that no default route of the main table shows.
_OTHER_WAYS = {
    "another table": "ip route add default via 198.18.0.1 table 100; ip rule add from 10.22.33.0/24 table 100",
}


@pytest.mark.parametrize("title", _OTHER_WAYS)
@pytest.mark.parametrize("uplink", ["uplink0", "auto"])
def test_way_without_a_default_route(node: Node, title: str, uplink: str) -> None:
    networks = [{**PODS, "uplink": uplink}]
    node.call(build_at_once, networks)
    node.run(["sh", "-ec", f"{_OTHER_WAYS[title]}; ip route del default"])
    found = told(node, "c1", networks, asked=[])["ipv4"]
    assert (found["status"], found["findings"], found["targets"]) == ("unknown", [], []), found
    assert "name targets" in found["summary"]
    found = told(node, "c1", networks)["ipv4"]
    assert (found["status"], found["findings"]) == ("ok", []), found
    found = told(node, "c1", networks, asked=[_NOBODY])["ipv4"]
    assert found["code"] == "UPSTREAM_UNREACHABLE", found
    assert any("left by uplink0" in said for said in found["evidence"]), found


_NO_ARP = """nft 'add table arp eg; add chain arp eg out { type filter hook output priority 0; };
add rule arp eg out oifname uplink0 drop'; ip neigh flush dev uplink0"""


def test_gateway_that_answers_no_ping(world: World, node: Node) -> None:
    """Nobody said that it has to, and as a neighbour it answers."""
    gateways = [world.internet.address, world.internet.address6]
    kinds = [f"add rule inet eg in {kind} type echo-request drop" for kind in ("icmp", "icmpv6")]
    chain = "add table inet eg; add chain inet eg in { type filter hook input priority 0; }"
    world.internet.run(["nft", "; ".join([chain, *kinds])])
    try:
        found = told(node, "c1", [PODS], asked=[])
        named = told(node, "c1", [PODS], asked=gateways)
        node.run(["sh", "-ec", _NO_ARP])
        gone = told(node, "c1", [PODS], asked=[])["ipv4"]
    finally:
        world.internet.run(["nft", "delete table inet eg"])
    assert [(one["status"], one["findings"]) for one in found.values()] == [("unknown", [])] * 2, found
    assert all("name targets that answer" in one["summary"] for one in found.values()), found
    assert {(one["status"], one["code"]) for one in named.values()} == {("broken", "UPSTREAM_UNREACHABLE")}, named
    assert (gone["status"], gone["code"]) == ("broken", "UPSTREAM_UNREACHABLE"), gone


def test_resolver_answers(node: Node) -> None:
    found = node.call(checked, [PODS], True, [f"udp://{TARGETS[0]}:53", f"udp://[{TARGETS[1]}]:53"])
    assert {(one["status"], one["code"]) for one in found} == {("ok", None)}, found


def test_datagrams_that_nobody_need_answer(node: Node) -> None:
    found = told(node, "c1", [PODS], asked=[f"udp://{_NOBODY}:9"])["ipv4"]
    assert (found["status"], found["code"]) == ("unknown", None), found
    node.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    found = told(node, "c1", [PODS], asked=[f"udp://{_NOBODY}:9"])["ipv4"]
    assert (found["status"], found["code"]) == ("broken", "FORWARDING_OFF"), found


def _checked_beside_traffic(asked: list[str]) -> list[t.Any]:
    """While the host itself asks the same server all the time."""
    over = threading.Event()

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            opened.settimeout(0.01)
            while not over.is_set():
                with contextlib.suppress(OSError):
                    opened.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1", (TARGETS[0], 53))
                    opened.recv(512)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        return checked([{**PODS, "nat": "none"}], True, asked)
    finally:
        over.set()
        asking.join()


def test_answers_to_others_are_not_taken_for_ours(node: Node) -> None:
    node.call(build_at_once, [{**PODS, "nat": "none"}])
    found = node.call(_checked_beside_traffic, [f"udp://{TARGETS[0]}:53"])
    told_of = {one["namespace"]: one["code"] for one in found if one["family"] == "ipv4"}
    assert told_of == {"c1": "NO_RETURN_ROUTE", "c2": "NO_RETURN_ROUTE"}, found


def test_several_next_hops_and_nobody_there(world: World, node: Node) -> None:
    wire(world.segment, node, "uplink1", port=f"{node.name}-2")
    hops = "nexthop via 198.18.0.1 dev uplink0 nexthop via 198.18.0.1 dev uplink1"
    script = f"ip link set uplink1 up; ip addr add 198.18.99.1/16 dev uplink1; ip route replace default {hops}"
    node.run(["sh", "-ec", script])
    networks = [{**PODS, "namespaces": [], "prefix": "b", "count": 6}]
    node.call(build_at_once, networks)
    found = node.call(checked, networks, True, [_NOBODY])
    codes = {one["code"] for one in found if one["family"] == "ipv4"}
    assert codes == {"UPSTREAM_UNREACHABLE"}, found


def test_address_that_nobody_named_is_no_evidence(world: World, node: Node) -> None:
    listed = world.internet.run(["ip", "-6", "-o", "addr", "show", "dev", "uplink0", "scope", "link"]).stdout
    gateway = listed.split()[3].split("/")[0]
    route = f"ip -6 route replace default via {gateway} dev uplink0"
    node.run(["sh", "-ec", f"{route}; ip -6 route add blackhole 2001:db8::1/128"])
    found = told(node, "c1", [PODS], asked=[])
    assert (found["ipv6"]["status"], found["ipv6"]["findings"]) == ("unknown", []), found
    node.run(["ip", "route", "del", "default"])
    found = told(node, "c1", [PODS], asked=[])
    assert (found["ipv4"]["code"], found["ipv4"]["evidence"]) == ("NO_HOST_ROUTE", ["the host has no default route"])


def test_namespace_with_two_links(world: World) -> None:
    with world.add_node() as node:
        node.run(["sh", "-ec", ON_A_BRIDGE + SECOND_NETWORK])
        (found,) = node.call(checked_undescribed, ["pod"])
    assert (found["status"], found["findings"]) == ("ok", []), found
