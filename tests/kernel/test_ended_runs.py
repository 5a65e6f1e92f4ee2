"""A run that is ended in whatever phase and way: the state before or the state wanted, and somebody says which."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import time
import typing as t
from functools import partial

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.netlink import (
    Answer,
    Message,
    NetlinkSocket,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.observe import Observer
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning import management_path
from ansible_collections.netpath.egress.plugins.module_utils._engine.result import Result
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.sealed import seal
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.union import union
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import confirmation, record

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, refusal
from tests.support.ended_runs import ENDS, await_deadline, ended_run, waiting
from tests.support.spec_questions import Options, all_of

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["c1", "c2"]}
# One namespace goes, with what is in it, and another one comes.
OTHER: Options = {**PODS, "namespaces": ["c1", "c3"], "mtu": 1400}
FILTER: Options = {"rp_filter": 1, "interfaces": ["uplink0"], "network": "pods"}
NOTHING: list[Options] = [{"name": "apps", "subnets": ["10.44.0.0/24"], "state": "absent"}]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0, internet=False) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def filtering(node: Node) -> str:
    return node.run(["cat", "/proc/sys/net/ipv4/conf/uplink0/rp_filter"]).stdout.strip()


def audited(node: Node) -> list[str]:
    """What the audit has of each run that did not end by itself."""
    lines = node.run(["cat", audit.PATH], check=False).stdout.splitlines()
    return [json.loads(line)["error"] for line in lines]


def hazardous(networks: t.Sequence[Options], confirm_within: float, **more: t.Any) -> Result:
    """Networks, and a setting that may cut the way to the host."""

    def want(observer: Observer) -> Want:
        asked = {"networks": list(networks), "state": "present"}
        parts = [("networks", path.wanted(asked, observer))] if networks else []
        return union([*parts, ("filter", all_of(("sysctl_forward", FILTER), host=observer))])

    return run(want, confirm_within=confirm_within, **more)


# (phase, how it is ended): what is there afterwards.
COMPLETED = {(record.APPLYING, "killed"), (record.VERIFYING, "killed")}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("phase", [record.APPLYING, record.VERIFYING, record.ROLLING_BACK])
def test_run_that_is_ended(node: Node, phase: str, how: str) -> None:
    node.call(build_at_once, [PODS])
    before = settled(node)
    node.call(ended_run, phase, how, partial(build_at_once, [OTHER]))
    if (phase, how) in COMPLETED:
        assert node.call(build_at_once, [OTHER]) == []
        assert audited(node) == [""]
    else:
        node.run(["rm", "-f", audit.PATH])
        assert difference(before, settled(node)) == ""
        assert node.call(build_at_once, [PODS]) == []
    assert node.run(["ls", "-A", "/run/netpath"], check=False).stdout == ""


@pytest.mark.parametrize("phase", [record.APPLYING, record.VERIFYING, record.ROLLING_BACK])
def test_change_that_had_to_be_confirmed_is_never_completed(node: Node, phase: str) -> None:
    """By its guardian, or by the next run where that was killed as well. What was removed comes back with all in it."""
    node.call(build_at_once, [PODS])
    before = settled(node)
    for alone in (False, True):
        node.call(ended_run, phase, "killed", partial(hazardous, [OTHER], 30), alone)
        if alone:
            told = node.call(build_at_once, NOTHING)
            assert {line.split(":")[0] for line in told} == {"take back a run that was interrupted"}
        assert audited(node)[-1] == "killed before it was confirmed, and put back"
        node.run(["rm", "-f", audit.PATH])
        assert difference(before, settled(node)) == ""


def test_hazard_is_not_completed_by_another_run(node: Node) -> None:
    """Which refuses those of its own, as the units do."""
    before = settled(node)
    node.call(ended_run, record.VERIFYING, "killed", partial(hazardous, [], 0), alone=True)
    assert filtering(node) == "1"

    def refusing() -> list[str]:
        def permit(_steps: object, hazards: t.Sequence[str]) -> None:
            management_path.refuse_hazards("run by the timer", hazards)

        asked = {"networks": NOTHING, "state": "present"}
        return run(lambda observer: path.wanted(asked, observer), permit=permit).actions

    assert node.call(refusing)[0].startswith("take back a run that was interrupted: ")
    assert filtering(node) == "0"
    node.run(["rm", "-f", audit.PATH])
    assert difference(before, settled(node)) == ""


def test_run_whose_judge_is_killed_is_taken_back(node: Node) -> None:
    node.call(build_at_once, [PODS])
    before = settled(node)

    def judged() -> None:
        asked = {"networks": [OTHER], "state": "present"}
        run(lambda observer: path.wanted(asked, observer), judge=lambda: None)

    node.call(ended_run, record.VERIFYING, "killed", judged)
    assert audited(node) == ["killed before it was judged, and put back"]
    node.run(["rm", audit.PATH])
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_process_that_waits_is_ended(node: Node, how: signal.Signals) -> None:
    """A signal that it can see has it go back at once, as when the host is shut down; another one the next run."""
    node.call(build_at_once, [PODS])
    before = settled(node)
    within = 60.0 if how == signal.SIGTERM else 0.3

    def ended() -> None:
        hazardous([OTHER], within)
        pid = waiting()
        os.kill(pid, how)
        if how == signal.SIGKILL:
            await_deadline()
        with confirmation.exclusive(10):
            pass

    node.call(ended)
    node.call(build_at_once, NOTHING)
    assert audited(node) == [f"not confirmed within {within:g} s, and put back"]
    node.run(["rm", audit.PATH])
    assert difference(before, settled(node)) == ""


def test_change_that_removes_a_namespace_is_confirmed(node: Node) -> None:
    """The process that waits holds nothing of it, so that the run does not wait for its end."""
    node.call(build_at_once, [PODS])

    def confirmed() -> float:
        began = time.monotonic()
        result = hazardous([OTHER], 60)
        took = time.monotonic() - began
        assert result.unconfirmed
        listed = subprocess.run(["ls", "-l", f"/proc/{waiting()}/fd"], capture_output=True, text=True, check=False)
        assert "net:[" not in listed.stdout
        confirmation.confirm(result.unconfirmed[0])
        return took

    assert node.call(confirmed) < 2
    links = node.run(["ip", "-o", "link", "show"]).stdout
    assert ("np-c2" in links, "np-c3" in links) == (False, True)
    assert node.run(["ls", "/run/netns"]).stdout.split() == ["c1", "c3"]
    assert filtering(node) == "1"


def test_token_of_what_was_put_back(node: Node) -> None:
    """Whoever asks learns what became of it, and not what might have."""

    def unconfirmed() -> str:
        result = hazardous([], 0.2)
        assert result.unconfirmed
        return result.unconfirmed[0]

    token = node.call(unconfirmed)
    node.call(await_deadline)
    refused = refusal(node, confirmation.confirm, token)
    assert (refused.kind, refused.rolled_back) == ("ApplyError", True)
    node.call(build_at_once, NOTHING)
    assert refusal(node, confirmation.confirm, token).kind == "ConflictError"


def test_error_between_two_sends(node: Node) -> None:
    """What was sent of the batch before is undone as well."""
    node.call(build_at_once, [PODS])
    before = settled(node)
    routes = [("ns_route", {"dest": f"10.100.{number}.0/24", "gateway": "10.22.33.2"}) for number in range(60)]

    def failing() -> None:
        exchange, sends = NetlinkSocket._exchange, [0]

        def fail(self: NetlinkSocket, messages: t.Sequence[Message]) -> list[Answer]:
            if messages[0].type == 24:  # RTM_NEWROUTE
                sends[0] += 1
                if sends[0] == 2:
                    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            return exchange(self, messages)

        NetlinkSocket._exchange = fail  # type: ignore[method-assign]
        run(lambda _observer: all_of(*routes))

    refused = refusal(node, failing)
    assert refused.rolled_back
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("after", ["true", "ip netns add c2"])
def test_namespace_that_another_tool_deletes_meanwhile(node: Node, after: str) -> None:
    """Between the look and the change: what is changed is not what has the name any more."""
    node.call(build_at_once, [PODS])
    node.run(["ip", "-n", "c2", "route", "del", "default"])

    def changed() -> None:
        def delete(_steps: object, _hazards: object) -> None:
            subprocess.run(["sh", "-ec", f"ip netns del c2; {after}"], check=True)

        asked = {"networks": [PODS], "state": "present"}
        run(lambda observer: path.wanted(asked, observer), permit=delete)

    refused = refusal(node, changed)
    assert refused.asked == "verify what was built"
    assert "in namespace c2" in refused.found
    node.call(build_at_once, [PODS])
    assert node.call(build_at_once, [PODS]) == []


def test_line_that_was_cut_off(node: Node) -> None:
    """By a kill while it was written: what comes after it counts."""

    def kept() -> tuple[int, str]:
        one = record.Record(Want())
        one.begin()
        one.run([])
        with open(record.PATH, "a", encoding="ascii") as file:
            file.write("0000")
        found = record.read()
        assert found
        found.enter(record.VERIFYING)
        found.close()
        again = record.read()
        assert again
        again.end()
        return len(again.steps), again.phase

    assert node.call(kept) == (0, record.VERIFYING)


def test_journal_of_an_earlier_release(node: Node) -> None:
    """It has what was wanted, and is finished unless that may cut the way to the host."""

    def left(want: t.Callable[[Observer], Want]) -> None:
        def note(observer: Observer) -> Want:
            data = {"version": 1, "want": record._want_data(observer.assigned(want(observer)))}
            with open("/run/journal", "w", encoding="utf-8") as file:
                file.write(seal(data))
            return Want()

        run(note)
        os.makedirs("/run/netpath")
        os.rename("/run/journal", record.JOURNAL)

    networks = {"networks": [PODS], "state": "present"}
    node.call(left, lambda observer: path.wanted(networks, observer))
    told = node.call(build_at_once, NOTHING)
    assert "finish a run that was interrupted: create namespace c1" in told
    assert node.call(build_at_once, [PODS]) == []
    node.call(left, lambda observer: all_of(("sysctl_forward", FILTER), host=observer))
    (line,) = node.call(build_at_once, NOTHING)
    assert line.startswith("give up a run that was interrupted")
    assert filtering(node) == "0"
    assert node.run(["ls", "-A", "/run/netpath"], check=False).stdout == ""
