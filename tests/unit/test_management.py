"""Which links carry the way to a host: a table of links, as the kernel reports them, bonds and VLANs among them."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.link_messages import LinkReply
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.management import closure
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Claim, Link, Setting, Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.management_path import (
    hazards,
    without_hazards,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan

from tests.support.spec_questions import found, want

WHY = "the IPv4 default route of this host"
Table = dict[str, dict[str, t.Any]]


def link(table: Table, name: str) -> LinkReply:
    """A line of the table: kind, master, parent and peer by name, elsewhere: the peer is in another namespace."""
    line, names = table[name], list(table)

    def index(of: str | None) -> int:
        return names.index(of) + 1 if of else 0

    return LinkReply(
        index=index(name),
        name=name,
        kind=line.get("kind", ""),
        flags=1,
        alias=line.get("alias"),
        mac=None,
        mtu=1500,
        master=index(line.get("master")),
        options={},
        peer_index=index(line["peer"]) if "peer" in line else 7 if line.get("elsewhere") else None,
        peer_nsid=3 if line.get("elsewhere") else None,
        qdisc="",
        parent=index(line.get("parent")),
    )


def carrying(table: Table, *first: str) -> dict[str, str]:
    links = {reply.index: reply for reply in (link(table, name) for name in table)}
    reasons = {reply.index: WHY for reply in links.values() if reply.name in first}
    return closure(reasons, links.get, lambda above: [one for one in links.values() if one.master == above.index])


# title: (links, the one of the default route, what else carries it and how that is told)
CASES: dict[str, tuple[Table, str, dict[str, str]]] = {
    "alone": ({"eth0": {}, "eth1": {}, "br0": {"kind": "bridge"}}, "eth0", {}),
    "bond": (
        {"s0": {"master": "bond0"}, "s1": {"master": "bond0"}, "bond0": {"kind": "bond"}, "s2": {}},
        "bond0",
        {"s0": "as a slave of bond0", "s1": "as a slave of bond0"},
    ),
    "team": ({"s0": {"master": "team0"}, "team0": {"kind": "team"}}, "team0", {"s0": "as a slave of team0"}),
    "VLAN": (
        {"s0": {}, "s0.5": {"kind": "vlan", "parent": "s0"}, "s0.6": {"kind": "vlan", "parent": "s0"}},
        "s0.5",
        {"s0": "below s0.5"},
    ),
    "macvlan": ({"s0": {}, "m0": {"kind": "macvlan", "parent": "s0"}}, "m0", {"s0": "below m0"}),
    "tunnel": ({"s0": {}, "vx0": {"kind": "vxlan", "parent": "s0"}}, "vx0", {"s0": "below vx0"}),
    "bridge": (
        {
            "s0": {"master": "br0"},
            "tap0": {"kind": "tun", "master": "br0"},
            "np-c1": {"kind": "veth", "master": "br0", "alias": "netpath:pods", "elsewhere": True},
            "ve0": {"kind": "veth", "master": "br0", "elsewhere": True},
            "br0": {"kind": "bridge"},
        },
        "br0",
        {"s0": "as a port of br0", "tap0": "as a port of br0", "ve0": "as a port of br0"},
    ),
    "bridge on a VLAN on a bond": (
        {
            "s0": {"master": "bond0"},
            "s1": {"master": "bond0"},
            "bond0": {"kind": "bond"},
            "bond0.7": {"kind": "vlan", "parent": "bond0", "master": "br0"},
            "br0": {"kind": "bridge"},
        },
        "br0",
        {
            "bond0.7": "as a port of br0",
            "bond0": "as a port of br0, below bond0.7",
            "s0": "as a port of br0, below bond0.7, as a slave of bond0",
            "s1": "as a port of br0, below bond0.7, as a slave of bond0",
        },
    ),
    "VRF above": ({"eth0": {"master": "vrf0"}, "vrf0": {"kind": "vrf"}}, "eth0", {"vrf0": "as the master of eth0"}),
    "pair to a bridge": (
        {
            "up0": {"kind": "veth", "peer": "up1"},
            "up1": {"kind": "veth", "peer": "up0", "master": "br0"},
            "br0": {"kind": "bridge"},
            "s0": {"master": "br0"},
        },
        "up0",
        {
            "up1": "as the other end of up0",
            "br0": "by the other end of up0",
            "s0": "by the other end of up0, as a port of br0",
        },
    ),
    "pair to a namespace": ({"up0": {"kind": "veth", "elsewhere": True}, "x": {}}, "up0", {}),
    "parent that is gone": ({"m0": {"kind": "macvlan", "parent": None}}, "m0", {}),
}


@pytest.mark.parametrize("title", CASES)
def test_all_that_is_below_and_above(title: str) -> None:
    table, first, others = CASES[title]
    assert carrying(table, first) == {first: WHY, **{name: f"{WHY}, {how}" for name, how in others.items()}}


def test_links_that_lead_to_each_other_end() -> None:
    table: Table = {
        "a": {"kind": "veth", "peer": "b", "master": "br0"},
        "b": {"kind": "veth", "peer": "a", "master": "br0"},
        "br0": {"kind": "bridge"},
    }
    assert set(carrying(table, "br0")) == {"a", "b", "br0"}


def test_last_slave_of_a_bond_is_not_enslaved() -> None:
    there = Link("", "s0", "", master="bond0", up=True)
    table: Table = {"s0": {"master": "bond0"}, "bond0": {"kind": "bond"}}
    with pytest.raises(ConflictError, match=f"enslave s0: it carries {WHY}, as a slave of bond0"):
        make_plan(
            want("linux_bridge", {"name": "br0", "ports": ["s0"]}), found(there, protected=carrying(table, "bond0"))
        )


def test_what_may_cut_the_way_is_left_out_and_the_rest_stays() -> None:
    bridge = Link("", "br0", "bridge", alias="netpath:", mtu=1500, stp=True, ageing_time=300, up=True)
    filtering = Setting("", "net/ipv4/conf/br0/rp_filter", "0")
    harmless = Setting("", "net/ipv4/ip_forward", "0")
    have = found(bridge, filtering, harmless, protected={"br0": WHY})
    asked = Want(
        (
            Link("", "br0", "bridge", mtu=1400, stp=False, ageing_time=100),
            Claim("pods", "", filtering.key, "1", True),
            Setting("", filtering.key, "1"),
            Setting("", harmless.key, "1"),
        )
    )
    plan = make_plan(asked, have)
    risky = hazards(plan.steps, have)
    assert len(risky) == 2
    rest = make_plan(without_hazards(asked, plan.steps, have), have)
    assert rest.actions == ["change bridge br0: ageing_time 300 -> 100", "set net.ipv4.ip_forward to 1 (was 0)"]
    assert hazards(rest.steps, have) == []
