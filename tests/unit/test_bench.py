"""What the benchmark makes of its samples: figures, targets, tables, the picture, and what Ansible is told."""

from __future__ import annotations

import configparser
import typing as t
import xml.etree.ElementTree as ET

import pytest

from tests.bench import fleet_table, plot, table, targets, things, ways
from tests.bench.figures import Figures

Sample = dict[str, t.Any]


def sample(thing: str, size: int, seconds: float, module_kib: int = 0) -> Sample:
    return {"thing": thing, "size": size, "seconds": seconds, "cpu": 1.0, "peak_kib": 1000, "module_kib": module_kib}


SAMPLES = [
    *(sample("program", 500, seconds) for seconds in (1.0, 9.0, 2.0)),
    sample("program", 1000, 4.0),
    sample("floor-early", 1000, 5.0),
    sample("floor-late", 1000, 3.2),
    sample("recipe", 500, 25.0),
    sample("role", 1000, 6.0, module_kib=200_000),
]
RESULTS: Sample = {
    "samples": SAMPLES,
    "skipped": ["60 nodes: no room"],
    "failures": [{"thing": "cni", "size": 500, "round": 0, "reason": "it ended\nwith 1"}],
    "machine": {"processor": "one of a kind"},
    "rounds": [{"seconds": 9.0, "calibration": 0.1, "load_before": 0.5, "load_after": 1.5, "waited": None}],
}


def test_figures() -> None:
    figures = Figures(SAMPLES)
    found = figures.at("program", 500)
    assert found is not None
    assert (found.rounds, found.seconds, found.least, found.most, found.deviation) == (3, 2.0, 1.0, 9.0, 1.0)
    assert figures.each("program", 500) == pytest.approx(4.0)
    assert figures.growth("program", 500, 1000) == pytest.approx(1.0)
    assert figures.at("cni", 500) is None
    assert figures.growth("cni", 500, 1000) is None


def test_targets() -> None:
    """The better of the floors counts, and what was not measured has no value."""
    figures = Figures(SAMPLES)
    reached = {target.measure: target.reached(figures) for target in targets.TARGETS}
    assert reached["recipe of guides / program, 500 namespaces"] == pytest.approx(12.5)
    assert reached["program / kernel's floor, the better order, 1000 namespaces"] == pytest.approx(1.25)
    assert reached["memory of the module, 1000 namespaces"] == pytest.approx(204.8)
    assert reached["CNI bridge plugin / program, 500 namespaces"] is None
    assert reached["program, cost of a namespace at 1000 / at 100"] is None


def test_targets_are_of_what_is_measured() -> None:
    points = [point for target in targets.TARGETS for point in (target.value, target.over) if point]
    assert {thing for point in points for thing in point.things} <= set(things.STEPS)
    assert {line[0] for line in plot.LINES} <= set(things.STEPS)


def test_table() -> None:
    text = table.table(RESULTS, fleet=2.5)
    assert "| recipe of guides / program, 500 namespaces | at least 12 | 12.5 | yes |" in text
    assert "| memory of the module, 1000 namespaces | at most 120 MB | 205 MB | no |" in text
    assert "| CNI bridge plugin / program, 500 namespaces | at least 15 | not measured |  |" in text
    assert f"| {targets.FLEET_MEASURE} | at most 3 | 2.5 | yes |" in text
    assert "- cni, 500 namespaces, round 1: it ended with 1" in text
    assert "| recipe of guides, ip(8) | not measured |" in text.partition("## 1000 namespaces")[2]


def test_plot() -> None:
    root = ET.fromstring(plot.plot(Figures(SAMPLES)))
    space = "{http://www.w3.org/2000/svg}"
    names = {one.text for one in root.iter(f"{space}text")}
    assert {"netpath-egress apply", "500", "1000"} <= names
    assert "CNI bridge plugin" not in names
    assert ET.fromstring(plot.plot(Figures([]))).tag == f"{space}svg"


@pytest.mark.parametrize("way", ways.WAYS.values(), ids=list(ways.WAYS))
def test_settings_of_ways(way: ways.Way) -> None:
    settings = configparser.ConfigParser()
    settings.read_string(way.settings(30))
    assert settings.get("defaults", "forks", fallback="") == ("30" if way.tuned else "")


def test_plays_of_ways() -> None:
    assert list(ways.plays(20)) == list(ways.TITLES)


def test_fleet() -> None:
    about = {"round": 0, "nodes": 30, "way": "tuned", "cpu": 1.0, "peak_kib": 1000}
    samples = [{**about, "play": "nothing", "seconds": 2.0}, {**about, "play": "role", "seconds": 5.0}]
    assert fleet_table.ratios(samples) == {"tuned": {"30": 2.5}}
    text = fleet_table.table({**RESULTS, "samples": samples, "failures": []})
    assert "| forks, pipelining, no facts | role egress | 5.000 | 2.50 |" in text
    assert "## Skipped\n\n- 60 nodes: no room\n" in text


def test_choice_of_steps() -> None:
    """A step that needs another one brings it."""
    chosen = [step.name for course in things.COURSES for step in course.chosen(["program-added", "recipe"])]
    assert chosen == ["recipe", "program", "program-added"]
    assert {name for course in things.COURSES for name in (step.name for step in course.chosen([]))} == set(
        things.STEPS
    )
