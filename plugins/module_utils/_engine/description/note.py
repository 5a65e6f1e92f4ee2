# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen and has no place in a description of networks."""

from __future__ import annotations

import typing as t


class Note(t.NamedTuple):
    """about: what it is about, such as "namespace web". reason: why it is not described, and what to do."""

    about: str
    seen: str
    reason: str

    def data(self) -> dict[str, str]:
        return self._asdict()


class Notes:
    """Those of one look, each once."""

    def __init__(self) -> None:
        self._found: dict[Note, None] = {}

    def add(self, about: str, seen: str, reason: str) -> None:
        self._found[Note(about, seen, reason)] = None

    def data(self) -> list[dict[str, str]]:
        return [note.data() for note in self._found]
