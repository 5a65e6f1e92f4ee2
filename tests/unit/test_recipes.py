"""Molecule's nodes and those of other tests share their root file systems."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.support import recipes

_INVENTORY = Path(__file__).resolve().parents[2] / "molecule/shared/inventory/lab.yml"


def test_scenarios_use_the_same_recipes() -> None:
    inventory = yaml.safe_load(_INVENTORY.read_text(encoding="utf-8"))
    assert inventory["all"]["vars"]["lab_firewalls"] == recipes.FIREWALLS
