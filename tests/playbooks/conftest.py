"""A world of one node, and what runs playbooks on it. A file that needs another world has its own fixtures."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.lab.node import Node
from tests.lab.world import World
from tests.support.playbook_runs import Playbooks


@pytest.fixture
def world() -> t.Iterator[World]:
    with World(nodes=1) as made:
        yield made


@pytest.fixture
def node(world: World) -> Node:
    return world.nodes[0]


@pytest.fixture
def playbooks(world: World, tmp_path: Path) -> Playbooks:
    return Playbooks(world, tmp_path)
