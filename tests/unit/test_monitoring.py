"""Alerts and the dashboard ask for the metrics that are written, and for no others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = set(
    re.findall(
        r'"(netpath_\w+)"', (ROOT / "plugins/module_utils/_engine/program/watching.py").read_text(encoding="utf-8")
    )
)


def asked(expressions: list[str]) -> set[str]:
    return {name for expression in expressions for name in re.findall(r"netpath_\w+", expression)}


def test_alerts() -> None:
    groups = yaml.safe_load((ROOT / "docs/monitoring/alerts.yml").read_text(encoding="utf-8"))["groups"]
    found = asked([rule["expr"] for group in groups for rule in group["rules"]])
    assert found
    assert found <= WRITTEN


def test_dashboard() -> None:
    board = json.loads((ROOT / "docs/monitoring/dashboard.json").read_text(encoding="utf-8"))
    found = asked([target["expr"] for panel in board["panels"] for target in panel.get("targets", ())])
    assert found
    assert found <= WRITTEN


def test_rulebook_names_alerts_that_there_are() -> None:
    groups = yaml.safe_load((ROOT / "docs/monitoring/alerts.yml").read_text(encoding="utf-8"))["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}
    text = (ROOT / "extensions/eda/rulebooks/remediate.yml").read_text(encoding="utf-8")
    named = set(re.findall(r'"(Netpath\w+)"', text))
    assert named
    assert named <= names
