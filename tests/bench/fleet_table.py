"""The results on a fleet as Markdown. No I/O."""

from __future__ import annotations

import statistics
import typing as t

from tests.bench import ways
from tests.bench.table import machine, markdown, noise, seconds

Samples = t.Sequence[t.Mapping[str, t.Any]]
_BASE, _OURS = "nothing", "role"
_TOLD = 500  # characters of a failure; all of it is in fleet.json


def table(results: t.Mapping[str, t.Any]) -> str:
    """All tables."""
    samples = results["samples"]
    parts = [f"## {nodes} nodes\n\n{_of_size(samples, nodes)}" for nodes in sorted({one["nodes"] for one in samples})]
    if results.get("summarised"):
        parts.append(f"## The report\n\n{_summarised(results['summarised'])}")
    if results["skipped"]:
        parts.append("## Skipped\n\n" + "\n".join(f"- {reason}" for reason in results["skipped"]))
    if results["failures"]:
        told = [
            f"- {one['way']}, {one['play']}, {one['nodes']} nodes, round {one['round'] + 1}: "
            + " ".join(one["reason"].split())[:_TOLD]
            for one in results["failures"]
        ]
        parts.append("## Failures\n\n" + "\n".join(told))
    parts += [f"## Machine\n\n{machine(results['machine'])}", f"## Noise\n\n{noise(results['rounds'])}"]
    return "\n\n".join(parts) + "\n"


def ratios(samples: Samples) -> dict[str, dict[str, float]]:
    """For each way, by the number of nodes: the role over a task that does nothing."""
    found: dict[str, dict[str, float]] = {}
    for way in ways.WAYS:
        for nodes in sorted({one["nodes"] for one in samples}):
            base, ours = _seconds(samples, nodes, way, _BASE), _seconds(samples, nodes, way, _OURS)
            if base and ours:
                found.setdefault(way, {})[str(nodes)] = statistics.median(ours) / statistics.median(base)
    return found


def _of_size(samples: Samples, nodes: int) -> str:
    head = ("", "", "median s", "x nothing", "least-most s", "CPU s", "peak MB", "rounds")
    rows = []
    for way in ways.WAYS.values():
        base = _seconds(samples, nodes, way.name, _BASE)
        for play, title in ways.TITLES.items():
            of_play = [one for one in samples if (one["nodes"], one["way"], one["play"]) == (nodes, way.name, play)]
            if of_play:
                times = [one["seconds"] for one in of_play]
                middle = statistics.median(times)
                rows.append(
                    [
                        way.title,
                        title,
                        seconds(middle),
                        f"{middle / statistics.median(base):.2f}" if base else "",
                        f"{seconds(min(times))}-{seconds(max(times))}",
                        seconds(statistics.median(one["cpu"] for one in of_play)),
                        f"{max(one['peak_kib'] for one in of_play) * 1024 / 1e6:.0f}",
                        str(len(of_play)),
                    ]
                )
    return markdown(head, rows)


def _seconds(samples: Samples, nodes: int, way: str, play: str) -> list[float]:
    return [one["seconds"] for one in samples if (one["nodes"], one["way"], one["play"]) == (nodes, way, play)]


def _summarised(rows: Samples) -> str:
    """What the controller does when the hosts have told: medians of the rounds."""
    head = ("hosts", "paths", "healthy", "files", "median s", "peak MB", "report.html MB", "rounds")
    return markdown(
        head,
        [
            [
                str(one["hosts"]),
                str(one["paths"]),
                f"{one['healthy']:.0%}",
                "yes" if one["files"] else "no",
                seconds(statistics.median(one["seconds"])),
                f"{max(one['peak_kib']) * 1024 / 1e6:.0f}",
                f"{one['page_bytes'] / 1e6:.1f}" if one["files"] else "",
                str(len(one["seconds"])),
            ]
            for one in rows
        ],
    )
