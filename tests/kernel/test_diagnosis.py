"""What the diagnosis reports of paths and their targets. Each fault of the catalogue is in test_faults.py."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.diagnosing import PODS, TARGETS, checked, record, told
from tests.support.fault_catalogue import FAULTS
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.mark.parametrize("title", ["forward drops", "rule that drops ahead of ours", "answers dropped"])
def test_drop_of_somebody_else_is_for_a_person(node: Node, title: str) -> None:
    """The role does not change it, so nobody is sent to run it."""
    node.call(build_at_once, [PODS])
    node.run(["sh", "-ec", FAULTS[title].inject])
    verdict = told(node, "c1", [PODS])["ipv4"]
    assert (verdict["code"], verdict["tier"]) == ("FORWARD_DROPPED", "advise"), verdict
    assert "role egress" not in verdict["fix"]
    assert {(one["tier"], one["fix"]) for one in verdict["findings"]} == {("advise", verdict["fix"])}


def test_same_thing_told_of_all_targets_is_one_finding(node: Node) -> None:
    """By what the filter says, and by what became of each packet."""
    node.call(build_at_once, [PODS])
    node.run(["nft", "add table ip fw; add chain ip fw f { type filter hook forward priority 0; policy drop; }"])
    verdict = told(node, "c1", [PODS], asked=[TARGETS[0], f"tcp://{TARGETS[0]}:7070"])["ipv4"]
    assert [(one["code"], one["evidence"]) for one in verdict["findings"]] == [("FORWARD_DROPPED", verdict["evidence"])]
    for proof in ("the nftables chain ip fw f", f"icmp {TARGETS[0]} from c1: no", f"tcp {TARGETS[0]}:7070 from c1: no"):
        assert [said for said in verdict["evidence"] if proof in said], verdict["evidence"]


def test_routed_network_that_the_world_does_not_know(
    node: Node, record_property: t.Callable[[str, object], None]
) -> None:
    networks = [{**PODS, "nat": "none"}]
    node.call(build_at_once, networks)
    found = told(node, "c1", networks)
    assert {(one["code"], one["status"]) for one in found.values()} == {("NO_RETURN_ROUTE", "broken")}, found
    record(found["ipv4"], 38, "routed, and no route upstream", record_property)


def test_nobody_upstream(node: Node, record_property: t.Callable[[str, object], None]) -> None:
    node.call(build_at_once, [PODS])
    found = node.call(checked, [PODS], True, ["198.51.100.99", "tcp://[2001:db8:51::99]:80"])
    assert {(one["code"], one["hop"]) for one in found} == {("UPSTREAM_UNREACHABLE", "upstream")}, found
    record(found[0], 40, "nobody upstream", record_property)


@pytest.mark.parametrize("port", [7070, 9])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_protocols(node: Node, protocol: str, port: int) -> None:
    """A refusal is an answer as well: the packet was there and back."""
    node.call(build_at_once, [PODS])
    asked = [f"{protocol}://{TARGETS[0]}:{port}", f"{protocol}://[{TARGETS[1]}]:{port}"]
    found = node.call(checked, [PODS], True, asked)
    assert {one["status"] for one in found} == {"ok"}, found


def test_without_a_target_it_is_the_gateway_of_the_uplink(node: Node) -> None:
    node.call(build_at_once, [PODS])
    found = node.call(checked, [PODS], True, [])
    assert {one["status"] for one in found} == {"ok"}, found


def test_gateway_that_is_link_local_is_not_asked(world: World, node: Node) -> None:
    """Nobody else is there to ask: what looks right is unknown, and a target says more."""
    link_local = world.internet.run(
        ["ip", "-6", "-o", "addr", "show", "dev", "uplink0", "scope", "link"]
    ).stdout.split()[3]
    node.run(["ip", "-6", "route", "replace", "default", "via", link_local.split("/")[0], "dev", "uplink0"])
    node.call(build_at_once, [PODS])
    found = told(node, "c1", [PODS], asked=[])
    assert {family: (one["status"], one["findings"]) for family, one in found.items()} == {
        "ipv4": ("ok", []),
        "ipv6": ("unknown", []),
    }
    assert {one["status"] for one in told(node, "c1", [PODS]).values()} == {"ok"}


def test_consequences_are_no_findings(node: Node) -> None:
    """A link that is down has no IPv6 address and no carrier."""
    node.call(build_at_once, [PODS])
    node.run(["ip", "-n", "c1", "link", "set", "eth0", "down"])
    found = told(node, "c1", [PODS])
    assert {tuple(listed["code"] for listed in one["findings"]) for one in found.values()} == {("LINK_DOWN",)}, found


@pytest.mark.smoke
def test_missing_default_route_is_said_in_both_families(node: Node) -> None:
    node.call(build_at_once, [PODS])
    node.run(["sh", "-ec", "ip -n c1 route del default; ip -n c1 -6 route del default"])
    found = told(node, "c1", [PODS])
    for one in found.values():
        assert (one["hop"], "default route" in one["summary"]) == ("route", True), one
        assert one["findings"][0]["summary"] == one["summary"]


def test_family_without_a_target_has_the_gateway(node: Node) -> None:
    node.call(build_at_once, [PODS])
    found = node.call(checked, [PODS], True, TARGETS[:1])
    assert {one["status"] for one in found} == {"ok"}, found


def test_nothing_is_sent_unless_asked(world: World, node: Node) -> None:
    node.call(build_at_once, [PODS])
    before = world.internet.seen()
    found = node.call(checked, [PODS], False)
    assert {(one["status"], one["code"]) for one in found} == {("unknown", None)}, found
    assert world.internet.seen() == before


def test_many_at_once_that_get_no_answer(node: Node) -> None:
    networks = [{"name": "many", "subnets": ["10.44.0.0/24"], "prefix": "n", "count": 12}]
    node.call(build_at_once, networks)
    found = node.call(checked, networks, True, ["198.51.100.99", f"udp://{TARGETS[0]}:53"])
    assert {one["code"] for one in found} == {"UPSTREAM_UNREACHABLE"}, found
    node.call(build_at_once, networks, absent=True)


def _checked_with(programs: str, networks: list[Options]) -> list[t.Any]:
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    return checked(networks)


def test_rules_that_cannot_be_read(node: Node, tmp_path: Path) -> None:
    """A packet decides, and without one nobody can tell."""
    node.call(build_at_once, [PODS])
    program = tmp_path / "nft"
    program.write_text("#!/bin/sh\necho broken >&2; exit 1\n", encoding="ascii")
    program.chmod(0o755)
    found = node.call(_checked_with, str(tmp_path), [PODS])
    assert {(one["status"], one["code"]) for one in found} == {("ok", None)}, found
    said = [hop["evidence"] for one in found for hop in one["hops"] if hop["hop"] == "forward_policy"]
    assert all("broken" in str(evidence) for evidence in said), said
