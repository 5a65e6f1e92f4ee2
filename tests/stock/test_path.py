"""A path on stock kernels, from the first run to its removal."""

from __future__ import annotations

import pytest

from tests.lab.node import Node
from tests.support.stock_path import PODS, built_and_removed


@pytest.mark.smoke
def test_path_is_built_used_and_removed(node: Node) -> None:
    built_and_removed(node, PODS, [node.address, node.address6])
