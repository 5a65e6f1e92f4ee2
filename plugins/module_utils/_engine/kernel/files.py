# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of ours: read, and written so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ..errors import ConflictError, KernelError
from ..model import NETWORK_FILES

_OURS = ("/var/lib/netpath", NETWORK_FILES)
MOVE_AWAY = "Move away what has that name, or is in the place of a directory above it"
# A directory where a file shall be, a file where a directory shall be, a symbolic link.
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)


def read(path: str) -> str | None:
    """The text, byte by byte, None where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConflictError(f"read {path}", "it is a symbolic link", "Move it away") from error
        raise _error(f"read {path}", error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConflictError(f"read {path}", "it is not a plain file", "Move it away")
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def mode(path: str) -> int | None:
    """Permission bits, None where there is no such file."""
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except OSError:
        return None


def write(path: str, content: str, mode: int = 0o644) -> None:
    """Replace a file as a whole, on disk before this returns. Missing directories are made."""
    directory = os.path.dirname(path)
    temporary = ""
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        _refuse_unsafe(directory)
        temporary = f"{directory}/.netpath-{os.urandom(8).hex()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(directory)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise _error(f"write {path}", error) from error


def _sync(directory: str) -> None:
    """Without it the file may have its old content after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_replaceable(path: str) -> None:
    """Errors: ConflictError where another user than root could put a file of that path in place of root's."""
    directory = os.path.realpath(os.path.dirname(path))
    while True:
        status = os.stat(directory)
        if status.st_uid not in (0, _unknown_user()) or _may_others_replace(status):
            advice = "Choose another path, or make root the owner and take the right to write from others"
            raise ConflictError(f"write {path}", f"others than root may write there, in {directory}", advice)
        if directory == "/":
            return
        directory = os.path.dirname(directory)


def _unknown_user() -> int:
    """As whom a user namespace that does not know all users shows the owner of what is the machine's; or root."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        knows_all = file.read().split() == ["0", "0", "4294967295"]
    if knows_all:
        return 0
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return int(file.read())


def target(path: str) -> str | None:
    """Where a symbolic link leads, None where nothing is there. Errors: ConflictError where something else is."""
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConflictError(f"read {path}", "it is no symbolic link", "Move it away") from error


def link(path: str, leads_to: str) -> None:
    """Make a symbolic link, or lead it elsewhere. Its directory is made where it is missing."""
    temporary = f"{path}.netpath-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(leads_to, temporary)
        os.replace(temporary, path)
        _sync(os.path.dirname(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise _error(f"write {path}", error) from error


def delete(path: str) -> None:
    """Remove a file, and its directories where these are ours and empty."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _error(f"delete {path}", error) from error
    directory = os.path.dirname(path)
    if os.path.dirname(directory) == "/etc/netns" or directory in _OURS:
        remove_empty(directory)
    if directory == NETWORK_FILES:
        remove_empty(os.path.dirname(NETWORK_FILES))
    if os.path.dirname(directory) == "/etc/netns":
        remove_empty("/etc/netns")


def remove_empty(directory: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(directory)


def _refuse_unsafe(directory: str) -> None:
    if _may_others_replace(os.stat(directory)):
        raise ConflictError(f"write below {directory}", "others than root may write there", f"chmod go-w {directory}")


def _may_others_replace(status: os.stat_result) -> bool:
    """In a sticky directory, whoever may write there can replace only what is theirs."""
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)) and not status.st_mode & stat.S_ISVTX


def _error(asked: str, error: OSError) -> KernelError:
    advice = MOVE_AWAY if error.errno in IN_THE_WAY else ""
    return KernelError(asked, os.strerror(error.errno or 0), error.errno or 0, advice)
