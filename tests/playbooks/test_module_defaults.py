"""The action group netpath.egress.egress in module_defaults reaches all modules, also those with an action plugin."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.support.playbook_runs import APPS, Done, Playbooks, answers

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

GROUP = "group/netpath.egress.egress"


def play(playbooks: Playbooks, defaults: dict[str, t.Any], tasks: list[dict[str, t.Any]]) -> Done:
    path = playbooks.directory / "play.yml"
    whole = {"hosts": "all", "gather_facts": False, "module_defaults": {GROUP: defaults}, "tasks": tasks}
    path.write_text(json.dumps([whole]), encoding="utf-8")
    done = playbooks.run(str(path))
    assert done.status == 0, done.output
    return done


def test_networks_are_given_once(playbooks: Playbooks, node: Node) -> None:
    """For the modules that take all of a network."""
    before = node.snapshot()
    tasks: list[dict[str, t.Any]] = [
        {"netpath.egress.egress_path": {}},
        {"netpath.egress.egress_check": {}, "register": "checked"},
        {"ansible.builtin.assert": {"that": "checked.verdicts | map(attribute='network') | list == ['apps']"}},
        {"ansible.builtin.command": "ip link set np-a1 nomaster"},
        {"netpath.egress.egress_repair": {}, "register": "repaired"},
        {"ansible.builtin.assert": {"that": "repaired.repaired.keys() | list == ['apps']"}},
    ]
    play(playbooks, {"networks": [APPS]}, tasks)
    assert answers(node, "a1")[4] == node.address
    # What a task says itself comes first.
    play(playbooks, {"networks": [APPS], "state": "present"}, [{"netpath.egress.egress_path": {"state": "absent"}}])
    assert difference(before, node.snapshot()) == ""


def test_network_is_named_once(playbooks: Playbooks, node: Node) -> None:
    """For those that make one object: each has the mark of the network, and goes with it."""
    pair = {"name": "v1", "master": "br0", "peer": {"name": "eth0", "netns": "n1", "addresses": ["10.9.0.2/24"]}}
    tasks: list[dict[str, t.Any]] = [
        {"netpath.egress.netns": {"name": "n1"}},
        {"netpath.egress.linux_bridge": {"name": "br0", "addresses": ["10.9.0.1/24"]}},
        {"netpath.egress.veth": pair},
    ]
    play(playbooks, {"network": "shop"}, tasks)
    marks = node.run(["sh", "-ec", "cat /sys/class/net/br0/ifalias /sys/class/net/v1/ifalias"]).stdout.split()
    assert marks == ["netpath:shop"] * 2
