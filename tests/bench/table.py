"""The results as Markdown. No I/O."""

from __future__ import annotations

import typing as t

from tests.bench import things
from tests.bench.figures import Figure, Figures
from tests.bench.targets import FLEET_LIMIT, FLEET_MEASURE, TARGETS

Rows = t.Sequence[t.Sequence[str]]
OURS = "program"
NOT_MEASURED = "not measured"


def table(results: t.Mapping[str, t.Any], fleet: float | None = None) -> str:
    """All tables. fleet: the ratio that another benchmark has found, if it was run."""
    figures = Figures(results["samples"])
    parts = [f"## {size} namespaces\n\n{_of_size(figures, size)}" for size in figures.sizes]
    parts += [f"## Growth\n\n{_growth(figures)}", f"## Targets\n\n{_targets(figures, fleet)}"]
    if results["failures"]:
        parts.append(f"## Failures\n\n{_failures(results['failures'])}")
    parts += [f"## Machine\n\n{machine(results['machine'])}", f"## Noise\n\n{noise(results['rounds'])}"]
    return "\n\n".join(parts) + "\n"


def markdown(head: t.Sequence[str], rows: Rows) -> str:
    """A table whose columns but the first are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def seconds(value: float) -> str:
    """With as many digits as are of use."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _of_size(figures: Figures, size: int) -> str:
    head = ("", "median s", "ms each", "x program", "least-most s", "deviation s", "CPU s", "peak MB", "rounds")
    ours = figures.at(OURS, size)
    return markdown(head, [_row(step, figures.at(step.name, size), size, ours) for step in _measured(figures)])


def _measured(figures: Figures) -> list[things.Step]:
    """Steps that were measured at some size; at the others the table says that they were not."""
    return [step for step in things.STEPS.values() if figures.sizes_of(step.name)]


def _row(step: things.Step, found: Figure | None, size: int, ours: Figure | None) -> list[str]:
    if found is None:
        return [step.title, NOT_MEASURED, *[""] * 7]
    peak = f"{found.peak_mb:.0f}" + (f" (module {found.module_mb:.0f})" if found.module_mb else "")
    return [
        step.title,
        seconds(found.seconds),
        f"{found.seconds / size * 1000:.2f}",
        f"{found.seconds / ours.seconds:.2f}" if ours else "",
        f"{seconds(found.least)}-{seconds(found.most)}",
        seconds(found.deviation),
        seconds(found.cpu),
        peak,
        str(found.rounds),
    ]


def _growth(figures: Figures) -> str:
    """What a namespace costs at each size, and how that grew from the smallest to the largest."""
    sizes = figures.sizes
    rows = []
    for step in _measured(figures):
        own = figures.sizes_of(step.name)
        each = [figures.each(step.name, size) for size in sizes]
        grown = figures.growth(step.name, own[0], own[-1]) if len(own) > 1 else None
        told = f"{grown:.2f} ({own[0]} to {own[-1]})" if grown else ""
        rows.append([step.title, *("" if one is None else f"{one:.2f}" for one in each), told])
    return markdown(("ms a namespace at", *map(str, sizes), "times"), rows)


def _targets(figures: Figures, fleet: float | None) -> str:
    rows = []
    for target in TARGETS:
        value = target.reached(figures)
        limit = f"{'at least' if target.at_least else 'at most'} {target.limit:g}{target.unit}"
        rows.append([target.measure, limit, *_judged(value, value is not None and target.met(value), target.unit)])
    met = fleet is not None and fleet <= FLEET_LIMIT
    rows.append([FLEET_MEASURE, f"at most {FLEET_LIMIT:g}", *_judged(fleet, met)])
    return markdown(("measure", "target", "reached", ""), rows)


def _judged(value: float | None, met: bool, unit: str = "") -> tuple[str, str]:
    if value is None:
        return NOT_MEASURED, ""
    return f"{value:.3g}{unit}" if value < 100 else f"{value:.0f}{unit}", "yes" if met else "no"


def _failures(failures: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    return "\n".join(
        f"- {one['thing']}, {one['size']} namespaces, round {one['round'] + 1}: {' '.join(one['reason'].split())}"
        for one in failures
    )


def machine(known: t.Mapping[str, str]) -> str:
    """What the machine is, as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in known.items())


def noise(rounds: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """How quiet it was in each round."""
    head = ("round", "seconds", "calibration s", "load before", "load after", "waited for a processor")
    return markdown(
        head,
        [
            [
                str(number),
                f"{one['seconds']:.0f}",
                f"{one['calibration']:.3f}",
                f"{one['load_before']:.2f}",
                f"{one['load_after']:.2f}",
                "unknown" if one["waited"] is None else f"{one['waited']:.0%}",
            ]
            for number, one in enumerate(rounds, 1)
        ],
    )
