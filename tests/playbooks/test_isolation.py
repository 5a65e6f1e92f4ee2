"""The roles where one network of a host cannot be built or removed: the others are, and the host fails for that one."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.support.inhabited import inhabited
from tests.support.playbook_runs import APPS, Done, Playbooks, answers

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: dict[str, t.Any] = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1"]}
BOTH = [PODS, APPS]
FILES = "/etc/netpath/networks.d"


def reason(done: Done) -> str:
    """Why the host failed, which the playbook says once."""
    assert done.status == 2, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("fatal: ")]
    assert len(lines) == 1, done.output
    return lines[0]


def test_others_are_built_and_kept_for_the_next_boot(playbooks: Playbooks, node: Node) -> None:
    node.run(["sh", "-ec", "ip link add br-pods type veth peer name other"])
    before = node.snapshot()
    predicted = playbooks.run("netpath.egress.site", "--check", "--diff", networks=BOTH)
    assert "network pods: " in reason(predicted)
    assert "namespace a1" in predicted.output  # by the diff of what would be done
    assert difference(before, node.snapshot()) == ""
    built = playbooks.run("netpath.egress.site", networks=BOTH)
    assert "network pods: " in reason(built)
    assert "network apps" not in reason(built)
    assert "create namespace a1" in built.actions("node1")
    assert predicted.actions("node1") == built.actions("node1")
    assert answers(node, "a1")[4] == node.address
    assert node.run(["ls", FILES]).stdout.split() == ["apps.json"]
    again = playbooks.run("netpath.egress.site", networks=BOTH)
    assert "network pods: " in reason(again)
    assert again.actions("node1") == []
    node.run(["ip", "link", "delete", "br-pods"])
    assert "create namespace c1" in playbooks.build(*BOTH).actions("node1")
    assert answers(node, "c1") == {4: node.address, 6: node.address6}
    assert node.run(["ls", FILES]).stdout.split() == ["apps.json", "pods.json"]


def test_process_stops_the_teardown_of_its_network_alone(playbooks: Playbooks, node: Node) -> None:
    before = node.snapshot()
    playbooks.build(*BOTH)
    with inhabited(node, "c1"):
        removed = playbooks.run("netpath.egress.teardown", networks=BOTH)
        assert "processes live in it" in reason(removed)
        assert node.run(["ip", "netns", "list"]).stdout.split()[0] == "c1"
        assert "a1" not in node.run(["ip", "netns", "list"]).stdout
        assert answers(node, "c1") == {4: node.address, 6: node.address6}
        assert node.run(["ls", FILES]).stdout.split() == ["pods.json"]
    assert playbooks.run("netpath.egress.teardown", networks=BOTH).status == 0
    assert difference(before, node.snapshot()) == ""
