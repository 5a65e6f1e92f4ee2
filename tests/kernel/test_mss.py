"""MSS clamping: what SYN segments announce on both sides of a node whose way out has a smaller MTU."""

from __future__ import annotations

import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import mss
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import ClampRules

from tests.lab import privilege, probe, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import GATEWAY, GATEWAY6, World
from tests.support.building import build, build_at_once, seen_from
from tests.support.run_module import Options, done, predicted

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

MTU = 1400
# What a segment may have besides the headers of IP and TCP.
FREE = {4: 1460, 6: 1440}
HELD = {4: MTU - 40, 6: MTU - 60}
NETWORK: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["ns1"],
}
# Prints the MSS that the next SYN, with or without an ACK, announces that arrives on an interface.
CAPTURE = """
import socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
raw.bind((sys.argv[1], 0))
raw.settimeout(10)
print("ready", flush=True)
while True:
    packet, address = raw.recvfrom(2000)
    if address[2] == socket.PACKET_OUTGOING: continue
    six = packet[0] >> 4 == 6
    if packet[6 if six else 9] != 6: continue
    segment = packet[40 if six else (packet[0] & 15) * 4:]
    if not segment[13] & 2: continue
    options = segment[20:(segment[12] >> 4) * 4]
    while options[0] != 2: options = options[1 if options[0] == 1 else options[1]:]
    print(int.from_bytes(options[2:4], "big"))
    break
"""
BACKENDS = {
    "nftables": "nft",
    "iptables-nft": "iptables-nft-restore",
    "iptables-legacy": "iptables-legacy-restore",
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    """A node whose routes out have a small MTU, of which nobody behind it knows."""
    with world.add_node() as made:
        for family, gateway in (("-4", GATEWAY), ("-6", GATEWAY6)):
            made.run(["ip", family, "route", "replace", "default", "via", gateway, "mtu", str(MTU)])
        yield made


def announced(world: World, node: Node, version: int) -> tuple[int, int]:
    """The MSS in a SYN as the internet sees it, and in the answer as the namespace sees it."""
    capture = [sys.executable, "-c", CAPTURE]
    inside = ["ip", "netns", "exec", "ns1", *capture, "eth0"]
    with (
        world.internet.popen([*capture, "uplink0"], stdout=subprocess.PIPE) as outside,
        node.popen(inside, stdout=subprocess.PIPE) as inner,
    ):
        streams = [process.stdout for process in (outside, inner) if process.stdout]
        assert [stream.readline() for stream in streams] == ["ready\n"] * 2
        assert node.call(seen_from, "ns1", probe.TARGETS[version]) in (node.address, node.address6)
        first, second = (int(stream.readline()) for stream in streams)
    return first, second


@pytest.mark.parametrize("builder", [build, build_at_once], ids=["module by module", "at once"])
@pytest.mark.parametrize("firewall", ["auto", "iptables"])
def test_segments_are_held_in_both_directions(
    world: World, node: Node, builder: t.Callable[..., list[str]], firewall: str
) -> None:
    network = {**NETWORK, "mtu": 1500, "firewall": firewall}
    node.call(builder, [network])
    without = settled(node)
    assert {version: announced(world, node, version) for version in FREE} == {v: (n, n) for v, n in FREE.items()}
    clamped = {**network, "mss_clamp": True}
    (line,) = node.call(builder, [clamped])
    assert line.startswith("create clamp of the MSS for pods")
    assert node.call(builder, [clamped]) == []
    assert {version: announced(world, node, version) for version in HELD} == {v: (n, n) for v, n in HELD.items()}
    (line,) = node.call(builder, [network])
    assert line.startswith("delete clamp of the MSS for pods")
    if firewall == "auto":
        # iptables leaves the tables that it made, empty.
        assert snapshot.difference(without, settled(node)) == ""


def clamp(name: str, bridge: str = "br0", **more: t.Any) -> Options:
    return {"name": name, "bridge": bridge, "uplink": "uplink0", "sources": ["10.9.0.0/24"], "mss_clamp": True, **more}


def written(backend: str, *changes: tuple[str, ClampRules | None]) -> dict[str, ClampRules | None]:
    """Write, and read back."""
    with Namespaces() as namespaces:
        mss.write(namespaces, HOST, backend, changes)
        return mss.read(namespaces, HOST, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_read_back(node: Node, backend: str) -> None:
    if shutil.which(BACKENDS[backend]) is None:
        pytest.skip(f"the program {BACKENDS[backend]} is missing")
    one, other = ClampRules("br0"), ClampRules("br-with*")
    assert node.call(written, backend, ("a", one), ("b-c", other)) == {"a": one, "b-c": other}
    assert node.call(written, backend, ("a", other)) == {"a": other, "b-c": other}
    assert node.call(written, backend, ("a", None)) == {"b-c": other}
    assert node.call(written, backend, ("b-c", None), ("never", None)) == {}


FOREIGN = """
add set inet netpath_egress_mss own { type ipv4_addr; elements = { 192.0.2.1 }; }
add chain inet netpath_egress_mss own { type filter hook forward priority -140; policy accept; }
add rule inet netpath_egress_mss own ip saddr @own drop
add rule inet netpath_egress_mss forward ip saddr @own accept
"""


def test_what_others_put_in_the_table_stays(node: Node) -> None:
    one, other = ClampRules("br0"), ClampRules("br1")
    node.call(written, "nftables", ("a", one))
    node.run(["nft", "-f", "-"], input=FOREIGN)

    def parts() -> list[str]:
        listed = node.run(["nft", "list", "table", "inet", "netpath_egress_mss"]).stdout.splitlines()
        return [line.strip() for line in listed if "netpath:" not in line and line.strip() != "}"]

    before = parts()
    assert sum("@own" in line for line in before) == 2
    assert node.call(written, "nftables", ("b", other)) == {"a": one, "b": other}
    assert parts() == before
    assert node.call(written, "nftables", ("a", None)) == {"b": other}
    assert parts() == before
    # With the last of ours, only what is somebody else's stays.
    assert node.call(written, "nftables", ("b", None)) == {}
    assert parts() == before


DAMAGE = {
    "a rule deleted": "nft -a list table inet netpath_egress_mss | sed -n 's/.*:a\" # //p' | head -n 1 |"
    " xargs nft delete rule inet netpath_egress_mss forward",
    "table flushed": "nft flush table inet netpath_egress_mss",
    "table deleted": "nft delete table inet netpath_egress_mss",
    "table dormant": "nft add table inet netpath_egress_mss '{ flags dormant; }'",
    "chain deleted": "nft flush table inet netpath_egress_mss; nft delete chain inet netpath_egress_mss forward",
}


@pytest.mark.parametrize("damage", list(DAMAGE.values()), ids=list(DAMAGE))
def test_drift_is_put_right(node: Node, damage: str) -> None:
    assert done(node, "forward_accept", clamp("a")) == ["create clamp of the MSS for a"]
    done(node, "forward_accept", clamp("b", "br1"))
    before = settled(node)
    node.run(["sh", "-c", damage])
    for options in (clamp("a"), clamp("b", "br1")):
        assert predicted(node, "forward_accept", options) == done(node, "forward_accept", options)
    assert snapshot.difference(before, settled(node)) == ""


def test_other_rules_in_the_table_stay(node: Node) -> None:
    done(node, "forward_accept", clamp("a"))
    node.run(
        ["nft", "add", "rule", "inet", "netpath_egress_mss", "forward", "ip", "saddr", "192.168.7.0/24", "counter"]
    )
    done(node, "forward_accept", clamp("b", "br1"))
    for name in ("a", "b"):
        assert done(node, "forward_accept", {"name": name, "state": "absent"}) == [
            f"delete clamp of the MSS for {name}"
        ]
    assert "ip saddr 192.168.7.0/24" in node.run(["nft", "list", "table", "inet", "netpath_egress_mss"]).stdout


def test_changing_the_back_end_leaves_no_old_rules(node: Node) -> None:
    if shutil.which("iptables") is None:
        pytest.skip("the program iptables is missing")
    done(node, "forward_accept", clamp("a"))
    lines = done(node, "forward_accept", clamp("a", backend="iptables"))
    assert lines[-1] == "delete clamp of the MSS for a"
    assert any(line.startswith("create clamp of the MSS for a in iptables") for line in lines)
    assert "netpath_egress_mss" not in node.run(["nft", "list", "tables"]).stdout
    assert "create clamp of the MSS for a" in done(node, "forward_accept", clamp("a"))
