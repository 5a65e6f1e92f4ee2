"""egress_path in one transaction, and the other modules one after the other, leave the same host."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build, build_at_once
from tests.support.generated_networks import networks

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


@pytest.mark.parametrize("seed", range(10))
def test_both_ways_leave_the_same_host(node: Node, seed: int) -> None:
    asked = networks(seed)
    before = settled(node)
    assert node.call(build_at_once, asked)
    at_once = settled(node)
    assert node.call(build, asked) == []
    node.call(build_at_once, asked, absent=True)
    assert difference(before, settled(node)) == ""
    assert node.call(build, asked)
    assert difference(at_once, settled(node)) == ""
    assert node.call(build_at_once, asked) == []
