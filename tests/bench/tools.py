"""The programs that the benchmark runs: two of its own in C, the engine's, and Ansible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ansible_collections.netpath.egress.plugins.module_utils._engine.program import bundle

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
RESULTS = ROOT / "build" / "bench"
METER = RESULTS / "bin" / "meter"
FLOOR = RESULTS / "bin" / "floor"
PROGRAM = RESULTS / "bin" / "netpath-egress"
# Ansible as this checkout has it, and with the collections of others.
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
PEERS = ROOT / "build" / "venv" / "bench"
_SETTINGS = RESULTS / "ansible.cfg"


def make() -> None:
    """Compile and write what is run."""
    METER.parent.mkdir(parents=True, exist_ok=True)
    for made in (METER, FLOOR):
        source = HERE / f"{made.name}.c"
        warnings = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
        subprocess.run(["gcc", *warnings, "-o", str(made), str(source)], check=True)
    PROGRAM.write_bytes(bundle.executable(sys.executable))
    PROGRAM.chmod(0o755)
    _SETTINGS.write_text("", encoding="ascii")


def environment() -> dict[str, str]:
    """What Ansible finds in its environment: no settings of the user's, and files of its own."""
    return {"ANSIBLE_CONFIG": str(_SETTINGS), "ANSIBLE_HOME": str(RESULTS / "ansible"), "ANSIBLE_NOCOLOR": "1"}


def interpreter(costs: Path, python: str = sys.executable) -> Path:
    """An interpreter for modules that adds what each of them cost to a file."""
    path = costs.with_suffix(".python")
    path.write_text(f'#!/bin/sh\nexec {METER} {costs} {python} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def supports_only() -> bool:
    """Whether the program can be told which namespaces have changed."""
    asked = subprocess.run([str(PROGRAM), "apply", "--help"], capture_output=True, text=True, check=True)
    return "--only" in asked.stdout
