"""The playbooks site and teardown, and the roles behind them, on the inventory of docs/examples."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import inventory, privilege, probe
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

ROOT = Path(__file__).resolve().parents[2]
PROBE = str(Path(probe.__file__).resolve())
NAMES = ("ns1", "ns2", "ns3")
APPS: dict[str, t.Any] = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}


@dataclass(frozen=True)
class Done:
    """A playbook that ended, with what its modules did on each host."""

    status: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        recap = self.output.partition("PLAY RECAP")[2]
        return {host: int(number) for host, number in re.findall(r"^(\w+)\s+: .*changed=(\d+)", recap, re.MULTILINE)}

    @property
    def tasks(self) -> list[str]:
        return re.findall(r"^TASK \[(.*?)\]", self.output, re.MULTILINE)

    def actions(self, host: str) -> list[str]:
        results = re.findall(rf"^(?:changed|ok): \[{host}\] => (\{{.*\}})$", self.output, re.MULTILINE)
        return [action for result in results for action in json.loads(result).get("actions", [])]


class Playbooks:
    """Runs playbooks on the nodes of a world."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.options: list[str] = []
        self.controller = Path(sys.executable)
        shutil.copytree(ROOT / "docs" / "examples" / "group_vars", directory / "group_vars")
        shutil.copy(ROOT / "docs" / "examples" / "ansible.cfg", directory)

    def run(
        self, playbook: str, *options: str, networks: t.Sequence[t.Any] | None = None, interpreter: str = sys.executable
    ) -> Done:
        """Run a playbook of the collection, or one by its path, with other networks than those of the example."""
        known = inventory.environment(inventory.write(self.world, self.directory, interpreter))
        settings = {
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "ansible"),
        }
        argv = [str(self.controller.with_name("ansible-playbook")), "-v", "-i", known["LAB_INVENTORY"], playbook]
        if networks is not None:
            argv += ["-e", json.dumps({"egress_networks": networks})]
        done = subprocess.run(
            [*argv, *self.options, *options],
            env={**os.environ, **known, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        return Done(done.returncode, done.stdout)

    def build(self, *networks: t.Any) -> Done:
        done = self.run("netpath.egress.site", networks=networks)
        assert done.status == 0, done.output
        return done


@pytest.fixture
def world() -> t.Iterator[World]:
    with World(nodes=1) as made:
        yield made


@pytest.fixture
def node(world: World) -> Node:
    return world.nodes[0]


@pytest.fixture
def playbooks(world: World, tmp_path: Path) -> Playbooks:
    return Playbooks(world, tmp_path)


def answers(node: Node, namespace: str) -> dict[int, str]:
    """For each family whom the internet saw."""
    replies = {}
    for family in probe.TARGETS:
        told = node.namespace_run(namespace, [sys.executable, PROBE, "--json", "--family", str(family)], check=False)
        reply = json.loads(told.stdout)
        replies[family] = reply.get("client") or reply["error"]
    return replies


@pytest.mark.parametrize("way", ["transaction", "modules"])
def test_site_builds_and_teardown_gives_the_hosts_back(world: World, playbooks: Playbooks, way: str) -> None:
    world.add_node()
    playbooks.options = ["-e", f"egress_apply={way}"]
    before = {node.name: node.snapshot() for node in world.nodes}

    predicted = playbooks.run("netpath.egress.site", "--check", "--diff")
    assert predicted.status == 0, predicted.output
    for node in world.nodes:
        assert difference(before[node.name], node.snapshot()) == ""

    built = playbooks.run("netpath.egress.site")
    assert built.status == 0, built.output
    for node in world.nodes:
        assert "create namespace ns3" in built.actions(node.name)
        assert predicted.actions(node.name) == built.actions(node.name)
        for name in NAMES:
            assert answers(node, name) == {4: node.address, 6: node.address6}

    again = playbooks.run("netpath.egress.site")
    assert (again.status, set(again.changed.values())) == (0, {0}), again.output
    assert [action for node in world.nodes for action in again.actions(node.name)] == []

    foreseen = playbooks.run("netpath.egress.teardown", "--check")
    removed = playbooks.run("netpath.egress.teardown")
    assert (foreseen.status, removed.status) == (0, 0), removed.output
    for node in world.nodes:
        # A file that one task removes is still there for the prediction of another.
        assert list(dict.fromkeys(foreseen.actions(node.name))) == removed.actions(node.name)
        assert difference(before[node.name], node.snapshot()) == ""
    nothing = playbooks.run("netpath.egress.teardown")
    assert (nothing.status, set(nothing.changed.values())) == (0, {0}), nothing.output


def test_networks_change_over_time(playbooks: Playbooks, node: Node) -> None:
    """A namespace leaves the list, one joins, a network goes while another stays. As many tasks as ever."""
    pods = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1", "c2", "c3"]}
    before = node.snapshot()
    first = playbooks.build(pods)
    second = playbooks.build({**pods, "namespaces": ["c3", "c4"], "prefix": "n", "count": 8}, APPS)
    assert second.tasks == first.tasks
    names = node.run(["ip", "netns", "list"]).stdout.split()
    assert {"c1", "c2"} & set(names) == set()
    for name in ("c3", "c4", "n8"):
        assert answers(node, name) == {4: node.address, 6: node.address6}
    third = playbooks.build({**pods, "state": "absent"}, APPS)
    assert "delete namespace c4" in third.actions(node.name)
    assert answers(node, "a1")[4] == node.address
    assert playbooks.run("netpath.egress.teardown", networks=[APPS]).status == 0
    assert difference(before, node.snapshot()) == ""


def test_roles_in_a_playbook_of_somebody_elses(playbooks: Playbooks, node: Node) -> None:
    before = node.snapshot()
    playbook = playbooks.directory / "own.yml"
    tasks = [
        {"name": "Build", "ansible.builtin.include_role": {"name": "netpath.egress.egress"}},
        {"name": "Check", "ansible.builtin.include_role": {"name": "netpath.egress.egress", "tasks_from": "verify"}},
        {"name": "Look", "ansible.builtin.command": "ip netns list", "changed_when": False, "register": "own_names"},
        {"name": "Keep", "ansible.builtin.assert": {"that": "'a1' in own_names.stdout"}},
        {"name": "Remove", "ansible.builtin.include_role": {"name": "netpath.egress.teardown"}},
    ]
    variables = {"egress_networks": [APPS]}
    play = {"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    done = playbooks.run(str(playbook))
    assert done.status == 0, done.output
    assert difference(before, node.snapshot()) == ""


def test_verification_fails_where_something_drifted(playbooks: Playbooks, node: Node) -> None:
    playbooks.build(APPS)
    node.run(["ip", "link", "set", "np-a1", "nomaster"])
    playbook = playbooks.directory / "verify.yml"
    role = {"name": "netpath.egress.egress", "tasks_from": "verify"}
    play = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    drifted = playbooks.run(str(playbook), networks=[APPS])
    assert drifted.status != 0
    assert "Not as asked for: change veth np-a1: master none -> br-apps" in drifted.output
    playbooks.build(APPS)
    assert playbooks.run(str(playbook), networks=[APPS]).status == 0


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({**APPS, "subnet": ["10.45.0.0/24"]}, ["networks.subnet", "Supported parameters include", "subnets"]),
        ({**APPS, "subnets": ["10.44.0.7/24"]}, ["networks[0].subnets[0]", "did you mean 10.44.0.0/24?"]),
        ({**APPS, "namespaces": ["a/b"]}, ["networks[0].namespaces[0].name", "'a/b' is no namespace name"]),
        ({**APPS, "bridge": "a-bridge-with-a-long-name"}, ["networks[0].bridge", "has 25 bytes"]),
        ({**APPS, "subnets": ["10.44.0.0/30"], "count": 2, "prefix": "n"}, ["networks[0].subnets", "too few"]),
        ({**APPS, "uplink": "eth9"}, ["networks[0].uplink", "no interface 'eth9'"]),
        ({**APPS, "firewall": "pf"}, ["firewall", "auto, nftables, iptables, firewalld, none"]),
    ],
)
def test_bad_value_changes_nothing(playbooks: Playbooks, node: Node, network: t.Any, words: list[str]) -> None:
    before = node.snapshot()
    done = playbooks.run("netpath.egress.site", networks=[network])
    assert done.status != 0
    assert [word for word in words if word not in done.output] == [], done.output
    assert difference(before, node.snapshot()) == ""


def test_failure_leaves_nothing_of_a_network(playbooks: Playbooks, node: Node) -> None:
    before = node.snapshot()
    other = {"name": "web", "bridge": "uplink0", "subnets": ["10.45.0.0/24"], "namespaces": ["w1"]}
    done = playbooks.run("netpath.egress.site", networks=[other])
    assert done.status != 0
    assert "make bridge uplink0: the name is taken by a veth link. Choose another name" in done.output
    assert difference(before, node.snapshot()) == ""


def test_nothing_asked_for_is_said(playbooks: Playbooks) -> None:
    done = playbooks.run("netpath.egress.site", networks=[])
    assert done.status == 0
    assert "egress_networks is empty, so there is nothing to do on this host." in done.output


def test_host_without_pyroute2(playbooks: Playbooks, node: Node, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    before = node.snapshot()
    interpreter = str(tmp_path / "bare" / "bin" / "python3")
    options = ("-e", "egress_pyroute2=none")
    done = playbooks.run("netpath.egress.site", *options, networks=[APPS], interpreter=interpreter)
    assert done.status != 0
    assert "Failed to import the required Python library (pyroute2 >= 0.7.2)" in done.output
    assert interpreter.rpartition("/")[0] in done.output
    assert set(done.changed.values()) == {0}
    assert difference(before, node.snapshot()) == ""


@pytest.mark.parametrize("way", ["transaction", "modules"])
def test_check_mode_on_a_host_without_pyroute2(playbooks: Playbooks, node: Node, tmp_path: Path, way: str) -> None:
    """Nothing is installed, so nothing can be foreseen; that is no failure."""
    venv.create(tmp_path / "bare", with_pip=False)
    before = node.snapshot()
    # Instead of the distribution's packages, of which the machine has some.
    manager = tmp_path / "library" / "nothing.py"
    manager.parent.mkdir()
    manager.write_text(_INSTALLS_NOTHING, encoding="utf-8")
    options = ["--check", "-e", f"egress_apply={way}", "-e", "ansible_package_use=nothing", "-M", str(manager.parent)]
    interpreter = str(tmp_path / "bare" / "bin" / "python3")
    done = playbooks.run("netpath.egress.site", *options, networks=[APPS], interpreter=interpreter)
    assert done.status == 0, done.output
    assert "pyroute2 is not installed. The run would install it, and only then can the steps be shown." in done.output
    assert difference(before, node.snapshot()) == ""


_INSTALLS_NOTHING = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "list"}, "state": {}}, supports_check_mode=True)
module.exit_json(changed=True)
"""
