# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line for each repair, as JSON: what was wrong, what was done, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from dataclasses import dataclass, field

from .kernel import files

PATH = "/var/log/netpath/audit.jsonl"
# Bytes of a file, and how many older ones stay: PATH.1 is the last of them.
LARGEST, KEPT = 4 << 20, 4


@dataclass(frozen=True)
class Line:
    """by: watch, remediate, confirmation or recovery. before and after: {"namespace family": code or status}."""

    by: str
    network: str
    actions: t.Sequence[str]
    before: t.Mapping[str, str]
    after: t.Mapping[str, str]
    error: str = ""
    time: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def codes(verdicts: t.Sequence[t.Any], network: str) -> dict[str, str]:
    """Of one network's paths."""
    return {
        f"{one['namespace']} {one['family']}": one["code"] or one["status"]
        for one in verdicts
        if one["network"] == network
    }


def write(line: Line) -> None:
    """Append it in one piece, on disk before this returns. Errors: EgressError."""
    data = (json.dumps(dataclasses.asdict(line), sort_keys=True) + "\n").encode()
    files.append(PATH, data, 0o640, LARGEST, KEPT)
