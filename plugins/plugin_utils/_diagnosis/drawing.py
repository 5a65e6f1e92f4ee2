# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a card shows of one path: the stations of its drawing, the findings, and the same as text. No I/O.

All of it is text and numbers for the skeleton card.html. page.js draws paths as well, those that are asked for later:
from the head of their cards, what they are drawn from, and the constants of this file.
"""

from __future__ import annotations

import functools
import typing as t

from .findings import Data, findings, status_of, subject, texts

Row = t.Mapping[str, t.Any]

MARKS = {"ok": "✓", "broken": "✕", "degraded": "!", "unknown": "?", "not_reached": "·", "silent": "-"}
_WORDS = {"not_reached": "not reached"}
# The hops that belong to a station. What is in none of them belongs to the host.
_STATIONS = {
    "namespace": ("namespace", "loopback"),
    "link": ("link", "address", "route", "neighbour"),
    "bridge_port": ("bridge_port",),
    "bridge": ("bridge",),
    "host": ("mtu", "host_forwarding", "forward_policy", "host_route", "nat", "conntrack"),
    "uplink": ("uplink",),
    "upstream": ("upstream", "return_path", "dns"),
}
_KINDS = {
    "namespace": "namespace",
    "link": "link in the namespace",
    "bridge_port": "port of the bridge",
    "bridge": "bridge",
    "host": "forwarding and translation",
    "uplink": "uplink of the host",
    "upstream": "beyond the host",
}
# In units of the drawing: its width, and of a station the heights of its title and of a line, and the wire to it.
_WIDTH, _TITLE, _LINE, _GAP = 380, 36, 16, 16
_CHARACTERS = 50  # that fit on a line
_NAME = 26  # characters of the name of a station


# What page.js needs to draw as it is done here.
CONSTANTS: Data = {
    "marks": MARKS,
    "words": _WORDS,
    "stations": [[kind, _KINDS[kind], list(names)] for kind, names in _STATIONS.items()],
    "width": _WIDTH,
    "title": _TITLE,
    "line": _LINE,
    "gap": _GAP,
    "characters": _CHARACTERS,
    "name": _NAME,
}


def card(host: str, verdict: Row, anchor: str) -> Data:
    """A view for card.html. anchor: the id of its element."""
    stations = _placed(_stations(verdict))
    return {
        **head(host, verdict, anchor),
        "box": f"0 0 {_WIDTH} {_height(stations)}",
        "stations": stations,
        "links": [_link_row(link) for link in _rows(verdict, "links")],
        "hops": [_hop_row(hop) for hop in _rows(verdict, "hops")],
    }


def head(host: str, verdict: Row, anchor: str) -> Data:
    """The part of a view that is said in words."""
    status, about = status_of(verdict), subject(verdict)
    listed = findings({host: {"verdicts": [verdict], "error": None}}) if status != "ok" else []
    return {
        "id": anchor,
        "host": host,
        "name": f"{host} · {about}",
        "network": str(verdict.get("network") or ""),
        "status": status,
        "mark": MARKS[status],
        "summary": str(verdict.get("summary") or about),
        "targets": ", ".join(texts(verdict.get("targets"))),
        "drawing": f"The path of {about} on {host}: {status}",
        "findings": [_told(one) for one in listed],
    }


def undrawn(verdict: Row) -> Data:
    """What the rest of a view is drawn from."""
    return {
        "namespace": verdict.get("namespace"),
        "links": _rows(verdict, "links"),
        "hops": _rows(verdict, "hops"),
    }


def _told(one: Data) -> Data:
    return {
        "status": one["status"],
        "mark": MARKS[one["status"]],
        "code": one["code"] or "",
        "hop": f"at {one['hop']}, on the way {'back' if one['direction'] == 'return' else 'out'}" if one["hop"] else "",
        "summary": one["summary"],
        "evidence": one["evidence"],
        "fix": one["fix"] or "",
        "tier": f"({one['tier']})" if one["tier"] else "",
    }


def _stations(verdict: Row) -> list[Data]:
    """In packet order: one for each link that is known, and those that have no link."""
    known = [name for names in _STATIONS.values() for name in names]
    hops = _rows(verdict, "hops")
    others = [hop for hop in hops if hop.get("hop") not in known]
    found = []
    for kind, names in _STATIONS.items():
        own = [hop for hop in hops if hop.get("hop") in names] + (others if kind == "host" else [])
        links: list[Row | None] = [link for link in _rows(verdict, "links") if link.get("hop") == kind]
        for number, link in enumerate(links or [None]):
            # Only the first of several links stands for the hops that they share.
            found.append(_station(kind, own if number == 0 else [], link, verdict))
    return found


def _station(kind: str, hops: t.Sequence[Row], link: Row | None, verdict: Row) -> Data:
    names = {
        "namespace": verdict.get("namespace"),
        "host": "the host",
        "upstream": ", ".join(texts(verdict.get("targets"))),
    }
    name = str((link or {}).get("name") or names.get(kind) or "")
    states = [_state(hop, verdict) for hop in hops]
    # What is wrong stands in place of the counters; the card has both as text.
    bad = [hop for hop, state in zip(hops, states) if state in ("broken", "degraded")]
    wrong = [text for hop in bad for text in texts(hop.get("evidence"))]
    marks = [_mark(str(hop.get("hop")), state) for hop, state in zip(hops, states)]
    detail = " ".join(texts((link or {}).get("addresses")))
    said = wrong[0] if wrong else _counters(link or {})
    lines = [_line("detail", [_clipped(detail, _CHARACTERS)])] if detail else []
    lines += [_line("counters", [_clipped(said, _CHARACTERS)])] if said else []
    return {
        "status": _worst(states),
        "name": _clipped(name or _KINDS[kind], _NAME),
        "kind": _KINDS[kind] if name else "",
        "lines": lines + [_line("hops", parts) for parts in _wrapped(marks)],
    }


def _line(kind: str, parts: t.Sequence[t.Any]) -> Data:
    return {"kind": kind, "parts": parts}


@functools.lru_cache(512)
def _mark(hop: str, state: str) -> Data:
    return {"status": state, "text": f"{MARKS[state]} {hop.replace('_', ' ')} "}


def _wrapped(parts: t.Sequence[Data]) -> list[list[Data]]:
    """On as many lines as they need."""
    lines: list[list[Data]] = []
    length = 0
    for part in parts:
        length += len(part["text"])
        if not lines or length > _CHARACTERS:
            lines.append([])
            length = len(part["text"])
        lines[-1].append(part)
    return lines


def _placed(stations: list[Data]) -> list[Data]:
    """With where they are. A packet comes to a station unless one before it is broken."""
    stopped = False
    top = 2
    for number, station in enumerate(stations):
        station["mark"] = MARKS[station["status"]]
        station["place"] = f"translate(0 {top})"
        for place, line in enumerate(station["lines"]):
            line["y"] = str(_TITLE + 2 + place * _LINE)
        station["height"] = str(_TITLE + len(station["lines"]) * _LINE - 4)
        top += int(station["height"]) + _GAP
        faint = "faint" if station["status"] == "unknown" else ""
        station["wire"] = "cut" if stopped else "first" if number == 0 else faint
        stopped = stopped or station["status"] == "broken"
    return stations


def _height(stations: t.Sequence[Data]) -> int:
    return sum(int(station["height"]) + _GAP for station in stations)


def _state(hop: Row, verdict: Row) -> str:
    """Of a hop. Where the path as a whole passes packets, what is wrong only degrades it."""
    state = str(hop.get("status"))
    if state == "broken" and status_of(verdict) == "degraded":
        return "degraded"
    return state if state in MARKS else "unknown"


def _worst(states: t.Sequence[str]) -> str:
    for state in ("broken", "degraded", "not_reached", "unknown"):
        if state in states:
            return state
    return "ok" if states else "unknown"


def _counters(link: Row) -> str:
    parts = []
    for way in ("rx", "tx"):
        if link.get(f"{way}_packets") is not None:
            lost = [
                f"{link[key]} {word}" for word in ("dropped", "errors") for key in [f"{way}_{word}"] if link.get(key)
            ]
            parts.append(f"{way} {link[f'{way}_packets']}" + (f" ({', '.join(lost)})" if lost else ""))
    if link.get("mtu") is not None:
        parts.append(f"mtu {link['mtu']}")
    if link.get("up") is False:
        parts.append("down")
    return " · ".join(parts)


def _link_row(link: Row) -> Data:
    def pair(name: str) -> str:
        values = [link.get(f"{way}_{name}") for way in ("rx", "tx")]
        return " / ".join("?" if value is None else str(value) for value in values)

    return {
        "hop": str(link.get("hop") or ""),
        "name": str(link.get("name") or ""),
        "netns": str(link.get("netns") or "the host"),
        "state": {"True": "up", "False": "down"}.get(str(link.get("up")), "?"),
        "mtu": "?" if link.get("mtu") is None else str(link["mtu"]),
        "addresses": ", ".join(texts(link.get("addresses"))),
        "packets": pair("packets"),
        "dropped": pair("dropped"),
        "errors": pair("errors"),
    }


def _hop_row(hop: Row) -> Data:
    state = str(hop.get("status"))
    said = "; ".join(texts(hop.get("evidence")))
    return _hop_cells(str(hop.get("hop") or ""), state if state in MARKS else "unknown", said)


@functools.lru_cache(4096)
def _hop_cells(hop: str, state: str, said: str) -> Data:
    words = f"{MARKS[state]} {_WORDS.get(state, state)}"
    return {"status": state, "hop": hop, "state": words, "evidence": said}


def _rows(verdict: Row, key: str) -> list[Row]:
    rows = verdict.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
