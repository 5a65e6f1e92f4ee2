"""What tests of events of the field and of the catalogue of failures found out is written at the end of the run."""

from __future__ import annotations

import sys

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import bundle

from tests.lab.tables import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

_LONGEST = ("test_kill_sweep", "test_fault_sweep", "test_diagnosis_healthy", "test_faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that none of them is left to run alone at the end."""
    items.sort(key=lambda item: item.path.stem not in _LONGEST)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program netpath-egress, built."""
    path = tmp_path_factory.mktemp("program") / "netpath-egress"
    path.write_bytes(bundle.executable(sys.executable))
    path.chmod(0o755)
    return str(path)
