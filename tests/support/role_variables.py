"""Variables of the roles and playbooks: which are documented, which the roles set, and which a file uses."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("egress", "diagnose", "remediate", "teardown")
# Those of the labs in playbooks/labs are left out: scenarios of Molecule have variables of their own with that prefix.
_NAME = r"(?:egress|diagnose|remediate)_\w+"
_GIVEN = re.compile(rf"""(?:^|[\s'"])({_NAME})=(?!=)|["']({_NAME})["']\s*:""")
_IS_NAME = re.compile(_NAME)
_ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
_TASK_WORDS = ("block", "rescue", "always")

Node = t.Any


def specs(role: str) -> dict[str, dict[str, t.Any]]:
    """By entry point, what argument_specs.yml of a role has."""
    found: dict[str, dict[str, t.Any]] = loaded(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return found


def documented() -> set[str]:
    """Options in the argument_specs of a role, and rows of the tables in docs/."""
    options = {name for role in ROLES for entry in specs(role).values() for name in entry["options"]}
    rows = (_ROW.findall(page.read_text(encoding="utf-8")) for page in sorted((ROOT / "docs").glob("*.md")))
    return options | {name for found in rows for name in found if _IS_NAME.fullmatch(name)}


def modules() -> set[str]:
    return {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}


def loaded(path: Path) -> Node:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def used(path: Path) -> set[str]:
    """Variables of the roles that a Python or YAML file sets: as a key, a keyword or an option -e NAME=VALUE."""
    text = path.read_text(encoding="utf-8")
    names = _keys(yaml.safe_load(text)) if path.suffix == ".yml" else _given(ast.parse(text))
    return {name for name in names if _IS_NAME.fullmatch(name)} - modules()


def _given(tree: ast.AST) -> t.Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _in_text(node.value)


def _in_text(text: str) -> t.Iterator[str]:
    for match in _GIVEN.finditer(text):
        yield match[1] or match[2]


def _keys(node: Node) -> t.Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keys(value)
    elif isinstance(node, str):
        yield from _in_text(node)


def set_by_tasks(tasks: t.Sequence[Node]) -> t.Iterator[str]:
    """Variables that tasks set: by register, set_fact or vars."""
    for task in tasks:
        if "register" in task:
            yield task["register"]
        yield from task.get("vars", {})
        yield from task.get("ansible.builtin.set_fact", {})
        for word in _TASK_WORDS:
            yield from set_by_tasks(task.get(word, []))
