"""In the guest: what pytest reports goes to the machine, one JSON document a line."""

from __future__ import annotations

import json
import os

import pytest


class Reporter:
    """A plugin of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._channel = open(os.environ["STOCK_CHANNEL"], "w", encoding="utf-8")  # noqa: SIM115 (as long as pytest runs)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._send(data)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._send({"finished": nodeid})

    def _send(self, data: object) -> None:
        self._channel.write(json.dumps(data) + "\n")
        self._channel.flush()
