# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host that are asked to do something: found where distributions keep them, and answered in English."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t

from ..errors import KernelError


def find(program: str) -> str | None:
    """Where a program is, or None."""
    return shutil.which(program, path=_path())


def run(
    asked: str, argv: t.Sequence[str], document: str = "", patience: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with document as its standard input. patience: seconds, None for as long as it takes.

    Errors: KernelError where it cannot be started, with ENOENT where it is missing, or takes too long.
    """
    try:
        return subprocess.run(
            argv,
            input=document,
            # Not every PATH has the folders for root; errors are told apart by their English words.
            env={**os.environ, "PATH": _path(), "LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=patience,
        )
    except subprocess.TimeoutExpired as error:
        raise KernelError(asked, f"{argv[0]} did not end within {patience:g} s", 0) from error
    except OSError as error:
        raise KernelError(asked, f"{argv[0]}: {os.strerror(error.errno or 0)}", error.errno or 0) from error


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
