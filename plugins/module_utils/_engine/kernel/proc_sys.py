# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the namespace that the calling thread is in, below proc's sys/net, in time that does not grow with the
number of namespaces.

The kernel keeps what was looked up of all namespaces in one hash chain of a mounted proc file system: in the thousandth
namespace a look costs twenty times that in the first. So a detached mount of proc (fsopen(2)) serves a few of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import typing as t

from ..errors import KernelError, UnsupportedError
from ..model import HOST

_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432  # the same on all machines
_FSOPEN_CLOEXEC, _FSCONFIG_CMD_CREATE, _FSMOUNT_CLOEXEC = 1, 6, 1
_TURNS = 32  # namespaces that one mount serves
_UNCHANGEABLE = (errno.EACCES, errno.EROFS, errno.EPERM)
_libc = ctypes.CDLL(None, use_errno=True)


class ProcSys:
    """Closed with close(). Where a mount of its own is refused, as in some containers, /proc serves."""

    def __init__(self) -> None:
        self._proc = -1
        self._turns = 0

    def close(self) -> None:
        if self._proc >= 0:
            os.close(self._proc)
        self._proc = -1

    def write(self, netns: str, folders: t.Mapping[str, t.Mapping[str, str]], asked: str) -> None:
        """Settings by folder, such as net/ipv6/conf/eth0, in the namespace that the calling thread is in.

        netns: which one that is. Where there is no such folder, nothing is to be set.
        Errors: UnsupportedError where one has another value and cannot be changed here, else KernelError.
        """
        root = self._root() if netns != HOST else os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        try:
            for folder, values in folders.items():
                _write_folder(root, folder, values, asked)
        finally:
            if netns == HOST:
                os.close(root)

    def _root(self) -> int:
        if self._proc < 0 or self._turns >= _TURNS:
            self.close()
            self._proc, self._turns = _mounted(), 0
        self._turns += 1
        return self._proc


def _write_folder(root: int, folder: str, values: t.Mapping[str, str], asked: str) -> None:
    try:
        opened = os.open(f"sys/{folder}", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
    except FileNotFoundError:
        return
    try:
        for name, value in values.items():
            _write(opened, name, value, f"{asked}: set {folder}/{name} to {value}")
    finally:
        os.close(opened)


def _write(folder: int, name: str, value: str, asked: str) -> None:
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        code = error.errno or 0
        if code not in _UNCHANGEABLE:
            raise KernelError(asked, os.strerror(code), code) from error
        if _read(folder, name) != value:
            advice = "Make /proc/sys/net writable where this runs, or set it before"
            raise UnsupportedError(asked, os.strerror(code), advice) from error


def _read(folder: int, name: str) -> str:
    with contextlib.suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        try:
            return os.read(descriptor, 64).decode(errors="replace").strip()
        finally:
            os.close(descriptor)
    return ""


def _mounted() -> int:
    """A file descriptor of a proc file system."""
    context = _libc.syscall(_SYS_FSOPEN, b"proc", _FSOPEN_CLOEXEC)
    if context >= 0:
        try:
            if _libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) == 0:
                mount = _libc.syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
                if mount >= 0:
                    return int(mount)
        finally:
            os.close(context)
    return os.open("/proc", os.O_PATH | os.O_CLOEXEC)
