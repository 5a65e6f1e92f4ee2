"""Whatever root does to its namespaces: runs of the module that the role runs end well, or with their reason alone.

Other namespaces lose no packet meanwhile, and what is removed leaves nothing. One world for all examples.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import typing as t

import pytest

from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support import scope
from tests.support.building import unreachable_from
from tests.support.run_module import Options, Result, run
from tests.support.tenant_moves import ESCAPES, MOVES, Move, drawn

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

HOSTILE, TOGETHER = ("c2", "c3"), 4
EXAMPLES = drawn(300 if scope.NIGHTLY else math.ceil(len(MOVES) / TOGETHER), TOGETHER)
WEB: Options = {"name": "web", "bridge": "br1", "subnets": ["10.44.0.0/24", "fd00:44::/64"], "namespaces": ["w1"]}
# Asks by both families, each 5 ms after its answer, so that no queue of a busy machine overflows. For each line on its
# standard input: how often it was asked since then, and how many answers did not come.
_FLOW = """
import select, socket, sys, time
ears = [socket.socket(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_DGRAM) for one in sys.argv[2:]]
for ear, target in zip(ears, sys.argv[2:]):
    ear.connect((target, int(sys.argv[1])))
waiting, asked = set(), 0

def hear(others, patience):
    ready = select.select([*ears, *others], [], [], patience)[0]
    for ear in ears:
        if ear in ready:
            ear.recv(4096)
            waiting.discard(ear)
    return any(other in ready for other in others)

while True:
    for ear in ears:
        if ear not in waiting:
            asked += 1
            waiting.add(ear)
            ear.send(b"?")
    time.sleep(0.005)
    if hear([sys.stdin], 0.02):
        if not sys.stdin.readline():
            break
        give_up = time.monotonic() + 20
        while waiting and time.monotonic() < give_up:
            hear([], 0.1)
        print(asked, len(waiting), flush=True)
        waiting, asked = set(), 0
"""


def pods(*hostile: str) -> Options:
    subnets = ["10.22.33.0/24", "fd00:22:33::/64"]
    return {"name": "pods", "bridge": "br0", "subnets": subnets, "namespaces": ["c1", *hostile]}


class Flow:
    """What a namespace asks the internet without a pause."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def lost(self) -> int:
        """Since it was last asked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        asked, lost = map(int, self._process.stdout.readline().split())
        assert asked
        return lost

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Host:
    """A node with both networks, whose other namespaces ask without a pause."""

    def __init__(self, world: World) -> None:
        self._open = contextlib.ExitStack()
        self.node = self._open.enter_context(world.add_node())
        self._before = settled(self.node)
        ask(self.node, pods())
        assert unreachable_from(self.node, "c1", "w1") == []
        self.right = settled(self.node)  # without the hostile namespaces
        self._flows = {}
        for name in ("c1", "w1"):
            argv = ["ip", "netns", "exec", name, sys.executable, "-c", _FLOW, str(probe.WHO_PORT)]
            process = self.node.popen([*argv, probe.TARGETS[4], probe.TARGETS[6]], stdin=-1, stdout=-1)
            self._open.enter_context(process)
            self._open.callback(process.kill)
            self._flows[name] = Flow(process)

    def lost(self) -> dict[str, int]:
        """By namespace, how many packets since this was last asked."""
        return {name: flow.lost() for name, flow in self._flows.items()}

    def close(self) -> None:
        self._open.close()

    def removed(self) -> str:
        """What both networks leave."""
        stays = self._open.pop_all()
        try:
            for flow in self._flows.values():
                flow.end()
            well(ask(self.node, pods(), absent=True))
            return difference(self._before, settled(self.node))
        finally:
            stays.close()


class Hosts:
    """One for all examples, and another one after an example that failed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._host: Host | None = None

    @contextlib.contextmanager
    def use(self) -> t.Iterator[Host]:
        host, self._host = self._host or Host(self._world), None
        try:
            yield host
            self._host = host
        finally:
            if self._host is not host:
                host.close()

    def removed(self) -> str:
        return self._host.removed() if self._host else ""


@pytest.fixture(scope="module")
def hosts() -> t.Iterator[Hosts]:
    with World(nodes=0) as world:
        made = Hosts(world)
        yield made
        assert made.removed() == ""


def ask(node: Node, network: Options, absent: bool = False) -> Result:
    return run(node, "egress_path", {"networks": [network, WEB], "state": "absent" if absent else "present"})


@contextlib.contextmanager
def made(node: Node, namespace: str, moves: t.Sequence[tuple[str, Move]]) -> t.Iterator[None]:
    """The moves, one after the other; what goes on ends with the block."""
    with contextlib.ExitStack() as stack:
        for _title, move in moves:
            pid = 0
            if move.holder:
                argv = ["ip", "netns", "exec", namespace, *move.holder]
                process = node.popen(argv, stdin=-1, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                stack.enter_context(process)
                stack.callback(process.kill)
                pid = process.pid
            script = move.script.replace("{pid}", str(pid))
            node.namespace_run(namespace, ["sh", "-c", script], check=False)
        yield


def check_outcome(result: Result) -> None:
    """All is well, or what failed is the network of the hostile namespaces, for a reason of theirs."""
    assert ESCAPES[0] not in "".join([str(result.get("msg", "")), *result.get("actions", ())])
    assert "exception" not in result, result
    statuses = {one["name"]: one["status"] for one in result["networks"]}
    assert statuses["web"] == "unchanged", result
    if result.get("failed"):
        assert statuses["pods"] == "failed", result
        assert any(name in result["msg"] for name in HOSTILE), result


def well(result: Result) -> Result:
    assert not result.get("failed"), result["msg"]
    return result


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_whatever_root_does_in_its_namespaces(hosts: Hosts, number: int) -> None:
    moves = EXAMPLES[number]
    half = len(moves) // 2
    with hosts.use() as host:
        node, hostile = host.node, pods(*HOSTILE)
        well(ask(node, hostile))
        host.lost()
        with made(node, HOSTILE[0], moves[:half]), made(node, HOSTILE[1], moves[half:]):
            check_outcome(ask(node, hostile))
            assert host.lost() == {"c1": 0, "w1": 0}
        # Nothing acts any more: what was changed is repaired.
        well(ask(node, hostile))
        assert well(ask(node, hostile))["actions"] == []
        well(ask(node, pods()))
        assert host.lost() == {"c1": 0, "w1": 0}
        assert difference(host.right, settled(node)) == ""
