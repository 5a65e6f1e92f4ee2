"""What a process lacks, such as file descriptors or capabilities, is one clear error and never a finding."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": [{"prefix": "c", "count": 30}]}
FAILED = 4


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        world.nodes[0].call(build_at_once, [PODS])
        yield world.nodes[0]


@pytest.mark.parametrize("command", ["show", "import", "check --all"])
def test_too_few_file_descriptors_are_one_error(node: Node, program: str, command: str) -> None:
    done = node.run(["prlimit", "--nofile=70:70", program, *command.split()], check=False)
    assert done.returncode == FAILED, done
    (line,) = done.stderr.splitlines()
    assert "Too many open files" in line


@pytest.mark.parametrize("target", [probe.TARGETS[4], f"{probe.TARGETS[4]}:7070"])
def test_check_without_net_raw_is_an_error_and_no_finding(node: Node, program: str, target: str) -> None:
    without = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    done = node.run([*without, program, "check", "--netns", "c1", "--target", target, "--json"], check=False)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert "CAP_NET_RAW" in done.stderr
    structure = node.run([*without, program, "check", "--netns", "c1", "--no-probe", "--json"], check=False)
    assert [verdict["status"] for verdict in json.loads(structure.stdout)["verdicts"]] != ["broken"]
