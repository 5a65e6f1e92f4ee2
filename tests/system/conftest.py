"""Labs that files share, each on one worker, and what tests of the catalogue of failures found out."""

from __future__ import annotations

import contextlib
import os
import typing as t

import pytest

from tests.lab.booted.lab import Lab
from tests.lab.tables import pytest_terminal_summary
from tests.support.firewall_matrix import WALLS
from tests.support.system_diagnosis import Patient
from tests.support.system_engine import Host

__all__ = ["pytest_terminal_summary"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file on one worker, unless it shares a lab with other files."""
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="session")
def firewall_lab() -> t.Iterator[Lab]:
    """A node for each program that filters, named after it. A file that starts one, stops it in the end."""
    with Lab.create(f"firewalls-{os.getpid()}", {wall: WALLS[wall].recipe for wall in WALLS}) as made:
        yield made


@pytest.fixture(scope="session")
def patients(firewall_lab: Lab) -> t.Iterator[dict[str, Patient]]:
    """By wall, whose program runs."""
    with contextlib.ExitStack() as stack:
        found = {}
        for wall in WALLS:
            found[wall] = Patient(stack.enter_context(Host(firewall_lab, wall)))
            found[wall].host.sh(WALLS[wall].start)
        yield found


@pytest.fixture(scope="session")
def plain_lab() -> t.Iterator[Lab]:
    """Two releases without any program that filters. A file leaves the nodes as it found them."""
    with Lab.create(f"plain-{os.getpid()}", {"stable": "bookworm", "newer": "trixie"}) as made:
        yield made
