"""The playbook remediate: what is ours is healed, a canary first, and what is not healed stops the rest."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import APPS, Done, Playbooks, answers

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

DETACH = "ip link set np-a1 nomaster"
FORWARD = "sysctl -qw net.ipv4.ip_forward=0"


@pytest.fixture
def playbooks(tmp_path: Path) -> t.Iterator[Playbooks]:
    with World(nodes=4) as world:
        made = Playbooks(world, tmp_path)
        made.options = ["-e", json.dumps({"egress_persist": False, "remediate_audit": str(tmp_path / "audit.jsonl")})]
        made.prepare(APPS)
        yield made


def remediate(playbooks: Playbooks, *options: str, **variables: t.Any) -> Done:
    return playbooks.run("netpath.egress.remediate", "-e", json.dumps(variables), *options, networks=[APPS])


def reached(playbooks: Playbooks) -> list[str]:
    """The nodes whose namespace the internet sees as the node."""
    return [node.name for node in playbooks.world.nodes if answers(node, "a1")[4] == node.address]


def audited(playbooks: Playbooks) -> list[dict[str, t.Any]]:
    file = playbooks.directory / "audit.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def broken(playbooks: Playbooks, **scripts: str) -> None:
    for node in playbooks.world.nodes:
        node.run(["sh", "-ec", scripts.get(node.name, "true")])


def test_sweep_heals_what_is_ours_and_leaves_the_rest(playbooks: Playbooks, tmp_path: Path) -> None:
    rule = "ip rule add from 10.44.0.0/24 unreachable pref 50"
    broken(playbooks, node1=DETACH, node2=FORWARD, node3=rule)
    nodes = playbooks.world.nodes
    before = [settled(node) for node in nodes]
    foreseen = remediate(playbooks, "--check", "--diff")
    assert foreseen.status == 0, foreseen.output
    assert [difference(old, node.snapshot()) for old, node in zip(before, nodes)] == ["", "", "", ""]
    assert "change veth np-a1: master none -> br-apps" in foreseen.output
    hooks = {}
    for hook in ("before", "after"):
        content = [{"ansible.builtin.shell": f"echo {hook} >>/run/hooks", "name": hook, "changed_when": True}]
        (tmp_path / f"{hook}.yml").write_text(json.dumps(content), encoding="utf-8")
        hooks[f"remediate_{hook}"] = str(tmp_path / f"{hook}.yml")
    done = remediate(playbooks, **hooks)
    assert done.status == 0, done.output
    assert reached(playbooks) == ["node1", "node2", "node4"]
    assert difference(before[2], nodes[2].snapshot()) == ""
    assert "for a person: remove the rule" in done.output
    assert [nodes[0].run(["cat", "/run/hooks"]).stdout, nodes[3].run(["ls", "/run"]).stdout.count("hooks")] == [
        "before\nafter\n",
        0,
    ]
    assert {(line["host"], *line["before"].values(), *line["after"].values()) for line in audited(playbooks)} == {
        ("node1", "PORT_NOT_ON_BRIDGE", "ok"),
        ("node2", "FORWARDING_OFF", "ok"),
    }
    again = remediate(playbooks)
    assert (again.status, set(again.changed.values())) == (0, {0}), again.output


def test_canary_that_is_not_healed_stops_the_rest(playbooks: Playbooks) -> None:
    taken = "ip link del np-a1; ip link del br-apps; ip link add br-apps type veth peer name other"
    broken(playbooks, node1=taken, node2=DETACH)
    done = remediate(playbooks)
    assert done.status != 0
    assert "make bridge br-apps: the name is taken" in done.output
    assert reached(playbooks) == ["node3", "node4"]
    assert [(line["host"], line["actions"], bool(line["error"])) for line in audited(playbooks)] == [
        ("node1", [], True)
    ]


def test_cause_that_hosts_share_is_not_repaired(playbooks: Playbooks) -> None:
    broken(playbooks, node1=FORWARD, node2=FORWARD, node3=FORWARD)
    done = remediate(playbooks)
    assert done.status != 0
    assert "FORWARDING_OFF on 3 of 4 hosts. Look for a cause that they share" in done.output
    assert reached(playbooks) == ["node4"]
    assert audited(playbooks) == []
    all_the_same = remediate(playbooks, remediate_shared=1)
    assert all_the_same.status == 0, all_the_same.output
    assert len(reached(playbooks)) == 4


def test_tier_that_is_not_allowed(playbooks: Playbooks) -> None:
    broken(playbooks, node1=FORWARD, node2=DETACH)
    done = remediate(playbooks, remediate_tiers=["auto"])
    assert done.status == 0, done.output
    assert reached(playbooks) == ["node2", "node3", "node4"]


def test_hosts_that_were_asked_for_and_no_other(
    playbooks: Playbooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patterns and lists of them, one host that is off, an explicit localhost without sudo, settings of ansible.cfg."""
    broken(playbooks, node1=DETACH, node2=DETACH, node3=DETACH)
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexit 255\n", encoding="ascii")
    ssh.chmod(0o755)
    more = {
        "off": {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh)},
        "localhost": {"ansible_connection": "local", "ansible_become": True, "ansible_become_exe": "/nowhere/sudo"},
    }
    (tmp_path / "more.yml").write_text(json.dumps({"all": {"hosts": more}}), encoding="utf-8")
    playbooks.options += ["-i", str(tmp_path / "more.yml")]
    monkeypatch.setenv("ANSIBLE_ANY_ERRORS_FATAL", "True")
    one = remediate(playbooks, egress_hosts="node1,node2,off", remediate_host="node1")
    assert reached(playbooks) == ["node1", "node4"], one.output
    assert [line["host"] for line in audited(playbooks)] == ["node1"]
    assert one.status != 0
    assert "It was not looked at" in one.output
    other = remediate(playbooks, egress_hosts=["node1", "node2"])
    assert (other.status, reached(playbooks)) == (0, ["node1", "node2", "node4"]), other.output
    misspelt = remediate(playbooks, egress_hosts="node3", remediate_host="NODE3")
    assert (misspelt.status != 0, reached(playbooks)) == (True, ["node1", "node2", "node4"]), misspelt.output
    assert "no host of this play is called so" in misspelt.output
    monkeypatch.setenv("ANSIBLE_HOST_PATTERN_MISMATCH", "error")
    monkeypatch.setenv("ANSIBLE_STRATEGY", "free")
    healthy = remediate(playbooks, egress_hosts="node4")
    assert (healthy.status, "netpath_ill" in healthy.output) == (0, False), healthy.output
