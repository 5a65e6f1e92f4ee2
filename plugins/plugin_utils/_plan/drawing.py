# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a drawing: namespaces, bridges, uplinks and the internet, from left to right. No I/O.

Texts are only ever text: the serializer escapes them. Of many the first few are drawn, and the rest is counted.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from .document import Data, counted, in_short

Lines = t.Sequence[str]

MANY = "and {} more"
# How many of each are drawn before the rest is counted.
_HOSTS, _NETWORKS, _NAMESPACES, _ERRORS = 24, 8, 5, 4
_WIDTH, _MARGIN, _GAP = 1180, 12, 10
_TITLE, _LINE, _PADDING = 30, 17, 9
# (left, width) of each kind of box.
_HOST, _NAMESPACE, _BRIDGE, _UPLINK = (12, 976), (26, 340), (426, 270), (756, 218)
_INTERNET = (1042, 126)
_CHARACTER = 7.3  # width of one, in the font of a box
_STYLE = """
svg { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
text { fill: #1b1f24; }
.ground { fill: #ffffff; }
.host { fill: #f5f7f9; stroke: #c4ccd4; }
.title { font: bold 14px system-ui, "DejaVu Sans", sans-serif; }
.name { font-weight: bold; }
.namespace { fill: #e3f1e5; stroke: #4c8f56; }
.bridge { fill: #e2ecf8; stroke: #4474ab; }
.uplink { fill: #fdf0d9; stroke: #b07d24; }
.internet { fill: #ececf4; stroke: #66668a; }
.rest { fill: #f5f7f9; stroke: #4c8f56; stroke-dasharray: 4 3; }
.refused { fill: #fbe3e3; stroke: #b3353a; }
.wire { fill: none; stroke: #7c8791; stroke-width: 1.5; }
"""


class _Canvas:
    """A drawing that grows downwards."""

    def __init__(self, title: str) -> None:
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
        ET.SubElement(self.root, "title").text = title
        ET.SubElement(self.root, "style").text = _STYLE
        self.ground = ET.SubElement(self.root, "rect", {"class": "ground", "width": str(_WIDTH)})

    def box(self, kind: str, place: tuple[int, int], top: int, lines: Lines, height: int = 0) -> int:
        """With its lines, the first one in bold. Returns its height."""
        left, width = place
        height = height or _height(lines)
        group = ET.SubElement(self.root, "g")
        ET.SubElement(group, "title").text = "\n".join(lines)
        corner = {"x": str(left), "y": str(top), "rx": "6"}
        ET.SubElement(group, "rect", {"class": kind, **corner, "width": str(width), "height": str(height)})
        first = top + (height - _height(lines)) // 2 + _PADDING + 11
        for number, line in enumerate(lines):
            shown = _clipped(line, int((width - 2 * _PADDING) / _CHARACTER))
            self.text(shown, left + _PADDING, first + number * _LINE, "name" if number == 0 else "")
        return height

    def text(self, text: str, left: int, base: int, kind: str = "") -> None:
        attributes = {"x": str(left), "y": str(base), **({"class": kind} if kind else {})}
        ET.SubElement(self.root, "text", attributes).text = text

    def wire(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """From one box to the next, by the middle between them."""
        middle = (start[0] + end[0]) // 2
        path = f"M{start[0]} {start[1]}H{middle}V{end[1]}H{end[0]}"
        ET.SubElement(self.root, "path", {"class": "wire", "d": path})

    def finished(self, height: int) -> str:
        self.root.set("viewBox", f"0 0 {_WIDTH} {height}")
        self.root.set("width", str(_WIDTH))
        self.root.set("height", str(height))
        self.ground.set("height", str(height))
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(self.root, encoding="unicode") + "\n"


def drawing(made: Data) -> str:
    """The content of plan.svg."""
    about = counted(made["counts"])
    canvas = _Canvas(f"Plan of {about}")
    canvas.text(about, _MARGIN, 26, "title")
    top, ways = 40, []
    for host in list(made["hosts"])[:_HOSTS]:
        bottom, leaving = _host(canvas, host, made, top)
        ways += leaving
        top = bottom + _GAP
    if len(made["hosts"]) > _HOSTS:
        canvas.text(MANY.format(len(made["hosts"]) - _HOSTS) + " hosts", _MARGIN, top + 18, "title")
        top += _TITLE
    for warning in made["warnings"][:_ERRORS]:
        top += canvas.box("refused", (_HOST[0], _HOST[1]), top, _wrapped(warning)) + _GAP
    if ways:
        canvas.box("internet", _INTERNET, min(ways) - 30, ["internet"], max(ways) - min(ways) + 60)
        for way in ways:
            canvas.wire((_UPLINK[0] + _UPLINK[1], way), (_INTERNET[0], way))
    for line in _wrapped(made["note"]):
        canvas.text(line, _MARGIN, top + 14)
        top += _LINE
    return canvas.finished(top + _MARGIN)


def _host(canvas: _Canvas, name: str, made: Data, top: int) -> tuple[int, list[int]]:
    """Returns where it ends, and at which heights it leads out."""
    networks = made["hosts"][name]["networks"]
    errors = made["refused"].get(name, [])
    said = [line for error in errors[:_ERRORS] for line in _wrapped(error)]
    said += [MANY.format(len(errors) - _ERRORS)] if len(errors) > _ERRORS else []
    heights = [_network_height(network) for network in networks[:_NETWORKS]]
    rest = len(networks) - _NETWORKS
    height = _TITLE + sum(one + _GAP for one in heights) + (_height(said) + _GAP if said else 0)
    height += _LINE if rest > 0 or not (networks or said) else 0
    canvas.box("host", _HOST, top, [], height)
    canvas.text(_clipped(name, 90), _HOST[0] + _PADDING, top + 20, "title")
    below, ways = top + _TITLE, []
    if said:
        place = (_NAMESPACE[0], _UPLINK[0] + _UPLINK[1] - _NAMESPACE[0])
        below += canvas.box("refused", place, below, said) + _GAP
    for network, tall in zip(networks, heights):
        ways.append(_network(canvas, network, below, tall))
        below += tall + _GAP
    if rest > 0:
        canvas.text(MANY.format(rest) + " networks", _NAMESPACE[0], below + 4)
    elif not networks and not said:
        canvas.text("no networks", _NAMESPACE[0], below + 8)
    return top + height, ways


def _network(canvas: _Canvas, network: Data, top: int, height: int) -> int:
    """Returns the height at which it leads out."""
    middle = top + height // 2
    boxes = _namespaces(network)
    below = top + (height - _stack(boxes)) // 2
    for kind, lines in boxes:
        tall = canvas.box(kind, _NAMESPACE, below, lines)
        canvas.wire((_NAMESPACE[0] + _NAMESPACE[1], below + tall // 2), (_BRIDGE[0], middle))
        below += tall + _GAP
    for kind, place, lines in (("bridge", _BRIDGE, _bridge(network)), ("uplink", _UPLINK, _uplink(network))):
        canvas.box(kind, place, middle - _height(lines) // 2, lines)
    canvas.wire((_BRIDGE[0] + _BRIDGE[1], middle), (_UPLINK[0], middle))
    return middle


def _network_height(network: Data) -> int:
    return max(_stack(_namespaces(network)), _height(_bridge(network)), _height(_uplink(network)))


def _namespaces(network: Data) -> list[tuple[str, Lines]]:
    """The first few, and how many there are beside them."""
    listed = network["namespaces"]
    shown = listed if len(listed) <= _NAMESPACES + 1 else listed[:_NAMESPACES]
    boxes: list[tuple[str, Lines]] = [
        ("namespace", [one["name"], *one["addresses"], *_published(one["published"])]) for one in shown
    ]
    if len(listed) > len(shown):
        boxes.append(("rest", [MANY.format(len(listed) - len(shown)), f"to {' '.join(listed[-1]['addresses'])}"]))
    return boxes


def _published(ports: t.Sequence[Data]) -> list[str]:
    return [f"published: {', '.join(_some(in_short(ports)))}"] if ports else []


def _bridge(network: Data) -> list[str]:
    gateways = [f"{subnet} by {gateway}" for subnet, gateway in zip(network["subnets"], network["gateways"])]
    return [network["bridge"], f"network {network['name']}", *_some(gateways)]


def _uplink(network: Data) -> list[str]:
    uplinks = "default route" if network["uplinks"] == ["auto"] else ", ".join(network["uplinks"])
    nat = "not translated" if network["nat"] == "none" else str(network["nat"])
    return [uplinks, nat, *_some(network["to_source"])]


def _some(lines: Lines) -> list[str]:
    return [*lines[:_ERRORS], *([MANY.format(len(lines) - _ERRORS)] if len(lines) > _ERRORS else [])]


def _stack(boxes: t.Sequence[tuple[str, Lines]]) -> int:
    return sum(_height(lines) + _GAP for _kind, lines in boxes) - (_GAP if boxes else 0)


def _height(lines: Lines) -> int:
    return len(lines) * _LINE + 2 * _PADDING


def _wrapped(text: str) -> list[str]:
    """A sentence on as many lines as it needs, and no more than four."""
    width = int((_HOST[1] - 6 * _PADDING) / _CHARACTER)
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = _clipped(f"{lines[-1]} {word}".strip(), width)
    return lines[:_ERRORS]


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
