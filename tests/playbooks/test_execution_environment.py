"""What an execution environment with the collection gets: a build context, and in it all that the controller needs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
BUILDER = str(Path(sys.executable).with_name("ansible-builder"))
_CONTROLLER = ("action", "become", "filter", "inventory", "plugin_utils")
_ITS_OWN = ("ansible", "ansible_collections")


def run(*argv: t.Any, cwd: Path = ROOT) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lines(path: Path) -> list[str]:
    stripped = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in stripped if line and not line.startswith("-r ")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive, below dist, and what it is when it is installed."""
    folder = tmp_path_factory.mktemp("build")
    run(ROOT / "scripts/release/build.sh", folder)
    return folder


def test_context_is_created_and_finds_what_is_needed(built: Path, tmp_path: Path) -> None:
    """The context's own script reads the collection, as in the image, whose build takes a container engine."""
    (archive,) = (built / "dist").glob("netpath-egress-*.tar.gz")
    shutil.copy(archive, tmp_path)
    definition = {
        "version": 3,
        "images": {"base_image": {"name": "docker.io/library/debian:trixie-slim"}},
        "dependencies": {"galaxy": {"collections": [{"name": f"files/{archive.name}", "type": "file"}]}},
        "additional_build_files": [{"src": archive.name, "dest": "files"}],
    }
    (tmp_path / "execution-environment.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    run(BUILDER, "create", "--context", "context", cwd=tmp_path)
    context = tmp_path / "context" / "_build"
    assert (context / "files" / archive.name).read_bytes() == archive.read_bytes()
    wanted = yaml.safe_load((context / "requirements.yml").read_text(encoding="utf-8"))
    assert wanted == definition["dependencies"]["galaxy"]  # type: ignore[index]

    script, pip, bindep = context / "scripts/introspect.py", tmp_path / "pip.txt", tmp_path / "bindep.txt"
    run(sys.executable, script, "introspect", built / "installed", "--write-pip", pip, "--write-bindep", bindep)
    assert lines(pip) == lines(ROOT / "meta/ee-requirements.txt") != []
    assert lines(bindep) == lines(ROOT / "meta/ee-bindep.txt") != []


def test_requirements_agree() -> None:
    """An environment gets what everything is tested with, and all that the controller imports."""
    pinned = {one.name: one for one in map(Requirement, lines(ROOT / "requirements/run.in"))}
    needed = [Requirement(line) for line in lines(ROOT / "meta/ee-requirements.txt")]
    for one in needed:
        (pin,) = pinned[one.name].specifier
        assert one.specifier.contains(pin.version), one
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
    (core,) = pinned["ansible-core"].specifier
    assert SpecifierSet(runtime["requires_ansible"]).contains(core.version)
    # No collection either, as there is no file of them among the requirements.
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    described = yaml.safe_load((ROOT / "meta/execution-environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert (galaxy["dependencies"], "galaxy" in described) == ({}, False)
    assert imported() - {*sys.stdlib_module_names, *_ITS_OWN} <= {one.name for one in needed} | in_ansible_core()


def imported() -> set[str]:
    """The packages that plugins of the controller import."""
    found = set()
    for path in (path for kind in _CONTROLLER for path in (ROOT / "plugins" / kind).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    assert "jmespath" in found
    return found


def in_ansible_core() -> set[str]:
    """Packages that ansible-core itself brings."""
    from importlib.metadata import requires

    names = {re.split(r"[ <>=!;\[]", line)[0].lower() for line in requires("ansible-core") or ()}
    return {{"pyyaml": "yaml"}.get(name, name) for name in names}
