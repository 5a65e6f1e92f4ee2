# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a host (flock(2))."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ..errors import ConflictError
from . import directories, files

DIRECTORY = "/run/netpath"
PATH = f"{DIRECTORY}/lock"
PATIENCE = 120.0  # seconds
_ASKED = "change the network of this host"


class Lock:
    """One that is held. A forked process holds it too."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.sign()

    def sign(self) -> None:
        """Tell those who wait by which process it is held."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        # Whoever waits sees that the file it opened is gone, and starts over. Another file is another run's.
        if _is_current(self.descriptor):
            os.unlink(PATH)
        os.close(self.descriptor)
        directories.remove(DIRECTORY)


@contextlib.contextmanager
def locked(patience: float = PATIENCE) -> t.Iterator[Lock]:
    """Wait until no other run is under way. Errors: ConflictError naming the other after patience seconds."""
    lock = Lock(_acquire(patience))
    try:
        yield lock
    finally:
        lock.release()


def _acquire(patience: float) -> int:
    give_up = time.monotonic() + patience
    while True:
        descriptor = _open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(descriptor):
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            if time.monotonic() > give_up:
                raise ConflictError(
                    _ASKED,
                    f"another run (PID {owner}) has held {PATH} for more than {patience:g} s",
                    "Wait for it, or end it if it hangs",
                ).for_all() from None
            time.sleep(0.02)


def _open() -> int:
    flags = os.O_RDWR | os.O_CREAT
    try:
        while True:
            # Its directory may go with the last run's lock.
            with contextlib.suppress(FileNotFoundError), directories.opened(DIRECTORY, _ASKED, make=True) as folder:
                return files.opened(os.path.basename(PATH), flags=flags, mode=0o600, folder=folder)
    except ConflictError as error:
        raise ConflictError(_ASKED, f"{PATH}: {error.found}", error.advice).for_all() from error
    except OSError as error:
        if error.errno not in files.IN_THE_WAY:
            raise
        raise ConflictError(_ASKED, f"{PATH}: {error.strerror}", directories.MOVE_AWAY).for_all() from error


def _is_current(descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(PATH))
    except FileNotFoundError:
        return False
