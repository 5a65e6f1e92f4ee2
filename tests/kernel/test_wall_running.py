"""What is closed while connections run through it is closed to these as well."""

from __future__ import annotations

import sys
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.echo_service import serving
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1"],
}
WEB: Options = {"name": "web", "bridge": "br1", "subnets": ["10.44.0.0/24", "fd00:44::/64"], "namespaces": ["w1"]}
C1 = ("10.22.33.2", "fd00:22:33::2")
# Asks once when it begins, and once more for each line on its standard input.
_CLIENT = """
import socket, sys
asked = [socket.create_connection((address, 7070), 20) for address in sys.argv[1:]]
lines = [one.makefile() for one in asked]
print(*[line.readline() != "" for line in lines], flush=True)
for _line in sys.stdin:
    for one in asked:
        one.settimeout(0.4)
        one.sendall(b"\\n")
    told = []
    for line in lines:
        try:
            told.append(line.readline() != "")
        except OSError:
            told.append(False)
    print(*told, flush=True)
"""
# What is open at first, and what is closed then.
CLOSING: dict[str, tuple[list[Options], list[Options]]] = {
    "inbound of a translated network": ([{**PODS, "inbound": "open"}, WEB], [PODS, WEB]),
    "inbound of one that is not": (
        [{**PODS, "nat": "none"}, WEB],
        [{**PODS, "nat": "none", "inbound": "published"}, WEB],
    ),
    "peers": ([{**PODS, "peers": ["web"]}, WEB], [PODS, WEB]),
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=1) as made:
        (node,) = made.nodes
        ways = ((C1[0], node.address), (C1[1], node.address6))
        made.internet.run(["sh", "-ec", "; ".join(f"ip route add {target} via {via}" for target, via in ways)])
        yield made


@pytest.mark.parametrize("closing", CLOSING)
def test_what_is_closed_is_closed_to_what_runs(world: World, closing: str) -> None:
    (node,) = world.nodes
    before, after = CLOSING[closing]
    node.call(build_at_once, before)
    where: tuple[Node, list[str]] = (world.internet, [])
    if closing == "peers":
        where = (node, ["ip", "netns", "exec", "w1"])
    argv = [*where[1], sys.executable, "-c", _CLIENT, *C1]
    with serving(node, "c1", *C1), where[0].popen(argv, stdin=-1, stdout=-1) as client:
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stdout.readline() == "True True\n"
            assert node.call(build_at_once, after)
            client.stdin.write("\n")
            client.stdin.flush()
            assert client.stdout.readline() == "False False\n"
        finally:
            client.kill()
    node.call(build_at_once, after, absent=True)
