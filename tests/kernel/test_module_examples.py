"""The examples in the documentation run, in the order in which a path is built, and a second time change nothing."""

from __future__ import annotations

import importlib
import typing as t

import pytest
import yaml

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.run_module import Options, Request, done, predicted

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

ORDER = ("netns", "linux_bridge", "veth", "ns_route", "sysctl_forward", "nat_masquerade")
PLUGINS = "ansible_collections.netpath.egress.plugins.modules"


def examples(module: str, app_pid: int) -> t.Iterator[Request]:
    """The tasks of a module's examples; a program's PID is filled in where one is asked for."""
    for task in yaml.safe_load(importlib.import_module(f"{PLUGINS}.{module}").EXAMPLES):
        [name] = [key for key in task if key.startswith("netpath.egress.")]
        options: Options = task[name]
        if "attach" in options:
            assert options["attach"] == "{{ app_pid }}"
            options = {**options, "attach": str(app_pid)}
        yield name.rpartition(".")[2], options


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(internet=False) as world:
        yield world.nodes[0]


def test_examples_run_in_order(node: Node) -> None:
    with node.popen(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=-1, stdout=-1) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        acted = []
        for name in ORDER:
            for module, options in examples(name, program.pid):
                expected = predicted(node, module, options)
                assert done(node, module, options) == expected
                assert done(node, module, options) == []
                acted += expected
        program.stdin.close()
    assert f"create namespace app from /proc/{program.pid}/ns/net" in acted
    samples = [yaml.safe_load(importlib.import_module(f"{PLUGINS}.{name}").RETURN) for name in ORDER]
    assert {line for sample in samples for line in sample["actions"]["sample"]} <= set(acted)
