"""Units that fail: the installation says so on each run, and has systemd try again. systemctl is a script here."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.program.installation import Asked, install

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

NETWORK: dict[str, t.Any] = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["ns1"]}
UNIT = "netpath-egress@pods.service"
# The first two looks find it at work; then it is as the file "becomes" has it.
_SYSTEMCTL = """#!/bin/sh
cd {folder}
case $1 in
start) echo x >>started; rm -f looks ;;
show)
    echo x >>looks
    state=$(cat becomes)
    [ $(wc -l <looks) -gt 2 ] || state="activating start"
    printf 'Id={unit}\\nActiveState=%s\\nSubState=%s\\n' $state ;;
esac
"""


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(internet=False) as world:
        (made,) = world.nodes
        made.run(["mkdir", "-p", "/run/systemd/system"])
        yield made


def installed(node: Node, folder: Path, becomes: str) -> str:
    """The error of an installation, with units that end so, or nothing."""
    (folder / "becomes").write_text(f"{becomes}\n", encoding="ascii")
    (folder / "looks").unlink(missing_ok=True)
    program = folder / "systemctl"
    program.write_text(_SYSTEMCTL.format(folder=folder, unit=UNIT), encoding="ascii")
    program.chmod(0o755)

    def attempt() -> str:
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        try:
            install(Asked("/usr/local/sbin/netpath-egress", "/usr/bin/python3", [NETWORK], persist=True))
        except EgressError as error:
            return str(error)
        return ""

    return node.call(attempt)


def test_unit_that_fails_is_an_error_on_each_run(node: Node, tmp_path: Path) -> None:
    for state in ("failed failed", "activating auto-restart"):
        assert installed(node, tmp_path, state).startswith(f"start {UNIT}: it fails. journalctl -u {UNIT}")
    tries = len((tmp_path / "started").read_text().splitlines())
    # Nothing is left to write, and what failed before is tried again.
    assert installed(node, tmp_path, "active exited") == ""
    assert len((tmp_path / "started").read_text().splitlines()) == tries
