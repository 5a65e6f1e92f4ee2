"""A unit test starts no process: what needs one is tested in another folder."""

from __future__ import annotations

import sys
import typing as t

import pytest

_STARTS = frozenset(("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"))
_tested = ""


def _refuse(event: str, _arguments: tuple[t.Any, ...]) -> None:
    if _tested and event in _STARTS:
        raise AssertionError(f"{_tested} starts a process ({event}): move it to tests/playbooks or tests/kernel")


# A hook cannot be taken away again, so it looks whether a unit test runs.
sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def starts_no_process(request: pytest.FixtureRequest) -> t.Iterator[None]:
    """Have each process that the test starts be an error."""
    global _tested  # noqa: PLW0603 (the hook of this module reads it)
    _tested = request.node.nodeid
    yield
    _tested = ""
