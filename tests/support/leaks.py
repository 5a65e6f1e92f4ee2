"""A sender in a namespace that was there before its network, and a witness on the wire behind the uplink.

The witness is a chain of nftables at the port of the node, so that no packet is missed however busy the machine is.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import typing as t

from tests.lab import probe
from tests.lab.node import Node
from tests.lab.world import World

# By family and whether the source is one of a network: packets that came by the wire.
Seen = dict[str, int]
_WITNESS = """
table netdev witness {{
    counter private4 {{ }}
    counter private6 {{ }}
    counter public4 {{ }}
    counter public6 {{ }}
    chain arriving {{
        type filter hook ingress device "{port}" priority 0; policy accept;
        ip saddr 10.0.0.0/8 counter name private4
        ip6 saddr fc00::/7 counter name private6
        ip saddr 198.18.0.0/16 udp dport 9 counter name public4
        ip6 saddr 2001:db8::/32 udp dport 9 counter name public6
    }}
}}
"""
_SENDER = """
import os, select, socket, sys
targets = [(socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])]
sockets = [(socket.socket(family, socket.SOCK_DGRAM), (target, 9)) for family, target in targets for _flow in range(4)]
sent = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    for _round in range(4):
        for one, target in sockets:
            try:
                one.sendto(b"x", target)
                sent += 1
            except OSError:
                pass
print(sent, flush=True)
"""
# IPv4 and IPv6 segments of TCP that belong to no flow, from a source: RST, FIN and SYN with ACK.
_STRAYS = """
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
for source, target in (sys.argv[1:3], sys.argv[3:5]):
    six = ":" in source
    family = socket.AF_INET6 if six else socket.AF_INET
    ends = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for number in range(30):
        flags = (0x04, 0x11, 0x12)[number % 3]
        tcp = struct.pack("!HHIIBBHHH", 40000 + number, 80, 1, 1, 0x50, flags, 1000, 0, 0)
        pseudo = ends + struct.pack("!II", len(tcp), 6)
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        if six:
            packet = struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + ends + tcp
        else:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), number, 0, 64, 6, 0) + ends
            packet = head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp
        raw.sendto(packet, (target, 0))
print("sent")
"""


class Witness:
    def __init__(self, world: World, node: Node) -> None:
        self._segment = world.segment
        self._segment.run(["nft", "-f", "-"], input=_WITNESS.format(port=node.name))

    def seen(self) -> Seen:
        listed = self._segment.run(["nft", "-j", "list", "counters", "table", "netdev", "witness"]).stdout
        counters = [item["counter"] for item in json.loads(listed)["nftables"] if "counter" in item]
        return {counter["name"]: counter["packets"] for counter in counters}

    def leaked(self) -> Seen:
        """What came with a source of a network."""
        return {name: count for name, count in self.seen().items() if name.startswith("private") and count}

    def await_more(self, patience: float = 20.0) -> None:
        """Wait until translated packets of both families come, after this was called."""
        before = self.seen()
        give_up = time.monotonic() + patience
        while any(self.seen()[name] < before[name] + 50 for name in ("public4", "public6")):
            assert time.monotonic() < give_up, f"no packets come: {before}, then {self.seen()}"
            time.sleep(0.02)


@contextlib.contextmanager
def witness(world: World, node: Node) -> t.Iterator[Witness]:
    try:
        yield Witness(world, node)
    finally:
        world.segment.run(["nft", "delete", "table", "netdev", "witness"], check=False)


@contextlib.contextmanager
def sender(node: Node, namespace: str) -> t.Iterator[None]:
    """Thousands of packets a second of both families, without a pause, whatever errors come of it."""
    argv = ["ip", "netns", "exec", namespace, sys.executable, "-c", _SENDER, probe.TARGETS[4], probe.TARGETS[6]]
    with node.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
            told, _nothing = process.communicate("")
            assert int(told) > 1000
        finally:
            process.kill()


def send_strays(node: Node, namespace: str, source4: str, source6: str) -> None:
    argv = [sys.executable, "-c", _STRAYS, source4, probe.TARGETS[4], source6, probe.TARGETS[6]]
    assert node.namespace_run(namespace, argv).stdout == "sent\n"
