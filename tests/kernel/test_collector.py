"""The collector: leftovers of ours go, those of others only by name, and what is in use stays."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.collector import collect

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, refusal, thread_in, unreachable_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1"]}
# The other end is in a namespace that nobody can name: an open file alone holds it.
DANGLING = (
    "ip netns add left; ip link add left0 type veth peer name eth0 netns left; ip link set left0 alias {};"
    "exec 3</run/netns/left; ip netns del left; echo held; read -r _"
)


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.call(build_at_once, [PODS])
        yield made


def collected(node: Node, *handles: str, networks: t.Sequence[str] = (), check: bool = False) -> list[str]:
    return node.call(lambda: collect(handles, networks, check).result.actions)


def test_network_in_use_stays(node: Node) -> None:
    node.run(["sh", "-ec", "touch /run/netns/theirs; ip link add x0 type veth peer name x1"])
    node.run(["nft", "add table inet theirs; add chain inet theirs nat_left"])
    before = settled(node)
    assert collected(node) == []
    assert difference(before, settled(node)) == ""
    assert unreachable_from(node, "c1") == []


@pytest.mark.parametrize(("alias", "ours"), [("netpath:pods", True), ("theirs", False)])
def test_end_that_leads_nowhere(node: Node, alias: str, ours: bool) -> None:
    before = settled(node)
    options: dict[str, t.Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with node.popen(["sh", "-c", DANGLING.format(alias)], **options) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        lines = ["delete veth left0"] if ours else []
        assert collected(node, check=True) == lines
        assert collected(node) == lines
        assert ("left0" in node.run(["ip", "-br", "link"]).stdout) is not ours
        process.communicate("\n")
    if ours:
        assert difference(before, settled(node)) == ""


def test_end_that_leads_to_a_thread(node: Node) -> None:
    with thread_in(node, "c1") as thread:
        node.run(["ip", "netns", "delete", "c1"])
        assert node.run(["stat", "-L", "-c", "%n", f"/proc/{thread}/ns/net"]).stdout
        assert collected(node) == []
        assert node.run(["ip", "link", "show", "np-c1"], check=False).returncode == 0


def test_rules_of_a_network_that_is_gone(node: Node) -> None:
    before = settled(node)
    apps = {**PODS, "name": "lost", "bridge": "br1", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}
    node.call(build_at_once, [{**apps, "publish": [{"port": 8080, "to": "a1:80"}]}])
    # By somebody else, who did not know of rules and settings.
    node.run(["sh", "-ec", "ip netns del a1; ip link del br1; while ip link show np-a1 >/dev/null 2>&1; do :; done"])
    left = settled(node)
    assert collected(node) == []  # they might be for links of somebody else
    told = refusal(node, collect, [], ["pods"])
    assert (told.kind, told.advice) == ("SpecError", "there are lost")
    foreseen = collected(node, networks=["lost"], check=True)
    assert difference(left, settled(node)) == ""
    assert collected(node, networks=["lost"]) == foreseen
    purposes = ("forwarding limits of", "guard of", "published ports of", "source NAT")
    assert sorted(foreseen) == [f"delete {purpose} lost" for purpose in purposes]
    assert unreachable_from(node, "c1") == []
    # What the network had asked of the host is its own: it goes with the network.
    node.call(build_at_once, [apps], absent=True)
    assert difference(before, settled(node)) == ""


def test_handle_by_name_alone(node: Node) -> None:
    node.run(["touch", "/run/netns/left"])
    before = settled(node)
    assert collected(node) == []
    assert collected(node, "left", check=True) == ["delete /run/netns/left, which is no namespace"]
    assert difference(before, settled(node)) == ""
    for name in ("c1", "nobody", "../left"):
        told = refusal(node, collect, [name])
        assert (told.kind, "there are left" in told.advice) == ("SpecError", True)
    assert collected(node, "left") == ["delete /run/netns/left, which is no namespace"]
    assert "left" not in node.run(["ls", "/run/netns"]).stdout
