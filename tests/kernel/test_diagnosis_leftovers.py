"""What a look for the rule that drops leaves behind: nothing."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from tests.kernel.building import build_at_once
from tests.kernel.test_diagnosis import PODS, TARGETS, checked
from tests.lab import privilege
from tests.lab.world import World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))
_DROPS = f"table inet eg {{ chain f {{ type filter hook forward priority 0; ip daddr {TARGETS[0]} drop; }}; }}"


def _checked_at_home(home: str) -> list[t.Any]:
    os.environ["HOME"] = home
    return checked([PODS])


def test_nft_keeps_no_history(tmp_path: Path) -> None:
    with World(nodes=1) as world:
        (node,) = world.nodes
        node.call(build_at_once, [PODS])
        node.run(["nft", _DROPS])
        found = node.call(_checked_at_home, str(tmp_path))
        assert "nftables chain inet eg f" in str(found[0]["evidence"]), found
        assert "netpath_trace" not in node.run(["nft", "list", "tables"]).stdout
    assert list(tmp_path.iterdir()) == []
