"""A skip is a failure in CI unless it is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.expected_skips import Expected, expected

ROOT = Path(__file__).resolve().parents[2]
_SKIPPING = "import pytest\n\ndef test_passes(): pass\n\ndef test_skips(): pytest.skip('no such program here')\n"


def _run(folder: Path, workers: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(_SKIPPING)
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
        "-n",
        workers,
        "--rootdir",
        folder,
        folder,
    ]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_unnamed_skip_fails_in_ci_alone(tmp_path: Path, workers: str) -> None:
    assert _run(tmp_path, workers, "").returncode == 0
    in_ci = _run(tmp_path, workers, "true")
    assert in_ci.returncode == 1
    assert "test_it.py::test_skips: no such program here" in in_ci.stdout


def test_named_skip_covers_its_test_and_message() -> None:
    one = Expected("tests/a.py::*", "this kernel lacks *", "why")
    assert one.covers("tests/a.py::test_b[c]", "this kernel lacks x")
    assert not one.covers("tests/a.py::test_b[c]", "the program x is missing")
    assert not one.covers("tests/b.py::test_b", "this kernel lacks x")


def test_file_says_why_for_each() -> None:
    assert all(one.why and one.test.startswith("tests/") for one in expected())
