"""Bridges and namespaces as they were seen, described as networks: what this machine's kernel may not have."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.networks import described
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.note import Notes
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.seen import Bridge, Member, Seen
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.link_messages import LinkReply
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Vlans
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import HostView

Options = dict[str, t.Any]


def link(index: int, name: str, kind: str = "veth", **options: t.Any) -> LinkReply:
    return LinkReply(index, name, kind, 1, None, "02:00:00:00:00:01", 1500, 0, options, None, None, "")


def member(number: int, **more: t.Any) -> Member:
    given: dict[str, t.Any] = {"addresses": (f"10.22.33.{number}/24",), "gateways": {4: "10.22.33.1"}, **more}
    return Member(f"n{number}", link(2, "eth0"), link(10 + number, f"veth{number}"), **given)


def bridge(*members: Member, name: str = "br-pods", vlans: Vlans | None = None, **more: t.Any) -> Bridge:
    given: dict[str, t.Any] = {"network": None, "addresses": ("10.22.33.1/24",), **more}
    return Bridge(link(1, name, "bridge", vlan_filtering=vlans is not None), members=members, vlans=vlans, **given)


def told(*bridges: Bridge) -> tuple[list[Options], list[str]]:
    notes = Notes()
    view = HostView(uplinks={4: [["eth7"]]}, mtus={"eth7": 1500})
    return described(Seen(bridges, view), notes), [f"{note['about']}: {note['seen']}" for note in notes.data()]


def port(number: int, untagged: int, *tagged: int) -> Member:
    return member(number, vlans=Vlans("", f"veth{number}", untagged, tagged))


@pytest.mark.parametrize(
    ("own", "members", "options", "namespaces"),
    [
        (1, [port(2, 1), port(3, 1)], {"vlan_filtering": True}, ["n2", "n3"]),
        (
            10,
            [port(2, 10), port(3, 20), port(4, 0, 30, 40), port(5, 6, 7)],
            {"vlan": 10},
            [
                "n2",
                {"name": "n3", "vlan": 20},
                {"name": "n4", "trunk": [30, 40]},
                {"name": "n5", "vlan": 6, "trunk": [7]},
            ],
        ),
    ],
)
def test_vlans(own: int, members: list[Member], options: Options, namespaces: list[t.Any]) -> None:
    networks, notes = told(bridge(*members, vlans=Vlans("", "br-pods", own, ())))
    plain = {"name": "pods", "subnets": ["10.22.33.0/24"], "nat": "none"}
    assert [
        {**one, "namespaces": [dict(n) if isinstance(n, dict) else n for n in one["namespaces"]]} for one in networks
    ] == [{**plain, **options, "namespaces": namespaces}]
    assert notes == []


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["br-pods"], ["pods"]),
        (["br0", "BR_0", "br0-"], ["br0", "br-0", "br0-2"]),
        (["___"], ["net"]),
        (["{{ x }}".replace(" ", "")], ["x"]),
    ],
)
def test_names_of_networks(names: list[str], wanted: list[str]) -> None:
    made = []
    for number, name in enumerate(names):
        inside = member(2, addresses=(f"10.22.{number}.2/24",), gateways={4: f"10.22.{number}.1"})
        renamed = Member(f"ns{number}", inside.inner, inside.outer, inside.addresses, inside.gateways)
        made.append(bridge(renamed, name=name, addresses=(f"10.22.{number}.1/24",)))
    networks, notes = told(*made)
    assert [network["name"] for network in networks] == wanted
    assert notes == []
    assert [network.get("bridge", "br-" + network["name"]) for network in networks] == names


def test_networks_that_cannot_be_together_are_noted() -> None:
    other = bridge(Member("m", link(2, "eth0"), link(9, "m0"), ("10.22.33.9/24",), {4: "10.22.33.1"}), name="br1")
    networks, notes = told(bridge(member(2)), other)
    assert [network["name"] for network in networks] == ["pods"]
    (note,) = notes
    assert note.startswith("bridge br1: br1.subnets: 10.22.33.0/24 overlaps 10.22.33.0/24 of pods.subnets; choose")


def test_many_namespaces_in_no_order() -> None:
    """Each has the address that another one would be given."""
    found, notes = told(bridge(*(member(254 - number) for number in range(200))))
    assert notes == []
    assert len(found[0]["namespaces"]) == 200
    assert found[0]["namespaces"][0] == {"name": "n55", "addresses": ["10.22.33.55/24"]}


def test_bridge_that_is_the_uplink() -> None:
    assert told(bridge(member(2), routed=True)) == (
        [],
        ["bridge br-pods: the host's own default route leads to it"],
    )
