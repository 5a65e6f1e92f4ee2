# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what Ansible registered for each host to answers and a flat list of findings. No I/O."""

from __future__ import annotations

import collections.abc
import functools
import math
import typing as t
import unicodedata

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES

Data = dict[str, t.Any]
# For each host {"verdicts": list, "error": None}, or no verdicts and a text that says why.
Answers = t.Mapping[str, Data]

STATUSES = ("broken", "degraded", "unknown", "ok")  # the worst first
THRESHOLDS = (*STATUSES[:3], "never")
NO_ANSWER = "NO_ANSWER"  # the code of a host that told nothing
KEYS = (
    "host",
    "namespace",
    "network",
    "family",
    "status",
    "code",
    "hop",
    "direction",
    "tier",
    "evidence",
    "fix",
    "summary",
)
_SAID = 5  # things that are wrong with a host, where it fails for them
_FAMILIES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def answer(result: t.Any) -> Data:
    """What a host told, from the registered result of egress_check; None where there is none."""
    if not isinstance(result, collections.abc.Mapping):
        return silent("it was not checked")
    said = " ".join(clean(str(result.get("msg") or "")).split())
    if result.get("unreachable"):
        return silent(f"unreachable: {said}" if said else "unreachable")
    verdicts = result.get("verdicts")
    if result.get("failed") or not isinstance(verdicts, (list, tuple)):
        return silent(said or "the check returned no verdicts")
    return {"verdicts": [clean(one) for one in verdicts if isinstance(one, collections.abc.Mapping)], "error": None}


def clean(value: t.Any) -> t.Any:
    """A copy of plain types, without characters that steer a terminal or that XML forbids: hosts choose the texts."""
    # The types of nearly all that a thousand hosts tell come first: to look for subclasses takes longer than the rest.
    kind = type(value)
    if kind is str:
        return value if value.isascii() and value.isprintable() else "".join(map(_character, value))
    if kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        return {_clean_key(key): clean(item) for key, item in value.items()}
    if kind is list:
        return [clean(item) for item in value]
    return _plain(value)


def _plain(value: t.Any) -> t.Any:
    """clean, for what is of no plain type."""
    if isinstance(value, str):
        # str() of what ansible-core 2.18 marks as unsafe is of that type again.
        return clean(str.__str__(value))
    if isinstance(value, collections.abc.Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return clean(str(value))


@functools.lru_cache(1024, typed=True)
def _clean_key(key: t.Any) -> str:
    """The same few keys are in everything."""
    return str(clean(str(key)))


def texts(value: t.Any) -> list[str]:
    """A list of texts, whatever is there instead."""
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return [] if value is None else [str(value)]


def subject(verdict: t.Mapping[str, t.Any]) -> str:
    """A namespace and a family as people read them."""
    family = str(verdict.get("family") or "")
    return f"{verdict.get('namespace') or ''} ({_FAMILIES.get(family, family)})"


def status_of(verdict: t.Mapping[str, t.Any]) -> str:
    """One of STATUSES; what is none of them is unknown."""
    status = str(verdict.get("status"))
    return status if status in STATUSES else "unknown"


def findings(answers: Answers) -> list[Data]:
    """One object with KEYS for each thing that is wrong; paths that are unknown and hosts without an answer as well.

    The worst first, then by host.
    """
    found: list[Data] = []
    for host in sorted(answers):
        told = answers[host]
        if told["error"]:
            found.append(_finding(host, {}, "unknown", {"code": NO_ANSWER, "summary": f"no answer: {told['error']}"}))
        for verdict in told["verdicts"]:
            found += _of_path(host, verdict)
    return sorted(found, key=lambda one: STATUSES.index(one["status"]))


def failing(selected: t.Sequence[Data], threshold: str) -> dict[str, list[str]]:
    """For each host with a finding as bad as the threshold or worse what that is; nothing for never.

    A host without an answer is one of them whatever the threshold.
    """
    if threshold == "never":
        return {}
    bad = STATUSES[: STATUSES.index(threshold) + 1]
    hosts: dict[str, list[str]] = {}
    for one in selected:
        if one["status"] in bad or one["code"] == NO_ANSWER:
            hosts.setdefault(one["host"], []).append(one["summary"])
    return {host: _first(said) for host, said in sorted(hosts.items())}


def _first(said: list[str]) -> list[str]:
    """The first few: a host may have hundreds of namespaces."""
    return said if len(said) <= _SAID else [*said[:_SAID], f"and {len(said) - _SAID} more"]


def _of_path(host: str, verdict: t.Mapping[str, t.Any]) -> list[Data]:
    status = status_of(verdict)
    if status == "ok":
        return []
    listed = verdict.get("findings")
    several = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [_finding(host, verdict, _own_status(status, one), one) for one in several or [dict(verdict)]]


def _own_status(status: str, finding: t.Mapping[str, t.Any]) -> str:
    """What only degrades a path does not break it, even where something else does."""
    entry = CODES.get(str(finding.get("code")))
    return "degraded" if entry and entry.degraded and status == "broken" else status


def _finding(host: str, verdict: t.Mapping[str, t.Any], status: str, one: t.Mapping[str, t.Any]) -> Data:
    entry = CODES.get(str(one.get("code")))
    of_code = f"{subject(verdict)}: {entry.summary}" if entry else verdict.get("summary")
    return {
        "host": host,
        **{key: _text(verdict.get(key)) or "" for key in ("namespace", "network", "family")},
        "status": status,
        # Of one type, so that no host makes a query fail for all.
        **{key: _text(one.get(key)) for key in ("code", "hop", "direction", "tier")},
        "evidence": texts(one.get("evidence")),
        "fix": _text(one.get("fix")),
        "summary": str(one.get("summary") or of_code or ""),
    }


def _text(value: t.Any) -> str | None:
    return None if value is None else str(value)


def silent(reason: str) -> Data:
    return {"verdicts": [], "error": reason}


def _character(one: str) -> str:
    if one in "\t\n\r":
        return " "
    # Control characters, directions of writing, surrogates, and what is assigned to nothing.
    return "\ufffd" if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Cn") else one
