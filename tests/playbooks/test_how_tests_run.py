"""What holds of a run of tests: a skip fails in CI unless it is named, and a group stays on one worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.expected_skips import Expected, expected

ROOT = Path(__file__).resolve().parents[2]
_GROUPED = """
import os, pytest

pytestmark = pytest.mark.xdist_group("one")

@pytest.mark.parametrize("number", range(9))
def test_it(number):
    open(os.environ["PYTEST_XDIST_WORKER"], "w").close()
"""
_SKIPPING = "import pytest\n\ndef test_passes(): pass\n\ndef test_skips(): pytest.skip('no such program here')\n"


def _run(folder: Path, tests: str, *options: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(tests)
    (folder / "conftest.py").write_text(
        "from tests.support import expected_skips\n\ndef pytest_configure(config): expected_skips.register(config)\n"
    )
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        "--rootdir",
        folder,
        folder,
    ]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_unnamed_skip_fails_in_ci_alone(tmp_path: Path, workers: str) -> None:
    assert _run(tmp_path, _SKIPPING, "-n", workers).returncode == 0
    in_ci = _run(tmp_path, _SKIPPING, "-n", workers, ci="true")
    assert in_ci.returncode == 1
    assert "test_it.py::test_skips: no such program here" in in_ci.stdout


def test_group_stays_on_one_worker(tmp_path: Path) -> None:
    """Tests of a group share what is dear, and change it."""
    done = _run(tmp_path, _GROUPED, "-n", "2", "--dist", "loadgroup")
    assert done.returncode == 0, done.stdout
    assert len(list(tmp_path.glob("gw*"))) == 1


def test_named_skip_covers_its_test_and_message() -> None:
    one = Expected("tests/a.py::*", "this kernel lacks *", "why")
    assert one.covers("tests/a.py::test_b[c]", "this kernel lacks x")
    assert not one.covers("tests/a.py::test_b[c]", "the program x is missing")
    assert not one.covers("tests/b.py::test_b", "this kernel lacks x")


def test_file_says_why_for_each() -> None:
    assert all(one.why and one.test.startswith("tests/") for one in expected())
