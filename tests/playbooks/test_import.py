"""The playbook import: what it tells of networks that somebody made by hand, and that these can be built."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.hand_made_network import BRIDGE, SIX, member
from tests.support.playbook_runs import Playbooks, answers
from tests.support.shell import script

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

NAT = f"iptables -t nat -A POSTROUTING -s 10.22.33.0/24 -o uplink0 -j MASQUERADE; {SIX}"
PODS: dict[str, t.Any] = {
    "name": "br0",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "uplink": "uplink0",
    "namespaces": ["a", "b"],
}


def test_import_then_site_on_another_host(tmp_path: Path) -> None:
    with World(nodes=2) as world:
        first, second = world.nodes
        playbooks = Playbooks(world, tmp_path)
        folder = tmp_path / "imported"
        script(first, BRIDGE + member("a", 2) + member("b", 3) + NAT + "; ip netns add bare")
        before = {node.name: settled(node) for node in world.nodes}
        done = playbooks.run("netpath.egress.import", "-e", json.dumps({"egress_import_folder": str(folder)}))
        assert done.status == 0, done.output
        for node in world.nodes:
            assert difference(before[node.name], settled(node)) == ""
        lines = done.output.splitlines()
        assert "# namespace bare: it has no link (a namespace of a network has one link, beside its loopback)" in lines
        assert "    namespaces: [a, b]" in lines
        # Nothing is written that would hide networks of a group from a host.
        assert [path.name for path in folder.iterdir()] == ["node1.yml"]
        written = yaml.safe_load((folder / "node1.yml").read_text(encoding="utf-8"))
        assert written == {"egress_networks": [PODS]}
        built = playbooks.run("netpath.egress.site", "-l", "node2", "-e", f"@{folder}/node1.yml")
        assert built.status == 0, built.output
        for name in ("a", "b"):
            assert answers(first, name) == {4: first.address, 6: first.address6}
            assert answers(second, name) == {4: second.address, 6: second.address6}
        # What somebody made is never taken over.
        refused = playbooks.run("netpath.egress.site", "-l", "node1", "-e", f"@{folder}/node1.yml")
        assert refused.status != 0
        assert difference(before["node1"], settled(first)) == ""
        # Once it is gone, the same networks stand in its place.
        script(first, "ip netns del a; ip netns del b; ip link del br0; iptables -t nat -F; ip6tables -t nat -F")
        again = playbooks.run("netpath.egress.site", "-l", "node1", "-e", f"@{folder}/node1.yml")
        assert again.status == 0, again.output
        for name in ("a", "b"):
            assert answers(first, name) == {4: first.address, 6: first.address6}


def test_host_that_tells_nothing_is_listed(tmp_path: Path) -> None:
    with World(nodes=1) as world:
        playbooks = Playbooks(world, tmp_path)
        done = playbooks.run("netpath.egress.import", interpreter="/nowhere/python3")
        assert done.status != 0
        assert [line for line in done.output.splitlines() if line.startswith("# node1: ")]
        assert "Traceback" not in done.output
