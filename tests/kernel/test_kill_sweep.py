"""A run is killed at each of its steps: what was wanted is there in full, without another run.

At every fourth and the first of each kind, at all with NIGHTLY=1.
"""

from __future__ import annotations

import itertools
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.kill_injection import killed_at, kinds_of_steps
from tests.support.scope import SHARES, places, share_of
from tests.support.transitions import EMPTY, OTHER_PODS, PODS, ROUTES, State, Way, put_theirs

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

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


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("case", CASES)
def test_run_that_is_killed(node: Node, record_property: Record, case: str, share: int) -> None:
    one, other = CASES[case]
    words = case.split(" and ")
    ways = {words[0]: Way(node, one, other), words[1]: Way(node, other, one)}
    kinds = {word: _kinds(node, way) for word, way in ways.items()}
    taken = {word: share_of(places(kinds[word]), share) for word in ways}
    for numbers in itertools.zip_longest(*taken.values()):
        # There and back in turn, so that each begins where the other has ended.
        for way, number in zip(ways.values(), numbers):
            if number is None:
                node.call(way.action)
            else:
                assert node.call(killed_at, number, way.action), number
                way.check(number)
    for word, places_taken in taken.items():
        assert len(kinds[word]) >= STEPS, word
        told = f"finished by what outlives it: {', '.join(map(str, places_taken))}"
        record_property("fault sweep", (word, "it is killed", f"{len(places_taken)} of {len(kinds[word])}", told))


def _kinds(node: Node, way: Way) -> list[tuple[str, bool, bool]]:
    node.call(way.back)
    return node.call(kinds_of_steps, way.action)
