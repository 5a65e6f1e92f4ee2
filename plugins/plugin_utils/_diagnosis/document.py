# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as data: the one shape from which text, JUnit and HTML are made. No I/O."""

from __future__ import annotations

import typing as t

from .findings import STATUSES, Answers, Data, status_of

SCHEMA = "netpath.egress/diagnosis"
VERSION = 1


class ForeignReportError(Exception):
    """It is no report of ours, or of a version that is not known here."""


def report(answers: Answers, selected: t.Sequence[Data], asked: Data, history: Data | None, generated: str) -> Data:
    """The content of report.json, as in docs/diagnosis.md.

    selected: findings. asked: query and fail_on. generated: when, as ISO 8601 in UTC.
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "generated": generated,
        "asked": asked,
        "counts": _counts(answers),
        "history": history,
        "findings": list(selected),
        "hosts": {host: answers[host] for host in sorted(answers)},
    }


def checked(content: t.Any) -> Data:
    """An earlier report, as far as history needs it. Errors: ForeignReportError."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ForeignReportError(f"it is no report of a diagnosis: its schema is not {SCHEMA}")
    if content.get("version") != VERSION:
        raise ForeignReportError(f"it has version {content.get('version')!r}, and this release reads {VERSION}")
    hosts = content.get("hosts")
    if not isinstance(hosts, dict) or not all(map(_is_answer, hosts.values())):
        raise ForeignReportError("its hosts are damaged")
    return content


def _is_answer(told: t.Any) -> bool:
    return (
        isinstance(told, dict)
        and isinstance(told.get("verdicts"), list)
        and all(isinstance(one, dict) for one in told["verdicts"])
    )


def _counts(answers: Answers) -> Data:
    statuses = [status_of(one) for told in answers.values() for one in told["verdicts"]]
    return {
        "hosts": len(answers),
        "no_answer": sum(1 for told in answers.values() if told["error"]),
        "paths": len(statuses),
        **{status: statuses.count(status) for status in STATUSES},
    }
