# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of text for a person, or one JSON document for a program."""

from __future__ import annotations

import json
import os
import typing as t

from ..errors import EgressError, printable

_STYLES = {"bad": "31;1", "warn": "33", "good": "32", "faint": "2"}


class Output:
    """Writes to a stream, in colours where a terminal shows them. A reader that has gone away is no error.

    stream: None where it was closed before the program began. last: nobody is left to tell that it cannot be written.
    """

    def __init__(self, stream: t.TextIO | None, last: bool = False) -> None:
        self._closed = stream is None
        self._last = last
        # With errors that have no reader Python would end otherwise than this program says.
        self._stream = stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (as long as the program)
        terminal = stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._coloured = terminal and not os.environ.get("NO_COLOR")
        if hasattr(stream, "reconfigure"):
            # Names may hold bytes that the locale cannot show.
            stream.reconfigure(errors="backslashreplace")

    def line(self, text: str = "", style: str = "") -> None:
        """style: bad, warn, good or faint. Control characters are shown as escapes."""
        shown = printable(text)
        code = _STYLES.get(style) if self._coloured else None
        self._write(f"\033[{code}m{shown}\033[0m\n" if code else f"{shown}\n")

    def json(self, data: t.Any, compact: bool = False) -> None:
        self._write(json.dumps(data, indent=None if compact else 2) + "\n")

    def _write(self, text: str) -> None:
        if self._closed:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            self._closed = True
            # What is still in the buffer must not fail at the end of the program.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            if not isinstance(error, BrokenPipeError) and not self._last:
                raise EgressError("write the output", os.strerror(error.errno or 0)) from error


def table(rows: t.Sequence[t.Mapping[str, t.Any]], columns: t.Sequence[str]) -> list[str]:
    """Rows under their columns' names; columns in which no row has anything are left out."""
    cells = [{column: cell(row.get(column)) for column in columns} for row in rows]
    shown = [column for column in columns if any(row[column] != "-" for row in cells)]
    widths = {column: max(len(column), *(len(row[column]) for row in cells)) for column in shown}
    lines = [{column: column.upper() for column in shown}, *cells]
    return ["  ".join(line[column].ljust(widths[column]) for column in shown).rstrip() for line in lines]


def cell(value: t.Any) -> str:
    """A value in one word, as far as that goes."""
    if value is None or value == "" or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return " ".join(f"{key}={cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(cell(item) for item in value)
    return str(value)
