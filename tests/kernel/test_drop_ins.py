"""Files for systemd-networkd and NetworkManager where these run: here programs of their names, in a light node."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.drop_ins import (
    MANAGERS,
    NETWORK_MANAGER,
    NETWORKD,
    drop_in,
)

from tests.lab import privilege, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import World
from tests.support.building import build, build_at_once
from tests.support.run_module import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

NETWORK: Options = {"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24"], "namespaces": ["ns1"]}
FILES = {manager: drop_in(manager, "br0", ["np-ns1"], "pods") for manager in MANAGERS}
both_ways = pytest.mark.parametrize("builder", [build, build_at_once], ids=["module by module", "at once"])
Builder = t.Callable[..., list[str]]


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(internet=False) as world:
        (made,) = world.nodes
        made.run(["mkdir", "-p", *(str(Path(file.path).parent) for file in FILES.values())])
        yield made


@contextlib.contextmanager
def running(node: Node, folder: Path, manager: str) -> t.Iterator[subprocess.Popen[str]]:
    """A program of the manager's name in a node, until the block ends or it is told to read its files (SIGHUP)."""
    program = folder / manager
    shutil.copy("/bin/sleep", program)
    # The tests themselves may have been started where the signal is ignored.
    with node.popen(["env", "--default-signal=HUP", str(program), "60"]) as process:
        try:
            yield process
        finally:
            process.kill()


def read(node: Node, manager: str) -> str:
    return node.run(["cat", FILES[manager].path], check=False).stdout


@both_ways
@pytest.mark.parametrize("manager", MANAGERS)
def test_manager_that_runs_is_kept_away(node: Node, tmp_path: Path, builder: Builder, manager: str) -> None:
    before = settled(node)
    line = f"write {FILES[manager].path}"
    told = tmp_path / "told"
    networkctl = tmp_path / "networkctl"
    networkctl.write_text(
        f'#!/bin/sh\ntest -e "{FILES[manager].path}" && test ! -e /sys/class/net/br0 && echo "$@" >>{told}\n'
    )
    networkctl.chmod(0o755)

    def built() -> list[str]:
        os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        return builder([NETWORK])

    with running(node, tmp_path, manager) as process:
        lines = node.call(built)
        assert line in lines
        assert lines.index(line) < lines.index("create bridge br0")
        assert read(node, manager) == FILES[manager].content
        assert [read(node, other) for other in MANAGERS if other != manager] == [""]
        if manager == NETWORK_MANAGER:
            assert process.wait(5) == -1
        else:
            assert told.read_text() == "reload\n"
    assert manager in (NETWORKD, NETWORK_MANAGER)
    # One that does not run for a while finds its file when it starts.
    assert node.call(builder, [NETWORK]) == []
    assert f"delete {FILES[manager].path}" in node.call(builder, [NETWORK], absent=True)
    assert snapshot.difference(before, settled(node)) == ""


def test_file_goes_with_a_bridge_that_is_gone_already(node: Node, tmp_path: Path) -> None:
    before = settled(node)
    with running(node, tmp_path, NETWORKD):
        node.call(build_at_once, [NETWORK])
        node.run(["ip", "link", "del", "br0"])
        assert f"delete {FILES[NETWORKD].path}" in node.call(build_at_once, [NETWORK], absent=True)
    assert snapshot.difference(before, settled(node)) == ""


def test_nobody_manages(node: Node) -> None:
    before = settled(node)
    node.call(build_at_once, [NETWORK])
    assert [read(node, manager) for manager in MANAGERS] == ["", ""]
    node.call(build_at_once, [NETWORK], absent=True)
    assert snapshot.difference(before, settled(node)) == ""


def test_manager_of_another_network_namespace_does_not_count(node: Node, tmp_path: Path) -> None:
    node.run(["ip", "netns", "add", "other"])
    program = tmp_path / NETWORK_MANAGER
    shutil.copy("/bin/sleep", program)
    with node.popen(["ip", "netns", "exec", "other", str(program), "60"]) as process:
        assert not [line for line in node.call(build_at_once, [NETWORK]) if NETWORK_MANAGER in line]
        process.kill()
