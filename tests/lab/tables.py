"""What tests found out, as tables at the end of a run: a test tells its row by record_property."""

from __future__ import annotations

import typing as t

import pytest

Row = tuple[str, ...]
# By the name of the property under which a test tells its row.
TABLES: dict[str, tuple[str, Row]] = {
    "event of the field": (
        "events of the field",
        ("event", "broken until the next run", "what the next run did", "outcome"),
    ),
    "fault sweep": ("fault sweep", ("what was done", "at each of its places", "places", "outcome")),
    "row of the catalogue": ("catalogue of failures", ("row", "failure", "verdict", "evidence")),
}


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    for name, (title, fields) in TABLES.items():
        rows = sorted(_rows(terminalreporter, name), key=lambda row: (row[0].zfill(8), *row[1:]))
        if rows:
            terminalreporter.section(title)
            _write(terminalreporter, [fields, *rows])


def _rows(terminalreporter: t.Any, wanted: str) -> list[Row]:
    return [
        t.cast("Row", value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == wanted
    ]


def _write(terminalreporter: t.Any, rows: list[Row]) -> None:
    widths = [max(len(line) for row in rows for line in row[i].splitlines() or [""]) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.splitlines() or [""] for cell in row]
        for number in range(max(map(len, cells))):
            words = [cell[number] if number < len(cell) else "" for cell in cells]
            terminalreporter.line("  ".join(word.ljust(width) for word, width in zip(words, widths)).rstrip())
