"""What a role keeps to itself is not changed from outside: no variable turns building into removing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import APPS, Playbooks, answers

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# Words that an inventory may use for things of its own, and that the roles once used for theirs.
WORDS = ("absent", "built", "installed", "lacks", "host", "options", "units", "advice", "with_pip", "other_packages")
NAMES = [
    *(f"egress_{word}" for word in (*WORDS, "program_wanted", "verified")),
    *("remediate_folder", "remediate_look", "remediate_done", "remediate_alike", "remediate_ill", "remediate_hooks"),
    *("diagnose_checked", "diagnose_report"),
    *("egress_plan", "egress_plan_read", "egress_plan_networks", "egress_import", "egress_imported"),
]


@pytest.fixture
def playbooks(world: World, tmp_path: Path) -> Playbooks:
    made = Playbooks(world, tmp_path)
    made.options = ["-e", json.dumps({"egress_persist": False})]
    return made


@pytest.mark.parametrize("way", ["transaction", "modules"])
@pytest.mark.parametrize("name", ["egress_absent", "__egress_absent", "__egress_state"])
def test_site_removes_nothing(playbooks: Playbooks, node: Node, name: str, way: str) -> None:
    playbooks.options += ["-e", f"egress_apply={way}"]
    playbooks.build(APPS)
    before = node.snapshot()
    told = playbooks.run("netpath.egress.site", "-e", json.dumps({name: True}), networks=[APPS])
    assert (told.status, set(told.changed.values())) == (0, {0}), told.output
    assert difference(before, node.snapshot()) == ""
    assert answers(node, "a1")[4] == node.address


def test_names_of_other_things_have_no_effect(playbooks: Playbooks, node: Node) -> None:
    """Each playbook does what it does without them."""
    before = node.snapshot()
    playbooks.options += ["-e", json.dumps(dict.fromkeys(NAMES, "of another role"))]
    assert playbooks.run("netpath.egress.plan", networks=[APPS]).status == 0
    playbooks.build(APPS)
    assert playbooks.run("netpath.egress.diagnose", networks=[APPS]).status == 0
    assert playbooks.run("netpath.egress.import", networks=[APPS]).status == 0
    node.run(["ip", "link", "set", "np-a1", "nomaster"])
    assert playbooks.run("netpath.egress.diagnose", networks=[APPS]).status != 0
    healed = playbooks.run("netpath.egress.remediate", networks=[APPS])
    assert healed.status == 0, healed.output
    assert answers(node, "a1")[4] == node.address
    removed = playbooks.run("netpath.egress.teardown", networks=[APPS])
    assert removed.status == 0, removed.output
    assert difference(before, node.snapshot()) == ""
