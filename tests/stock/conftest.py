"""Each test here runs in a guest with a stock kernel: outside it is handed over, inside it runs and is reported.

Both sides collect the same tests, so that each has its own outcome outside. Those that ask for the same boot share one.
A test runs on Linux 6.1, one that is marked `smoke` on 6.12 too, and with NIGHTLY=1 each on all kernels.
"""

from __future__ import annotations

import os
import typing as t

import pytest

from tests.lab.stock.kernels import RELEASES
from tests.lab.world import Node, World
from tests.support.scope import NIGHTLY

_KERNELS = tuple(RELEASES) if NIGHTLY else ("6.1",)
_SMOKE = tuple(RELEASES) if NIGHTLY else ("6.1", "6.12")
_MARKERS = (
    "boot(cmdline='', hidden=()): how the kernel of a test is booted, and modules that its package is to lack",
    "smoke: a test that runs on more kernels than others in each run",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    # Where this is set, this is the guest.
    if os.environ.get("STOCK_CHANNEL"):
        from tests.support.stock_inside import Reporter

        config.pluginmanager.register(Reporter(config))
    else:
        from tests.support.stock_outside import Handover

        config.pluginmanager.register(Handover(config))


@pytest.fixture(autouse=True)
def kernel(request: pytest.FixtureRequest) -> str:
    """The kernel that a test runs on, such as 6.1."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    smoke = metafunc.definition.get_closest_marker("smoke")
    metafunc.parametrize("kernel", _SMOKE if smoke else _KERNELS, indirect=True)


@pytest.fixture(scope="session")
def world() -> t.Iterator[World]:
    """The guest's world, without nodes."""
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    """A node with an uplink."""
    with world.add_node() as made:
        yield made
