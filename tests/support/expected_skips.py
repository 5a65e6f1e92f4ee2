"""A skipped test fails the run where CI is set, unless tests/expected_skips.toml names it with its reason."""

from __future__ import annotations

import fnmatch
import os
import tomllib
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "expected_skips.toml"


@dataclass(frozen=True)
class Expected:
    """A skip that is no failure.

    test: a shell pattern of node ids; message: one of the message that the test skips with; why: for readers.
    """

    test: str
    message: str
    why: str

    def covers(self, node_id: str, message: str) -> bool:
        return fnmatch.fnmatchcase(node_id, self.test) and fnmatch.fnmatchcase(message, self.message)


def expected() -> list[Expected]:
    return [Expected(**entry) for entry in tomllib.loads(FILE.read_text()).get("skip", [])]


@dataclass(eq=False)
class ExpectedSkips:
    """The plugin: collects skips, in the process that reports them, and judges at the end."""

    strict: bool
    unexpected: list[str] = field(default_factory=list)

    def _look(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        message = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        message = message.removeprefix("Skipped: ")
        if not any(one.covers(report.nodeid, message) for one in expected()):
            self.unexpected.append(f"{report.nodeid}: {message}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._look(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if (
            self.strict
            and self.unexpected
            and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: t.Any) -> None:
        if self.unexpected:
            terminalreporter.section("skips that tests/expected_skips.toml does not name")
            for line in self.unexpected:
                terminalreporter.line(("FAILED " if self.strict else "") + line)


def register(config: pytest.Config) -> None:
    """Workers of xdist hand their reports to the process that has started them, which judges."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ExpectedSkips(strict=bool(os.environ.get("CI"))), "expected-skips")
