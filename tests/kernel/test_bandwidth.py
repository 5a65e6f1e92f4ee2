"""Bandwidth limits of pairs: what tc shows, what a transfer takes, and what of others is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t

import pytest

from tests.lab import privilege, probe, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import World
from tests.support.building import build_at_once, refusal
from tests.support.run_module import Options, done, predicted, refused

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

BYTES = 1_000_000
PORT = 7071
PAIR: Options = {"name": "ve1", "peer": {"name": "eth0", "netns": "ns1"}, "network": "pods"}
# Takes in all of one connection, and then sends as much on a second one.
SERVER = f"""
import socket
listener = socket.create_server(("", {PORT}))
print("ready", flush=True)
with listener.accept()[0] as inward:
    while inward.recv(1 << 16): pass
    inward.sendall(b"!")
with listener.accept()[0] as outward:
    outward.sendall(bytes({BYTES}))
"""
# Prints how long it takes to send, until all has arrived, and to receive.
CLIENT = f"""
import socket, sys, time
target = (sys.argv[1], {PORT})
start = time.perf_counter()
with socket.create_connection(target, 10) as outward:
    outward.sendall(bytes({BYTES}))
    outward.shutdown(socket.SHUT_WR)
    outward.recv(1)
print(time.perf_counter() - start)
start = time.perf_counter()
with socket.create_connection(target, 10) as inward:
    while inward.recv(1 << 16): pass
print(time.perf_counter() - start)
"""


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        done(made, "netns", {"name": "ns1", "network": "pods"})
        yield made


def limits(node: Node) -> list[t.Any]:
    """What tc shows of both ends: kind, handle and rate in bit/s."""
    shown = []
    for place in ([], ["-n", "ns1"]):
        link = "eth0" if place else "ve1"
        (root,) = json.loads(node.run(["tc", *place, "-j", "qdisc", "show", "dev", link]).stdout)
        options = root.get("options", {})
        shown.append((root["kind"], root["handle"], options.get("rate", 0) * 8) if options else root["kind"])
    return shown


# {what is asked for: bit/s}
RATES = {"8kbit": 8_000, "10mbit": 10**7, "1.5gbit": 1_500_000_000, "34gbit": 34 * 10**9, "100gbit": 100 * 10**9}


@pytest.mark.smoke
def test_limits_are_predicted_made_changed_and_lifted(node: Node) -> None:
    done(node, "veth", PAIR)
    before = limits(node)
    shown = "8kbit"
    lines = ["limit eth0 to 8kbit in namespace ns1", "limit ve1 to 8kbit"]
    for asked, rate in RATES.items():
        options = {**PAIR, "bandwidth": asked}
        assert predicted(node, "veth", options) == done(node, "veth", options) == lines
        assert limits(node) == [("tbf", "fa:", rate)] * 2
        assert done(node, "veth", options) == done(node, "veth", PAIR) == []
        following = dict(zip(RATES, list(RATES)[1:])).get(asked, "")
        now, then = (text.replace("1.5gbit", "1500mbit") for text in (asked, following))
        lines = [f"limit eth0 to {then} (was {now}) in namespace ns1", f"limit ve1 to {then} (was {now})"]
        shown = now
    lines = [f"lift the limit of {shown} from eth0 in namespace ns1", f"lift the limit of {shown} from ve1"]
    assert done(node, "veth", {**PAIR, "bandwidth": "none"}) == lines
    assert done(node, "veth", {**PAIR, "bandwidth": "none"}) == []
    assert limits(node) == before == ["noqueue", "noqueue"]


@pytest.mark.parametrize(
    "damage", ["tc qdisc del dev ve1 root", "tc qdisc change dev ve1 root tbf rate 9mbit burst 1m limit 2m"]
)
def test_limit_that_drifted_is_put_right(node: Node, damage: str) -> None:
    options = {**PAIR, "bandwidth": "10mbit"}
    done(node, "veth", options)
    node.run(damage.split())
    assert done(node, "veth", options) == ["limit ve1 to 10mbit" + (" (was 9mbit)" if "9mbit" in damage else "")]
    assert limits(node) == [("tbf", "fa:", 10**7)] * 2
    assert done(node, "veth", options) == []


def test_limit_follows_a_pair_that_moves(node: Node) -> None:
    """A link loses its limit on the way to another namespace, and keeps it under another name."""
    node.run(["ip", "netns", "add", "stray"])
    options = {**PAIR, "bandwidth": "10mbit"}
    done(node, "veth", options)
    node.run(["ip", "-n", "ns1", "link", "set", "eth0", "netns", "stray"])
    closed = "peer.accept_ra on -> off, peer.accept_redirects on -> off"
    line = f"change veth ve1: peer.netns stray -> ns1, {closed}, peer.up off -> on"
    assert done(node, "veth", options) == [line, "limit eth0 to 10mbit in namespace ns1"]
    node.run(["sh", "-ec", "ip link set ve1 down; ip link set ve1 name x1 up"])
    assert done(node, "veth", options) == ["change veth ve1: name x1 -> ve1"]
    assert limits(node) == [("tbf", "fa:", 10**7)] * 2


def test_discipline_of_somebody_else_is_left_alone(node: Node) -> None:
    done(node, "veth", PAIR)
    node.run(
        [
            "tc",
            "qdisc",
            "add",
            "dev",
            "ve1",
            "root",
            "handle",
            "1:",
            "tbf",
            "rate",
            "1mbit",
            "burst",
            "10k",
            "limit",
            "10k",
        ]
    )
    answer = refused(node, "veth", {**PAIR, "bandwidth": "10mbit"})
    assert answer["found"] == "somebody else gave it the queueing discipline tbf"
    assert answer["advice"] == "Leave bandwidth out, or remove that one: tc qdisc del dev ve1 root"
    assert done(node, "veth", {**PAIR, "bandwidth": "none"}) == []
    assert limits(node)[0] == ("tbf", "1:", 10**6)


def test_failed_run_puts_limits_back(node: Node) -> None:
    asked: Options = {"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24"]}
    networks = [{**asked, "namespaces": [{"name": name, "bandwidth": "10mbit"} for name in ("a", "b")]}]
    node.call(build_at_once, networks)
    before = settled(node)
    qdiscs = node.run(["tc", "qdisc"]).stdout
    networks[0]["namespaces"] = [{"name": name, "bandwidth": "20mbit"} for name in ("a", "b")]
    # Its settings cannot be written, which is found out last.
    node.run(["mkdir", "-p", "/etc/sysctl.d"])
    node.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/etc/sysctl.d"])
    try:
        networks.append({"name": "more", "subnets": ["fd00:9::/64"]})
        assert refusal(node, build_at_once, networks).rolled_back
    finally:
        node.run(["umount", "/etc/sysctl.d"])
    assert snapshot.difference(before, settled(node)) == ""
    assert node.run(["tc", "qdisc"]).stdout == qdiscs


def transfer(world: World, node: Node, namespace: str) -> tuple[float, float]:
    """Seconds that it takes to send BYTES to the internet, and to receive as many."""
    with world.internet.popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            printed = node.namespace_run(namespace, [sys.executable, "-c", CLIENT, probe.TARGETS[4]]).stdout
        finally:
            server.kill()
    sent, received = map(float, printed.split())
    return sent, received


def shaped(node: Node, namespace: str) -> list[bool]:
    """Whether the host's end and the namespace's have a discipline that makes packets wait for their turn."""
    ends = (["tc"], "np-" + namespace), (["tc", "-n", namespace], "eth0")
    return ["tbf" in node.run([*tc, "qdisc", "show", "dev", end]).stdout for tc, end in ends]


def test_transfer_is_limited_in_both_directions(world: World, node: Node) -> None:
    before = settled(node)
    asked: Options = {"name": "net", "bridge": "br0", "subnets": ["10.22.33.0/24"]}
    namespaces: list[t.Any] = ["free", {"name": "slow", "bandwidth": "8mbit"}]
    networks = [{**asked, "namespaces": namespaces}]
    node.call(build_at_once, networks)
    assert node.call(build_at_once, networks) == []
    slow = transfer(world, node, "slow")
    # The limit's own lower bound. What a transfer takes without one is the machine's.
    assert all(seconds > 0.8 for seconds in slow), slow
    assert [shaped(node, name) for name in ("slow", "free")] == [[True, True], [False, False]]
    transfer(world, node, "free")
    lines = ["lift the limit of 8mbit from np-slow", "lift the limit of 8mbit from eth0 in namespace slow"]
    assert sorted(node.call(build_at_once, [{**asked, "namespaces": ["free", "slow"]}])) == sorted(lines)
    assert node.call(build_at_once, networks, absent=True)
    assert snapshot.difference(before, settled(node)) == ""
