"""A run is killed at each of its steps: what was wanted is there in full, without another run."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.kill_injection import killed_at
from tests.support.transitions import EMPTY, OTHER_PODS, PODS, ROUTES, State, Way, put_theirs

_OBSTACLE = privilege.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(900)]

Record = t.Callable[[str, object], None]
# As many, at least, has the plan of a run that is killed.
STEPS = 60
# (what is there, what is asked for)
CASES: dict[str, tuple[State, State]] = {
    "built and removed": (EMPTY, ([PODS], ROUTES)),
    "changed and back": (([PODS], ROUTES[:17]), ([OTHER_PODS], ROUTES[17:34])),
}


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        put_theirs(world.nodes[0])
        yield world.nodes[0]


@pytest.mark.parametrize("case", CASES)
def test_run_that_is_killed(node: Node, record_property: Record, case: str) -> None:
    one, other = CASES[case]
    words = case.split(" and ")
    ways = {words[0]: Way(node, one, other), words[1]: Way(node, other, one)}
    killed = dict.fromkeys(ways, 0)
    going = set(ways)
    while going:
        # There and back in turn, so that each begins where the other has ended.
        for word, way in ways.items():
            if not node.call(killed_at, killed[word], way.action):
                going.discard(word)
                continue
            way.check(killed[word])
            killed[word] += 1
    for word, number in killed.items():
        assert number >= STEPS, word
        record_property("fault sweep", (word, "it is killed", str(number), f"{number} finished by what outlives it"))
