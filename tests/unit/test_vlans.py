"""VLANs of ports: options, plans, and the messages to a kernel that has VLAN filtering."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import vlans
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.attributes import attribute
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Link, Vlans
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import module_options
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView

from tests.support.spec_questions import Options, found, want

PAIR: Options = {"name": "ve1", "master": "br0", "peer": {"name": "eth0"}}
BRIDGE = Link("", "br0", kind="bridge", alias="netpath:", up=True, vlan_filtering=True)
PEER = Link("", "eth0", kind="veth", alias="netpath:", up=True)
PORT = Link("", "ve1", kind="veth", alias="netpath:", master="br0", up=True, peer=PEER)

# {title: (options of the port, VLANs found, line of the plan)}
PLANS: dict[str, tuple[Options, Vlans, list[str]]] = {
    "access": ({"vlan": 10}, Vlans("", "ve1", 1, ()), ["put ve1 in VLAN 10 (was in VLAN 1)"]),
    "trunk": (
        {"trunk": [30, 20]},
        Vlans("", "ve1", 1, ()),
        ["put ve1 in VLANs 20, 30 tagged (was in VLAN 1)"],
    ),
    "trunk with a VLAN of its own": (
        {"vlan": 10, "trunk": [20]},
        Vlans("", "ve1", 0, ()),
        ["put ve1 in VLAN 10 and VLANs 20 tagged (was in no VLAN)"],
    ),
    "as it is": ({"vlan": 10, "trunk": [20]}, Vlans("", "ve1", 10, (20,)), []),
    "not asked for": ({}, Vlans("", "ve1", 10, (20,)), []),
    "out of all": ({"trunk": []}, Vlans("", "ve1", 1, ()), ["put ve1 in no VLAN (was in VLAN 1)"]),
}


@pytest.mark.parametrize("case", list(PLANS.values()), ids=list(PLANS))
def test_plans(case: tuple[Options, Vlans, list[str]]) -> None:
    options, there, lines = case
    assert make_plan(want("veth", {**PAIR, **options}), found(BRIDGE, PORT, there)).actions == lines


def test_new_port_gets_its_vlans() -> None:
    plan = make_plan(want("veth", {**PAIR, "vlan": 10}), found(BRIDGE))
    assert plan.actions == ["create veth ve1 with peer eth0 on the host on bridge br0", "put ve1 in VLAN 10"]


def test_port_that_changes_bridges_gets_them_again() -> None:
    stolen = Link(**{**vars(PORT), "master": "br9"})
    plan = make_plan(want("veth", {**PAIR, "vlan": 10}), found(BRIDGE, stolen, Vlans("", "ve1", 10, ())))
    assert plan.actions == ["change veth ve1: master br9 -> br0", "put ve1 in VLAN 10"]


def test_bridge_has_a_vlan_of_its_own() -> None:
    plan = make_plan(want("linux_bridge", {"name": "br0", "vlan": 10}), found(BRIDGE, Vlans("", "br0", 1, ())))
    assert plan.actions == ["put br0 in VLAN 10 (was in VLAN 1)"]


# {title: (options, key, words)}
WRONG: dict[str, tuple[Options, str, str]] = {
    "too large": ({**PAIR, "vlan": 4095}, "vlan", "4095 is out of range. allowed are 1 to 4094"),
    "none": ({**PAIR, "trunk": [0]}, "trunk[0]", "0 is out of range"),
    "twice": ({**PAIR, "trunk": [5, 5]}, "trunk", "'5' is listed twice"),
    "tagged and not": ({**PAIR, "vlan": 5, "trunk": [5]}, "trunk", "5 is also that of frames without a tag"),
    "on no bridge": ({**PAIR, "master": None, "vlan": 5}, "vlan", "vlan and trunk need master"),
}


@pytest.mark.parametrize("case", list(WRONG.values()), ids=list(WRONG))
def test_what_is_refused(case: tuple[Options, str, str]) -> None:
    options, key, words = case
    with pytest.raises(SpecError) as caught:
        want("veth", options)
    assert caught.value.asked == key
    assert words in f"{caught.value.found}. {caught.value.advice}"


def test_network_and_namespaces() -> None:
    namespaces = ["a", {"name": "b", "vlan": 20}, {"name": "c", "trunk": [30]}]
    network = {"name": "pods", "subnets": ["10.0.0.0/24"], "vlan_filtering": True, "vlan": 10, "namespaces": namespaces}
    options = module_options([network], HostView())
    (bridge,) = options["linux_bridge"]
    assert (bridge["vlan_filtering"], bridge["vlan"]) == (True, 10)
    assert [(port.get("vlan"), port.get("trunk")) for port in options["veth"]] == [(10, None), (20, None), (None, [30])]


@pytest.mark.parametrize(
    ("network", "namespace", "filtering"),
    [
        ({}, {}, None),
        ({"vlan_filtering": False}, {}, False),
        ({"vlan": 10}, {}, True),
        ({}, {"vlan": 20}, True),
        ({}, {"trunk": [30]}, True),
    ],
)
def test_vlan_of_a_network_switches_filtering_on(network: Options, namespace: Options, filtering: bool | None) -> None:
    asked = {"name": "pods", "subnets": ["10.0.0.0/24"], **network, "namespaces": ["a", {"name": "b", **namespace}]}
    (bridge,) = module_options([asked], HostView())["linux_bridge"]
    assert bridge.get("vlan_filtering") is filtering


def test_messages() -> None:
    """Left first, then joined; a bridge is told that it is meant itself."""
    header = struct.Struct("=BxHiII")

    def message(kind: int, flags: int, vlan: int, own: bool = False) -> tuple[int, bytes]:
        spec = attribute(0, struct.pack("=H", 2)) if own else b""
        spec += attribute(2, struct.pack("=HH", flags, vlan))
        return kind, header.pack(7, 0, 5, 0, 0) + attribute(26, spec)

    sent = [(m.type, m.body) for m in vlans.put(Vlans("", "ve1", 1, (7,)), Vlans("", "ve1", 10, (7, 20)), 5, False)]
    assert sent == [message(17, 0, 1), message(19, 0, 7), message(19, 6, 10), message(19, 0, 20)]
    sent = [(m.type, m.body) for m in vlans.put(None, Vlans("", "br0", 10, ()), 5, True)]
    assert sent == [message(17, 0, 1, True), message(19, 6, 10, True)]


def test_listing_is_read() -> None:
    infos = b"".join(attribute(2, struct.pack("=HH", *info)) for info in ((0, 30), (6, 10), (4, 20)))
    body = struct.pack("=BxHiII", 7, 0, 5, 0, 0) + attribute(3, b"ve1\0") + attribute(26, infos)
    assert vlans.parse(body, "", "ve1") == Vlans("", "ve1", 10, (20, 30))
    assert vlans.parse(body[:16], "", "ve1") == Vlans("", "ve1", 0, ())
