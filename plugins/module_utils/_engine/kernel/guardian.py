# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that outlives a run which is killed, and finishes what that has begun."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .lock import Lock

_ENDED = b"."


@contextlib.contextmanager
def guarded(lock: Lock, finish: t.Callable[[], object]) -> t.Iterator[None]:
    """Within the block, finish is called in another process if this one is killed. It holds the lock until then."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        try:
            _watch(reader, lock, finish)
        finally:
            os._exit(0)
    os.close(reader)
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):  # it was killed itself
            os.write(writer, _ENDED)
        os.close(writer)
        os.waitpid(pid, 0)


def _watch(reader: int, lock: Lock, finish: t.Callable[[], object]) -> None:
    detach()
    # A namespace lives for as long as somebody has a handle of it.
    _close_all_but(reader, lock.descriptor)
    # The other end is closed without a word when its process is killed.
    if os.read(reader, len(_ENDED)) != _ENDED:
        lock.sign()
        try:
            finish()
        finally:
            lock.release()


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))


def detach() -> None:
    """From the session and from the streams of the run, for whose end Ansible waits."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)
