"""The versions that are supported, and an environment for each, below build/compat: this makes them when it is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.support.scope import NIGHTLY

_PLACE = Path(__file__).resolve().parents[2] / "build" / "compat"
_PYROUTE2 = ("0.7.2", "0.9.7")


@dataclass(frozen=True)
class Environment:
    """A version of Python with packages."""

    python: str
    packages: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join(["python" + self.python, *(package.replace("==", "-") for package in self.packages)])

    @property
    def obstacle(self) -> str | None:
        return None if self.python in _installed() else f"Python {self.python} is not installed"

    @property
    def interpreter(self) -> Path:
        return _PLACE / str(self) / "bin" / "python"

    def make(self) -> None:
        """Unless it is there already."""
        place = _PLACE / str(self)
        stamp = place / ".complete"
        if stamp.exists():
            return
        print(f"making {place.name}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([_installed()[self.python], "-m", "venv", place], check=True)
        subprocess.run([self.interpreter, "-m", "pip", "install", "-qq", *self.packages], check=True)
        stamp.touch()


def _installed() -> dict[str, str]:
    lines = os.environ.get("COMPAT_PYTHONS", "").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def _chosen(found: t.Sequence[Environment]) -> list[Environment]:
    """All, or the first and the last."""
    return list(found) if NIGHTLY else [found[0], found[-1]]


HOSTS = _chosen(
    [
        Environment(python, (f"pyroute2=={pyroute2}",))
        for python in ("3.9", "3.10", "3.11", "3.12", "3.13")
        for pyroute2 in _PYROUTE2
    ]
)
# Each ansible-core with the oldest Python that it supports, and the newest with the newest.
CONTROLLERS = _chosen(
    [
        Environment(python, (f"ansible-core=={core}", "jmespath==1.1.0"))
        for core, python in (
            ("2.18.19", "3.11"),
            ("2.19.14", "3.11"),
            ("2.20.10", "3.12"),
            ("2.21.5", "3.12"),
            ("2.21.5", "3.13"),
        )
    ]
)

if __name__ == "__main__":
    for environment in [*HOSTS, *CONTROLLERS]:
        if not environment.obstacle:
            environment.make()
