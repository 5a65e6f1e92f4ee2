"""Runs at the same time on one host: one waits for the other, and each finds what it needs."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import traceback
import typing as t
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import lock

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import ask, build, build_at_once, refusal, unreachable_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


def network(number: int) -> Options:
    return {"name": f"net{number}", "subnets": [f"10.44.{number}.0/24"], "namespaces": [f"a{number}", f"b{number}"]}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def at_once(calls: t.Sequence[t.Callable[[], list[str]]]) -> list[list[str] | str]:
    """What each of several calls returned that run at the same time, or the error it ended with."""
    begin, start = os.pipe()
    running = []
    for call in calls:
        result, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start)
            os.read(begin, 1)  # ends when the last of us is there
            try:
                text = json.dumps(call())
            except BaseException:  # noqa: BLE001 (the parent shows it)
                text = json.dumps(traceback.format_exc())
            os.write(report, text.encode())
            os._exit(0)
        os.close(report)
        running.append((pid, result))
    os.close(start)
    results = []
    for pid, result in running:
        with os.fdopen(result) as stream:
            results.append(json.load(stream))
        os.waitpid(pid, 0)
    return results


@pytest.mark.parametrize("way", [build, build_at_once])
@pytest.mark.parametrize("count", [2, 10])
def test_different_networks_at_once(node: Node, way: t.Callable[..., list[str]], count: int) -> None:
    before = settled(node)
    networks = [network(number) for number in range(count)]
    results = node.call(at_once, [partial(way, [one]) for one in networks])
    assert [result for result in results if isinstance(result, str)] == []
    assert unreachable_from(node, *(f"{end}{n}" for n in range(count) for end in "ab"), families=["ipv4"]) == []
    assert node.call(build_at_once, networks) == []
    removed = node.call(at_once, [partial(way, [one], absent=True) for one in networks])
    assert [result for result in removed if isinstance(result, str)] == []
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("count", [2, 10])
def test_equal_networks_at_once(node: Node, count: int) -> None:
    results = node.call(at_once, [partial(build_at_once, [network(1)])] * count)
    assert [result for result in results if isinstance(result, str)] == []
    # One builds all of it, and the others have nothing to do.
    assert sorted(bool(result) for result in results) == [False] * (count - 1) + [True]
    assert unreachable_from(node, "a1", "b1", families=["ipv4"]) == []


def test_two_ways_of_building_the_same_at_once(node: Node) -> None:
    """The modules of one run and the one of another interleave."""
    results = node.call(at_once, [partial(way, [network(1)]) for way in (build, build_at_once)])
    assert [result for result in results if isinstance(result, str)] == []
    assert node.call(build_at_once, [network(1)]) == []


def hold(ready: int) -> None:
    with lock.locked():
        os.write(ready, b"x")
        signal.pause()


def test_killed_holder_is_in_nobodys_way(node: Node) -> None:
    def kill_holder() -> list[str]:
        holding, ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            hold(ready)
        os.read(holding, 1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert Path(lock.PATH).exists()
        return build_at_once([network(1)])

    assert "create bridge br-net1" in node.call(kill_holder)


@pytest.mark.smoke
def test_waiting_ends_with_the_holder_named(node: Node) -> None:
    def wait() -> tuple[str, int]:
        holding, ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            hold(ready)
        os.read(holding, 1)
        try:
            with lock.locked(patience=0.2):
                return ("no error", pid)
        except ConflictError as error:
            # It was given up while the other still holds it.
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            return (str(error), pid)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    text, pid = node.call(wait)
    assert f"PID {pid}" in text
    assert "0.2 s" in text


@pytest.mark.smoke
def test_nothing_is_left_of_the_lock(node: Node) -> None:
    node.call(build_at_once, [network(1)])
    refusal(node, ask, "linux_bridge", {"name": "np-a1"})
    assert not node.call(os.path.exists, lock.DIRECTORY)


@pytest.mark.parametrize(
    "obstacle",
    [
        "mkdir -p /run/netpath/lock",
        "touch /run/netpath",
        "mkdir -p /run/netpath/record",
        "ln -s /nowhere /run/netpath",
    ],
)
def test_what_is_in_the_way_is_named(node: Node, obstacle: str) -> None:
    node.run(["sh", "-ec", obstacle])
    before = settled(node)
    found = refusal(node, build_at_once, [network(1)])
    assert obstacle.rsplit(maxsplit=1)[-1] in str(found)
    assert found.advice.startswith("Move away what has that name")
    assert difference(before, settled(node)) == ""


def test_lock_file_of_a_run_that_ended_is_not_waited_for(node: Node) -> None:
    """Whoever waits with the file of an earlier run open starts over with the new one."""

    def overtake() -> bool:
        with lock.locked():
            waiting = os.open(lock.PATH, os.O_RDWR)
        with lock.locked():
            fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(waiting).st_nlink == 0

    assert node.call(overtake)


def test_different_and_equal_networks_at_once(node: Node) -> None:
    """Ten runs of five networks, each of them twice: what is there is the union."""
    networks = [network(number) for number in range(5)]
    results = node.call(at_once, [partial(build_at_once, [one]) for one in networks * 2])
    assert [result for result in results if isinstance(result, str)] == []
    assert unreachable_from(node, *(f"{end}{n}" for n in range(5) for end in "ab"), families=["ipv4"]) == []
    assert node.call(build_at_once, networks) == []
