"""The playbooks site and teardown, and the roles behind them, on the inventory of docs/examples."""

from __future__ import annotations

import json
import re
import typing as t
import venv
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import APPS, Playbooks, answers

_OBSTACLE = privilege.obstacle()
# The limit ends what hangs: on a busy machine some runs of Ansible take minutes.
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(1200)]

NAMES = ("ns1", "ns2", "ns3")


@pytest.mark.parametrize("way", ["transaction", "modules"])
def test_site_builds_and_teardown_gives_the_hosts_back(world: World, playbooks: Playbooks, way: str) -> None:
    if way == "transaction":  # several hosts at a time are no matter of the way
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


# What a later role can go by.
_RETURNED = "egress_result.networks[0].namespaces[0].addresses == ['10.44.0.2/24']"


@pytest.mark.smoke
def test_roles_in_a_playbook_of_somebody_elses(playbooks: Playbooks, node: Node) -> None:
    before = node.snapshot()
    playbook = playbooks.directory / "own.yml"
    tasks = [
        {"name": "Build", "ansible.builtin.include_role": {"name": "netpath.egress.egress"}},
        {"name": "Check", "ansible.builtin.include_role": {"name": "netpath.egress.egress", "tasks_from": "verify"}},
        {"name": "Look", "ansible.builtin.command": "ip netns list", "changed_when": False, "register": "own_names"},
        {"name": "Keep", "ansible.builtin.assert": {"that": ["'a1' in own_names.stdout", _RETURNED]}},
        {"name": "Remove", "ansible.builtin.include_role": {"name": "netpath.egress.teardown"}},
    ]
    variables = {"egress_networks": [APPS]}
    play = {"hosts": "all", "gather_facts": False, "vars": variables, "tasks": tasks}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    done = playbooks.run(str(playbook))
    assert done.status == 0, done.output
    assert difference(before, node.snapshot()) == ""


def test_verification_fails_where_something_drifted(playbooks: Playbooks, node: Node) -> None:
    playbooks.prepare(APPS)
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


WRONG: list[tuple[dict[str, t.Any], list[str]]] = [
    ({**APPS, "subnet": ["10.45.0.0/24"]}, ["networks[0].subnet: unknown key", "subnets"]),
    ({**APPS, "subnets": ["10.44.0.7/24"]}, ["networks[0].subnets[0]", "did you mean 10.44.0.0/24?"]),
    ({**APPS, "namespaces": ["a/b"]}, ["networks[0].namespaces[0].name", "'a/b' is no namespace name"]),
    ({**APPS, "bridge": "a-bridge-with-a-long-name"}, ["networks[0].bridge", "has 25 bytes"]),
    ({**APPS, "subnets": ["10.44.0.0/30"], "count": 2, "prefix": "n"}, ["networks[0].subnets", "too few"]),
    ({**APPS, "uplink": "eth9"}, ["networks[0].uplink", "no interface 'eth9'"]),
    ({**APPS, "firewall": "pf"}, ["firewall", "auto, nftables, iptables, firewalld, none"]),
]


def test_bad_value_changes_nothing(tmp_path: Path) -> None:
    """Each host has another one."""
    with World(nodes=len(WRONG)) as world:
        playbooks = Playbooks(world, tmp_path)
        (tmp_path / "host_vars").mkdir()
        for node, (network, _words) in zip(world.nodes, WRONG):
            (tmp_path / "host_vars" / f"{node.name}.yml").write_text(json.dumps({"egress_networks": [network]}))
        before = [node.snapshot() for node in world.nodes]
        done = playbooks.run("netpath.egress.site")
        assert done.status != 0
        for node, (_network, words), earlier in zip(world.nodes, WRONG, before):
            (said,) = re.findall(
                rf"^fatal: \[{node.name}\]: (.*(?:\n(?![a-z]+: \[|TASK|PLAY).*)*)", done.output, re.MULTILINE
            )
            assert [word for word in words if word not in said] == [], said
            assert difference(earlier, node.snapshot()) == ""


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
    assert "egress_networks lists no network, so there is nothing to do on this host." in done.output


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
