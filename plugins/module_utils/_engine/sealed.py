# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that says whether it still is what was written."""

from __future__ import annotations

import hashlib
import json
import typing as t

_SEAL = "sha256"


class SealError(ValueError):
    """The data are not those that were written."""


def seal(data: t.Mapping[str, t.Any], indent: int | None = 1) -> str:
    """A JSON text of the data, with their checksum. indent: None for what no person reads, which is written faster."""
    return json.dumps({**data, _SEAL: _sum(data)}, indent=indent, sort_keys=True) + "\n"


def unseal(text: str) -> t.Any:
    """The data of such a text, or of one that has no checksum. Errors: SealError, other ValueErrors, RecursionError."""
    data = json.loads(text)
    if isinstance(data, dict) and _SEAL in data:
        seal = data.pop(_SEAL)
        if seal != _sum(data):
            raise SealError(f"it is not what was written; whoever edits it by hand takes {_SEAL} out")
    return data


def _sum(data: t.Mapping[str, t.Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
