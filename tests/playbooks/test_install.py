"""What the role egress installs with pip, which compares it with hashes: from a folder, into a Python of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import typing as t
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.spec_questions import ansible

ROLE = Path(__file__).resolve().parents[2] / "roles" / "egress"
FIRST = "Make a file of requirements, which alone can have hashes"
VERSION = "0.99.0"


def wheel(folder: Path) -> str:
    """A release of pyroute2 that PyPI does not have; its hash."""
    path = folder / f"pyroute2-{VERSION}-py3-none-any.whl"
    info = f"pyroute2-{VERSION}.dist-info"
    folder.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pyroute2/__init__.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: pyroute2\nVersion: {VERSION}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("host") / "python"
    venv.create(made, with_pip=True)
    return made / "bin" / "python"


def install(tmp_path: Path, python: Path, hashes: list[str], *options: str) -> str:
    """What the role says. Packages of the distribution are left out."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.import_tasks": str(ROLE / "tasks" / "install.yml"),
                "vars": {"__egress_lacks": "pyroute2"},
            }
        ],
    }
    given: dict[str, t.Any] = {
        "ansible_python_interpreter": str(python),
        "egress_pyroute2": "pypi",
        "egress_pyroute2_version": VERSION,
        "egress_pyroute2_hashes": hashes,
        "egress_pip_arguments": f"--no-index --find-links {tmp_path / 'wheels'}",
        "egress_packages": [],
    }
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([play]), encoding="utf-8")
    argv, environment = ansible("ansible-playbook", "-i", "localhost,", str(book), "--start-at-task", FIRST, *options)
    argv += ["-e", json.dumps(given)]
    environment.update(ANSIBLE_NOCOLOR="1", TMPDIR=str(tmp_path), ANSIBLE_REMOTE_TMP=str(tmp_path / "ansible"))
    done = subprocess.run(
        argv, env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert [name for name in os.listdir(tmp_path) if name.startswith("netpath-")] == []
    return done.stdout + done.stderr


def version(python: Path) -> str:
    listed = subprocess.run([str(python), "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    return next((line.split()[1] for line in listed.splitlines() if line.startswith("pyroute2 ")), "")


def test_pip_compares_what_it_installs_with_hashes(tmp_path: Path, python: Path) -> None:
    hashed = wheel(tmp_path / "wheels")
    other = f"sha256:{'0' * 64}"
    assert "DO NOT MATCH THE HASHES" in install(tmp_path, python, [other])
    assert version(python) == ""
    install(tmp_path, python, [other, hashed], "--check")
    assert version(python) == ""
    install(tmp_path, python, [other, hashed])
    assert version(python) == VERSION
