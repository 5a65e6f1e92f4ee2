# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks of namespaces: what is in the files on which their handles are mounted.

Nothing in a namespace can be a mark, as root in it can change all that is there. A handle is a mount on a file below
/run/netns, of which this reads what is beneath the mounts: a copy of the tree without those (open_tree(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import typing as t

from ..model import is_ours

_SYS_OPEN_TREE = 428  # the same on all machines
_AT_FDCWD, _OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = -100, 1, os.O_CLOEXEC
# Of a namespace that was only given a name: it is not managed.
ATTACHED = "netpath attached"
# Ends what this release writes. Release 1.0.0 wrote the bare mark alone, whatever the network.
END = "\n"
LONGEST = 128
_libc = ctypes.CDLL(None, use_errno=True)


def read(directory: str, names: t.Iterable[str]) -> dict[str, str] | None:
    """{name: what is on its handle} where that begins with a mark; None where the tree cannot be copied, as in some
    containers.
    """
    tree = _tree(directory)
    if tree < 0:
        return None
    try:
        found = {name: _content(name, tree) for name in names}
    finally:
        os.close(tree)
    return {name: text for name, text in found.items() if is_ours(text)}


def write(directory: str, name: str, mark: str) -> None:
    """Change a mark. Errors: OSError."""
    tree = _tree(directory)
    if tree < 0:
        return
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
        try:
            os.write(descriptor, f"{mark}{END}".encode())
        finally:
            os.close(descriptor)
    finally:
        os.close(tree)


def _tree(directory: str) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    return int(_libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(directory), flags))


def _content(name: str, tree: int) -> str:
    with contextlib.suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=tree)
        try:
            return os.read(descriptor, LONGEST).decode(errors="replace")
        finally:
            os.close(descriptor)
    return ""
