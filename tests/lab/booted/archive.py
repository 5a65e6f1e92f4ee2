"""Packages of a Debian release as a repository for apt, for nodes that install something and have no route out.

They are downloaded once, and kept in the user's cache beside the root file systems.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import typing as t
from pathlib import Path

from tests.lab.booted import mirror, rootfs
from tests.lab.holder import LabError

_SCRIPT = Path(__file__).resolve().with_name("archive.sh")
_LAST_LINES = 20


def ensure(release: str, packages: t.Sequence[str]) -> Path:
    """Return a folder with the packages, as they are in the release, and their index. Errors: LabError."""
    base = rootfs.ensure([release])[release]
    parts = [base.name, platform.machine(), *packages, _SCRIPT.read_text(encoding="utf-8")]
    name = f"{release}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"
    place = rootfs.cache().parent / "archive"
    target, part = place / name, place / f".{name}.part"
    place.mkdir(parents=True, exist_ok=True)
    with rootfs.locked(place / f".{name}.lock"):
        if not target.is_dir():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700)
            _download(base, part, packages)
            # The only way to the final name, so what has it is whole.
            (part / "whole").rename(target)
            shutil.rmtree(part)
    return target


def _download(base: Path, folder: Path, packages: t.Sequence[str]) -> None:
    argv = ["unshare", "--mount", str(_SCRIPT), str(base), str(folder), " ".join(packages)]
    done = subprocess.run(
        argv,
        env=mirror.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        end = done.stdout.splitlines()[-_LAST_LINES:]
        raise LabError("\n    ".join([f"the download of {', '.join(packages)} failed; it ends:", *end]))
