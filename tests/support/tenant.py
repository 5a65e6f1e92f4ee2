"""What root in a namespace can send and change there, for tests of the wall towards tenants."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import typing as t

from tests.lab.node import Node

# Router advertisement (RFC 4861, section 4.2) with a prefix information option, from a tenant's own link-local address.
_ADVERTISE = """
import socket, struct, sys, time
preference, prefix, turns, pause = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
index = socket.if_nametoindex("eth0")
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, preference, 1800, 0, 0)
message += struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 3600, 3600, 0, socket.inet_pton(socket.AF_INET6, prefix))
while turns:
    raw.sendto(message, ("ff02::1", 0, 0, index))
    if turns == -1:
        print("sent", flush=True)
        turns = -2
    turns -= turns > 0
    time.sleep(pause)
"""
# Answers each duplicate address detection (RFC 4862, section 5.4) with a neighbour advertisement of one's own.
_OBJECT = """
import socket, struct
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
packets.bind(("eth0", 0))
packets.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex("eth0"), 1, 0, bytes(8)))
mac = packets.getsockname()[4]

def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

print("ready", flush=True)
while True:
    frame = packets.recv(2000)
    if frame[20] == 58 and frame[54] == 135 and frame[22:38] == bytes(16):
        target = frame[62:78]
        everyone = socket.inet_pton(socket.AF_INET6, "ff02::1")
        body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + target + b"\\2\\1" + mac
        pseudo = target + everyone + struct.pack("!IxxxB", len(body), 58)
        body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
        header = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + target + everyone
        packets.send(b"\\x33\\x33\\0\\0\\0\\1" + mac + b"\\x86\\xdd" + header + body)
"""
ROGUE = "fe80::66"
ROGUE_PREFIX = "2001:db8:bad::"
HIGH, MEDIUM = 8, 0


def become_router(node: Node, namespace: str) -> None:
    """Have a link-local address to send from."""
    node.run(["ip", "-n", namespace, "-6", "address", "replace", f"{ROGUE}/64", "dev", "eth0", "nodad"])


def advertise(node: Node, namespace: str, preference: int = HIGH, prefix: str = ROGUE_PREFIX) -> None:
    """Send advertisements, and come back when the others on the bridge have got them: packets do not overtake."""
    become_router(node, namespace)
    for _turn in range(3):
        argv = [sys.executable, "-c", _ADVERTISE, str(preference), prefix, "1", "0"]
        node.namespace_run(namespace, argv)
        (gateway,) = json.loads(node.run(["ip", "-n", namespace, "-j", "route", "show", "default"]).stdout)[:1] or [{}]
        if gateway:
            node.namespace_run(namespace, ["ping", "-c", "1", "-W", "5", gateway["gateway"]])


@contextlib.contextmanager
def flooding(node: Node, namespace: str) -> t.Iterator[None]:
    """Advertise 2000 times a second."""
    become_router(node, namespace)
    argv = ["ip", "netns", "exec", namespace, sys.executable, "-c", _ADVERTISE, str(HIGH), ROGUE_PREFIX, "-1", "0.0005"]
    with running(node, argv, "sent"):
        yield


def objecting(node: Node, namespace: str) -> t.ContextManager[None]:
    """Object to each new IPv6 address on the link."""
    return running(node, ["ip", "netns", "exec", namespace, sys.executable, "-c", _OBJECT], "ready")


@contextlib.contextmanager
def running(node: Node, argv: t.Sequence[str], first: str) -> t.Iterator[None]:
    """A process that has written its first line."""
    with node.popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{first}\n"
            yield
        finally:
            process.kill()


def learned(node: Node, link: str, namespace: str = "") -> list[str]:
    """What a link has of the tenant's advertisements: addresses, and destinations of routes."""
    place = ["-n", namespace] if namespace else []
    (held,) = json.loads(node.run(["ip", *place, "-6", "-j", "address", "show", "dev", link]).stdout or "[{}]")[:1] or [
        {}
    ]
    routes = json.loads(node.run(["ip", *place, "-6", "-j", "route", "show", "dev", link]).stdout or "[]")
    found = [item["local"] for item in held.get("addr_info", []) if item["local"].startswith(ROGUE_PREFIX[:-1])]
    return found + [
        item["dst"] for item in routes if item.get("gateway") == ROGUE or item["dst"].startswith(ROGUE_PREFIX)
    ]


def await_learned(node: Node, link: str, namespace: str = "", patience: float = 10.0) -> None:
    """Wait until a link that listens has an address and a route of an advertisement."""
    give_up = time.monotonic() + patience
    while len(learned(node, link, namespace)) < 3:
        assert time.monotonic() < give_up, learned(node, link, namespace)
        time.sleep(0.02)


def switches(node: Node, link: str, namespace: str = "") -> dict[str, str]:
    """What a link accepts of others, as sysctls: {name: value}."""
    keys = [f"ipv6/conf/{link}/{name}" for name in ("accept_ra", "autoconf", "accept_redirects", "disable_ipv6")]
    keys.append(f"ipv4/conf/{link}/accept_redirects")
    argv = ["grep", "-H", ".", *(f"/proc/sys/net/{key}" for key in keys)]
    lines = (node.namespace_run(namespace, argv) if namespace else node.run(argv)).stdout.splitlines()
    return {
        line.split(":")[0][len("/proc/sys/net/") :].replace(f"conf/{link}/", ""): line.split(":")[1] for line in lines
    }
