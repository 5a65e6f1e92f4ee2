"""The promises of the design that hold between files, not inside one."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import VERSION

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.netpath.egress.plugins.module_utils"
ENGINE = ROOT / "plugins/module_utils/_engine"
FILES = sorted(ENGINE.rglob("*.py"))
# These decide; they never look at the system or change it.
PURE = ("model", "spec", "planning")
# Each may import from itself and from what is in a line above its own. Those of one line know nothing of each other.
LAYERS = (
    ("errors",),
    ("rules",),
    ("model",),
    ("fact_data", "sealed"),
    ("ledger", "spec"),
    ("planning",),
    ("kernel",),
    ("audit", "diagnosis", "journal", "observation", "orphans"),
    ("inventory",),
    ("host_view",),
    ("description", "observe"),
    ("apply", "result", "verify"),
    ("drift", "isolation", "run"),
    ("repair",),
    ("program",),
)
IMPURE_IMPORTS = ("kernel", "os", "socket", "subprocess", "ctypes", "fcntl", "pyroute2")


def module_of(file: Path) -> tuple[str, ...]:
    """Path below the engine as a module path: planning/step.py is ("planning", "step")."""
    return file.relative_to(ENGINE).with_suffix("").parts


def imports_of(file: Path) -> set[str]:
    """Absolute names of all that a file imports, at any depth of its code."""
    package = [*PACKAGE.split("."), "_engine", *file.relative_to(ENGINE).parent.parts]
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{source}.{alias.name}" for alias in node.names)
    return names


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def load(path: str) -> t.Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(module_of(file)))
def test_engine_imports_no_ansible(file: Path) -> None:
    outside = {
        name
        for name in imports_of(file)
        if within(name, "ansible") or (within(name, "ansible_collections") and not within(name, f"{PACKAGE}._engine"))
    }
    assert not outside


@pytest.mark.parametrize(
    "file", [file for file in FILES if module_of(file)[0] in PURE], ids=lambda file: "/".join(module_of(file))
)
def test_decisions_do_not_touch_the_system(file: Path) -> None:
    forbidden = [f"{PACKAGE}._engine.kernel", *IMPURE_IMPORTS]
    assert not {name for name in imports_of(file) if any(within(name, package) for package in forbidden)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: "/".join(module_of(file)))
def test_arrows_lead_up(file: Path) -> None:
    """As in the table of rooms in docs/architecture.md."""
    own = module_of(file)[0]
    if own == "__init__":
        return
    above = next(index for index, layer in enumerate(LAYERS) if own in layer)
    allowed = {own, *(room for layer in LAYERS[:above] for room in layer)}
    engine = f"{PACKAGE}._engine."
    used = {name[len(engine) :].split(".")[0] for name in imports_of(file) if name.startswith(engine)}
    assert used <= allowed


def test_pure_parts_exist() -> None:
    """A renamed folder must not drop out of the test above unnoticed."""
    assert {module_of(file)[0] for file in FILES} >= set(PURE)


def test_version_is_the_newest_in_the_changelog() -> None:
    releases = load("changelogs/changelog.yaml")["releases"]
    newest = max(releases, key=lambda version: tuple(int(part) for part in version.split(".")))
    assert newest == load("galaxy.yml")["version"]


def test_program_has_the_version_of_the_collection() -> None:
    assert load("galaxy.yml")["version"] == VERSION


def test_requires_ansible() -> None:
    assert load("meta/runtime.yml")["requires_ansible"] == ">=2.18.0"


def test_action_group_lists_all_modules() -> None:
    modules = sorted(file.stem for file in (ROOT / "plugins/modules").glob("*.py") if file.stem != "__init__")
    assert load("meta/runtime.yml")["action_groups"]["egress"] == modules


def _imported(file: Path) -> list[str]:
    """The modules that a file names in imports, and the names that it takes from them as modules."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def test_no_file_imports_from_a_test_file() -> None:
    """What several tests share is in tests/support, so that each test file can be moved, split or run alone."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert len(files) > 100
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in _imported(file)
        if any(part.startswith("test_") for part in name.split(".")[:3]) and name.startswith(("tests.", "."))
    ]
    assert found == []
