# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dead-man timer: a process that puts a change back unless somebody still reaches this host and confirms it."""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import time
import typing as t

from ..errors import ConflictError, EgressError
from . import files
from .guardian import detach
from .lock import DIRECTORY, Lock

PATH = f"{DIRECTORY}/unconfirmed"
# The last token, until the next run, for whoever did not get the answer and asks again.
CONFIRMED = f"{DIRECTORY}/confirmed"
_KEPT = b"kept"


def arm(lock: Lock, seconds: float, undo: t.Callable[[], None]) -> str:
    """Fork a process that holds the lock until the change is confirmed or undone. Returns the token for that."""
    token = os.urandom(16).hex()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(PATH)  # of a host that lost power, or of a process that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(PATH)
    finally:
        os.umask(mask)
    listener.listen()
    if os.fork() == 0:
        try:
            _watch(listener, lock, time.monotonic() + seconds, token.encode(), undo)
        finally:
            os._exit(0)
    listener.close()
    lock.handed_over = True
    return token


def _watch(listener: socket.socket, lock: Lock, deadline: float, token: bytes, undo: t.Callable[[], None]) -> None:
    detach()
    lock.sign()
    try:
        asker = _confirmed(listener, deadline, token)
        os.unlink(PATH)
        if asker is None:
            undo()
        else:
            with contextlib.suppress(EgressError):
                files.write(CONFIRMED, token.decode(), 0o600)
    finally:
        lock.release()
    if asker is not None:
        # Last, so that whoever reads it finds the lock free.
        asker.sendall(_KEPT)


def _confirmed(listener: socket.socket, deadline: float, token: bytes) -> socket.socket | None:
    """Whoever confirmed it in time."""
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(OSError):
            asker, _address = listener.accept()
            asker.settimeout(left)
            if _same(asker.recv(len(token)), token):
                return asker
            asker.close()
    return None


def _same(told: bytes, token: bytes) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(told, token)


def forget() -> None:
    """The last token is of no use to anybody any more."""
    with contextlib.suppress(OSError):
        os.unlink(CONFIRMED)


def confirm(token: str) -> None:
    """Have the change stay. Errors: ConflictError where none waits for that token."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, contextlib.suppress(OSError):
        asking.connect(PATH)
        asking.sendall(token.encode())
        if asking.recv(len(_KEPT)) == _KEPT:
            return
    if _same((files.read(CONFIRMED) or "").encode(), token.encode()):
        return
    raise ConflictError(
        "confirm the change",
        "no change waits for that: it was put back, or is of another run",
        "/var/log/netpath/audit.jsonl on the host tells of what was put back",
    )
