"""Two failures at once, drawn at random: the verdict is the first in packet order, and nothing else is made up."""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES, HOPS

from tests.lab import privilege
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.built_network import Bench
from tests.support.diagnosing import PODS, told
from tests.support.fault_catalogue import BOTH, FAULTS, Fault

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

_PAIRS = 24
# What the structure shows, whatever else is wrong: others need a packet that gets as far.
_SEEN_AT_ONCE = [
    "loopback down",
    "forwarding off",
    "IPv6 forwarding off",
    "no rule translates",
    "rule for other sources",
    "host without a route",
    "forwarding until the next boot",
    "bridge without the gateway",
    "host end down",
    "MTU of the uplink",
    "no default route",
    "policy rule",
]
# What hides the other: a namespace or link that is not there, and what needs an answer.
_FIRST = [*_SEEN_AT_ONCE, "namespace end down", "port on no bridge", "bridge down", "interface under another name"]


def _place(fault: Fault) -> tuple[bool, int]:
    return CODES[fault.code].degraded, HOPS.index(fault.hop or CODES[fault.code].hop)


def _pairs() -> list[tuple[str, str]]:
    drawn = random.Random(20261121)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < _PAIRS:
        first, second = drawn.choice(_FIRST), drawn.choice(_SEEN_AT_ONCE)
        shared = set(FAULTS[first].families) & set(FAULTS[second].families)
        apart = _place(FAULTS[first])[1] != _place(FAULTS[second])[1]
        if first != second and shared and apart and (first, second) not in pairs and (second, first) not in pairs:
            pairs.append((first, second))
    return pairs


@pytest.fixture(scope="module")
def bench() -> t.Iterator[Bench]:
    with World(nodes=0) as world:
        yield Bench(world)


@pytest.mark.parametrize(("first", "second"), _pairs())
def test_first_in_packet_order_is_the_verdict(bench: Bench, first: str, second: str) -> None:
    faults = [FAULTS[first], FAULTS[second]]
    with bench.use() as built:
        node = built.node
        for fault in faults:
            built.inject(fault.inject)
        found = told(node, "c1", [PODS])
        for fault in faults:
            node.run(["sh", "-c", fault.fix or "true"])
        node.call(build_at_once, [PODS])
        healed = told(node, "c1", [PODS])
    for family in BOTH:
        here = sorted((fault for fault in faults if family in fault.families), key=_place)
        verdict = found[family]
        assert verdict["code"] == (here[0].code if here else None), verdict
        assert {fault.code for fault in here} <= {one["code"] for one in verdict["findings"]}, verdict
    assert {one["status"] for one in healed.values()} == {"ok"}, healed


@pytest.mark.parametrize(
    "fault", ["ip link set np-c2 down", "ip link set np-c2 nomaster", "ip -n c2 link set eth0 down"]
)
def test_neighbour_that_is_broken_says_nothing_of_the_filters(bench: Bench, fault: str) -> None:
    """Where the host's rules see bridged packets, they are not to blame for a neighbour without a link."""
    with bench.use() as built:
        node = built.node
        node.run(["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1"])
        node.run(["sh", "-ec", fault])
        found = told(node, "c1", [PODS])
    assert {family: one["findings"] for family, one in found.items()} == {family: [] for family in BOTH}
