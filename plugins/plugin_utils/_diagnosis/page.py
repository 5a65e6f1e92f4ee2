# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML file that needs nothing else: page.html and card.html, filled, with page.css and page.js in it.

The worst paths are drawn in the file itself. The others are data in it, as hosts told it and packed for each,
from which its script draws them when they are asked for. A policy in the page forbids every script and style but these.
"""

from __future__ import annotations

import base64
import collections
import gzip
import hashlib
import itertools
import json
import re
import typing as t
import xml.etree.ElementTree as ET
from pathlib import Path

from .drawing import CONSTANTS, MARKS, card, head, undrawn
from .filling import filled
from .findings import STATUSES, Data, findings, status_of, subject, texts
from .summary import change, counted, groups

DRAWN = 100  # cards that are there without a script
_COLUMNS = 40  # namespaces that get a column each; with more of them a host's marks stand side by side
_CHANGES = 200  # that are listed, of each kind
_TITLES = {"broke": "Broke", "healed": "Healed", "changed": "Wrong in another way"}
_TONES = {"broke": "broken", "healed": "ok", "changed": "degraded"}


class _Path(t.NamedTuple):
    """number: of all paths, which its card has as its id. position: among those of its host."""

    number: int
    host: str
    position: int
    verdict: Data
    status: str

    @property
    def card(self) -> str:
        return f"p{self.number}"


def page(report: Data) -> str:
    """The content of report.html."""
    paths = _paths(report["hosts"])
    worst_first = sorted(paths, key=lambda path: STATUSES.index(path.status))
    drawn = [path for path in worst_first if path.status != "ok"][:DRAWN]
    skeleton = _skeleton("card.html")
    root = filled(_skeleton("page.html"), {**_view(report, paths), **_code(), **_data(paths, worst_first)})
    _element(root, "template[@id='card']").append(skeleton)
    _element(root, "div[@id='cards']").extend(
        [filled(skeleton, card(path.host, path.verdict, path.card)) for path in drawn]
    )
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _paths(hosts: t.Mapping[str, Data]) -> list[_Path]:
    flat = [(host, position, one) for host, told in hosts.items() for position, one in enumerate(told["verdicts"])]
    return [_Path(number, *item, status_of(item[-1])) for number, item in enumerate(flat)]


def _code() -> Data:
    """Style, script, and the policy that allows these two alone."""
    style, script = _source("page.css"), _source("page.js")
    only = f"style-src {_digest(style)}; script-src {_digest(script)}"
    policy = f"default-src 'none'; {only}; base-uri 'none'; form-action 'none'"
    return {"style": style, "script": script, "policy": policy}


def _data(paths: t.Sequence[_Path], worst_first: t.Sequence[_Path]) -> Data:
    index = [
        [
            path.number,
            path.host,
            path.position,
            path.status,
            _codes(path),
            " ".join([subject(path.verdict), *(str(path.verdict.get(key) or "") for key in ("network", "family"))]),
            _words(path),
        ]
        for path in worst_first
    ]
    packed = {host: _packed(list(of_host)) for host, of_host in itertools.groupby(paths, lambda path: path.host)}
    return {"index": _inert(index), "packed": _inert(packed), "constants": _inert(CONSTANTS)}


def _codes(path: _Path) -> list[str]:
    if path.status == "ok":
        return []
    listed = findings({path.host: {"verdicts": [path.verdict], "error": None}})
    return sorted({str(one["code"]) for one in listed if one["code"]})


def _words(path: _Path) -> str:
    """What search finds besides names and codes: addresses of the namespace, and what is wrong."""
    if path.status == "ok":
        links = path.verdict.get("links")
        inside = [one for one in links if isinstance(one, dict) and one.get("netns")] if isinstance(links, list) else []
        return " ".join(text for link in inside for text in texts(link.get("addresses")))
    return " ".join([str(path.verdict.get("summary") or ""), *texts(path.verdict.get("evidence"))])


def _view(report: Data, paths: t.Sequence[_Path]) -> Data:
    counts = report["counts"]
    found = findings(report["hosts"])
    problems = counts["paths"] - counts["ok"]
    tiles = [
        ("broken", "broken"),
        ("degraded", "degraded"),
        ("unknown", "unknown"),
        ("no_answer", "hosts silent"),
        ("ok", "healthy"),
    ]
    return {
        "title": f"Egress diagnosis {report['generated']}",
        "about": f"{counted(counts['paths'], 'path')} on {counted(counts['hosts'], 'host')},",
        "generated": report["generated"].replace("T", " ").replace("Z", " UTC"),
        "tiles": [
            {"status": status if counts[status] else "none", "number": str(counts[status]), "word": word}
            for status, word in tiles
        ],
        "statuses": [status for status in STATUSES if counts[status]],
        "codes": sorted({str(one["code"]) for one in found if one["code"] and one["hop"]}),
        "groups": [
            {
                "status": group.status,
                "state": f"{MARKS[group.status]} {group.status}",
                "code": group.code,
                "hop": group.hop,
                "summary": group.summary,
                "paths": str(len(group.found)),
                "hosts": str(len(group.hosts)),
            }
            for group in groups(found)
        ],
        "silent": [{"host": host, "reason": told["error"]} for host, told in report["hosts"].items() if told["error"]],
        "none": "" if problems else "Every path is healthy. A mark above leads to its path.",
        "noscript": f"Without its script, this shows {min(problems, DRAWN)} of {problems} paths that are not healthy.",
        **_history(report["history"]),
        **_matrix(report["hosts"], paths),
    }


def _history(history: Data | None) -> Data:
    if not history:
        return {}
    kinds = [kind for kind in _TITLES if history[kind]]
    return {
        "since": f"Since {history['previous']}" + ("" if kinds else ", nothing"),
        "history": [
            {
                "status": _TONES[kind],
                "title": f"{_TITLES[kind]}: {len(history[kind])}",
                "paths": [change(one) for one in history[kind][:_CHANGES]],
                "more": f"and {len(history[kind]) - _CHANGES} more" if len(history[kind]) > _CHANGES else "",
            }
            for kind in kinds
        ]
        or [{"status": "ok", "title": "As before", "paths": []}],
    }


def _matrix(hosts: t.Mapping[str, Data], paths: t.Sequence[_Path]) -> Data:
    """Hosts that are worst off first. Columns are namespaces, as long as these are not too many."""
    names = sorted({str(path.verdict.get("namespace") or "") for path in paths}, key=_natural)
    columns = names if len(names) <= _COLUMNS else [""]
    of_host: dict[str, list[_Path]] = {}
    for path in paths:
        of_host.setdefault(path.host, []).append(path)
    ordered = sorted(hosts, key=lambda host: (_badness(hosts[host], of_host.get(host, [])), _natural(host)))
    return {
        "columns": [name or "paths" for name in columns] if paths else ["paths"],
        "rows": [_row(host, hosts[host], of_host.get(host, []), columns) for host in ordered],
    }


def _badness(told: Data, paths: t.Sequence[_Path]) -> tuple[int, ...]:
    """For sorting: many broken paths first, then silence, then what is less bad."""
    number = collections.Counter(path.status for path in paths)
    return (-number["broken"], -int(bool(told["error"])), -number["degraded"], -number["unknown"])


def _row(host: str, told: Data, paths: t.Sequence[_Path], columns: t.Sequence[str]) -> Data:
    if not paths:
        reason = f"no answer: {told['error']}" if told["error"] else "no namespaces"
        return {"host": host, "status": "silent", "cells": [{"span": max(len(columns), 1), "reason": reason}]}
    by: dict[str, list[_Path]] = {name: [] for name in columns}
    for path in paths:
        by[str(path.verdict.get("namespace") or "") if len(columns) > 1 or "" not in by else ""].append(path)
    return {"host": host, "cells": [{"span": 1, "paths": [_mark(path) for path in by[name]]} for name in columns]}


def _mark(path: _Path) -> Data:
    family = str(path.verdict.get("family") or "")
    code = path.verdict.get("code")
    return {
        "link": f"#{path.card}",
        "status": path.status,
        "mark": MARKS[path.status] + family[-1:],
        "title": f"{subject(path.verdict)}: {path.status}" + (f" {code}" if code else ""),
    }


def _natural(name: str) -> list[t.Any]:
    """For sorting: ns10 after ns9. Texts and numbers alternate, so that they always compare.

    A number is its length and its digits: whoever chooses a name chooses how many there are, and int() has a limit.
    """
    parts = re.split(r"([0-9]+)", name)
    return [_number(part) if number % 2 else part for number, part in enumerate(parts)]


def _number(digits: str) -> tuple[int, str]:
    significant = digits.lstrip("0")
    return len(significant), significant


def _packed(paths: t.Sequence[_Path]) -> str:
    """What cards of a host are drawn from; that of all hosts at once takes more memory than the report."""
    views = [[head(path.host, path.verdict, path.card), undrawn(path.verdict)] for path in paths]
    packed = gzip.compress(json.dumps(views, ensure_ascii=False, separators=(",", ":")).encode(), 6, mtime=0)
    return base64.b64encode(packed).decode()


def _inert(value: t.Any) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _source(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip("\n")


def _skeleton(name: str) -> ET.Element:
    return ET.fromstring(_source(name))  # noqa: S314 (a file of ours)


def _element(root: ET.Element, path: str) -> ET.Element:
    found = root.find(f".//{path}")
    if found is None:
        raise LookupError(path)
    return found
