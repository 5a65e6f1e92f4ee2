# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""System calls of namespaces and mounts, and handles: files on which namespaces are mounted (mount(2), umount(2))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import typing as t

from ..errors import ConflictError, KernelError, attempt
from ..model import is_ours
from . import handle_marks

TEMPORARY = ".netpath-"
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 0x2, 0x8
NSFS_MAGIC = 0x6E736673
# Namespaces that a run took the names of: they live on until it has ended, so that whoever comes next can restore them.
REMOVED = "/run/netpath/removed"
libc = ctypes.CDLL(None, use_errno=True)


def call(asked: str, name: str, *arguments: t.Any) -> None:
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise KernelError(asked, os.strerror(code), code)


class _Statfs(ctypes.Structure):
    _fields_ = [("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248)]


def is_namespace(path: str) -> bool:
    """Whether the path is a live handle; after a reboot or an unmount a plain file of that name may remain."""
    result = _Statfs()
    return libc.statfs(os.fsencode(path), ctypes.byref(result)) == 0 and bool(result.f_type == NSFS_MAGIC)


def bind(source: str, target: str, asked: str, mark: str) -> None:
    """Mount a namespace on a file that carries a mark, which says that it is managed, also should the mount be gone."""
    temporary = f"{os.path.dirname(target)}/{TEMPORARY}{os.getpid()}"
    descriptor = -1
    try:
        if os.path.lexists(target) and not stat.S_ISREG(os.lstat(target).st_mode):
            raise ConflictError(asked, f"{target} is not a plain file", "Remove it")
        # One run at a time: what has this name is of a killed one.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        os.write(descriptor, mark.encode())
        os.rename(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise KernelError(asked, f"{target}: {os.strerror(error.errno or 0)}", error.errno or 0) from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    try:
        call(asked, "mount", source.encode(), target.encode(), b"none", MS_BIND, None)
    except KernelError:
        os.unlink(target)
        raise


def unbind(path: str, asked: str) -> None:
    """Unmount a handle, and remove its file."""
    call(asked, "umount2", path.encode(), _MNT_DETACH | _UMOUNT_NOFOLLOW)
    os.unlink(path)


def removed() -> list[str]:
    """The names of the namespaces that are kept until the run that removed them has ended."""
    names = sorted(os.listdir(REMOVED)) if os.path.isdir(REMOVED) else []
    return [name for name in names if is_namespace(f"{REMOVED}/{name}")]


def keep_removed(source: str, name: str, mark: str) -> None:
    """Have a namespace live on when its name is gone. All are below one mount, so that they end at once."""
    asked = f"keep namespace {name} until the run has ended"
    if not os.path.ismount(REMOVED):
        os.makedirs(REMOVED, mode=0o700, exist_ok=True)
        call(asked, "mount", b"none", REMOVED.encode(), b"tmpfs", 0, b"mode=0700")
    forget_removed(name)  # of a run that was killed before it took the name away
    bind(source, f"{REMOVED}/{name}", asked, mark)


def forget_removed(name: str) -> None:
    """It is not kept any longer."""
    if is_namespace(f"{REMOVED}/{name}"):
        unbind(f"{REMOVED}/{name}", f"end namespace {name}")


def mark_of_removed(name: str) -> str:
    """What was on the handle."""
    text = (handle_marks.read(REMOVED, [name]) or {}).get(name, "")
    return text if is_ours(text) else handle_marks.ATTACHED


def end_removed() -> None:
    """None of them is kept any longer. What cannot be unmounted is left to the next run."""
    asked = "end removed namespaces"
    try:
        if os.path.ismount(REMOVED):
            call(asked, "umount2", REMOVED.encode(), _MNT_DETACH | _UMOUNT_NOFOLLOW)
    except KernelError:
        for name in removed():
            attempt(unbind, f"{REMOVED}/{name}", asked)
    with contextlib.suppress(OSError):
        os.rmdir(REMOVED)
