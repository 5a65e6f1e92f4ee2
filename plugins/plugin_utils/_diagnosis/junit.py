# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as JUnit XML: a suite for each host, and a test case for each namespace and family. No I/O."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from .findings import NO_ANSWER, STATUSES, Data, findings, status_of


def junit(report: Data) -> str:
    """The content of junit.xml.

    A broken path is a failure, and so is one as bad as fail_on. What else is unknown is skipped, and what else is
    degraded passes and says so. A host without an answer is an error.
    """
    threshold = report["asked"]["fail_on"]
    bad = STATUSES[: STATUSES.index(threshold) + 1] if threshold in STATUSES else ("broken",)
    root = ET.Element("testsuites", name="netpath.egress diagnosis")
    for host, told in report["hosts"].items():
        _suite(root, host, told, bad, report["generated"])
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, host: str, told: Data, bad: t.Sequence[str], generated: str) -> None:
    stamp = generated.rstrip("Z")  # its schema knows no time zones
    suite = ET.SubElement(root, "testsuite", name=host, hostname=host, timestamp=stamp, time="0")
    if told["error"]:
        case = ET.SubElement(suite, "testcase", classname=host, name="answer", time="0")
        ET.SubElement(case, "error", type=NO_ANSWER, message=told["error"]).text = told["error"]
    for verdict in told["verdicts"]:
        _case(suite, host, verdict, bad)
    suite.set("tests", str(len(suite)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))


def _case(suite: ET.Element, host: str, verdict: Data, bad: t.Sequence[str]) -> None:
    parts = [str(verdict.get(key) or "") for key in ("network", "namespace", "family")]
    case = ET.SubElement(suite, "testcase", classname=host, name="/".join(filter(None, parts)), time="0")
    status = status_of(verdict)
    said = str(verdict.get("summary") or status)
    if status in bad:
        kind = str(verdict.get("code") or status.upper())
        ET.SubElement(case, "failure", type=kind, message=said).text = _told(host, verdict)
    elif status == "unknown":
        ET.SubElement(case, "skipped", message=said)
    elif status != "ok":
        ET.SubElement(case, "system-out").text = _told(host, verdict)


def _told(host: str, verdict: Data) -> str:
    """Each finding of a path with what proves it and what puts it right."""
    blocks = []
    for one in findings({host: {"verdicts": [verdict], "error": None}}):
        lines = [f"{one['code'] or one['status'].upper()} at {one['hop'] or 'no hop'}: {one['summary']}"]
        lines += [f"seen: {text}" for text in one["evidence"]]
        if one["fix"]:
            lines.append(f"fix ({one['tier'] or 'advise'}): {one['fix']}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
