# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts for a person: what is broken first, with its hops, what proves it and what puts it right."""

from __future__ import annotations

import typing as t

from .output import Output

Verdict = t.Mapping[str, t.Any]

OK, BROKEN, DOUBTFUL = 0, 1, 2
_MARKS = {"ok": "+", "broken": "x", "not_reached": ".", "unknown": "?"}
_STYLES = {"ok": "good", "broken": "bad", "degraded": "warn", "unknown": "warn", "not_reached": "faint"}
_ORDER = ("broken", "degraded", "unknown", "ok")


def exit_code(verdicts: t.Sequence[Verdict]) -> int:
    """Of the worst of them."""
    found = {verdict["status"] for verdict in verdicts}
    return BROKEN if "broken" in found else DOUBTFUL if found - {"ok"} else OK


def show(verdicts: t.Sequence[Verdict], output: Output) -> None:
    """Those with something to say each by itself; all others of a status are one line."""
    for status in _ORDER:
        found = [verdict for verdict in verdicts if verdict["status"] == status]
        for verdict in found:
            if verdict["code"]:
                _show(verdict, output)
        rest = [f"{verdict['namespace']} {verdict['family']}" for verdict in found if not verdict["code"]]
        if rest:
            why = ", as nobody was asked who has to answer" if status == "unknown" else ""
            paths = f"{len(rest)} path" + ("" if len(rest) == 1 else "s")
            output.line(f"{status.upper()}: {paths}{why}: {', '.join(rest)}", _STYLES[status])
    if not verdicts:
        output.line("OK: there are no paths to check", "good")


def _show(verdict: Verdict, output: Output) -> None:
    place = f"{verdict['code']} at {verdict['hop']}" + (", on the way back" if verdict["direction"] == "return" else "")
    output.line(f"{verdict['status'].upper()} {verdict['summary']} ({place})", _STYLES[verdict["status"]])
    for status, hops, evidence in _runs(verdict["hops"]):
        told = f": {'; '.join(evidence)}" if evidence else ""
        output.line(f"  {_MARKS[status]} {', '.join(hops)}{told}", _STYLES[status])
    for said in verdict["evidence"]:
        output.line(f"  seen: {said}")
    output.line(f"  fix ({verdict['tier']}): {verdict['fix']}")
    for finding in verdict["findings"][1:]:
        output.line(f"  also: {finding['code']} at {finding['hop']}: {'; '.join(finding['evidence'])}")
        output.line(f"    fix ({finding['tier']}): {finding['fix']}")


def _runs(hops: t.Sequence[Verdict]) -> list[tuple[str, list[str], list[str]]]:
    """(status, hops, evidence): neighbours of which there is nothing else to say share a line."""
    runs: list[tuple[str, list[str], list[str]]] = []
    for hop in hops:
        # What is wrong has its evidence below.
        evidence = [] if hop["status"] == "broken" else list(hop["evidence"])
        if runs and runs[-1][0] == hop["status"] and not evidence and not runs[-1][2]:
            runs[-1][1].append(hop["hop"])
        else:
            runs.append((hop["status"], [hop["hop"]], evidence))
    return runs
