"""Hosts of the field with unusual routing: built, healthy, and no finding; and what is said where they are not."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege
from tests.lab.world import Node, World, wire
from tests.support.building import build_at_once
from tests.support.diagnosing import checked
from tests.support.field_hosts import BROKEN, HEALTHY, Host

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


def _set_up(world: World, node: Node, host: Host) -> None:
    # An earlier node had the same addresses on its second link.
    world.internet.run(["ip", "neigh", "flush", "dev", "uplink0"])
    if host.second:
        wire(world.segment, node, "wg0", port=f"{node.name}-2")
    if host.internet:
        world.internet.run(["sh", "-ec", _own(host.internet, node)])
    node.run(["sh", "-ec", _own(host.before, node)])
    node.call(build_at_once, [host.network])
    node.run(["sh", "-ec", host.after])


def _own(script: str, node: Node) -> str:
    return script.replace("OWN6", node.address6).replace("OWN", node.address)


@pytest.mark.parametrize("title", HEALTHY)
def test_nothing_is_wrong(world: World, title: str) -> None:
    """And the next run changes nothing. Without targets nobody claims more than a look at the way to the gateway."""
    host = HEALTHY[title]
    with world.add_node() as node:
        _set_up(world, node, host)
        found = node.call(checked, [host.network], True, host.targets)
        assert [(one["status"], one["findings"]) for one in found] == [("ok", [])] * len(found), found
        assert {one["status"] for one in node.call(checked, [host.network], True, ())} <= {"ok", "unknown"}
        assert node.call(build_at_once, [host.network], check=True) == []


@pytest.mark.parametrize("title", BROKEN)
def test_what_is_wrong_is_named(world: World, title: str) -> None:
    """By its hop, with what proves it, and with what a person does: no run of the role would change anything."""
    host = BROKEN[title]
    with world.add_node() as node:
        try:
            _set_up(world, node, host)
            found = node.call(checked, [host.network], True, host.targets)
        finally:
            world.internet.run(["ip", "route", "del", f"{node.address}/32"], check=False)
        (verdict,) = [one for one in found if one["namespace"] == "c1"]
        told = (verdict["status"], verdict["code"], verdict["hop"])
        assert told == (host.status, host.code, host.hop), verdict
        assert host.proof in "; ".join(verdict["evidence"]), verdict
        assert host.fix in verdict["fix"]
        assert {one["tier"] for one in verdict["findings"]} <= {"advise", "confirm"}, verdict
        assert node.call(build_at_once, [host.network], check=True) == []
