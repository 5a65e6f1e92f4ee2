"""On the machine: tests are handed to guests, and their reports are taken for those of the tests here."""

from __future__ import annotations

import json
import os
import sys
import typing as t

import pytest

from tests.lab.holder import LabError
from tests.lab.stock import kernels, requirements
from tests.lab.stock.guest import Guest

# Without what the machine's run loads beyond pytest: to start is what takes long in a guest.
_PYTEST = ("-m", "pytest", "-q", "-p", "pytest_timeout", "--confcutdir", "tests/stock")
_ENVIRONMENT = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
_KEPT = ("ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH", "LC_ALL", "NIGHTLY")
_WORDS = {"passed": "passed", "failed": "FAILED", "skipped": "SKIPPED"}


class Boot(t.NamedTuple):
    """What tests have in common that run in the same guest."""

    kernel: str
    cmdline: str
    hidden: tuple[str, ...]

    def __str__(self) -> str:
        hidden = [f"without {name}" for name in self.hidden]
        return ", ".join([f"Linux {self.kernel}", *filter(None, [self.cmdline]), *hidden])


class Handover:
    """A plugin of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._now: Boot | None = None
        self._guest: Guest | None = None
        self._reports: t.Iterator[dict[str, t.Any]] = iter(())
        self._trouble: str | None = None
        self._outcomes: list[tuple[Boot, str, str]] = []
        self._costs: list[tuple[Boot, float]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        obstacle = requirements.obstacle()
        handed_over = [item for item in items if is_handed_over(item)]
        order = list(dict.fromkeys(map(boot_of, handed_over)))
        handed_over.sort(key=lambda item: order.index(boot_of(item)))
        items[:] = [*(item for item in items if not is_handed_over(item)), *handed_over]
        for item in handed_over:
            # A test has a limit in the guest, in its time.
            item.add_marker(pytest.mark.timeout(0), append=False)
            if obstacle:
                item.add_marker(pytest.mark.skip(reason=obstacle))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        if not is_handed_over(item) or requirements.obstacle():
            return None  # pytest itself runs or skips it
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._run(item):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            word = _WORDS[report.outcome]
            if hasattr(report, "wasxfail"):
                word = "XPASSED" if report.passed else f"fails as expected: {report.wasxfail}"
            if self._now:
                self._outcomes.append((self._now, report.nodeid.rpartition("/")[2], word))

    def pytest_unconfigure(self) -> None:
        self._end()

    def pytest_terminal_summary(self, terminalreporter: t.Any) -> None:
        self._end()
        if self._outcomes:
            terminalreporter.section("what ran on which kernel")
        for boot, name, word in self._outcomes:
            terminalreporter.line(f"{boot}: {name}: {word}")
        for boot, seconds in self._costs:
            terminalreporter.line(f"{boot}: {seconds:.0f} s of processor time")

    def _run(self, item: pytest.Item) -> t.Iterator[pytest.TestReport]:
        """The reports of a test, from the guest that has it."""
        boot = boot_of(item)
        if boot != self._now:
            self._start(boot, [other for other in item.session.items if boot_of(other) == boot])
        said = False
        try:
            if self._trouble is None:
                for data in self._reports:
                    if data == {"finished": item.nodeid}:
                        if said:
                            return
                        break
                    report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
                    if report.nodeid != item.nodeid:
                        self._trouble = f"the guest reported {report.nodeid} instead of {item.nodeid}"
                        break
                    said = True
                    yield report
                else:
                    self._trouble = "the guest ended before this test"
                    if self._guest is not None:
                        self._trouble += f"; {self._guest.console_end()}"
        except LabError as error:
            self._trouble = str(error)
        yield _failure(item, self._trouble or "the guest reported nothing of it")

    def _start(self, boot: Boot, items: t.Sequence[pytest.Item]) -> None:
        self._end()
        self._now, self._trouble = boot, None
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _ENVIRONMENT
        job = [sys.executable, *_PYTEST, *(item.nodeid for item in items)]
        try:
            kernel = kernels.ensure(boot.kernel, print)
            self._guest = Guest(kernel, job, cmdline=boot.cmdline, hidden=boot.hidden, environment=environment)
            self._guest.__enter__()
        except LabError as error:
            self._trouble = str(error)
            self._guest = None
        else:
            self._reports = map(json.loads, self._guest.lines())

    def _end(self) -> None:
        if self._guest is not None and self._now is not None:
            self._guest.close()
            self._costs.append((self._now, self._guest.processor_time))
        self._guest = None


def is_handed_over(item: pytest.Item) -> bool:
    """Whether it is one of tests/stock, when others are collected along."""
    return "kernel" in item.fixturenames  # type: ignore[attr-defined]


def boot_of(item: pytest.Item) -> Boot:
    """The boot that a test asks for."""
    marker = item.get_closest_marker("boot")
    asked = marker.kwargs if marker else {}
    callspec: t.Any = item.callspec  # type: ignore[attr-defined]
    return Boot(callspec.params["kernel"], asked.get("cmdline", ""), tuple(asked.get("hidden", ())))


def _failure(item: pytest.Item, message: str) -> pytest.TestReport:
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", message, "call")
