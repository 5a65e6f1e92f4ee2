"""Each operation of the kernel fails once: what was there stays, or what was wanted is there in full.

Every fourth and the first of each kind, all with NIGHTLY=1.
"""

from __future__ import annotations

import errno
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.fault_injection import failing, operations_of
from tests.support.scope import SHARES, places, share_of
from tests.support.transitions import EMPTY, OTHER_PODS, PODS, State, Way, put_theirs, state, without_notes

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

Record = t.Callable[[str, object], None]
CODES = (errno.EPERM, errno.ENOSPC, errno.ENOBUFS, errno.EBUSY, errno.EEXIST, errno.EINTR)
# As many, at least, has a run.
OPERATIONS = 20
# (what is there, what is asked for)
CASES: dict[str, tuple[State, State]] = {
    "built": (EMPTY, ([PODS], [])),
    "changed": (([PODS], []), ([OTHER_PODS], [])),
    "removed": (([PODS], []), EMPTY),
}


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        put_theirs(world.nodes[0])
        yield world.nodes[0]


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("case", CASES)
def test_operation_that_fails(node: Node, record_property: Record, case: str, share: int) -> None:
    way = Way(node, *CASES[case])
    node.call(way.back)
    operations = node.call(operations_of, way.action)
    assert len(operations) >= OPERATIONS
    taken = places(operations)
    numbers = share_of(taken, share)
    outcomes = {"put back": 0, "done all the same": 0}
    for number in numbers:
        code = CODES[taken.index(number) % len(CODES)]
        node.call(way.back)
        operation, error, put_back = node.call(failing, way.action, number, code)
        assert operation == operations[number]
        assert put_back, (number, operation, error)
        now = state(node)
        done = difference(without_notes(way.wanted), without_notes(now)) == ""
        assert done or (error and difference(way.before, now) == ""), (number, operation, error)
        outcomes["done all the same" if done else "put back"] += 1
        way.finish(number)
    told = ", ".join(f"{number} {word}" for word, number in outcomes.items())
    which = f"{len(numbers)} of {len(operations)}"
    record_property("fault sweep", (case, "an operation fails", which, f"{told}: {', '.join(map(str, numbers))}"))
