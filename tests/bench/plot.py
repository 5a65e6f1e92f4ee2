"""The results as a picture: what a namespace costs by the number of namespaces, both logarithmic. No I/O."""

from __future__ import annotations

import math
import typing as t
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from tests.bench.figures import Figures

# thing, name in the legend, colour on light and on dark ground, pattern of the line, form of the marks
_Line = tuple[str, str, str, str, str, str]
LINES: tuple[_Line, ...] = (
    ("idiomatic", "Ansible with loops", "#b3261e", "#f2746b", "", "square"),
    ("role", "ansible-playbook, role egress", "#1a56c4", "#7db0ff", "", "square"),
    ("netavark", "netavark", "#8a4b00", "#e6a04d", "", "circle"),
    ("cni", "CNI bridge plugin", "#7a1fa2", "#cf8bf0", "", "circle"),
    ("recipe", "recipe of guides, ip(8)", "#00696f", "#4fc4cc", "", "circle"),
    ("program", "netpath-egress apply", "#1a56c4", "#7db0ff", "", "circle"),
    ("program-again", "apply, nothing to do", "#1a56c4", "#7db0ff", "6 4", "circle"),
    ("floor-early", "kernel's floor, bridge up first", "#5f6368", "#b0b4ba", "6 4", "circle"),
    ("floor-late", "kernel's floor, bridge up last", "#5f6368", "#b0b4ba", "2 3", "circle"),
)
_WIDTH, _HEIGHT = 880, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 290, 40, 50
_BASE = """
text { font: 13px system-ui, sans-serif; fill: #202124 }
.title { font-size: 15px; font-weight: 600 }
.ground { fill: #ffffff }
.grid { stroke: #dadce0 }
.line { fill: none; stroke-width: 2 }
"""
_DARK = "text { fill: #e8eaed } .ground { fill: #1f2023 } .grid { stroke: #3c4043 }"


@dataclass(frozen=True)
class _Axis:
    """From values to places on a line, by their logarithm."""

    least: float
    most: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (math.log10(value) - math.log10(self.least)) / (math.log10(self.most) - math.log10(self.least))
        return self.start + share * (self.end - self.start)


def plot(figures: Figures) -> str:
    """An SVG document that fits light and dark pages."""
    drawn = {line: points for line in LINES if (points := _points(figures, line[0]))}
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")
    ET.SubElement(root, "title").text = "What a namespace costs, by the number of namespaces"
    ET.SubElement(root, "style").text = _style(list(drawn))
    ET.SubElement(root, "rect", {"class": "ground", "width": str(_WIDTH), "height": str(_HEIGHT), "rx": "6"})
    _text(root, _LEFT, 24, "milliseconds a namespace, by the number of namespaces").set("class", "title")
    if drawn:
        across, up = _axes(list(drawn.values()))
        _grid(root, across, up, figures.sizes)
        for line, points in drawn.items():
            _line(root, line, [(across.place(size), up.place(cost)) for size, cost in points])
        _legend(root, drawn)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _points(figures: Figures, thing: str) -> list[tuple[int, float]]:
    costs = [(size, figures.each(thing, size)) for size in figures.sizes_of(thing)]
    return [(size, cost) for size, cost in costs if cost]


def _axes(lines: t.Sequence[t.Sequence[tuple[int, float]]]) -> tuple[_Axis, _Axis]:
    sizes = [size for points in lines for size, _cost in points]
    costs = [cost for points in lines for _size, cost in points]
    # Whole powers of ten upwards; at least one apart, or there would be nothing to spread.
    low, high = math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs)))
    across = _Axis(min(sizes), max(*sizes, min(sizes) * 2), _LEFT, _WIDTH - _RIGHT)
    return across, _Axis(10.0**low, 10.0 ** max(high, low + 1), _HEIGHT - _BOTTOM, _TOP)


def _style(lines: t.Sequence[_Line]) -> str:
    def colours(chosen: int) -> str:
        return "\n".join(f".of-{line[0]} {{ stroke: {line[chosen]}; fill: {line[chosen]} }}" for line in lines)

    # The last rule has lines unfilled whatever their colour.
    unfilled = "path.line { fill: none }"
    return (
        f"{_BASE}{colours(2)}\n{unfilled}\n@media (prefers-color-scheme: dark) {{ {_DARK}\n{colours(3)}\n{unfilled} }}"
    )


def _grid(root: ET.Element, across: _Axis, up: _Axis, sizes: t.Sequence[int]) -> None:
    for power in range(round(math.log10(up.least)), round(math.log10(up.most)) + 1):
        height = up.place(10.0**power)
        _rule(root, across.start, height, across.end, height)
        _text(root, _LEFT - 8, height + 4, f"{10.0**power:g}", "end")
    for size in sizes:
        place = across.place(size)
        _rule(root, place, up.start, place, up.end)
        _text(root, place, up.start + 20, str(size), "middle")


def _line(root: ET.Element, line: _Line, places: t.Sequence[tuple[float, float]]) -> None:
    way = " L ".join(f"{x:.1f} {y:.1f}" for x, y in places)
    drawn = ET.SubElement(root, "path", {"class": f"line of-{line[0]}", "d": f"M {way}"})
    if line[4]:
        drawn.set("stroke-dasharray", line[4])
    for x, y in places:
        _mark(root, line, x, y)


def _legend(root: ET.Element, drawn: t.Mapping[_Line, t.Sequence[tuple[int, float]]]) -> None:
    """The dearest first, as the lines stand."""
    left = _WIDTH - _RIGHT + 20
    ordered = sorted(drawn, key=lambda line: -drawn[line][-1][1])
    for number, line in enumerate(ordered):
        height = _TOP + 14 + number * 24
        _line(root, line, [(left, height), (left + 30, height)])
        _text(root, left + 42, height + 4, line[1])


def _mark(root: ET.Element, line: _Line, x: float, y: float) -> None:
    name = {"class": f"of-{line[0]}"}
    if line[5] == "square":
        ET.SubElement(root, "rect", {**name, "x": f"{x - 4:.1f}", "y": f"{y - 4:.1f}", "width": "8", "height": "8"})
    else:
        ET.SubElement(root, "circle", {**name, "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "4"})


def _rule(root: ET.Element, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    ET.SubElement(root, "line", {"class": "grid", **ends})


def _text(root: ET.Element, x: float, y: float, text: str, anchor: str = "start") -> ET.Element:
    made = ET.SubElement(root, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})
    made.text = text
    return made
