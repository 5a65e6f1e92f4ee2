"""How much of the tests a run takes.

NIGHTLY=1: all combinations of a table, otherwise a share that has each row once. SHARD=1/2: every second file of tests.
"""

from __future__ import annotations

import os
import typing as t
import zlib

if t.TYPE_CHECKING:
    import pytest

NIGHTLY = os.environ.get("NIGHTLY", "") not in ("", "0")


def keep_shard(items: list[pytest.Item], shard: str = os.environ.get("SHARD", "")) -> None:
    """Take the files of other shards out of items. Which file is in which does not depend on the other files."""
    if shard:
        wanted, count = map(int, shard.split("/"))
        items[:] = [item for item in items if zlib.crc32(item.path.stem.encode()) % count == wanted - 1]
