# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories, opened one component after the other, so that no other user leads a write elsewhere.

See openat(2) and path_resolution(7). A symbolic link is followed only where nobody but root could have put it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ..errors import ConflictError

# Which directories of a path must be such that nobody but root can change what is in them.
ALL, LAST, NONE = "all", "last", "none"
MOVE_AWAY = "Move away what has that name, or is in the place of a directory above it"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40  # as the kernel has it, path_resolution(7)


@contextlib.contextmanager
def opened(path: str, asked: str, make: bool = False, trust: str = ALL) -> t.Iterator[int]:
    """A descriptor of the directory. make: what is missing of it is made, on disk before this returns.

    Errors: ConflictError where another user could lead it elsewhere; OSError, FileNotFoundError without make.
    """
    walk = _Walk(asked, trust)
    try:
        walk.along(path, make)
        if trust == LAST:
            walk.refuse_others()
        yield walk.descriptor
    finally:
        os.close(walk.descriptor)


def remove(path: str) -> bool:
    """Remove an empty directory. Returns whether that was done."""
    parent, name = os.path.split(path)
    try:
        with opened(parent, f"delete {path}", trust=NONE) as folder:
            os.rmdir(name, dir_fd=folder)
            os.fsync(folder)
    except (OSError, ConflictError):
        return False
    return True


class _Walk:
    """The directory that was reached, as a descriptor, and its path."""

    def __init__(self, asked: str, trust: str) -> None:
        self.descriptor = os.open("/", _OPEN)
        self._asked = asked
        self._trust = trust
        self._path = "/"
        self._links = 0
        # Whether a link in this directory is one of root's, as are those on the way to it.
        self._may_follow = True

    def along(self, path: str, make: bool) -> None:
        if path.startswith("/"):
            self._move_to(os.open("/", _OPEN), "/")
        for name in path.split("/"):
            if name not in ("", "."):
                self._enter(name, make)

    def refuse_others(self) -> None:
        status = os.fstat(self.descriptor)
        if _others_may_write(status) or not _is_of_root(status.st_uid):
            where = self._path
            advice = f"Make it root's alone: chown root {where}; chmod go-w {where}. Or choose another path"
            raise ConflictError(self._asked, f"others than root may write there, in {where}", advice)

    def _enter(self, name: str, make: bool) -> None:
        path = os.path.join(self._path, name)
        try:
            self._move_to(os.open(name, _OPEN, dir_fd=self.descriptor), path)
        except FileNotFoundError:
            if not make:
                raise
            self._make(name, path)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not self._is_link(name):
                raise
            self._follow(name, path)

    def _make(self, name: str, path: str) -> None:
        made = False
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=self.descriptor)
            made = True
        os.fsync(self.descriptor)
        self._move_to(os.open(name, _OPEN, dir_fd=self.descriptor), path)
        if made:
            os.fchmod(self.descriptor, 0o755)  # whatever the umask

    def _is_link(self, name: str) -> bool:
        return stat.S_ISLNK(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode)

    def _follow(self, name: str, path: str) -> None:
        self._links += 1
        if not self._may_follow or self._links > _MOST_LINKS:
            found = f"{path} is a symbolic link, which others than root could replace"
            raise ConflictError(self._asked, found, "Make a directory of it, or mount one there")
        try:
            self.along(os.readlink(name, dir_fd=self.descriptor), make=False)
        except FileNotFoundError as error:
            found = f"{path} is a symbolic link that leads nowhere"
            raise ConflictError(self._asked, found, MOVE_AWAY) from error

    def _move_to(self, descriptor: int, path: str) -> None:
        os.close(self.descriptor)
        self.descriptor, self._path = descriptor, path
        self._may_follow = self._may_follow or path == "/"
        self._arrive()

    def _arrive(self) -> None:
        status = os.fstat(self.descriptor)
        shared = _others_may_write(status, sticky=True)
        self._may_follow = self._may_follow and not shared and _is_of_root(status.st_uid)
        if self._trust == ALL:
            self.refuse_others()


def _others_may_write(status: os.stat_result, sticky: bool = False) -> bool:
    """sticky: also where each of them can replace only what is theirs."""
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(writable) and (sticky or not status.st_mode & stat.S_ISVTX)


def _is_of_root(user: int) -> bool:
    """Of root, or of whoever runs this; or of a user that a user namespace does not know, as all of the machine is."""
    return user in (0, os.geteuid()) or user == _unknown_user()


def _unknown_user() -> int:
    """As whom a user namespace shows an owner that it does not know; or root, where it knows all."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        knows_all = file.read().split() == ["0", "0", "4294967295"]
    if knows_all:
        return 0
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return int(file.read())
