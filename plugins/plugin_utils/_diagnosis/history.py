# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two reports compared: what broke, what healed, and what is wrong in another way. No I/O."""

from __future__ import annotations

import typing as t

from .findings import NO_ANSWER, Answers, Data, clean, status_of

# Host, network, namespace, family. A host itself has the last three empty.
_Key = tuple[str, str, str, str]
_BAD = ("broken", "degraded")


def compare(before: Data, answers: Answers) -> Data:
    """previous (when), and lists of what broke, healed or changed: each with host, network, namespace, family and the
    status and code before and after; before is None where the path was not there."""
    old, new = _states(before["hosts"]), _states(answers)
    told: Data = {"previous": clean(str(before.get("generated") or "")), "broke": [], "healed": [], "changed": []}
    for key in sorted(new):
        kind = _kind(old.get(key), new[key])
        if kind:
            told[kind].append(_entry(key, old.get(key), new[key]))
    return told


def _kind(was: tuple[str, t.Any] | None, now: tuple[str, t.Any]) -> str:
    was_bad, is_bad = was is not None and was[0] in _BAD, now[0] in _BAD
    if was_bad and is_bad:
        return "changed" if was != now else ""
    if is_bad:
        return "broke"
    if was_bad and now[0] == "ok":
        return "healed"
    return ""


def _states(hosts: Answers) -> dict[_Key, tuple[str, t.Any]]:
    states: dict[_Key, tuple[str, t.Any]] = {}
    for host, told in hosts.items():
        states[host, "", "", ""] = ("broken", NO_ANSWER) if told.get("error") else ("ok", None)
        for one in told["verdicts"]:
            network, namespace, family = (str(one.get(key) or "") for key in ("network", "namespace", "family"))
            states[host, network, namespace, family] = (status_of(one), one.get("code"))
    return states


def _entry(key: _Key, was: tuple[str, t.Any] | None, now: tuple[str, t.Any]) -> Data:
    host, network, namespace, family = key
    return {
        "host": host,
        "network": network,
        "namespace": namespace,
        "family": family,
        "before": {"status": was[0], "code": was[1]} if was else None,
        "after": {"status": now[0], "code": now[1]},
    }
