"""Facts are found by namespace and place, whatever was put there and taken away before."""

from __future__ import annotations

from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Address, Link
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.facts import Facts

INSIDE = Address("c1", "eth0", "10.0.0.2/24")
OUTSIDE = Address("", "br0", "10.0.0.1/24")
PAIR = Link("", "np-c1", kind="veth", alias="netpath:pods", peer=Link("c1", "eth0", alias="netpath:pods"))


def test_found_by_namespace() -> None:
    facts = Facts({fact.identity: fact for fact in (INSIDE, OUTSIDE, PAIR)})
    assert list(facts.inside("c1").values()) == [INSIDE]
    assert list(facts.inside("").values()) == [OUTSIDE, PAIR]
    del facts[INSIDE.identity]
    assert (list(facts.inside("c1")), list(facts.inside("c2"))) == ([], [])


def test_found_by_place() -> None:
    facts = Facts({PAIR.identity: PAIR})
    assert facts.end("", "np-c1") == PAIR
    assert facts.end("c1", "eth0") == PAIR.peer
    moved = Link("", "np-c1", kind="veth", peer=Link("c2", "eth0"))
    facts[PAIR.identity] = moved
    assert (facts.end("c1", "eth0"), facts.end("c2", "eth0")) == (None, moved.peer)
    del facts[PAIR.identity]
    assert (facts.end("", "np-c1"), facts.end("c2", "eth0")) == (None, None)
