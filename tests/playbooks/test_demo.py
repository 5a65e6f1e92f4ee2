"""The demo shows what it says it shows: it ends at the first thing that is not so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import privilege

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

ROOT = Path(__file__).resolve().parents[2]


def test_demo() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab.demo"],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "demo: every node is exactly what it was before" in done.stdout
