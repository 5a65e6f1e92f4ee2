"""Generated examples are the same in every run. EXAMPLES=5000 has the unit tests try more of them."""

import os

import pytest
from hypothesis import settings

from tests.support import expected_skips, scope

_EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=_EXAMPLES)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    expected_skips.register(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    scope.keep_shard(items)
