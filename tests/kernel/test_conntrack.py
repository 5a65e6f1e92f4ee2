"""Flows that keep an old translation: exactly those are deleted, on a real kernel."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import socket
import struct
import time
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import conntrack, nftables
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.netlink import Message, NetlinkSocket
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules

from tests.lab import privilege
from tests.lab.world import Node, World

_MISSING = next((f"the program {name} is missing" for name in ("nft", "conntrack") if not shutil.which(name)), None)
_OBSTACLE = privilege.obstacle() or _MISSING
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

RULES = NatRules(("10.0.0.0/16", "fd00::/16"))
TO_A = dataclasses.replace(RULES, to_source=("203.0.113.1-203.0.113.9", "2001:db8::1"))
HALF = NatRules(("10.0.1.0/24", "fd00:1::/32"))
SERVER, SERVER6 = "198.51.100.80", "2001:db8:51::80"
PUBLIC, PUBLIC6 = "203.0.113.1", "2001:db8::1"

# name: (source, destination, where replies come from and go to)
FLOWS = {
    "plain": ("10.0.0.2", SERVER, SERVER, "10.0.0.2"),
    "plain half": ("10.0.1.2", SERVER, SERVER, "10.0.1.2"),
    "plain 6": ("fd00::2", SERVER6, SERVER6, "fd00::2"),
    "translated": ("10.0.0.3", SERVER, SERVER, PUBLIC),
    "translated half": ("10.0.1.3", SERVER, SERVER, PUBLIC),
    "translated 6": ("fd00::3", SERVER6, SERVER6, PUBLIC6),
    "translated elsewhere": ("10.0.0.4", SERVER, SERVER, "203.0.113.200"),
    "inside": ("10.0.0.2", "10.0.1.2", "10.0.1.2", "10.0.0.2"),
    "back inside by DNAT": ("10.0.0.2", "203.0.113.50", "10.0.1.7", "10.0.0.2"),
    "outside by DNAT": ("10.0.0.5", "10.0.0.1", SERVER, "10.0.0.5"),
    "from outside by DNAT": (SERVER, PUBLIC, "10.0.0.2", SERVER),
    "to this host": ("10.0.0.2", "192.168.7.1", "192.168.7.1", "10.0.0.2"),
    "another source": ("172.16.0.2", SERVER, SERVER, "172.16.0.2"),
    "another source translated": ("172.16.0.3", SERVER, SERVER, PUBLIC),
}
PLAIN = {"plain", "plain half", "plain 6", "outside by DNAT"}
TRANSLATED = {"translated", "translated half", "translated 6", "translated elsewhere"}


TRACKING = "table inet t { chain c { type filter hook output priority 0; ct state new accept; }\n }"


@pytest.fixture(scope="module")
def bare() -> t.Iterator[Node]:
    with World(nodes=0, internet=False) as made, made.add_node(uplink=False) as node:
        node.run(["ip", "address", "add", "192.168.7.1/24", "dev", "lo"])
        yield node


@pytest.fixture
def node(bare: Node) -> t.Iterator[Node]:
    yield bare
    bare.run(["conntrack", "-F"])


def _flush(old: NatRules | None, new: NatRules | None, netns: str = HOST) -> int:
    with Namespaces() as namespaces:
        return conntrack.flush_changed(namespaces, netns, old, new)


def insert(node: Node, port: int, flow: tuple[str, str, str, str], *options: str) -> None:
    words = [item for pair in zip(("-s", "-d", "-r", "-q"), flow) for item in pair]
    ports = ["--sport", str(port), "--dport", "53", "--reply-port-src", "53", "--reply-port-dst", str(port)]
    node.run(["conntrack", "-I", *words, "-p", "udp", *ports, "-t", "600", *options])


def ports(node: Node) -> set[int]:
    """Source ports of the entries, both families."""
    listed = "".join(node.run(["conntrack", "-L", "-f", family]).stdout for family in ("ipv4", "ipv6"))
    return {int(re.findall(r"sport=(\d+)", line)[0]) for line in listed.splitlines()}


@pytest.mark.parametrize(
    ("old", "new", "deleted"),
    [
        (None, RULES, PLAIN),
        (None, TO_A, PLAIN),
        (None, HALF, {"plain half"}),
        (RULES, None, TRANSLATED),
        (RULES, TO_A, {"translated elsewhere"}),
        (TO_A, RULES, TRANSLATED),
        (RULES, HALF, TRANSLATED - {"translated half"}),
        (RULES, dataclasses.replace(RULES, exclude=("198.51.100.0/24",)), TRANSLATED - {"translated 6"}),
        (RULES, dataclasses.replace(RULES, out_interfaces=("up0",)), PLAIN | TRANSLATED),
        (RULES, dataclasses.replace(RULES, ports=(40000, 50000)), TRANSLATED),
        (RULES, dataclasses.replace(RULES, random_fully=True), set()),
        (RULES, RULES, set()),
        (None, None, set()),
    ],
)
def test_exactly_the_affected_flows_go(
    node: Node, old: NatRules | None, new: NatRules | None, deleted: set[str]
) -> None:
    numbers = {name: 1000 + number for number, name in enumerate(FLOWS)}
    for name, flow in FLOWS.items():
        insert(node, numbers[name], flow)
    assert ports(node) == set(numbers.values())
    assert node.call(_flush, old, new) == len(deleted)
    assert {name for name, number in numbers.items() if number not in ports(node)} == deleted
    assert node.call(_flush, old, new) == 0


def test_ports_in_range_stay(node: Node) -> None:
    insert(node, 41000, FLOWS["translated"])
    insert(node, 39000, FLOWS["translated half"])
    assert node.call(_flush, RULES, dataclasses.replace(RULES, ports=(40000, 50000))) == 1
    assert ports(node) == {41000}


def test_zones_are_told_apart(node: Node) -> None:
    """The same addresses and ports in two zones are two entries, each with its own fate."""
    insert(node, 1000, FLOWS["plain"], "--zone", "7")
    insert(node, 1000, ("10.0.0.2", SERVER, SERVER, PUBLIC))
    insert(node, 1000, FLOWS["plain"], "--orig-zone", "8")
    assert node.call(_flush, None, RULES) == 2
    left = node.run(["conntrack", "-L"]).stdout
    assert (left.count("udp"), "zone" in left) == (1, False)


def test_protocols_without_ports(node: Node) -> None:
    for source, replies_to in (("10.0.0.2", "10.0.0.2"), ("10.0.0.3", PUBLIC), ("172.16.0.2", "172.16.0.2")):
        echo = ["-p", "icmp", "--icmp-type", "8", "--icmp-code", "0", "--icmp-id", "7", "-t", "60"]
        node.run(["conntrack", "-I", "-s", source, "-d", SERVER, "-r", SERVER, "-q", replies_to, *echo])
    assert node.call(_flush, None, RULES) == 1
    assert node.call(_flush, RULES, dataclasses.replace(RULES, ports=(40000, 50000))) == 0
    assert node.call(_flush, RULES, None) == 1


def test_named_namespace_and_an_empty_one(node: Node) -> None:
    node.run(["ip", "netns", "add", "blue"])
    try:
        assert node.call(_flush, None, RULES, "blue") == 0
        insert(node, 1000, FLOWS["plain"])
        assert node.call(_flush, None, RULES, "blue") == 0
        assert ports(node) == {1000}
    finally:
        node.run(["ip", "netns", "delete", "blue"])


def _fill(count: int) -> None:
    """Entries from 10.0.0.0/16, every other one translated, by ctnetlink itself."""

    def attribute(kind: int, data: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)

    def ends(kind: int, source: bytes, destination: bytes, sport: int, dport: int) -> bytes:
        nested = 0x8000
        addresses = attribute(1 | nested, attribute(1, source) + attribute(2, destination))
        numbers = (
            attribute(1, b"\x11") + attribute(2, struct.pack("!H", sport)) + attribute(3, struct.pack("!H", dport))
        )
        return attribute(kind | nested, addresses + attribute(2 | nested, numbers))

    def message(number: int) -> Message:
        source, server = struct.pack("!I", (10 << 24) + number % 60000), socket.inet_aton(SERVER)
        port = 1000 + number // 60000
        receiver = socket.inet_aton(f"203.0.{number % 60000 >> 8}.{number & 255}") if number % 2 else source
        original, reply = ends(1, source, server, port, 53), ends(2, server, receiver, 53, port)
        timeout = attribute(7, struct.pack("!I", 600))
        return Message(0x100, 0x600, struct.pack("=BBH", socket.AF_INET, 0, 0) + original + reply + timeout)

    opened = NetlinkSocket(conntrack.NETLINK_NETFILTER)
    answers = opened.request([message(number) for number in range(count)])
    opened.close()
    assert not any(answer.errno for answer in answers)


def test_many(node: Node) -> None:
    node.call(_fill, 20_000)
    assert node.call(_flush, RULES, None) == 10_000
    assert node.call(_flush, None, RULES) == 10_000
    assert ports(node) == set()


def _talk(target: str, source: str) -> None:
    """One more datagram of the same flow."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.bind((source, 5555))
        opened.settimeout(0.5)
        opened.sendto(b"who", (target, 7070))
        with contextlib.suppress(OSError):
            opened.recv(1000)


def _change(old: NatRules | None, new: NatRules | None) -> int:
    with Namespaces() as namespaces:
        nftables.write(namespaces, HOST, [(("nat", "a"), new)])
        return conntrack.flush_changed(namespaces, HOST, old, new)


@pytest.mark.parametrize(("source", "target"), [("10.0.0.2", SERVER), ("fd00::2", SERVER6)])
def test_packets_of_a_flow_get_the_new_fate(source: str, target: str) -> None:
    with World(nodes=1) as world:
        node = world.nodes[0]
        node.run(["ip", "address", "add", source, "dev", "lo"])
        extra = f"{node.address6}:1" if ":" in source else "198.18.99.1"
        node.run(["ip", "address", "add", extra, "dev", "lo"])
        # A namespace tracks connections from the first rule on that needs it.
        node.run(["nft", "-f", "-"], input=TRACKING)
        own = node.address6 if ":" in source else node.address
        targets = ("", extra) if ":" in source else (extra, "")
        snat = NatRules((source + ("/128" if ":" in source else "/32"),), to_source=targets)
        masquerade = dataclasses.replace(snat, to_source=("", ""))
        old: NatRules | None = None
        for new, expected in ((None, source), (masquerade, own), (snat, extra), (None, source)):
            if new or old:
                assert node.call(_change, old, new) == 1
            before = len(world.internet.seen())
            node.call(_talk, target, source)
            give_up = time.monotonic() + 20
            while len(world.internet.seen()) == before and time.monotonic() < give_up:
                pass
            assert world.internet.seen()[-1].client == expected
            old = new
