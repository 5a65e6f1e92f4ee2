"""What the playbook remediate runs before and after a repair, and where its relative names begin."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import APPS, Done, Playbooks, answers

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

DETACH = "ip link set np-a1 nomaster"
# Which is below the working directory of no test.
ELSEWHERE = "/nowhere"


@pytest.fixture
def playbooks(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playbooks:
    """Started in a folder of their own, which is not that of the inventory or of a playbook."""
    made = Playbooks(world, tmp_path)
    made.options = ["-e", json.dumps({"egress_persist": False})]
    made.build(APPS)
    started = tmp_path / "started"
    started.mkdir()
    monkeypatch.chdir(started)
    return made


def hook(name: str, script: str) -> None:
    """A file of tasks in the working directory: one that runs a script on the host."""
    tasks = [{"name": name, "ansible.builtin.command": {"argv": ["sh", "-ec", script]}, "changed_when": True}]
    Path(name).write_text(json.dumps(tasks), encoding="utf-8")


def noting(word: str) -> str:
    """A script that notes which bridge the namespace's link is on."""
    link = "$(ip -o link show np-a1 | grep -o 'master [^ ]*' || echo alone)"
    return f'echo "{word}: {link}" >>/run/hooks'


def notes(node: Node) -> list[str]:
    return node.run(["sh", "-ec", "cat /run/hooks 2>/dev/null || true"]).stdout.splitlines()


def remediate(playbooks: Playbooks, *options: str, **variables: t.Any) -> Done:
    return playbooks.run("netpath.egress.remediate", "-e", json.dumps(variables), *options, networks=[APPS])


@pytest.mark.parametrize("pwd", ["right", "unset", "wrong"])
def test_relative_names_begin_in_the_working_directory(
    playbooks: Playbooks, node: Node, monkeypatch: pytest.MonkeyPatch, pwd: str
) -> None:
    """A shell keeps PWD right; systemd, ansible-runner and subprocess(cwd=) do not."""
    if pwd == "unset":
        monkeypatch.delenv("PWD", raising=False)
    else:
        monkeypatch.setenv("PWD", os.getcwd() if pwd == "right" else ELSEWHERE)
    Path("hooks").mkdir()
    hook("hooks/drain.yml", noting("before"))
    hook("undrain.yml", noting("after"))
    node.run(["sh", "-ec", DETACH])
    names = {"remediate_before": "hooks/drain.yml", "remediate_after": "undrain.yml", "remediate_audit": "audit.jsonl"}
    done = remediate(playbooks, **names)
    assert done.status == 0, done.output
    assert notes(node) == ["before: alone", "after: master br-apps"]
    assert answers(node, "a1")[4] == node.address
    (line,) = Path("audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert (json.loads(line)["host"], json.loads(line)["network"]) == ("node1", "apps")


def test_names_may_begin_in_the_home_of_the_user(
    playbooks: Playbooks, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "started"))
    hook("drain.yml", noting("before"))
    node.run(["sh", "-ec", DETACH])
    done = remediate(playbooks, remediate_before="~/drain.yml", remediate_audit="~/audit.jsonl")
    assert done.status == 0, done.output
    assert notes(node) == ["before: alone"]
    assert Path("audit.jsonl").exists()


def test_check_mode_runs_no_hook(playbooks: Playbooks, node: Node) -> None:
    hook("drain.yml", noting("before"))
    hook("undrain.yml", noting("after"))
    node.run(["sh", "-ec", DETACH])
    before = settled(node)
    done = remediate(playbooks, "--check", remediate_before="drain.yml", remediate_after="undrain.yml")
    assert done.status == 0, done.output
    assert "change veth np-a1: master none -> br-apps" in done.output
    assert notes(node) == []
    assert difference(before, node.snapshot()) == ""


def test_hook_that_is_not_there_stops_before_a_change(playbooks: Playbooks, node: Node) -> None:
    """Also where only the second is missing: no host leaves service that cannot come back."""
    hook("drain.yml", noting("before"))
    node.run(["sh", "-ec", DETACH])
    before = settled(node)
    done = remediate(playbooks, remediate_before="drain.yml", remediate_after="undrain.yml")
    assert done.status != 0
    assert f"there is no {os.getcwd()}/undrain.yml on the controller" in done.output
    assert notes(node) == []
    assert difference(before, node.snapshot()) == ""


def test_host_that_does_not_leave_service_is_not_repaired(playbooks: Playbooks, node: Node) -> None:
    hook("drain.yml", "echo 'pods are left' >&2; exit 1")
    hook("undrain.yml", noting("after"))
    node.run(["sh", "-ec", DETACH])
    before = settled(node)
    done = remediate(playbooks, remediate_before="drain.yml", remediate_after="undrain.yml")
    assert done.status != 0
    assert "pods are left" in done.output
    assert notes(node) == []
    assert difference(before, node.snapshot()) == ""


def test_host_that_is_not_healthy_is_not_given_back(playbooks: Playbooks, node: Node) -> None:
    hook("drain.yml", noting("before"))
    hook("undrain.yml", noting("after"))
    taken = "ip link del br-apps; ip link add br-apps type veth peer name other"
    node.run(["sh", "-ec", taken])
    done = remediate(playbooks, remediate_before="drain.yml", remediate_after="undrain.yml")
    assert done.status != 0
    assert "make bridge br-apps: the name is taken" in done.output
    assert notes(node) == ["before: alone"]
