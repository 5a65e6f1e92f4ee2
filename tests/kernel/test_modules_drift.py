"""Whatever somebody else changed, the same run puts it right with the fewest steps, and touches nothing else."""

from __future__ import annotations

import json
import time
import typing as t

import pytest

from tests.lab import privilege, snapshot
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.path import LINES, PATH, build, remove
from tests.support.run_module import done, run

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

IN1 = "in namespace ns1"
ADD4, ADD6 = f"add address 10.22.33.11/24 to eth0 {IN1}", f"add address fd00:22:33::11/64 to eth0 {IN1}"
ROUTE4, ROUTE6 = f"add route default via 10.22.33.1 {IN1}", f"add route -6 default via fd00:22:33::1 {IN1}"
DEV = f"dev eth0 {IN1}"
RESOLVER = "/etc/netns/ns1/resolv.conf"
SYSCTLS = "/etc/sysctl.d/90-netpath-egress.conf"
# What other programs do, and what they put back afterwards.
ADD = "ip -n ns1 address add"
RENAME = "ip -n ns1 link set eth0 down; ip -n ns1 link set eth0 name x1"
AGAIN = "ip -n ns1 route add default via 10.22.33.1 proto 250; ip -n ns1 route add default via fd00:22:33::1 proto 250"
BACK = [f"add route default via 10.22.33.1 dev eth0 {IN1}", f"add route -6 default via fd00:22:33::1 dev eth0 {IN1}"]
CREATE_RULES = LINES["nat_masquerade"]

# title: (shell commands that do the damage, lines of the repair)
# In the namespace of another tool links listen unless they are told otherwise.
_CLOSED = "accept_ra on -> off, accept_redirects on -> off"
_PEER_CLOSED = "peer.accept_ra on -> off, peer.accept_redirects on -> off"
DRIFT: dict[str, tuple[str, list[str]]] = {
    "loopback down": ("ip -n ns1 link set lo down", ["change namespace ns1: loopback off -> on"]),
    "resolver edited": (f"echo >>{RESOLVER}", [f"rewrite {RESOLVER}"]),
    "resolver deleted": (f"rm -r {RESOLVER}", [f"write {RESOLVER}"]),
    "sysctl inside": (
        "ip netns exec ns1 sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/accept_redirects'",
        [f"set net.ipv4.conf.all.accept_redirects to 0 (was 1) {IN1}"],
    ),
    "bridge down": (
        "ip link set br0 down",
        ["change bridge br0: up off -> on", "add address fd00:22:33::1/64 to br0"],
    ),
    "address of the bridge lost": ("ip address del 10.22.33.1/24 dev br0", ["add address 10.22.33.1/24 to br0"]),
    "bridge deleted": (
        "ip link del br0",
        [
            *LINES["linux_bridge"],
            "change veth ve1: master none -> br0, isolated none -> on",
            "change veth ve2: master none -> br0, isolated none -> on",
        ],
    ),
    "MTU outside": ("ip link set ve1 mtu 1400", ["change veth ve1: mtu 1400 -> 1500"]),
    "MTU inside": ("ip -n ns1 link set eth0 mtu 1400", ["change veth ve1: peer.mtu 1400 -> 1500"]),
    "off its bridge": ("ip link set ve1 nomaster", ["change veth ve1: master none -> br0, isolated none -> on"]),
    "on another bridge": (
        "ip link add br9 type bridge; ip link set ve1 master br9",
        ["change veth ve1: master br9 -> br0, isolated off -> on"],
    ),
    "no longer isolated": (
        "ip link set ve1 type bridge_slave isolated off",
        ["change veth ve1: isolated off -> on"],
    ),
    "down outside": ("ip link set ve1 down", ["change veth ve1: up off -> on"]),
    "down inside": ("ip -n ns1 link set eth0 down", ["change veth ve1: peer.up off -> on", ADD6, ROUTE4, ROUTE6]),
    "renamed outside": ("ip link set ve1 down; ip link set ve1 name x1 up", ["change veth ve1: name x1 -> ve1"]),
    "renamed inside": (
        RENAME,
        ["change veth ve1: peer.name x1 -> eth0, peer.up off -> on", ADD6, ROUTE4, ROUTE6],
    ),
    "renamed inside, and up again with routes": (
        f"{RENAME}; ip -n ns1 link set x1 up; ip -n ns1 address add fd00:22:33::11/64 dev x1 nodad; {AGAIN}",
        ["change veth ve1: peer.name x1 -> eth0", ADD6, *BACK],
    ),
    "moved outside": (
        "ip link set ve1 netns stray",
        [f"change veth ve1: netns stray -> host, master none -> br0, isolated none -> on, {_CLOSED}, up off -> on"],
    ),
    "moved inside": (
        "ip -n ns1 link set eth0 netns stray",
        [
            f"change veth ve1: peer.netns stray -> ns1, {_PEER_CLOSED}, peer.up off -> on",
            *(ADD4, ADD6, ROUTE4, ROUTE6),
        ],
    ),
    "pair deleted": (
        "ip link del ve1",
        ["create veth ve1 with peer eth0 in namespace ns1 on bridge br0", ADD4, ADD6, ROUTE4, ROUTE6],
    ),
    "namespace deleted": (
        "ip netns del ns1; while [ -e /sys/class/net/ve1 ]; do :; done; rm -r /etc/netns/ns1",
        [
            "create namespace ns1",
            f"set net.ipv4.conf.all.accept_redirects to 0 (was 1) {IN1}",
            f"write {RESOLVER}",
            "create veth ve1 with peer eth0 in namespace ns1 on bridge br0",
            ADD4,
            ADD6,
            ROUTE4,
            ROUTE6,
        ],
    ),
    "address deleted": ("ip -n ns1 address del fd00:22:33::11/64 dev eth0", [ADD6]),
    "address of another prefix": (
        "ip -n ns1 address add 10.22.33.11/25 dev eth0",
        [f"delete address 10.22.33.11/25 from eth0 {IN1}"],
    ),
    "a stranger's address": (
        "ip -n ns1 address add 10.99.0.1/24 dev eth0; ip -n ns1 address add fd00:99::1/64 dev eth0 nodad",
        [f"delete address 10.99.0.1/24 from eth0 {IN1}", f"delete address fd00:99::1/64 from eth0 {IN1}"],
    ),
    "a stranger's address of the same range ahead of ours": (
        f"ip -n ns1 -4 address flush dev eth0; {ADD} 10.22.33.99/24 dev eth0; {ADD} 10.22.33.11/24 dev eth0",
        [f"delete address 10.22.33.99/24 from eth0 {IN1}", ADD4, ROUTE4],
    ),
    "route deleted": ("ip -n ns1 route del default", [ROUTE4]),
    "route elsewhere": (
        "ip -n ns1 route replace default via 10.22.33.12 proto 250",
        [f"replace route default via 10.22.33.1 {DEV}"],
    ),
    "route blackholed": (
        "ip -n ns1 route del default; ip -n ns1 route add blackhole default proto 250",
        [f"replace route default via 10.22.33.1 {IN1}"],
    ),
    "IPv6 route elsewhere": (
        "ip -n ns1 -6 route replace default via fd00:22:33::12 proto 250",
        [f"replace route -6 default via fd00:22:33::1 {DEV}"],
    ),
    "forwarding off": ("echo 0 >/proc/sys/net/ipv4/ip_forward", ["set net.ipv4.ip_forward to 1 (was 0)"]),
    "settings file edited": (f"echo >>{SYSCTLS}", [f"rewrite {SYSCTLS}"]),
    "settings file deleted": (f"rm {SYSCTLS}", [f"write {SYSCTLS}"]),
    "table deleted": ("nft delete table inet netpath_egress", CREATE_RULES),
    "rules flushed": ("nft flush table inet netpath_egress", ["replace source NAT pods"]),
    "ruleset flushed": ("nft flush ruleset", CREATE_RULES),
}


@pytest.fixture(scope="module")
def built() -> t.Iterator[tuple[Node, snapshot.Snapshot]]:
    """A node with the path, and what it looks like."""
    with World(internet=False) as world:
        node = world.nodes[0]
        node.run(["ip", "netns", "add", "stray"])
        build(node)
        await_settled(node)
        yield node, node.snapshot()


def await_settled(node: Node) -> None:
    """Wait until no address is being checked for duplicates any more."""
    tentative = ["-6", "address", "show", "tentative"]
    deadline = time.monotonic() + 20
    while any(node.run(["ip", *place, *tentative]).stdout for place in ([], ["-n", "ns1"], ["-n", "ns2"])):
        assert time.monotonic() < deadline


def await_like(node: Node, wanted: snapshot.Snapshot) -> str:
    """What still differs once the kernel has settled: it tells carriers on in its own time."""
    deadline = time.monotonic() + 10
    while True:
        left = snapshot.difference(_unordered(wanted), _unordered(node.snapshot()))
        if not left or time.monotonic() > deadline:
            return left


def _unordered(taken: snapshot.Snapshot) -> snapshot.Snapshot:
    """With the addresses of a link sorted: they stand in the order in which they came."""
    lines = {title: text.splitlines() for title, text in taken.items() if title.endswith("addresses")}
    links = {title: [json.loads(line) for line in text] for title, text in lines.items()}
    for link in (link for found in links.values() for link in found):
        link["addr_info"].sort(key=str)
    return {**taken, **{title: "\n".join(map(str, found)) for title, found in links.items()}}


@pytest.mark.parametrize("title", DRIFT)
def test_drift_is_put_right(built: tuple[Node, snapshot.Snapshot], title: str) -> None:
    node, before = built
    damage, lines = DRIFT[title]
    node.run(["sh", "-ec", damage])
    assert build(node) == lines
    assert build(node) == []
    if "br9" in damage:
        node.run(["ip", "link", "del", "br9"])
    assert await_like(node, before) == ""


def test_what_drifted_is_still_removed() -> None:
    """Renamed, moved, and with a bridge deleted: the mark is what counts."""
    with World(internet=False) as world:
        node = world.nodes[0]
        node.run(["ip", "netns", "add", "stray"])
        before = node.snapshot()
        build(node)
        node.run(["sh", "-ec", "ip link set ve1 netns stray; ip -n ns2 link set eth0 down; ip link del br0"])
        remove(node)
        assert await_like(node, before) == ""


def test_predictions_of_a_repair_come_true(built: tuple[Node, snapshot.Snapshot]) -> None:
    node, _before = built
    node.run(["sh", "-ec", "ip link set br0 down; ip -n ns1 link del eth0; nft flush ruleset"])
    for module, options in PATH:
        assert run(node, module, options, check=True)["actions"] == done(node, module, options)
