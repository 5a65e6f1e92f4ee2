"""Runs with mounts of their own, as units of systemd have them: what they say holds on the host, or they refuse."""

from __future__ import annotations

import json
import sys
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.world import Node, World
from tests.support.diagnosing import PODS

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

_BUILD = """
import json, sys
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from tests.support.building import build_at_once
try:
    print(len(build_at_once([json.loads(sys.argv[1])], check=sys.argv[2] == "check")), "steps")
except EgressError as error:
    print(error)
"""
# A host with a PID 1 of its own, in which all mounts are shared, as systemd has it; then the run, and what PID 1 sees.
_HOST = """
mount --make-rshared /; mkdir -p /run/netns; PREPARE
PREFIX "$@"
find /run/netns -mindepth 1 -printf '%f\\n'; stat -f -c %T /run/netns/c1 2>&1 || true
"""
SHARED = "mount --bind /run/netns /run/netns; mount --make-shared /run/netns"
# (what ip-netns has done before, how the run is started) and whether it is refused.
RUNS: dict[str, tuple[str, str, bool]] = {
    "on the host": ("true", "", False),
    "in a unit with mounts that are slaves": ("true", "unshare -m --propagation slave", True),
    "in a unit, with handles there": (SHARED, "unshare -m --propagation slave", True),
    "in a shell of unshare -m": ("true", "unshare -m", True),
    "in a namespace that shares its mounts": (SHARED, "unshare -m --propagation unchanged", False),
}


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        yield world.nodes[0]


@pytest.mark.parametrize("title", RUNS)
@pytest.mark.parametrize("mode", ["check", "apply"])
def test_what_a_run_says_holds_on_the_host(node: Node, title: str, mode: str) -> None:
    prepare, prefix, refused = RUNS[title]
    script = _HOST.replace("PREPARE", prepare).replace("PREFIX", prefix)
    inside = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh"]
    network = {**PODS, "subnets": ["10.22.33.0/24"]}
    told, *seen = node.run([*inside, sys.executable, "-c", _BUILD, json.dumps(network), mode]).stdout.splitlines()
    if refused:
        assert "not seen by PID 1" in told
    assert told.endswith(" steps") != refused
    assert ("nsfs" in seen) == (mode == "apply" and not refused), seen
    assert ("c1" in seen) == (mode == "apply" and not refused)
