"""Failures that take more than a script: a table that is full, ports that are taken, a second uplink."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.settling import inside
from tests.lab.world import Node, World, wire
from tests.support.building import build_at_once, unreachable_from
from tests.support.connection_table import fill, forget
from tests.support.diagnosing import PODS, TARGETS, checked, record, told
from tests.support.fault_catalogue import BOTH, FAULTS

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

Record = t.Callable[[str, object], None]
_PARTS = 8


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [PODS])
        yield made


def test_table_of_connections_that_is_full(node: Node, record_property: Record) -> None:
    """Also with room for one more: what is lost on the bridge then, no filter dropped."""
    # On a busy machine all of it would take longer than a call may.
    for part in range(_PARTS):
        node.call(fill, part, _PARTS)
    found = told(node, "c1", [PODS])
    assert {one["code"] for one in found.values()} == {"CONNTRACK_FULL"}, found
    assert {one["hop"] for one in found.values()} == {"conntrack"}
    record(found["ipv4"], 36, "table of connections full", record_property)
    node.run(["conntrack", "-D", "-s", "10.0.0.0", "-p", "tcp", "--sport", "1024"])
    with_room = node.call(checked, [PODS])
    assert {one["code"] for one in with_room} == {"CONNTRACK_FULL"}, with_room
    assert "degraded" in {one["status"] for one in with_room}
    node.call(forget)
    healed = told(node, "c1", [PODS])
    assert {one["status"] for one in healed.values()} == {"ok"}, healed


def take_ports() -> None:
    """More flows to the resolver than there are ports."""
    with inside("c1"), contextlib.ExitStack() as taken:
        for _number in range(8):
            opened = taken.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            opened.connect((TARGETS[0], 53))
            with contextlib.suppress(OSError):
                opened.send(b"\0")


def test_ports_that_are_all_taken(node: Node, record_property: Record) -> None:
    networks = [{**PODS, "nat": {"ports": "40000-40003"}}]
    node.call(build_at_once, networks)
    asked = [f"udp://{TARGETS[0]}:53"]
    node.call(take_ports)
    found = told(node, "c1", networks, asked=asked)["ipv4"]
    assert (found["code"], found["hop"], found["status"]) == ("PORTS_EXHAUSTED", "conntrack", "broken"), found
    record(found, 37, "port pool too small", record_property)
    node.call(build_at_once, [PODS])
    healed = told(node, "c1", [PODS])
    assert {one["status"] for one in healed.values()} == {"ok"}, healed


def test_reply_by_another_uplink(world: World, node: Node, record_property: Record) -> None:
    wire(world.segment, node, "uplink1", port=f"{node.name}-2", mac="02:00:00:00:77:01")
    script = "ip addr add 198.18.99.1/32 dev uplink1; ip link set uplink1 up; sysctl -qw {}.uplink1.rp_filter=1"
    node.run(["sh", "-ec", script.format("net.ipv4.conf")])
    world.internet.run(["ip", "neigh", "replace", node.address, "lladdr", "02:00:00:00:77:01", "dev", "uplink0"])
    world.internet.run(["ip", "neigh", "change", node.address, "nud", "permanent", "dev", "uplink0"])
    try:
        found = told(node, "c1", [PODS])
        assert (found["ipv4"]["code"], found["ipv4"]["hop"]) == ("RP_FILTER_DROP", "return_path"), found
        assert found["ipv4"]["direction"] == "return"
        assert found["ipv6"]["status"] == "ok"
        record(found["ipv4"], 39, "reply by another uplink", record_property)
        node.run(["sysctl", "-qw", "net.ipv4.conf.uplink1.rp_filter=2"])
        assert unreachable_from(node, "c1") == []
        healed = told(node, "c1", [PODS])
        assert {one["status"] for one in healed.values()} == {"ok"}, healed
    finally:
        world.internet.run(["ip", "neigh", "del", node.address, "dev", "uplink0"])


def test_mtu_of_the_other_side(world: World, node: Node, record_property: Record) -> None:
    """The link drops what is too large, and nobody tells the sender."""
    world.segment.run(["ip", "link", "set", node.name, "mtu", "1400"])
    found = told(node, "c1", [PODS])
    for family in BOTH:
        assert (found[family]["code"], found[family]["status"]) == ("MTU_MISMATCH", "degraded"), found
    record(found["ipv4"], 25, "MTU of the other side of the uplink", record_property)
    world.segment.run(["ip", "link", "set", node.name, "mtu", "1500"])
    assert {one["status"] for one in told(node, "c1", [PODS]).values()} == {"ok"}


def test_process_with_more_files_than_select_takes(node: Node) -> None:
    """As it has on a host with a thousand namespaces."""

    def check_with_many() -> list[t.Any]:
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        held = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _number in range(1100)]
        try:
            return checked([PODS])
        finally:
            for descriptor in held:
                os.close(descriptor)

    found = node.call(check_with_many)
    assert {(one["status"], one["code"]) for one in found} == {("ok", None)}, found


def _known(node: Node) -> set[tuple[str, str]]:
    """(namespace, address) of the neighbours of the paths."""
    asked = {"": ["ip", "neigh", "show", "dev", "br0"], **{n: ["ip", "-n", n, "neigh", "show"] for n in ("c1", "c2")}}
    lines = {netns: node.run(argv).stdout.splitlines() for netns, argv in asked.items()}
    found = {(netns, line.split()[0]) for netns, there in lines.items() for line in there}
    return {one for one in found if one[1].startswith(("10.22.33.", "fd00:22:33:"))}


def test_probes_leave_no_neighbours(node: Node) -> None:
    """The table of them is one for all namespaces, and finite; those that were there stay."""
    node.run(["sh", "-ec", "ip neigh flush all; for name in c1 c2; do ip -n $name neigh flush all; done"])
    assert unreachable_from(node, "c2", families=["ipv4"]) == []
    before = _known(node)
    assert before == {("", "10.22.33.3"), ("c2", "10.22.33.1")}
    # Probes to several targets need the same neighbours at the same time.
    asked = (*TARGETS, "tcp://198.51.100.80:7070", "tcp://203.0.113.80:7070", "203.0.113.80")
    assert [one["status"] for one in node.call(checked, [PODS], True, asked)] == ["ok"] * 4
    assert _known(node) == before


# Somebody who takes each neighbour away that was asked for in vain, as the kernel does to make room.
_FORGET = """ip -n c1 monitor neigh | while read -r address _dev device rest; do
case $address$rest in Deleted*) ;; *FAILED*) ip -n c1 neigh del $address dev $device;; esac; done"""


def test_neighbour_that_the_kernel_asked_for_and_forgot(node: Node) -> None:
    node.run(["sh", "-ec", FAULTS["ARP filtered"].inject])
    node.run(["nft", "add rule bridge eg in icmpv6 type nd-neighbor-solicit drop"])
    node.run(["ip", "-n", "c1", "neigh", "flush", "all"])
    forgetting = node.popen(["sh", "-c", _FORGET], start_new_session=True)
    try:
        found = told(node, "c1", [PODS])
    finally:
        os.killpg(forgetting.pid, signal.SIGTERM)
        forgetting.wait()
    assert {(one["code"], one["findings"][0]["direction"]) for one in found.values()} == {("NEIGHBOUR_FILTERED", "out")}


# Rules of somebody else's that spoil the translation, beside those of the network: (hook, type, rule, what is said).
_SPOILED = {
    "all that leaves": ("postrouting", "nat", "oifname uplink0 snat to 203.0.113.250", "SNAT_STALE_ADDRESS"),
    "the network": ("postrouting", "nat", "ip saddr 10.22.33.0/24 snat to 203.0.113.250", "SNAT_STALE_ADDRESS"),
    "what is not tracked": ("prerouting", "filter", "iifname br0 notrack", "NAT_MISSING"),
    "its own source": ("postrouting", "nat", "oifname uplink0 ip saddr 10.22.33.0/24 snat to ip saddr", "NAT_MISSING"),
}


@pytest.mark.parametrize("title", _SPOILED)
def test_translation_that_somebody_else_spoils(node: Node, title: str) -> None:
    """The role does not change their rule, so nobody is sent to run it."""
    hook, kind, rule, code = _SPOILED[title]
    place = f"type {kind} hook {hook} priority {90 if kind == 'nat' else 'raw'};"
    node.run(["nft", f"add table ip eg; add chain ip eg its {{ {place} }}; add rule ip eg its {rule}"])
    found = told(node, "c1", [PODS])
    assert found["ipv6"]["status"] == "ok"
    verdict = found["ipv4"]
    assert (verdict["status"], verdict["code"], verdict["tier"]) == ("broken", code, "advise"), verdict
    assert ("notrack" if code == "NAT_MISSING" else "somebody else") in verdict["fix"]
    evidence = ["notrack", "chain inet netpath_egress_guard left_pods drops it"]
    for words in evidence if code == "NAT_MISSING" else ["203.0.113.250"]:
        assert any(words in said for said in verdict["evidence"]), verdict


_NOT_TRACKED = "table ip eg { chain its { type filter hook prerouting priority raw; RULE notrack; }; }"


def test_packet_that_the_guard_drops_passed_the_filters(node: Node) -> None:
    """A filter whose rules may accept it is not said to drop it."""
    accepts = "type filter hook forward priority 1; policy drop; ip ttl > 0 accept;"
    node.run(["nft", f"table ip fw {{ chain a {{ {accepts} }}; }}"])
    node.run(["nft", _NOT_TRACKED.replace("RULE", "iifname br0")])
    verdict = told(node, "c1", [PODS])["ipv4"]
    assert [one["code"] for one in verdict["findings"]] == ["NAT_MISSING"], verdict
    assert (verdict["status"], verdict["hop"], verdict["tier"]) == ("broken", "nat", "advise"), verdict


def test_answers_that_the_forwarding_limits_drop(world: World, node: Node) -> None:
    """Where another tool has answers tracked in a zone of their own, each begins a connection."""
    networks, asked = [{**PODS, "nat": "none", "inbound": "published"}], [f"udp://{TARGETS[0]}:53"]
    zone = "type filter hook prerouting priority raw; iifname uplink0 ct zone set 5;"
    node.call(build_at_once, networks)
    world.internet.run(["ip", "route", "add", "10.22.33.0/24", "via", node.address])
    try:
        assert told(node, "c1", networks, asked=asked)["ipv4"]["status"] == "ok"
        node.run(["nft", f"table ip eg {{ chain its {{ {zone} }}; }}"])
        verdict = told(node, "c1", networks, asked=asked)["ipv4"]
    finally:
        world.internet.run(["ip", "route", "del", "10.22.33.0/24"])
    assert (verdict["status"], verdict["code"], verdict["tier"]) == ("broken", "FORWARD_DROPPED", "advise"), verdict
    assert verdict["findings"][0]["direction"] == "return"
    assert "inbound: open" in verdict["fix"]


def test_forwarding_limits_that_another_tool_edited(node: Node) -> None:
    node.run(["nft", "flush set inet netpath_egress_wall sources4"])
    found = told(node, "c1", [PODS])
    assert (found["ipv6"]["status"], found["ipv6"]["code"]) == ("degraded", "PROTECTION_MISSING")
    verdict = found["ipv4"]
    assert (verdict["status"], verdict["code"], verdict["tier"]) == ("broken", "FORWARD_DROPPED", "declared"), verdict
    assert any("not as it was written" in said for said in verdict["evidence"]), verdict
    node.call(build_at_once, [PODS])
    assert {one["status"] for one in told(node, "c1", [PODS]).values()} == {"ok"}


def test_source_that_a_port_may_not_use_is_the_tenants(node: Node) -> None:
    """Nobody is told to open the table that holds ports to their addresses."""
    node.namespace_run("c1", ["ip", "address", "flush", "dev", "eth0"])
    node.namespace_run("c1", ["ip", "address", "add", "10.22.33.2/24", "dev", "eth0", "scope", "host"])
    node.call(build_at_once, [PODS])
    verdict = told(node, "c1", [PODS])["ipv4"]
    assert (verdict["code"], verdict["tier"]) == ("NEIGHBOUR_FILTERED", "advise"), verdict
    assert "bridge netpath_egress" in verdict["evidence"][-1]
    assert "give it back the addresses" in verdict["fix"]


def test_own_translation_to_an_address_that_is_gone(node: Node) -> None:
    """Of a range only a packet shows which address is given."""
    networks = [{**PODS, "nat": {"mode": "snat", "to_source": ["203.0.113.250-203.0.113.251", "2001:db8:18::7777"]}}]
    node.run(["ip", "addr", "add", "2001:db8:18::7777/128", "dev", "uplink0", "nodad"])
    node.call(build_at_once, networks)
    verdict = told(node, "c1", networks)["ipv4"]
    # No run would change it, as the network asks for it.
    assert (verdict["code"], verdict["tier"]) == ("SNAT_STALE_ADDRESS", "advise"), verdict
    assert "to_source" in verdict["fix"]
