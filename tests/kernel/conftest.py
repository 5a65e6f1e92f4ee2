"""What tests of events of the field found out, as a table at the end of the run."""

from __future__ import annotations

import typing as t

import pytest

FIELDS = ("event", "broken until the next run", "what the next run did", "outcome")


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    rows: list[tuple[str, ...]] = [
        t.cast("tuple[str, ...]", value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "event of the field"
    ]
    if not rows:
        return
    terminalreporter.section("events of the field")
    widths = [max(len(line) for row in [FIELDS, *rows] for line in row[i].splitlines() or [""]) for i in range(4)]
    for row in [FIELDS, *sorted(rows)]:
        cells = [cell.splitlines() or [""] for cell in row]
        for number in range(max(map(len, cells))):
            words = [cell[number] if number < len(cell) else "" for cell in cells]
            terminalreporter.line("  ".join(word.ljust(width) for word, width in zip(words, widths)).rstrip())
