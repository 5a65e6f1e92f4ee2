"""The playbooks on hosts with each Python and pyroute2, and from controllers with each ansible-core."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

import pytest

from tests.compat.environments import CONTROLLERS, HOSTS, Environment
from tests.lab import privilege
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.playbook_runs import Playbooks, answers

_OBSTACLE = privilege.obstacle()
# The limit ends what hangs: on a busy machine the runs of Ansible take minutes.
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(1200)]

PODS: dict[str, t.Any] = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["ns1", {"name": "ns2", "dns": {"servers": ["198.51.100.53"]}}],
}


@pytest.mark.parametrize("environment", HOSTS, ids=str)
def test_host(environment: Environment, tmp_path: Path) -> None:
    life_of_a_network(tmp_path, Path(sys.executable), interpreter_of(environment))


@pytest.mark.parametrize("environment", CONTROLLERS, ids=str)
def test_controller(environment: Environment, tmp_path: Path) -> None:
    life_of_a_network(tmp_path, interpreter_of(environment), Path(sys.executable))


def interpreter_of(environment: Environment) -> Path:
    if environment.obstacle:
        pytest.skip(environment.obstacle)
    return environment.interpreter


def life_of_a_network(directory: Path, controller: Path, interpreter: Path) -> None:
    """Foreseen, built, not changed again, broken, diagnosed, repaired, built in the other way, and taken away."""
    with World(nodes=1) as world:
        ansible, node = Playbooks(world, directory), world.nodes[0]
        ansible.controller = controller
        reports, audit = directory / "reports", directory / "audit.jsonl"
        asked = {"egress_persist": False, "diagnose_report_dir": str(reports), "remediate_audit": str(audit)}
        ansible.options = ["-e", json.dumps(asked)]

        def run(playbook: str, *options: str, status: int = 0) -> dict[str, int]:
            done = ansible.run(f"netpath.egress.{playbook}", *options, networks=[PODS], interpreter=str(interpreter))
            assert done.status == status, done.output
            return done.changed

        before = node.snapshot()
        assert run("site", "--check", "--diff")[node.name] > 0
        assert difference(before, node.snapshot()) == ""
        assert run("site")[node.name] > 0
        assert answers(node, "ns1") == {4: node.address, 6: node.address6}
        assert run("site")[node.name] == 0
        node.run(["ip", "link", "set", "np-ns1", "nomaster"])
        run("diagnose", status=2)
        assert sorted(path.name for path in reports.iterdir()) == ["junit.xml", "report.html", "report.json"]
        for path in reports.iterdir():
            assert "PORT_NOT_ON_BRIDGE" in path.read_text(encoding="utf-8"), path
        run("remediate")
        (repair,) = map(json.loads, audit.read_text(encoding="utf-8").splitlines())
        assert [repair[when][path] for when in ("before", "after") for path in ("ns1 ipv4", "ns1 ipv6")] == [
            *["PORT_NOT_ON_BRIDGE"] * 2,
            *["ok"] * 2,
        ]
        assert answers(node, "ns1") == {4: node.address, 6: node.address6}
        assert run("site", "-e", "egress_apply=modules")[node.name] == 0
        run("teardown")
        assert difference(before, node.snapshot()) == ""
