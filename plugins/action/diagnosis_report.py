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
from ansible_collections.netpath.egress.plugins.plugin_utils._controller import ControllerAction, registered
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
    try:
        selected = query.select(findings.findings(answers), options["query"], always=(findings.NO_ANSWER,))
    except query.QueryError as error:
        raise AnsibleActionFail(str(error)) from error
    earlier, warnings = _earlier(options["directory"], options["previous"])
    asked = {"query": options["query"], "fail_on": options["fail_on"]}
    now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    compared = history.compare(earlier, answers) if earlier else None
    report = document.report(answers, selected, asked, compared, now)
    written = _write(options["directory"], report) if options["directory"] else []
    lines = summary.summary(report)
    if summary.is_empty(report):
        warnings.append(f"Nothing was checked: {summary.NOTHING}")
    _terminal.show((line.text, _TONES.get(line.tone)) for line in lines)
    return {
        "changed": False,
        "summary": [line.text for line in lines],
        "failing": findings.failing(selected, options["fail_on"]),
        "counts": report["counts"],
        "history": compared,
        "files": written,
        "warnings": warnings,
    }


def _answers(hostvars: t.Any, hosts: t.Sequence[str], name: str) -> dict[str, findings.Data]:
    return {findings.clean(str(host)): findings.answer(registered(hostvars, host, name)) for host in hosts}


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
    contents = {"junit.xml": junit.junit, "report.html": page.page, "report.json": files.as_json}
    try:
        return write_all(folder, {name: functools.partial(made, report) for name, made in contents.items()})
    except OSError as error:
        raise AnsibleActionFail(
            f"the report cannot be written to {folder}: {error.strerror}. Name a folder on the controller that "
            "its user may write to, or none"
        ) from error
