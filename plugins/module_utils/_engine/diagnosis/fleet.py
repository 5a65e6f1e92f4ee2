# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many hosts have told, for a person to read: broken paths first, grouped by what is wrong. No I/O."""

from __future__ import annotations

import typing as t

from .catalogue import CODES

Verdict = t.Mapping[str, t.Any]
# None for a host that told nothing.
Hosts = t.Mapping[str, t.Optional[t.Sequence[Verdict]]]

_ORDER = ("broken", "degraded", "unknown")
_SHOWN = 8  # names on a line, of those that have the same in common


def summary(hosts: Hosts) -> str:
    """Lines of text; healthy paths are one of them."""
    lines: list[str] = []
    for status in _ORDER:
        for code, found in sorted(_by_code(hosts, status).items(), key=lambda item: (-len(item[1]), item[0])):
            lines += _group(status, code, found)
    silent = sorted(host for host, verdicts in hosts.items() if verdicts is None)
    if silent:
        lines.append(f"NO ANSWER from {_counted(len(silent), 'host')}: {_names(silent)}")
    healthy = [host for host, verdicts in hosts.items() if verdicts for one in verdicts if one["status"] == "ok"]
    lines.append(f"OK: {_counted(len(healthy), 'path')} on {_counted(len(set(healthy)), 'host')}")
    return "\n".join(lines)


def failing(hosts: Hosts, threshold: str) -> list[str]:
    """Hosts with a path that is as bad as the threshold (broken, degraded, unknown) or worse; none for never."""
    bad = _ORDER[: _ORDER.index(threshold) + 1] if threshold in _ORDER else ()
    told = {host for host, verdicts in hosts.items() for one in verdicts or () if one["status"] in bad}
    silent = {host for host, verdicts in hosts.items() if verdicts is None} if bad else set()
    return sorted(told | silent)


def _by_code(hosts: Hosts, status: str) -> dict[str, list[tuple[str, Verdict]]]:
    found: dict[str, list[tuple[str, Verdict]]] = {}
    for host in sorted(hosts):
        for one in hosts[host] or ():
            if one["status"] == status:
                found.setdefault(one["code"] or "", []).append((host, one))
    return found


def _group(status: str, code: str, found: t.Sequence[tuple[str, Verdict]]) -> list[str]:
    hosts = sorted({host for host, _one in found})
    where = f"{_counted(len(found), 'path')} on {_counted(len(hosts), 'host')}"
    if not code:
        return [f"{status.upper()}: {where}, as nothing was sent: {_names(hosts)}"]
    entry = CODES[code]
    _host, first = found[0]
    names = [f"{host}/{one['namespace']} {one['family']}" for host, one in found]
    return [
        f"{status.upper()} {code} at {first['hop']}: {where}: {entry.summary}",
        f"  {_names(names)}",
        f"  seen: {'; '.join(first['evidence'])}",
        f"  fix ({entry.tier}): {first['fix']}",
    ]


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _names(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
