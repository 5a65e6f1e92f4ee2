# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, read without waiting, and written so that a reader never sees half of one and nobody leads root elsewhere."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import typing as t

from ..errors import ConflictError, EgressError, KernelError
from ..model import NETWORK_FILES
from . import directories

_OURS = ("/var/lib/netpath", NETWORK_FILES)
_UNITS = "/etc/systemd/system"
_RESOLVERS = "/etc/netns"
# A directory where a file shall be, a file where a directory shall be, a symbolic link.
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
_TEMPORARY = ".netpath-"
# Where a write that was killed may have left its temporary file.
_WRITTEN = (*_OURS, "/etc/sysctl.d", "/etc/systemd/network", "/etc/NetworkManager/conf.d", "/run/netpath")
_swept: set[tuple[int, int]] = set()


def opened(name: str, follow: bool = False, flags: int = os.O_RDONLY, mode: int = 0, folder: int | None = None) -> int:
    """A descriptor of a plain file. To open a pipe would be to wait for its other end.

    follow: also by a symbolic link. folder: the directory, where name is no path. Errors: OSError; ConflictError where
    it is something else, or is to be written and has another name elsewhere.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    asked = f"{'read' if flags & os.O_ACCMODE == os.O_RDONLY else 'write'} {name}"
    try:
        descriptor = os.open(name, flags, mode, dir_fd=folder)
    except OSError as error:
        # A pipe without a reader, a socket.
        if error.errno == errno.ENXIO:
            raise ConflictError(asked, "it is not a plain file", "Move it away") from error
        raise
    status = os.fstat(descriptor)
    found = "" if stat.S_ISREG(status.st_mode) else "it is not a plain file"
    if not found and flags & os.O_ACCMODE != os.O_RDONLY and status.st_nlink > 1:
        found = "it has another name elsewhere (a hard link)"
    if found:
        os.close(descriptor)
        raise ConflictError(asked, found, "Move it away")
    return descriptor


def read(path: str, follow: bool = False) -> str | None:
    """The text, byte by byte, None where there is no such file. follow: also by a symbolic link."""
    try:
        descriptor = opened(path, follow)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConflictError(f"read {path}", "it is a symbolic link", "Move it away") from error
        raise _error(f"read {path}", error) from error
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def mode(path: str) -> int | None:
    """Permission bits, None where there is no such file."""
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except OSError:
        return None


def write(path: str, content: str, mode: int = 0o644, trust: str = directories.ALL) -> None:
    """Replace a file as a whole, on disk before this returns. Missing directories are made.

    trust: which directories must be root's alone. Errors: ConflictError, KernelError.
    """
    directory, name = os.path.split(path)
    with _told(f"write {path}"), directories.opened(directory, f"write {path}", make=True, trust=trust) as folder:
        _sweep_once(folder)
        temporary, descriptor = _new(folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def append(path: str, line: bytes, mode: int, most: int, kept: int) -> None:
    """Add a line, on disk before this returns. One that would have more than most bytes is begun anew, and the last
    kept of those before it stay, as PATH.1 and so on.

    Its directory must be root's alone, those above it need not be. Errors: ConflictError, KernelError.
    """
    directory, name = os.path.split(path)
    asked = f"write {path}"
    with _told(asked), directories.opened(directory, asked, make=True, trust=directories.LAST) as folder:
        while not _appended(folder, name, line, mode, most, kept):
            pass
        os.fsync(folder)


def _appended(folder: int, name: str, line: bytes, mode: int, most: int, kept: int) -> bool:
    """Whether it was; if not, another process or this one has moved the file away."""
    descriptor = opened(name, flags=os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode=mode, folder=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_named(descriptor, name, folder):
            return False
        size = os.fstat(descriptor).st_size
        if size and size + len(line) > most:
            for number in range(kept, 0, -1):
                newer = f"{name}.{number - 1}" if number > 1 else name
                with contextlib.suppress(FileNotFoundError):
                    os.replace(newer, f"{name}.{number}", src_dir_fd=folder, dst_dir_fd=folder)
            return False
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _is_named(descriptor: int, name: str, folder: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


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
    directory, name = os.path.split(path)
    temporary = f"{_TEMPORARY}{os.urandom(8).hex()}"
    with _told(f"write {path}"), directories.opened(directory, f"write {path}", make=True) as folder:
        _sweep_once(folder)
        os.symlink(leads_to, temporary, dir_fd=folder)
        try:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def move(path: str, name: str) -> None:
    """Give a file another name in its directory, in place of what has it. Errors: ConflictError, KernelError."""
    directory, old = os.path.split(path)
    with _told(f"move {path}"), directories.opened(directory, f"move {path}") as folder:
        os.replace(old, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def delete(path: str) -> None:
    """Remove a file, and its directories where these are ours and empty. That is on disk before this returns."""
    directory, name = os.path.split(path)
    asked = f"delete {path}"
    gone = contextlib.suppress(FileNotFoundError)
    with _told(asked), gone, directories.opened(directory, asked, trust=directories.NONE) as folder:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        # What goes with its directory need not be on disk before that.
        if not _remove_empty(directory):
            os.fsync(folder)


def _remove_empty(directory: str) -> bool:
    if os.path.dirname(directory) == _UNITS and directory.endswith(".service.wants"):
        return directories.remove(directory)  # as systemctl disable does; that of a target stays
    if directory not in _OURS and os.path.dirname(directory) != _RESOLVERS:
        return False
    if not directories.remove(directory):
        return False
    if directory != _OURS[0]:
        directories.remove(os.path.dirname(directory))
    return True


def sweep() -> None:
    """Remove the temporary files of writes that were killed, in the directories that runs write to."""
    names = os.listdir(_RESOLVERS) if os.path.isdir(_RESOLVERS) else []
    for directory in (*_WRITTEN, *(f"{_RESOLVERS}/{name}" for name in names)):
        with contextlib.suppress(OSError, EgressError):
            if any(name.startswith(_TEMPORARY) for name in os.listdir(directory)):
                with directories.opened(directory, f"sweep {directory}", trust=directories.NONE) as folder:
                    _sweep(folder)
                _remove_empty(directory)


def _sweep_once(folder: int) -> None:
    status = os.fstat(folder)
    if (status.st_dev, status.st_ino) not in _swept:
        _swept.add((status.st_dev, status.st_ino))
        _sweep(folder)


def _sweep(folder: int) -> None:
    for name in os.listdir(folder):
        if name.startswith(_TEMPORARY):
            with contextlib.suppress(OSError, ConflictError):
                if _is_left(folder, name):
                    os.unlink(name, dir_fd=folder)


def _is_left(folder: int, name: str) -> bool:
    """Whether no process writes it. Links are made under the lock of runs, and so is the sweep."""
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return True
    descriptor = opened(name, folder=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _new(folder: int) -> tuple[str, int]:
    """A temporary file, locked for as long as it is written."""
    while True:
        name = f"{_TEMPORARY}{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)  # swept before it was locked


@contextlib.contextmanager
def _told(asked: str) -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _error(asked, error) from error


def _error(asked: str, error: OSError) -> KernelError:
    advice = directories.MOVE_AWAY if error.errno in IN_THE_WAY else ""
    return KernelError(asked, os.strerror(error.errno or 0), error.errno or 0, advice)
