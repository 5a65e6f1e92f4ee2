"""The labs: they pass, they fail when a step is left out, and they leave the host as it was."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.lab import inventory, privilege
from tests.lab.snapshot import difference
from tests.lab.world import PUBLIC, Node, World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

TARGET = PUBLIC[0]
# Whom the internet sees, one after the other: the host, or an address that was not translated.
SEEN = {
    "gateway": ["host", "10.22.33.2", "host"],
    "blue_green": ["host", "10.0.0.1", "host"],
    "apps": ["host"],
    "kd": ["host"],
    "pod_cidr": ["host", "10.244.1.10", "host"],
}

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.fixture
def run(world: World, node: Node, tmp_path: Path) -> Run:
    return runner(world, node.name, tmp_path)


def runner(world: World, hosts: str, tmp_path: Path) -> Run:
    """Return what runs a lab on nodes of the world."""
    known = inventory.environment(inventory.write(world, tmp_path))
    settings = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible")}
    program = str(Path(sys.executable).with_name("ansible-playbook"))

    def run_lab(lab: str, *options: str) -> subprocess.CompletedProcess[str]:
        argv = [program, "-i", known["LAB_INVENTORY"], f"netpath.egress.labs.{lab}", "-e", f"lab_hosts={hosts}"]
        return subprocess.run(
            [*argv, *options],
            env={**os.environ, **known, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=280,
        )

    return run_lab


def failed_task(output: str, host: str = r"\w+") -> str:
    """The name of the first task that failed on a host, for all of its items or for one."""
    before = re.split(rf"\n(?:fatal|failed): \[{host}\]", output)[0]
    return before.rpartition("\nTASK [")[2].partition("]")[0]


@pytest.mark.parametrize("lab", SEEN)
def test_lab_passes_and_leaves_nothing(world: World, node: Node, run: Run, lab: str) -> None:
    before, earlier = node.snapshot(), len(world.internet.seen())
    done = run(lab)
    assert done.returncode == 0, done.stdout
    clients = [entry.client for entry in world.internet.seen()[earlier:] if entry.server == TARGET]
    assert [client.replace(node.address, "host") for client, _group in itertools.groupby(clients)] == SEEN[lab]
    assert difference(before, node.snapshot()) == ""


@pytest.mark.parametrize(
    ("lab", "tag", "task"),
    [
        ("gateway", "forwarding", "The packet leaves with its private source, and nobody can answer that"),
        ("apps", "conflict", "The second namespace does not reach its own end on the host"),
        ("kd", "masquerade", "Both reach the internet"),
        ("pod_cidr", "mistake", "It leaves untranslated, and there is no answer"),
    ],
)
def test_lab_without_a_step_fails_and_leaves_nothing(node: Node, run: Run, lab: str, tag: str, task: str) -> None:
    before = node.snapshot()
    done = run(lab, "--skip-tags", tag)
    assert done.returncode == 2, done.stdout
    assert failed_task(done.stdout) == task
    assert difference(before, node.snapshot()) == ""


def test_lab_that_is_kept_works_until_the_next_run(node: Node, run: Run) -> None:
    before = node.snapshot()
    done = run("gateway", "-e", "lab_keep=true")
    assert done.returncode == 0, done.stdout
    node.namespace_run("ns1", ["ping", "-c", "1", "-w", "3", TARGET])
    # It takes down what there is before anything else, and then does not get far.
    done = run("gateway", "-e", "lab_target=203.0.113.99")
    assert failed_task(done.stdout) == "The host itself reaches the target"
    assert difference(before, node.snapshot()) == ""


def test_lab_does_not_begin_where_it_cannot(world: World, tmp_path: Path) -> None:
    """Each of three nodes has another reason, and a run for all of them reports each."""
    reasons = {
        "echo 1 >/proc/sys/net/ipv4/ip_forward": "The host does not forward yet, as one with Docker would",
        "ip link add br0 type bridge": "Remove the bridges",
        "ip address add 10.22.33.9/28 dev uplink0": "Nobody else uses the networks of the lab",
    }
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(world.add_node()) for _reason in reasons]
        for node, command in zip(nodes, reasons):
            node.run(["sh", "-ec", command])
        before = [node.snapshot() for node in nodes]
        done = runner(world, ":".join(node.name for node in nodes), tmp_path)("gateway")
        assert done.returncode == 2, done.stdout
        assert [failed_task(done.stdout, node.name) for node in nodes] == list(reasons.values())
        assert [difference(earlier, node.snapshot()) for node, earlier in zip(nodes, before)] == ["", "", ""]
