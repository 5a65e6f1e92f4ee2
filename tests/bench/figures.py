"""From samples to figures: medians, spreads and ratios. No I/O."""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import dataclass

Sample = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Figure:
    """Of one thing at one size, over the rounds. deviation: the median absolute one."""

    rounds: int
    seconds: float
    least: float
    most: float
    deviation: float
    cpu: float
    peak_mb: float
    module_mb: float


class Figures:
    """Of all things at all sizes."""

    def __init__(self, samples: t.Sequence[Sample]) -> None:
        by: dict[tuple[str, int], list[Sample]] = {}
        for sample in samples:
            by.setdefault((sample["thing"], sample["size"]), []).append(sample)
        self._known = {key: _figure(found) for key, found in by.items()}

    @property
    def sizes(self) -> list[int]:
        """That something was measured at."""
        return sorted({size for _thing, size in self._known})

    def at(self, thing: str, size: int) -> Figure | None:
        """The figure of a thing at a size, None where it was not measured."""
        return self._known.get((thing, size))

    def sizes_of(self, thing: str) -> list[int]:
        """Sizes at which a thing was measured."""
        return sorted(size for known, size in self._known if known == thing)

    def each(self, thing: str, size: int) -> float | None:
        """Milliseconds for a namespace."""
        found = self.at(thing, size)
        return found.seconds / size * 1000 if found else None

    def growth(self, thing: str, small: int, large: int) -> float | None:
        """How many times as much a namespace costs at the larger size."""
        before, after = self.each(thing, small), self.each(thing, large)
        return after / before if before and after else None


def _figure(samples: t.Sequence[Sample]) -> Figure:
    seconds = [sample["seconds"] for sample in samples]
    middle = statistics.median(seconds)
    return Figure(
        rounds=len(samples),
        seconds=middle,
        least=min(seconds),
        most=max(seconds),
        deviation=statistics.median(abs(one - middle) for one in seconds),
        cpu=statistics.median(sample["cpu"] for sample in samples),
        peak_mb=_megabytes(max(sample["peak_kib"] for sample in samples)),
        module_mb=_megabytes(max(sample["module_kib"] for sample in samples)),
    )


def _megabytes(kib: float) -> float:
    return kib * 1024 / 1e6
