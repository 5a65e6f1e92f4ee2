"""Which namespace gets which address: the same each time, whatever is added, removed or reordered."""

from __future__ import annotations

import ipaddress
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.allocation import allocate, gateway_for
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import Network, parse_networks
from hypothesis import given
from hypothesis import strategies as st

SUBNETS = ("10.0.0.0/26", "fd00::/64")
Assigned = dict[str, tuple[str, ...]]


def network(*namespaces: t.Any, subnets: t.Sequence[str] = SUBNETS, **fields: t.Any) -> Network:
    entry = {"name": "pods", "subnets": list(subnets), "namespaces": list(namespaces), **fields}
    return parse_networks([entry])[0]


def test_first_free_ones_in_order() -> None:
    assert allocate(network("b", "a"), {}) == {"b": ("10.0.0.2/26", "fd00::2/64"), "a": ("10.0.0.3/26", "fd00::3/64")}


def test_explicit_ones_are_kept_free() -> None:
    found = allocate(network("a", {"name": "b", "addresses": ["10.0.0.2/26", "fd00::2/64"]}), {})
    assert found["a"] == ("10.0.0.3/26", "fd00::3/64")
    assert found["b"] == ("10.0.0.2/26", "fd00::2/64")


def test_explicit_one_that_a_neighbour_has_is_taken_from_it() -> None:
    there = {"a": ("10.0.0.2/26", "fd00::2/64")}
    found = allocate(network("a", {"name": "b", "addresses": ["10.0.0.2/26"]}), there)
    assert found == {"a": ("10.0.0.3/26", "fd00::2/64"), "b": ("10.0.0.2/26",)}


@pytest.mark.parametrize(
    "there",
    [
        ("10.0.0.1/26", "fd00::1/64"),  # the gateway's
        ("10.0.0.9/24", "fd00::9/48"),  # of another prefix length
        ("10.9.0.9/26", "fd09::9/64"),  # of another subnet
        (),
    ],
)
def test_what_does_not_fit_is_not_kept(there: tuple[str, ...]) -> None:
    assert allocate(network("a"), {"a": there}) == {"a": ("10.0.0.2/26", "fd00::2/64")}


def test_one_that_two_have_stays_with_the_first() -> None:
    found = allocate(network("a", "b"), {"a": ("10.0.0.9/26",), "b": ("10.0.0.9/26",)})
    assert (found["a"][0], found["b"][0]) == ("10.0.0.9/26", "10.0.0.2/26")


def test_several_subnets_of_a_family_are_filled_one_after_the_other() -> None:
    found = allocate(network("a", "b", "c", subnets=["10.0.0.0/30", "10.0.1.0/29"]), {})
    assert found == {"a": ("10.0.0.2/30",), "b": ("10.0.1.2/29",), "c": ("10.0.1.3/29",)}


def test_gateway_of_the_same_subnet() -> None:
    made = network(subnets=["10.0.0.0/30", "10.0.1.0/29", "fd00::/64"], gateway=["10.0.1.6", "10.0.0.2", "fd00::9"])
    assert [gateway_for(made, cidr) for cidr in ("10.0.0.1/30", "10.0.1.1/29", "fd00::5/64")] == [
        "10.0.0.2",
        "10.0.1.6",
        "fd00::9",
    ]


@pytest.mark.parametrize(
    ("subnet", "room"),
    [("10.0.0.0/29", 5), ("10.0.0.0/30", 1), ("10.0.0.0/31", 1), ("fd00::/126", 2), ("fd00::/127", 1)],
)
def test_all_of_a_subnet_is_used_and_no_more(subnet: str, room: int) -> None:
    names = [f"n{number}" for number in range(room + 1)]
    made = network(*names[:room], subnets=[subnet])
    found = allocate(made, {})
    addresses = [cidr for cidrs in found.values() for cidr in cidrs]
    assert len({*addresses, *made.gateways}) == room + 1
    with pytest.raises(SpecError, match=f"too few for the gateway and {room + 1} namespaces"):
        allocate(network(*names, subnets=[subnet]), {})


_NAMES = st.lists(st.sampled_from([f"n{number}" for number in range(12)]), unique=True, max_size=12)


@given(first=_NAMES, second=_NAMES, data=st.data())
def test_nobody_moves(first: list[str], second: list[str], data: st.DataObject) -> None:
    before = allocate(network(*first), {})
    # What is gone from the list may still be there, or not any more.
    there = {name: cidrs for name, cidrs in before.items() if name in second or data.draw(st.booleans())}
    after = allocate(network(*second), there)
    assert list(after) == second
    assert {name: after[name] for name in second if name in before} == {n: before[n] for n in second if n in before}
    assert allocate(network(*second), after) == after


@given(
    names=_NAMES,
    assigned=st.dictionaries(
        st.sampled_from([f"n{number}" for number in range(14)]),
        st.lists(st.integers(0, 70).map(lambda host: f"10.0.0.{host}/26") | st.just("fd00::7/64"), max_size=3).map(
            tuple
        ),
    ),
    explicit=st.dictionaries(st.sampled_from(["n0", "n1", "x"]), st.integers(40, 45), max_size=3),
)
def test_always_valid(names: list[str], assigned: Assigned, explicit: dict[str, int]) -> None:
    """Whatever there was, everybody gets one address a family, inside the subnet, and nobody's twice."""
    distinct = dict(zip(explicit, dict.fromkeys(explicit.values())))
    entries = [name for name in names if name not in distinct]
    entries_with = [
        {"name": name, "addresses": [f"10.0.0.{host}/26", f"fd00::{host}/64"]} for name, host in distinct.items()
    ]
    made = network(*entries, *entries_with)
    found = allocate(made, assigned)
    given_out = [cidr for cidrs in found.values() for cidr in cidrs]
    assert len(given_out) == len(set(given_out)) == 2 * len(made.namespaces)
    assert not set(given_out) & set(made.gateways)
    for cidr in given_out:
        interface = ipaddress.ip_interface(cidr)
        assert str(interface.network) in SUBNETS
        assert interface.ip != interface.network.network_address
        assert interface.version == 6 or interface.ip != interface.network.broadcast_address


FOUR = ("10.0.0.0/26",)


def test_what_was_assigned_counts_and_not_what_is_there() -> None:
    asked = network("a", "b", subnets=FOUR)
    assigned = {"a": ("10.0.0.2/26",), "b": ("10.0.0.3/26",)}
    assert allocate(asked, assigned, {"a": ("10.0.0.3/26",), "b": ("10.0.0.3/26",)}) == assigned


def test_what_is_in_a_namespace_that_nobody_assigned_anything_stays() -> None:
    found = {"a": ("10.0.0.9/26",), "b": ("10.0.0.8/26",)}
    assert allocate(network("a", "b", subnets=FOUR), {}, found) == found


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_address_that_two_have_goes_to_whom_it_would_go_if_nobody_had_any(order: tuple[str, str]) -> None:
    taken = {"a": ("10.0.0.3/26",), "b": ("10.0.0.3/26",)}
    first, second = order
    expected = {first: ("10.0.0.2/26",), second: ("10.0.0.3/26",)}
    assert allocate(network(*order, subnets=FOUR), {}, taken) == expected


def test_assigned_address_is_taken_by_nobody_that_has_it() -> None:
    found = allocate(network("a", "b", subnets=FOUR), {"b": ("10.0.0.2/26",)}, {"a": ("10.0.0.2/26",)})
    assert found == {"a": ("10.0.0.3/26",), "b": ("10.0.0.2/26",)}
