"""How much of the tests a run takes.

NIGHTLY=1: all combinations of a table, otherwise a share that has each row once. SHARD=1/2: every second file of tests.
"""

from __future__ import annotations

import os
import typing as t
import zlib

import pytest

NIGHTLY = os.environ.get("NIGHTLY", "") not in ("", "0")


def keep_shard(items: list[pytest.Item], shard: str = os.environ.get("SHARD", "")) -> None:
    """Take the files of other shards out of items. Which file is in which does not depend on the other files."""
    if shard:
        wanted, count = map(int, shard.split("/"))
        items[:] = [item for item in items if zlib.crc32(item.path.stem.encode()) % count == wanted - 1]


SHARES = 8 if NIGHTLY else 2  # into which each sweep is split, so that several workers have something of it
_EVERY = 4


def places(kinds: t.Sequence[t.Hashable]) -> list[int]:
    """The numbers of those of a sweep's places that this run takes: every fourth, and the first of each kind."""
    firsts = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    return [n for n, kind in enumerate(kinds) if NIGHTLY or n % _EVERY == 0 or firsts[kind] == n]


def share_of(taken: t.Sequence[int], share: int) -> list[int]:
    """Of the places taken those of one share. Together the shares have them all."""
    return list(taken[share::SHARES])


def smoke_rows(titles: t.Iterable[str], *chosen: str) -> list[t.Any]:
    """The titles of a table as parameters of a test, of which those that are chosen are marked as smoke."""
    rows = list(titles)
    assert set(chosen) <= set(rows), chosen
    return [pytest.param(title, marks=pytest.mark.smoke if title in chosen else ()) for title in rows]
