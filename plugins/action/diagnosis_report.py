# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action diagnosis_report: what the checks of all hosts told, put together on the controller."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import os
import typing as t
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.netpath.egress.plugins.plugin_utils import _terminal
from ansible_collections.netpath.egress.plugins.plugin_utils._controller import ControllerAction, registered, unusable
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import (
    document,
    files,
    findings,
    history,
    junit,
    memory,
    page,
    query,
    summary,
)
from ansible_collections.netpath.egress.plugins.plugin_utils._folder import absolute, write_all

OPTIONS: dict[str, dict[str, t.Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "result": {"type": "str", "required": True},
    "directory": {"type": "str", "default": ""},
    "previous": {"type": "str", "default": ""},
    "query": {"type": "str", "default": ""},
    "fail_on": {"type": "str", "choices": list(findings.THRESHOLDS), "default": "broken"},
}
_TONES = {
    "broken": constants.COLOR_ERROR,
    "degraded": constants.COLOR_CHANGED,
    "unknown": constants.COLOR_WARN,
    "ok": constants.COLOR_OK,
}
_FILES: dict[str, t.Callable[[findings.Data], str]] = {
    "junit.xml": junit.junit,
    "report.html": page.page,
    "report.json": files.as_json,
}


class ActionModule(ControllerAction):
    """As documented for the module of the same name."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=OPTIONS)
        with memory.uncollected():
            return {**result, **_report(options, (task_vars or {})["hostvars"])}


def _report(options: t.Mapping[str, t.Any], hostvars: t.Any) -> dict[str, t.Any]:
    """Put together what the hosts told; what the task returns. Errors: AnsibleActionFail."""
    answers = _answers(hostvars, options["hosts"], options["result"])
    earlier, warnings = _earlier(options["directory"], options["previous"])
    try:
        return _told(options, answers, earlier, warnings)
    except Exception as error:
        usable = {host: _alone(options, host, told) for host, told in answers.items()}
        if isinstance(error, AnsibleActionFail) and all(told["error"] for told in usable.values()):
            raise  # the query is wrong for all
        return _told(options, usable, _comparable(earlier, warnings), warnings)


def _told(
    options: t.Mapping[str, t.Any],
    answers: findings.Answers,
    earlier: findings.Data | None,
    warnings: t.Sequence[str],
) -> dict[str, t.Any]:
    report = _made(options, answers, earlier)
    lines = summary.summary(report)
    written = _write(options["directory"], report) if options["directory"] else []
    nothing = [f"Nothing was checked: {summary.NOTHING}"] if summary.is_empty(report) else []
    _terminal.show((line.text, _TONES.get(line.tone)) for line in lines)
    return {
        "changed": False,
        "summary": [line.text for line in lines],
        "failing": findings.failing(report["findings"], options["fail_on"]),
        "counts": report["counts"],
        "history": report["history"],
        "files": written,
        "warnings": [*warnings, *nothing],
    }


def _made(options: t.Mapping[str, t.Any], answers: findings.Answers, earlier: findings.Data | None) -> findings.Data:
    """The report as data. Errors: AnsibleActionFail for a wrong query."""
    try:
        selected = query.select(findings.findings(answers), options["query"], always=(findings.NO_ANSWER,))
    except query.QueryError as error:
        raise AnsibleActionFail(str(error)) from error
    asked = {"query": options["query"], "fail_on": options["fail_on"]}
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    compared = history.compare(earlier, answers) if earlier else None
    return document.report(answers, selected, asked, compared, now)


def _alone(options: t.Mapping[str, t.Any], host: str, told: findings.Data) -> findings.Data:
    """What a host told, or that nothing can be made of it."""
    try:
        report = _made(options, {host: told}, None)
        summary.summary(report)
        for maker in _FILES.values() if options["directory"] else ():
            maker(report)
    except Exception as error:  # noqa: BLE001 (whatever one host tells, the others are reported)
        return findings.silent(unusable(error))
    return told


def _comparable(earlier: findings.Data | None, warnings: list[str]) -> findings.Data | None:
    """The earlier report, unless it cannot be compared with anything."""
    try:
        if earlier:
            history.compare(earlier, {})
    except Exception as error:  # noqa: BLE001 (it is as hostile as the hosts that are in it)
        warnings.append(f"There is no comparison with the earlier report: {unusable(error)}")
        return None
    return earlier


def _answers(hostvars: t.Any, hosts: t.Sequence[str], name: str) -> dict[str, findings.Data]:
    return {findings.clean(str(host)): _answer(hostvars, host, name) for host in hosts}


def _answer(hostvars: t.Any, host: str, name: str) -> findings.Data:
    try:
        return findings.answer(registered(hostvars, host, name))
    except Exception as error:  # noqa: BLE001 (whatever one host tells, the others are reported)
        return findings.silent(unusable(error))


def _earlier(directory: str, previous: str) -> tuple[findings.Data | None, list[str]]:
    """The report to compare with, and warnings. Of a play in batches all see the one from before the play."""
    chosen = previous or (os.path.join(directory, "report.json") if directory else "")
    if not chosen:
        return None, []
    path = absolute(chosen)
    kept = Path(constants.DEFAULT_LOCAL_TMP) / f"diagnosis-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    try:
        if not kept.exists():
            kept.write_bytes(path.read_bytes() if previous or path.exists() else b"")
        return (files.read(kept) if kept.stat().st_size or previous else None), []
    except (OSError, document.ForeignReportError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return None, [f"There is no comparison with the earlier report {path}: {reason}"]


def _write(directory: str, report: findings.Data) -> list[str]:
    """Paths of what was written. Errors: AnsibleActionFail."""
    folder = absolute(directory)
    try:
        return write_all(folder, {name: functools.partial(made, report) for name, made in _FILES.items()})
    except OSError as error:
        raise AnsibleActionFail(
            f"the report cannot be written to {folder}: {error.strerror}. Name a folder on the controller that "
            "its user may write to, or none"
        ) from error
