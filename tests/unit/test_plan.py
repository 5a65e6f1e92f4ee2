"""Plans as tables: what is wanted and what was found give these lines, in this order."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Address,
    Fact,
    Link,
    Setting,
    Want,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.state import Have
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules

from tests.support.planned_path import (
    BRIDGE,
    DEFAULT4,
    DEFAULT6,
    EVERYTHING,
    GATEWAY4,
    INNER,
    INSIDE4,
    INSIDE6,
    INSIDE_SETTING,
    NS1,
    PAIR,
    PATH,
    RESOLVER,
    RULES,
    THERE,
    VETH,
    change,
    there,
)
from tests.support.spec_questions import Options, all_of, found, want

LINES = [
    "create source NAT pods for 10.0.0.0/24, fd00::/64",
    "create namespace ns1",
    "create bridge br0",
    "create veth ve1 with peer eth0 in namespace ns1 on bridge br0",
    "add address 10.0.0.2/24 to eth0 in namespace ns1",
    "add address fd00::2/64 to eth0 in namespace ns1",
    "set net.ipv4.conf.all.accept_redirects to 0 (was 1) in namespace ns1",
    "add route default via 10.0.0.1 in namespace ns1",
    "add route -6 default via fd00::1 in namespace ns1",
    "add address 10.0.0.1/24 to br0",
    "add address fd00::1/64 to br0",
    "write /etc/netns/ns1/resolv.conf",
]


def lines(wanted: Want, *facts: Fact, predicting: bool = False) -> list[str]:
    return make_plan(wanted, found(*facts), predicting).actions


@pytest.mark.parametrize("predicting", [False, True])
def test_everything_is_made_in_order(predicting: bool) -> None:
    fresh = change(INSIDE_SETTING, value="1")
    assert lines(EVERYTHING, fresh, predicting=predicting) == LINES


@pytest.mark.parametrize("predicting", [False, True])
def test_order_of_requests_does_not_matter(predicting: bool) -> None:
    backwards = make_plan(all_of(*PATH[::-1]), found(change(INSIDE_SETTING, value="1")), predicting)
    assert sorted(backwards.actions) == sorted(LINES)
    assert backwards.actions[:3] == LINES[:3]


def test_nothing_is_left_to_do() -> None:
    plan = make_plan(EVERYTHING, found(*THERE))
    assert plan.actions == []
    assert not plan


@pytest.mark.parametrize("request_", PATH, ids=lambda request: str(request[0]))
def test_nothing_is_left_to_do_by_each_module_alone(request_: tuple[str, Options]) -> None:
    assert lines(all_of(request_), *THERE) == []


INSIDE = "in namespace ns1"
# title: (what was found, lines)
DRIFT: dict[str, tuple[list[Fact], list[str]]] = {
    "loopback down": (there(change(NS1, loopback=False)), ["change namespace ns1: loopback off -> on"]),
    "MTU of both ends": (
        there(change(PAIR, mtu=1400, peer=change(INNER, mtu=1400))),
        ["change veth ve1: mtu 1400 -> 1500, peer.mtu 1400 -> 1500"],
    ),
    "off its bridge": (there(change(PAIR, master="")), ["change veth ve1: master none -> br0"]),
    "on another bridge": (there(change(PAIR, master="br7")), ["change veth ve1: master br7 -> br0"]),
    "down outside": (there(change(PAIR, up=False)), ["change veth ve1: up off -> on"]),
    "down inside": (
        there(change(PAIR, peer=change(INNER, up=False)), without=[DEFAULT4, DEFAULT6, INSIDE6]),
        [
            "change veth ve1: peer.up off -> on",
            f"add address fd00::2/64 to eth0 {INSIDE}",
            f"add route default via 10.0.0.1 {INSIDE}",
            f"add route -6 default via fd00::1 {INSIDE}",
        ],
    ),
    "bridge down": (there(change(BRIDGE, up=False)), ["change bridge br0: up off -> on"]),
    "peer moved to the host: what was on it is gone": (
        there(change(PAIR, peer=change(INNER, netns="", up=False)), without=[INSIDE4, INSIDE6, DEFAULT4, DEFAULT6]),
        [
            "change veth ve1: peer.netns host -> ns1, peer.up off -> on",
            f"add address 10.0.0.2/24 to eth0 {INSIDE}",
            f"add address fd00::2/64 to eth0 {INSIDE}",
            f"add route default via 10.0.0.1 {INSIDE}",
            f"add route -6 default via fd00::1 {INSIDE}",
        ],
    ),
    "peer moved with its addresses, which a move drops": (
        there(change(PAIR, peer=change(INNER, netns="ns2")), without=[DEFAULT4, DEFAULT6]),
        [
            "change veth ve1: peer.netns ns2 -> ns1",
            f"add address 10.0.0.2/24 to eth0 {INSIDE}",
            f"add address fd00::2/64 to eth0 {INSIDE}",
            f"add route default via 10.0.0.1 {INSIDE}",
            f"add route -6 default via fd00::1 {INSIDE}",
        ],
    ),
    "peer renamed: a rename takes routes and IPv6 addresses along": (
        there(change(PAIR, peer=change(INNER, name="eth9"))),
        [
            "change veth ve1: peer.name eth9 -> eth0",
            f"add address fd00::2/64 to eth0 {INSIDE}",
            f"add route default via 10.0.0.1 {INSIDE}",
            f"add route -6 default via fd00::1 {INSIDE}",
        ],
    ),
    "renamed while down: nothing is lost": (
        there(change(PAIR, peer=change(INNER, name="eth9", up=False)), without=[DEFAULT4, DEFAULT6, INSIDE6]),
        [
            "change veth ve1: peer.name eth9 -> eth0, peer.up off -> on",
            f"add address fd00::2/64 to eth0 {INSIDE}",
            f"add route default via 10.0.0.1 {INSIDE}",
            f"add route -6 default via fd00::1 {INSIDE}",
        ],
    ),
    "address missing": (there(without=[INSIDE4]), [f"add address 10.0.0.2/24 to eth0 {INSIDE}"]),
    "address of another prefix": (
        there(Address("ns1", "eth0", "10.0.0.2/16"), without=[INSIDE4]),
        [
            f"delete address 10.0.0.2/16 from eth0 {INSIDE}",
            f"add address 10.0.0.2/24 to eth0 {INSIDE}",
            # The last IPv4 address takes the routes along.
            f"add route default via 10.0.0.1 {INSIDE}",
        ],
    ),
    "a stranger's address": (
        there(Address("ns1", "eth0", "10.9.0.2/24")),
        [f"delete address 10.9.0.2/24 from eth0 {INSIDE}"],
    ),
    "a stranger's primary address, ours secondary: it goes along": (
        there(Address("ns1", "eth0", "10.0.0.9/24"), change(INSIDE4, secondary=True)),
        [
            f"delete address 10.0.0.9/24 from eth0 {INSIDE}",
            f"add address 10.0.0.2/24 to eth0 {INSIDE}",
            f"add route default via 10.0.0.1 {INSIDE}",
        ],
    ),
    "gateway lost": (there(without=[GATEWAY4]), ["add address 10.0.0.1/24 to br0"]),
    "route missing": (there(without=[DEFAULT4]), [f"add route default via 10.0.0.1 {INSIDE}"]),
    "route elsewhere": (
        there(change(DEFAULT4, gateway="10.0.0.9")),
        [f"replace route default via 10.0.0.1 dev eth0 {INSIDE}"],
    ),
    "route blackholed": (
        there(change(DEFAULT4, type="blackhole", gateway=None, device=None)),
        [f"replace route default via 10.0.0.1 {INSIDE}"],
    ),
    "sysctl": (
        there(change(INSIDE_SETTING, value="1")),
        [f"set net.ipv4.conf.all.accept_redirects to 0 (was 1) {INSIDE}"],
    ),
    "rules deleted": (there(without=[RULES]), ["create source NAT pods for 10.0.0.0/24, fd00::/64"]),
    "rules changed": (there(change(RULES, rules=NatRules(("10.0.0.0/24",)))), ["replace source NAT pods"]),
    "rules edited by hand": (there(change(RULES, rules=None)), ["replace source NAT pods"]),
    "resolver edited": (there(change(RESOLVER, content="")), ["rewrite /etc/netns/ns1/resolv.conf"]),
}


@pytest.mark.parametrize("title", DRIFT)
def test_drift_is_put_right(title: str) -> None:
    facts, expected = DRIFT[title]
    assert lines(EVERYTHING, *facts) == expected


# title: (request, what was found, lines)
OPTIONS: dict[str, tuple[Want, list[Fact], list[str]]] = {
    "taken down": (want("veth", {**VETH, "up": False}), there(), ["change veth ve1: up on -> off"]),
    "taken off its bridge": (want("veth", {**VETH, "master": ""}), there(), ["change veth ve1: master br0 -> none"]),
    "port flags": (
        want("veth", {**VETH, "isolated": True, "hairpin": True}),
        there(),
        ["change veth ve1: isolated off -> on, hairpin off -> on"],
    ),
    "MAC": (
        want("linux_bridge", {"name": "br0", "mac": "02:00:00:00:00:01"}),
        there(),
        ["change bridge br0: mac fe:00:00:00:00:01 -> 02:00:00:00:00:01"],
    ),
    "exclusive addresses of a bridge": (
        want("linux_bridge", {"name": "br0", "addresses": ["10.0.0.5/24"], "exclusive_addresses": True}),
        there(),
        [
            "delete address 10.0.0.1/24 from br0",
            "delete address fd00::1/64 from br0",
            "add address 10.0.0.5/24 to br0",
        ],
    ),
    "another address of another range": (
        want("linux_bridge", {"name": "br0", "addresses": ["10.5.0.1/24"]}),
        there(),
        ["add address 10.5.0.1/24 to br0"],
    ),
    "a port is taken in": (
        want("linux_bridge", {"name": "br0", "ports": ["p1"]}),
        there(Link("", "p1", "veth", master="")),
        ["change veth p1: master none -> br0"],
    ),
    "exclusive ports": (
        want("linux_bridge", {"name": "br0", "ports": ["p1"], "exclusive_ports": True}),
        there(Link("", "p1", "veth", master="br0")),
        ["change veth ve1: master br0 -> none"],
    ),
    "a sysctl of an interface that is still to come is what it will inherit": (
        want("netns", {"name": "ns1", "network": "pods", "sysctls": {"net/ipv4/conf/eth5/rp_filter": 2}}),
        there(Setting("ns1", "net/ipv4/conf/default/rp_filter", "2")),
        [],
    ),
}


@pytest.mark.parametrize("title", OPTIONS)
def test_options(title: str) -> None:
    wanted, facts, expected = OPTIONS[title]
    assert lines(wanted, *facts) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (("", "old"), "change veth ve1: name old -> ve1"),
        (("ns2", "ve1"), "change veth ve1: netns ns2 -> host"),
        (("ns2", "old"), "change veth ve1: netns ns2 -> host, name old -> ve1"),
    ],
)
def test_outer_end_found_elsewhere(place: tuple[str, str], expected: str) -> None:
    """An observation files such a link under the place where it shall be."""
    facts = {**{fact.identity: fact for fact in THERE}, PAIR.identity: change(PAIR, netns=place[0], name=place[1])}
    assert make_plan(want("veth", VETH), Have(facts)).actions == [expected]


def test_other_end_that_cannot_be_found_is_told_by_name() -> None:
    """As of a pair whose namespace is being taken away."""
    before = Link("", "np-c1", kind="veth")
    after = Link("", "np-c1", kind="veth", peer=Link("c1", "eth0"))
    assert Step(before, after).line == "change veth np-c1: peer none -> eth0 in namespace c1"
