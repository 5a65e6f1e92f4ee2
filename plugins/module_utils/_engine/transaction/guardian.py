# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that outlives a run: it brings one that was killed to its end, and sleeps where one awaits confirmation.

It goes by the record alone. What may cut the way to this host is watched from a scope of its own, since what ends a
session (KillUserProcesses in logind.conf(5)) would end it as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t
from dataclasses import dataclass

from ..errors import EgressError
from ..kernel import programs
from ..kernel.lock import Lock, locked
from ..kernel.namespaces import Namespaces
from . import record as records
from .record import AWAITING, Record, Timer
from .recovery import recover, taken_back, why_back

_ENDED, _READY = b".", b"r"
_PATIENCE = 5.0  # seconds
_LONGEST = 60.0  # seconds that are slept at once
_SYSTEMD = "/run/systemd/system"
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


@dataclass
class Guard:
    """waits: whether the process is to stay, until the deadline of the record."""

    timer: Timer
    waits: bool = False


@contextlib.contextmanager
def guarded(lock: Lock, apart: bool = False) -> t.Iterator[Guard]:
    """Within the block a run that is killed is brought to its end by another process, which holds the lock until then.

    apart: in a scope of its own.
    """
    reader, writer = os.pipe()
    guard = Guard(_forked(lambda ready: _guard(reader, ready, lock), apart, writer))
    os.close(reader)
    try:
        yield guard
    finally:
        with contextlib.suppress(BrokenPipeError):  # it was killed itself
            os.write(writer, _ENDED)
        os.close(writer)
        if not guard.waits:
            os.waitpid(guard.timer.pid, 0)


def replace(record: Record) -> None:
    """Have another process wait for the confirmation, unless the one that the record names is there."""
    if record.timer is None or not is_alive(record.timer):
        record.wait_by(_forked(_sleep, True))


def is_alive(timer: Timer) -> bool:
    return _began(timer.pid) == timer.began


def dismiss(timer: Timer | None) -> None:
    """End a process that waits for nothing any more."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(timer.pid) if timer else -1
        if timer and is_alive(timer):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def _forked(action: t.Callable[[int], None], apart: bool, unneeded: int = -1) -> Timer:
    """A process that has left the session of the run, its streams, and with apart its scope, when this returns."""
    reader, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            if unneeded >= 0:
                os.close(unneeded)
            _detach()
            if apart:
                _leave_scope()
            action(ready)
        finally:
            os._exit(0)
    os.close(ready)
    os.read(reader, len(_READY))
    os.close(reader)
    return Timer(pid, _began(pid))


def _guard(reader: int, ready: int, lock: Lock) -> None:
    # A namespace lives for as long as somebody has a handle of it.
    _close_all_but(reader, ready, lock.descriptor)
    os.write(ready, _READY)
    os.close(ready)
    # The other end is closed without a word when its process is killed.
    killed = os.read(reader, len(_ENDED)) != _ENDED
    os.close(reader)
    if killed:
        lock.sign()
    try:
        _recover_own()
    finally:
        if killed:
            lock.release()
        else:
            os.close(lock.descriptor)
    _wait()


def _recover_own() -> None:
    """Bring it to its end, unless it awaits confirmation."""
    with contextlib.suppress(EgressError):
        found = records.read()
        if found is None:
            return
        found.close()
        if found.phase == AWAITING:
            return
    recover(own=True)


def _sleep(ready: int) -> None:
    _close_all_but(ready)
    os.write(ready, _READY)
    os.close(ready)
    _wait()


def _wait() -> None:
    """Sleep until the deadline, and take back what nobody has confirmed. So does a host that is shut down meanwhile."""
    token, ended = "", False
    while found := _awaiting(token):
        found.close()
        token, left = found.token, found.deadline - time.monotonic()
        if left <= 0 or ended:
            with locked(), Namespaces() as namespaces:
                again = _awaiting(token)
                if again:
                    taken_back(again, namespaces, why_back(again, own=True))
            return
        ended = signal.sigtimedwait([signal.SIGTERM], min(left, _LONGEST)) is not None


def _awaiting(token: str) -> Record | None:
    """The run that awaits confirmation, if it is that of the token."""
    found = records.read()
    if found and found.phase == AWAITING and token in ("", found.token):
        return found
    if found:
        found.close()
    return None


def _leave_scope() -> None:
    """systemd moves this process to a scope of its own, where it runs."""
    if not os.path.isdir(_SYSTEMD) or not programs.find("busctl"):
        return
    name = f"netpath-egress-{os.getpid()}.scope"
    properties = ["2", "PIDs", "au", "1", str(os.getpid()), "Description", "s", "Rollback of an unconfirmed change"]
    call = ["StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", *properties, "0"]
    with contextlib.suppress(EgressError, OSError):
        done = programs.run("leave the session", ["busctl", "--system", "call", *_MANAGER, *call], patience=_PATIENCE)
        give_up = time.monotonic() + _PATIENCE
        while not done.returncode and name not in _cgroup() and time.monotonic() < give_up:
            time.sleep(0.01)


def _cgroup() -> str:
    with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
        return file.read()


def _began(pid: int) -> int:
    """When a process began, in ticks since boot; 0 where there is none, or only its result is left (proc(5))."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
        return 0 if fields[0] == "Z" else int(fields[19])
    return 0


def _close_all_but(*kept: int) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))


def _detach() -> None:
    """From the session and from the streams of the run, for whose end Ansible waits."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)
    # When memory is short, others go first: this one brings it all back.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("-1000")
    # It ends when the run has ended, and not by what ends that.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
