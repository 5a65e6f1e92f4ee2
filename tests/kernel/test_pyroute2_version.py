from __future__ import annotations

import os
from pathlib import Path

import pyroute2
import pytest

WANTED = os.environ.get("PYROUTE2_VERSION")


@pytest.mark.skipif(not WANTED, reason="PYROUTE2_VERSION asks for no particular one")
def test_the_version_under_test_is_the_one_that_runs() -> None:
    assert Path(pyroute2.__file__).parts[-3] == WANTED
