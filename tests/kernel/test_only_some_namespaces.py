"""A small change of a host with many namespaces looks at no other ones."""

from __future__ import annotations

import sys
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError, SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import bundle, installation
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

THREE = ["c1", "c2", "c3"]


def pods(*names: str) -> Options:
    return {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": list(names)}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [pods(*THREE)])
        yield made


def build_only(networks: list[Options], only: list[str], state: str = "present") -> list[str]:
    def wanted(observer: t.Any) -> Want:
        return path.wanted({"networks": networks, "only": only, "state": state}, observer)

    return run(wanted).actions


def test_one_is_added_as_if_all_had_been_looked_at(node: Node) -> None:
    actions = node.call(build_only, [pods(*THREE, "c4")], ["c4"])
    assert [action for action in actions if "c4" not in action] == []
    assert unreachable_from(node, *THREE, "c4") == []
    assert node.call(build_at_once, [pods(*THREE, "c4")]) == []


def test_others_are_neither_repaired_nor_removed(node: Node) -> None:
    node.call(build_at_once, [pods(*THREE, "c4")])
    node.run(["sh", "-ec", "ip link set np-c1 nomaster; ip -n c2 link set eth0 down"])
    before = settled(node)
    # c4 is no longer in the network, and stays until somebody looks at all of it.
    assert node.call(build_only, [pods(*THREE)], ["c3"]) == []
    assert difference(before, settled(node)) == ""
    assert "delete namespace c4" in node.call(build_at_once, [pods(*THREE)])


def test_the_bridge_is_looked_at(node: Node) -> None:
    node.run(["sh", "-ec", "ip link set br-pods down"])
    assert node.call(build_only, [pods(*THREE)], ["c1"])[:1] == ["change bridge br-pods: up off -> on"]


def test_what_all_namespaces_need_stays(node: Node) -> None:
    moved = {**pods(*THREE, "c4"), "subnets": ["10.22.44.0/24", "fd00:22:33::/64"]}
    before = settled(node)
    with pytest.raises(
        ConflictError, match=r"changes for all its namespaces: delete address 10.22.33.1/24 from br-pods"
    ):
        node.call(build_only, [moved], ["c4"])
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize(
    ("only", "state", "words"),
    [(["c9"], "present", "'c9' is no namespace"), (["c1"], "absent", "leave it out")],
)
def test_what_cannot_be_meant_is_refused(node: Node, only: list[str], state: str, words: str) -> None:
    before = settled(node)

    def refused() -> str:
        with pytest.raises(SpecError) as caught:
            build_only([pods(*THREE)], only, state)
        return str(caught.value)

    assert words in node.call(refused)
    assert difference(before, settled(node)) == ""


def test_the_program_knows_addresses_from_its_files(node: Node, tmp_path_factory: pytest.TempPathFactory) -> None:
    """So that nothing is asked of the others."""
    program = tmp_path_factory.mktemp("program") / "netpath-egress"
    program.write_bytes(bundle.executable(sys.executable))
    program.chmod(0o755)
    asked = installation.Asked("/etc/netpath-egress", sys.executable, [pods(*THREE, "c4")])
    node.call(lambda: installation.install(asked).actions)
    # Nobody who looked at it could take it for c2.
    node.run(["sh", "-ec", "ip netns delete c2; touch /run/netns/c2"])
    done = node.run([str(program), "apply", "--only", "c4"], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "create namespace c4" in done.stdout
    assert unreachable_from(node, "c1", "c4") == []
    wrong = node.run([str(program), "apply", "--only", "c9"], check=False)
    assert (wrong.returncode, "there is no namespace 'c9'" in wrong.stderr) == (3, True)
