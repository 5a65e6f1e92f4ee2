"""A static inventory for a world, so that playbooks run on its nodes."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from tests.lab.world import World

_PLUGINS = Path(__file__).resolve().parent / "plugins" / "connection"


def write(world: World, directory: Path, interpreter: str = sys.executable) -> Path:
    """Write `inventory.yml` into a directory and return its path."""
    hosts = {
        node.name: {
            "ansible_connection": "lab_node",
            "ansible_lab_node_pid": node.pid,
            "ansible_python_interpreter": interpreter,
        }
        for node in world.nodes
    }
    lines = ["---", "all:", "  hosts:"]
    for name, variables in hosts.items():
        lines.append(f"    {name}:")
        # A JSON string is a YAML string as well.
        lines += [f"      {key}: {json.dumps(value)}" for key, value in variables.items()]
    path = directory / "inventory.yml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def environment(inventory: Path) -> dict[str, str]:
    """Return what a command needs in its environment to use the inventory."""
    known = os.environ.get("ANSIBLE_CONNECTION_PLUGINS", "")
    plugins = f"{_PLUGINS}:{known}" if known else str(_PLUGINS)
    return {"LAB_INVENTORY": str(inventory), "ANSIBLE_CONNECTION_PLUGINS": plugins}
