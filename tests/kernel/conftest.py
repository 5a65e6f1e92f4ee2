"""What tests of events of the field and of the catalogue of failures found out is written at the end of the run."""

from __future__ import annotations

import typing as t

from tests.lab.tables import pytest_terminal_summary

if t.TYPE_CHECKING:
    import pytest

__all__ = ["pytest_terminal_summary"]

_LONGEST = ("test_kill_sweep", "test_fault_sweep", "test_diagnosis_healthy", "test_repair")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that none of them is left to run alone at the end."""
    items.sort(key=lambda item: item.path.stem not in _LONGEST)
