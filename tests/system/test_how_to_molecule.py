"""The how-to about Molecule, command by command, in a repository beside this one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.booted import lab, requirements
from tests.support import howto_parser

_OBSTACLE = requirements.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

_LAB = "molecule-default"


@pytest.mark.timeout(900)
def test_scenario_of_another_repository(tmp_path: Path) -> None:
    page = howto_parser.read("molecule")
    repository = tmp_path / "mine"
    page.write(repository)
    (tmp_path / "egress").symlink_to(howto_parser.ROOT)
    clone, *rest = (command for _section, command in page.commands)
    assert clone.startswith("git clone ")
    assert clone.endswith(" ../egress")
    try:
        done = subprocess.run(
            ["bash", "-ec", "\n".join(rest)],
            cwd=repository,
            env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        left = _LAB in lab.names()
    finally:
        lab.destroy(_LAB)
    assert done.returncode == 0, done.stdout
    ran = [line for line in done.stdout.splitlines() if "Each namespace reaches the internet host" in line]
    assert len(ran) == 1, done.stdout
    assert "default > idempotence] Executed: Successful" in done.stdout
    assert not left
