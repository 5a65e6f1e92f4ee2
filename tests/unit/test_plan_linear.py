"""What a tenant puts into its namespace makes plans longer, and no more than that."""

from __future__ import annotations

import sys
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Address,
    Fact,
    Link,
    Namespace,
    Route,
    Want,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.state import Have

MARK = "netpath:pods"
PLACE = ("c1", "eth0")
WANTED = Address(*PLACE, "10.22.33.2/24")


def of_one_subnet(count: int) -> t.Iterator[Fact]:
    for number in range(count):
        yield Address(
            *PLACE, f"10.{40 + number // 60000}.{number // 250 % 240}.{number % 250 + 1}/8", secondary=number > 0
        )


def of_many_subnets(count: int) -> t.Iterator[Fact]:
    for number in range(count):
        yield Address(*PLACE, f"10.{40 + number // 60000}.{number // 250 % 240}.{number % 250 + 1}/32")


def of_six(count: int) -> t.Iterator[Fact]:
    for number in range(count):
        yield Address(*PLACE, f"2001:db8::{number + 1:x}/128")
        yield Address(*PLACE, f"10.{40 + number // 60000}.{number // 250 % 240}.{number % 250 + 1}/32")


def with_routes(count: int) -> t.Iterator[Fact]:
    for number in range(count):
        yield Address(*PLACE, f"10.{number // 250}.{number % 250}.1/32")
        yield Route("c1", f"203.{number // 250}.{number % 250}.0/24", type="unicast", device="eth0", protocol=3)


def calls(kind: t.Callable[[int], t.Iterable[Fact]], count: int) -> int:
    """How many functions, of Python or of C, a plan with so many things of a tenant takes."""
    ends = Link("", "np-c1", kind="veth", alias=MARK, up=True, peer=Link(*PLACE, kind="veth", alias=MARK, up=True))
    base: list[Fact] = [Namespace("c1", alias=MARK, loopback=True), ends]
    facts = {fact.identity: fact for fact in [*base, *kind(count)]}
    want = Want((*base, WANTED), exclusive_addresses=frozenset([PLACE]))
    number = 0

    def count_calls(_frame: t.Any, event: str, _argument: t.Any) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count_calls)
    try:
        plan = make_plan(want, Have(facts=facts))
    finally:
        sys.setprofile(None)
    assert len(plan.steps) > count
    return number


@pytest.mark.parametrize("kind", [of_one_subnet, of_many_subnets, of_six, with_routes])
def test_plan_grows_with_what_a_tenant_has_and_no_faster(kind: t.Callable[[int], t.Iterable[Fact]]) -> None:
    small, large = calls(kind, 100), calls(kind, 800)
    assert large < 12 * small
