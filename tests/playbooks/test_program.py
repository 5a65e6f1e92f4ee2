"""The program netpath-egress, brought to a host by the role and taken away by teardown."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import APPS, Playbooks

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: dict[str, t.Any] = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["c1"]}
# /usr/local is the machine's own, also in a node.
PROGRAM = "/etc/netpath-egress"
DIRECTORY = "/etc/netpath/networks.d"


@pytest.fixture
def playbooks(tmp_path: Path) -> t.Iterator[tuple[Playbooks, Node]]:
    with World(nodes=1) as world:
        made = Playbooks(world, tmp_path)
        made.options = ["-e", json.dumps({"egress_program": True, "egress_program_path": PROGRAM})]
        yield made, world.nodes[0]


def modes(node: Node) -> dict[str, str]:
    listed = node.run(["find", PROGRAM, "/etc/netpath", "-type", "f", "-printf", "%p %u %m\n"], check=False).stdout
    return {path: f"{user} {mode}" for path, user, mode in map(str.split, listed.splitlines())}


def test_role_installs_it_and_teardown_removes_it(playbooks: tuple[Playbooks, Node]) -> None:
    ansible, node = playbooks
    before = node.snapshot()
    foreseen = ansible.run("netpath.egress.site", "--check", "--diff", networks=[APPS, PODS])
    assert foreseen.status == 0, foreseen.output
    assert difference(before, node.snapshot()) == ""
    built = ansible.build(APPS, PODS)
    assert foreseen.actions(node.name) == built.actions(node.name)
    expected = {f"{DIRECTORY}/apps.json": "root 600", f"{DIRECTORY}/pods.json": "root 600", PROGRAM: "root 755"}
    assert modes(node) == expected
    again = ansible.build(APPS, PODS)
    assert set(again.changed.values()) == {0}, again.output

    checked = node.run(["env", "-i", PROGRAM, "check"])
    assert checked.stdout == "OK: 2 paths: a1 ipv4, c1 ipv4\n"
    node.run(["ip", "link", "set", "np-c1", "nomaster"])
    broken = node.run(["env", "-i", PROGRAM, "check"], check=False)
    assert (broken.returncode, "PORT_NOT_ON_BRIDGE" in broken.stdout) == (1, True), broken.stdout

    one = ansible.run("netpath.egress.teardown", networks=[PODS])
    assert one.status == 0, one.output
    del expected[f"{DIRECTORY}/pods.json"]
    assert modes(node) == expected
    ansible.options = ["-e", f"egress_program_path={PROGRAM}"]  # also where it is no longer asked for
    assert ansible.run("netpath.egress.teardown", networks=[APPS]).status == 0
    assert modes(node) == {}
    assert difference(before, node.snapshot()) == ""


def test_files_of_others_are_left_alone(playbooks: tuple[Playbooks, Node]) -> None:
    ansible, node = playbooks
    node.run(["tee", PROGRAM], input="#!/bin/sh\n")
    refused = ansible.run("netpath.egress.site", networks=[PODS])
    assert refused.status != 0
    assert "write /etc/netpath-egress: somebody else's file has this name. Move it away" in refused.output
    removed = ansible.run("netpath.egress.teardown", networks=[PODS])
    assert removed.status == 0, removed.output
    assert node.run(["cat", PROGRAM]).stdout == "#!/bin/sh\n"
    assert list(modes(node)) == [PROGRAM]


def test_units_that_are_no_longer_asked_for_go(playbooks: tuple[Playbooks, Node]) -> None:
    """Those of a run that had the networks built at boot, and watched."""
    ansible, node = playbooks
    units, wants = "/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants"
    listed = f"find {units} -name 'netpath-egress*' | sort"
    node.run(["mkdir", "-p", wants, f"{units}/timers.target.wants"])
    for name in ("netpath-egress@.service", "netpath-egress-watch.service", "netpath-egress-watch.timer"):
        node.run(["tee", f"{units}/{name}"], input="# netpath.egress\n")
    node.run(["ln", "-s", f"{units}/netpath-egress@.service", f"{wants}/netpath-egress@pods.service"])
    node.run(["ln", "-s", f"{units}/netpath-egress-watch.timer", f"{units}/timers.target.wants"])
    asked = {"egress_program": False, "egress_persist": False, "egress_watch": "off", "egress_program_path": PROGRAM}
    ansible.options = ["-e", json.dumps(asked)]
    ansible.build(PODS)
    assert node.run(["sh", "-c", listed]).stdout == ""
    again = ansible.build(PODS)
    assert set(again.changed.values()) == {0}, again.output
