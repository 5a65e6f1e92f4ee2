"""A run that is killed, at whatever step: the next run of anything finishes it."""

from __future__ import annotations

import re
import typing as t
from functools import partial

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import record

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import Snapshot, difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.kill_injection import killed_at, kinds_of_steps
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": [{"name": "c1", "dns": {"servers": ["198.51.100.80"]}}, "c2"],
    "publish": [{"port": 8080, "to": "c1:80"}],
}
MOVED: Options = {
    **PODS,
    "subnets": ["10.22.34.0/24"],
    "mtu": 1400,
    "namespaces": ["c2", "c3"],
    "publish": [{"port": 8080, "to": "c2:80"}],
}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        yield world.nodes[0]


def killed(number: int, networks: list[Options], absent: bool, after: bool) -> bool:
    """Before or after its step of that number, and with nobody to finish it."""
    return killed_at(number, partial(build_at_once, networks, absent), after, alone=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("there", "networks", "absent"),
    [([], [PODS], False), ([PODS], [MOVED], False), ([PODS], [PODS], True)],
    ids=["built", "changed", "removed"],
)
def test_next_run_finishes_it(
    node: Node, there: list[Options], networks: list[Options], absent: bool, after: bool
) -> None:
    node.call(build_at_once, there)
    before = settled(node)
    kinds = node.call(kinds_of_steps, partial(build_at_once, networks, absent))
    wanted = settled(node)
    times = 0
    # A few of the steps, as all of them would take long, and those of routes, which depend on addresses that go.
    for number in [n for n, (fact, *_how) in enumerate(kinds) if fact == "Route" or not n % 5]:
        node.call(build_at_once, [PODS], absent=True)
        node.call(build_at_once, there)
        assert node.call(killed, number, networks, absent, after)
        times += 1
        # A run of something else, of which nothing is there.
        told = node.call(build_at_once, [APPS], absent=True)
        assert [line for line in told if not line.startswith("finish a run that was interrupted: ")] == []
        assert difference(unordered(wanted), unordered(settled(node))) == "", number
        assert node.run(["ls", "/run/netpath"], check=False).stdout == ""
    assert times > 2
    assert difference(unordered(before), unordered(wanted))


def unordered(snapshot: Snapshot) -> Snapshot:
    """Chains and sets that were written again are listed behind others, and ports have other numbers."""
    rules = "\n".join(sorted(snapshot["nftables"].splitlines()))
    links = re.sub(r'"(designated_port|id|no)": ("0x)?\w+"?', "", snapshot["links"])
    return {**snapshot, "nftables": rules, "links": "\n".join(sorted(links.splitlines()))}


def test_run_that_cannot_be_finished_is_given_up(node: Node) -> None:
    assert node.call(killed, 9, [PODS], False, True)
    node.run(["sh", "-ec", "ip link del br-pods; ip link add br-pods type veth peer name other"])
    told = node.call(build_at_once, [APPS])
    assert told[0].startswith("give up a run that was interrupted: make bridge br-pods: the name is taken")
    assert unreachable_from(node, "a1", families=["ipv4"]) == []
    assert node.call(build_at_once, [APPS]) == []


@pytest.mark.parametrize("path", [record.PATH, record.JOURNAL])
@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 2}', '{"version": 1, "want": {"facts": [{}]}}'])
def test_damaged_record_is_given_up(node: Node, damage: str, path: str) -> None:
    node.run(["sh", "-ec", f"mkdir -p /run/netpath; cat >{path}"], input=damage)
    told = node.call(build_at_once, [APPS])
    assert told[0].startswith(f"give up a run that was interrupted: read {path}: it is damaged")
    assert unreachable_from(node, "a1", families=["ipv4"]) == []
    assert node.call(build_at_once, [APPS]) == []


@pytest.mark.parametrize("number", [0, 7, 19])
def test_killed_run_is_finished_at_once(node: Node, number: int) -> None:
    """By a process of its own, without any other run."""
    assert node.call(killed_at, number, partial(build_at_once, [PODS]))
    assert unreachable_from(node, "c1", "c2", broken=()) == []
    assert node.run(["ls", "/run/netpath"], check=False).stdout == ""
    assert node.call(build_at_once, [PODS]) == []
