"""Which hosts a playbook is for, and in which batches it repairs them."""

from __future__ import annotations

import json
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
# Which hosts are repaired along with this one, and how many of those ahead are healthy by now.
NOTE = [
    {
        "name": "Note the batch",
        "ansible.builtin.copy": {"content": "{{ ansible_play_batch | to_json }}", "dest": "/run/batch", "mode": "0600"},
    }
]


@pytest.fixture
def world() -> t.Iterator[World]:
    with World(nodes=4) as made:
        yield made


@pytest.fixture
def playbooks(world: World, tmp_path: Path) -> Playbooks:
    made = Playbooks(world, tmp_path)
    made.options = ["-e", json.dumps({"egress_persist": False, "remediate_shared": 1})]
    return made


def run(playbooks: Playbooks, playbook: str, *options: str, **variables: t.Any) -> Done:
    return playbooks.run(f"netpath.egress.{playbook}", "-e", json.dumps(variables), *options, networks=[APPS])


def reached(nodes: t.Sequence[Node]) -> list[str]:
    """The nodes whose namespace the internet sees as the node."""
    there = [node for node in nodes if "a1" in node.run(["ip", "netns", "list"]).stdout.split()]
    return [node.name for node in there if answers(node, "a1")[4] == node.address]


@pytest.mark.parametrize(
    ("asked", "batches"),
    [
        ({}, [["node1"], ["node2"], ["node3"], ["node4"]]),
        ({"remediate_batches": [1, 3]}, [["node1"], ["node2", "node3", "node4"]]),
        ({"remediate_batches": ["50%"]}, [["node1", "node2"], ["node3", "node4"]]),
        ({"remediate_batches": 4}, [["node1", "node2", "node3", "node4"]]),
    ],
    ids=["default", "list", "share", "number"],
)
def test_hosts_are_repaired_in_batches(
    world: World, playbooks: Playbooks, tmp_path: Path, asked: dict[str, t.Any], batches: list[list[str]]
) -> None:
    playbooks.build(APPS)
    for node in world.nodes:
        node.run(["sh", "-ec", DETACH])
    (tmp_path / "note.yml").write_text(json.dumps(NOTE), encoding="utf-8")
    done = run(playbooks, "remediate", remediate_before=str(tmp_path / "note.yml"), **asked)
    assert done.status == 0, done.output
    found = [json.loads(node.run(["cat", "/run/batch"]).stdout) for node in world.nodes]
    assert found == [batch for batch in batches for _host in batch]
    assert reached(world.nodes) == ["node1", "node2", "node3", "node4"]


def test_batch_that_does_not_heal_is_the_last(world: World, playbooks: Playbooks) -> None:
    """Its other hosts are repaired, those of later batches are not touched."""
    playbooks.build(APPS)
    taken = "ip link del np-a1; ip link del br-apps; ip link add br-apps type veth peer name other"
    for node, script in zip(world.nodes, (DETACH, DETACH, taken, DETACH)):
        node.run(["sh", "-ec", script])
    last = world.nodes[3]
    before = settled(last)
    done = run(playbooks, "remediate", remediate_batches=[1, 2])
    assert done.status != 0
    assert reached(world.nodes) == ["node1", "node2"]
    assert difference(before, last.snapshot()) == ""


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [("node2", ["node2"]), ("all[1:2]", ["node2", "node3"]), ("all:!node1:!node3", ["node2", "node4"])],
    ids=["name", "range", "exclusion"],
)
def test_playbooks_touch_hosts_of_the_pattern_alone(
    world: World, playbooks: Playbooks, tmp_path: Path, pattern: str, chosen: list[str]
) -> None:
    """Each of them, on a fleet that is broken the same everywhere."""
    before = {node.name: node.snapshot() for node in world.nodes}
    hosts = {"egress_hosts": pattern}
    planned = run(playbooks, "plan", **hosts, egress_plan_folder=str(tmp_path / "plan"))
    assert (planned.status, list(planned.changed)) == (0, chosen), planned.output
    (file,) = (tmp_path / "plan").glob("*.json")
    assert {name for name in before if f'"{name}"' in file.read_text(encoding="utf-8")} == set(chosen)
    built = run(playbooks, "site", **hosts)
    assert (built.status, list(built.changed)) == (0, chosen), built.output
    assert reached(world.nodes) == chosen
    others = [node for node in world.nodes if node.name not in chosen]
    assert [difference(before[node.name], node.snapshot()) for node in others] == [""] * len(others)

    # With a fault on hosts outside of the pattern, too.
    run(playbooks, "site")
    for node in world.nodes:
        node.run(["sh", "-ec", DETACH])
    left = {node.name: settled(node) for node in others}
    diagnosed = run(playbooks, "diagnose", **hosts)
    assert diagnosed.status != 0
    assert list(diagnosed.changed) == chosen
    imported = run(playbooks, "import", **hosts, egress_import_folder=str(tmp_path / "host_vars"))
    assert sorted(path.stem for path in (tmp_path / "host_vars").iterdir()) == chosen, imported.output
    healed = run(playbooks, "remediate", **hosts)
    assert (healed.status, list(healed.changed)) == (0, chosen), healed.output
    assert reached(world.nodes) == chosen
    removed = run(playbooks, "teardown", **hosts)
    assert (removed.status, list(removed.changed)) == (0, chosen), removed.output
    assert [difference(left[node.name], node.snapshot()) for node in others] == [""] * len(others)
    for node in world.nodes:
        if node.name in chosen:
            assert difference(before[node.name], node.snapshot()) == ""
