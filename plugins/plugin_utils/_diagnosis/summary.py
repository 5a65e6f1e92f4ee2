# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report for a person at a terminal: what is broken first, grouped by what it is; all that is healthy is one line."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES

from .findings import NO_ANSWER, STATUSES, Data, status_of

_SHOWN = 8  # names on a line, of those that have the same in common


@dataclass(frozen=True)
class Line:
    """A line of text. tone: broken, degraded, unknown, ok, or "" for none."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Group:
    """Findings of one status and code, at one hop."""

    status: str
    code: str
    hop: str
    found: t.Sequence[Data]

    @property
    def hosts(self) -> list[str]:
        return sorted({one["host"] for one in self.found})

    @property
    def counted(self) -> str:
        return f"{counted(len(self.found), 'path')} on {counted(len(self.hosts), 'host')}"

    @property
    def summary(self) -> str:
        if not self.code:
            return "nobody was asked who has to answer"
        entry = CODES.get(self.code)
        return entry.summary if entry else str(self.found[0]["summary"])


NOTHING = (
    "egress_networks lists no network of these hosts, and nothing else was asked for (diagnose_netns, diagnose_all)"
)


def summary(report: Data) -> list[Line]:
    """Lines of text; healthy paths are one of them."""
    lines: list[Line] = []
    for group in groups(report["findings"]):
        lines += _group(group)
    lines += _silent(report)
    if report["asked"]["query"]:
        lines.append(Line(f"The query selects {counted(len(report['findings']), 'finding')}."))
    lines += _history(report["history"])
    return lines + _healthy(report)


def groups(findings: t.Sequence[Data]) -> list[Group]:
    """The worst first, then those that most paths have; hosts without an answer are none."""
    by: dict[tuple[str, str, str], list[Data]] = {}
    for one in findings:
        if one["code"] != NO_ANSWER:
            by.setdefault((one["status"], str(one["code"] or ""), str(one["hop"] or "")), []).append(one)
    found = [Group(*key, found) for key, found in by.items()]
    return sorted(found, key=lambda group: (STATUSES.index(group.status), -len(group.found), group.code, group.hop))


def path_name(one: t.Mapping[str, t.Any]) -> str:
    """host/namespace family; the host alone for what is about a host."""
    return f"{one['host']}/{one['namespace']} {one['family']}" if one["family"] else str(one["host"])


def counted(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _group(group: Group) -> list[Line]:
    if not group.code:
        text = f"{group.status.upper()}: {group.counted}, as {group.summary}: {_names(group.hosts)}"
        return [Line(text, group.status)]
    first = group.found[0]
    at = f" at {group.hop}" if group.hop else ""
    lines = [
        Line(f"{group.status.upper()} {group.code}{at}: {group.counted}: {group.summary}", group.status),
        Line(f"  {_names([path_name(one) for one in group.found])}"),
    ]
    if first["evidence"]:
        lines.append(Line(f"  seen: {'; '.join(first['evidence'])}"))
    if first["fix"]:
        tier = f" ({first['tier']})" if first["tier"] else ""
        lines.append(Line(f"  fix{tier}: {first['fix']}"))
    return lines


def _silent(report: Data) -> list[Line]:
    """Hosts without an answer, by reason."""
    by: dict[str, list[str]] = {}
    for one in report["findings"]:
        if one["code"] == NO_ANSWER:
            by.setdefault(one["summary"], []).append(one["host"])
    lines = []
    for said, hosts in sorted(by.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(Line(f"NO ANSWER from {counted(len(hosts), 'host')}: {_names(hosts)}", "broken"))
        lines.append(Line(f"  {said.partition(': ')[2]}"))
    return lines


def _history(history: Data | None) -> list[Line]:
    if not history:
        return []
    kinds = [(kind, history[kind]) for kind in ("broke", "healed", "changed")]
    tones = {"broke": "broken", "healed": "ok", "changed": "degraded"}
    numbers = ", ".join(f"{len(found)} {kind}" for kind, found in kinds)
    lines = [Line(f"SINCE {history['previous']}: {numbers}")]
    lines += [
        Line(f"  {kind}: {_names([change(one) for one in found])}", tones[kind]) for kind, found in kinds if found
    ]
    return lines


def change(one: Data) -> str:
    """What became of a path, in a few words."""
    was, now = one["before"], one["after"]
    old = (was["code"] or was["status"]) if was else "not there"
    return f"{path_name(one)} ({old} -> {now['code'] or now['status']})"


def _healthy(report: Data) -> list[Line]:
    well = [told for told in report["hosts"].values() if any(status_of(one) == "ok" for one in told["verdicts"])]
    number = report["counts"]["ok"]
    if number:
        return [Line(f"OK: {counted(number, 'path')} on {counted(len(well), 'host')}", "ok")]
    return [Line(f"NOTHING WAS CHECKED: {NOTHING}", "degraded")] if is_empty(report) else []


def is_empty(report: Data) -> bool:
    """Whether all hosts answered, and had nothing to look at."""
    counts = report["counts"]
    return not counts["paths"] and not counts["no_answer"]


def _names(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
