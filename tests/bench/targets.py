"""What the collection must reach, as data."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from tests.bench.figures import Figures

FLOORS = ("floor-early", "floor-late")
Quantity = t.Literal["seconds", "module_mb"]


@dataclass(frozen=True)
class Point:
    """A figure: that of the first of its things, or of the cheapest where there are several. each: for a namespace."""

    things: tuple[str, ...]
    size: int
    quantity: Quantity = "seconds"
    each: bool = False

    def value(self, figures: Figures) -> float | None:
        """What was measured; None unless all of it was."""
        found = [figures.at(thing, self.size) for thing in self.things]
        values = [float(getattr(figure, self.quantity)) for figure in found if figure]
        if len(values) < len(self.things):
            return None
        return min(values) / (self.size if self.each else 1)


@dataclass(frozen=True)
class Target:
    """A value, or a ratio where it is over something, that is at least or at most a limit."""

    measure: str
    limit: float
    at_least: bool
    value: Point
    over: Point | None = None
    unit: str = ""

    def reached(self, figures: Figures) -> float | None:
        """The value that was measured, None where something of it was not."""
        value = self.value.value(figures)
        if self.over is None or value is None:
            return value
        other = self.over.value(figures)
        return value / other if other else None

    def met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


def _faster(measure: str, limit: float, thing: str, ours: str, size: int) -> Target:
    return Target(measure, limit, True, Point((thing,), size), Point((ours,), size))


def _costs(measure: str, limit: float, value: Point, over: Point) -> Target:
    return Target(measure, limit, False, value, over)


def _beside_floor(size: int, limit: float) -> Target:
    measure = f"program / kernel's floor, the better order, {size} namespaces"
    return _costs(measure, limit, Point(("program",), size), Point(FLOORS, size))


TARGETS = (
    _faster("Ansible with loops / playbook with the role, 100 namespaces", 40, "idiomatic", "role", 100),
    _faster("Ansible with loops / playbook with the role, 500 namespaces", 100, "idiomatic", "role", 500),
    _faster("recipe of guides / program, 500 namespaces", 12, "recipe", "program", 500),
    _faster("CNI bridge plugin / program, 500 namespaces", 15, "cni", "program", 500),
    _beside_floor(100, 2.5),
    _beside_floor(500, 2.0),
    _beside_floor(1000, 1.5),
    _costs(
        "program, second run / first, 1000 namespaces",
        0.15,
        Point(("program-again",), 1000),
        Point(("program",), 1000),
    ),
    _costs("program, one added to 1000 / build", 0.03, Point(("program-added",), 1000), Point(("program",), 1000)),
    _costs(
        "program, teardown / build, 500 namespaces", 0.3, Point(("program-teardown",), 500), Point(("program",), 500)
    ),
    Target("memory of the module, 1000 namespaces", 120, False, Point(("role",), 1000, "module_mb"), unit=" MB"),
    _costs(
        "program, cost of a namespace at 1000 / at 100",
        1.5,
        Point(("program",), 1000, each=True),
        Point(("program",), 100, each=True),
    ),
)
FLEET_MEASURE = "playbook with the role / with a task that does nothing, 30 nodes with 20 namespaces each"
FLEET_NODES, FLEET_LIMIT = 30, 3.0
