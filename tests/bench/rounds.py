"""The measuring: in each round everything in turn, so that a machine that becomes slower does so for all."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import machine, things
from tests.bench.cost import FailedError
from tests.bench.things import Course, Place
from tests.lab.world import World

IDIOMATIC = "idiomatic"
Row = dict[str, t.Any]


@dataclass(frozen=True)
class Asked:
    """What somebody wants measured. idiomatic: the sizes of the playbook with loops, and how many rounds of it."""

    sizes: tuple[int, ...]
    rounds: int
    idiomatic: tuple[int, ...]
    idiomatic_rounds: int
    only: tuple[str, ...] = ()

    def covers(self, course: Course, size: int, number: int) -> bool:
        """Whether a course is run at a size in a round."""
        if course.steps[0].name == IDIOMATIC:
            return size in self.idiomatic and number < self.idiomatic_rounds
        return size in self.sizes and number < self.rounds


@dataclass(frozen=True)
class Measured:
    """What was measured so far; what failed ended nothing but its course."""

    rounds: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    failures: list[Row] = field(default_factory=list)


def measure(asked: Asked, measured: Measured, tell: t.Callable[[str], None]) -> None:
    """Measure all that was asked for. An interrupt leaves what was measured until then."""
    for number in range(max(asked.rounds, asked.idiomatic_rounds)):
        # A world of its own, so that a round does not begin with what the one before has left in the internet host.
        with World(nodes=0) as world:
            before, calibration = machine.noise(), machine.calibrate()
            began = time.monotonic()
            for size in sorted({*asked.sizes, *asked.idiomatic}):
                for course in things.COURSES:
                    if asked.covers(course, size, number):
                        found, failed = _course(world, course, size, asked.only, tell)
                        measured.samples.extend({**row, "round": number} for row in found)
                        measured.failures.extend({**row, "round": number} for row in failed)
            measured.rounds.append(noise(before, calibration, time.monotonic() - began))


def _course(
    world: World, course: Course, size: int, only: t.Collection[str], tell: t.Callable[[str], None]
) -> tuple[list[Row], list[Row]]:
    """Samples and failures. Where the first step fails, the others have nothing to begin with."""
    samples: list[Row] = []
    failures: list[Row] = []
    steps = course.chosen(only)
    if not steps:
        return [], []
    before = machine.namespaces()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, world.add_node() as node:
        node.run(["mkdir", "-p", "/run/netns"])
        place = Place(node, Path(folder), size)
        for step in steps:
            about: Row = {"thing": step.name, "size": size}
            try:
                cost = step.run(place)
                step.proven(place)
            except (FailedError, subprocess.SubprocessError) as error:
                tell(f"{step.name} of {size} failed: {error}")
                failures.append({**about, "reason": str(error)})
                if step is steps[0]:
                    break
                continue
            tell(f"{step.name:18} {size:5}  {cost.seconds:9.3f} s")
            samples.append({**about, **dataclasses.asdict(cost)})
    if not machine.settle(before, size):
        tell(f"the kernel is slow to take {size} namespaces away: the next figures are of a busy machine")
    return samples, failures


def noise(before: t.Mapping[str, float | None], calibration: float, seconds: float) -> Row:
    """How quiet the machine was in a round. before: what it was at its start."""
    after = machine.noise()
    waited = None
    if before["waited"] is not None and after["waited"] is not None:
        waited = (after["waited"] - before["waited"]) / seconds
    return {
        "seconds": seconds,
        "calibration": calibration,
        "load_before": before["load"],
        "load_after": after["load"],
        "waited": waited,
    }
