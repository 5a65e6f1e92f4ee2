"""Limits that are one for the whole kernel, so that a test machine cannot reach them: each is diagnosed when it is."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.stock_path import PODS, checked, is_healthy, seen

GATEWAY = "198.18.0.1"
CONNECTIONS = Path("/proc/sys/net/netfilter/nf_conntrack_max")
# Established, so that the kernel gives none up for a new one.
FILL = """
number=0
while [ $number -lt LIMIT ]; do
    number=$((number + 1))
    conntrack -I -p tcp -s 10.9.9.9 -d 203.0.113.9 --sport $((1024 + number)) --dport 80 --state ESTABLISHED \
        -t 3600 -u SEEN_REPLY,ASSURED >/dev/null 2>&1 || :
done
"""


@contextlib.contextmanager
def limited(**limits: int) -> t.Iterator[None]:
    """Settings of the kernel, by paths below /proc/sys/net with __ for each slash, for a while."""
    files = {Path("/proc/sys/net", name.replace("__", "/")): value for name, value in limits.items()}
    before = {path: path.read_text(encoding="ascii") for path in files}
    try:
        for path, value in files.items():
            path.write_text(str(value), encoding="ascii")
        yield
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="ascii")


def test_table_of_connections(node: Node) -> None:
    node.call(build_at_once, [PODS])
    with limited(netfilter__nf_conntrack_max=32):
        node.run(["conntrack", "-F"])
        node.run(["sh", "-c", FILL.replace("LIMIT", "40")])
        assert [who.startswith("no answer") for who in seen(node, families=["ipv4"])] == [True]
        found = [one for one in checked(node, [PODS]) if one["namespace"] == "c1"]
        assert {(one["code"], one["hop"]) for one in found} == {("CONNTRACK_FULL", "conntrack")}, found
        assert any("32" in line for one in found for line in one["evidence"]), found
    verdicts = checked(node, [PODS])
    assert is_healthy(verdicts), verdicts


# An entry that is reachable is not given up for a new one, an older one is.
KEEP = "for file in /proc/sys/net/ipv4/neigh/*/base_reachable_time_ms; do echo 3600000 >$file; done; ip neigh flush all"


def test_table_of_neighbours(world: World, node: Node) -> None:
    node.call(build_at_once, [PODS])
    for one in (node, world.internet):
        one.run(["sh", "-ec", KEEP])
    node.run(["sh", "-ec", f"for name in c1 c2; do ip -n $name neigh flush all; done; ping -c 1 -W 9 {GATEWAY}"])
    with limited(ipv4__neigh__default__gc_thresh3=1):
        found = [one for one in checked(node, [PODS], [4]) if one["namespace"] == "c1" and one["family"] == "ipv4"]
        assert {(one["code"], one["hop"]) for one in found} == {("NEIGHBOUR_TABLE_FULL", "neighbour")}, found
    verdicts = checked(node, [PODS])
    assert is_healthy(verdicts), verdicts
