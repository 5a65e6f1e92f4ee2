# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the controller, replaced as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
import typing as t
from pathlib import Path


def absolute(path: str) -> Path:
    """A relative path begins where Ansible was started."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def write(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old or the new content. Errors: OSError."""
    mask = os.umask(0)
    os.umask(mask)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_all(folder: Path, contents: t.Mapping[str, t.Callable[[], str]]) -> list[str]:
    """Each file below a folder, which is made if it is missing; their paths. Errors: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, made in contents.items():
        write(folder / name, made())
        written.append(str(folder / name))
    return written
