"""The process that keeps a node's namespaces alive, and ends everything in them when it ends.

A holder is a shell that waits on a pipe. Its creator holds the other end, so the holder goes on
when the creator closes it, and also when the creator dies in whatever way. It then kills what
still runs in its UTS namespace, which every process of the node shares, and exits: with it go
the network, the mounts and the links to other nodes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.lab.filesystem import make_private
from tests.lab.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, setns, unshare

# Several passes, because a process may fork while its siblings are killed.
_WAIT_THEN_KILL = """
read -r _
found=yes pass=0
while [ -n "$found" ] && [ $pass -lt 20 ]; do
    found= pass=$((pass + 1))
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        if [ "$pid" != $$ ] && [ "$process/ns/uts" -ef /proc/$$/ns/uts ]; then
            kill -9 "$pid" && found=yes
        fi
    done
done
"""

# In the order of entering: the mount namespace last, as /proc may differ behind it.
_KINDS = (("net", CLONE_NEWNET), ("uts", CLONE_NEWUTS), ("mnt", CLONE_NEWNS))

_lifelines: set[int] = set()


def _release_lifelines() -> None:
    for lifeline in _lifelines:
        with contextlib.suppress(OSError):
            os.close(lifeline)
    _lifelines.clear()


# A forked child that kept the pipes open would keep the nodes of a dead creator alive.
os.register_at_fork(after_in_child=_release_lifelines)


class LabError(Exception):
    """The lab could not make or keep what was asked for."""


@dataclass(frozen=True)
class Holder:
    """A running holder: its PID, the pipe that keeps it, and its namespaces."""

    pid: int
    creator: int
    lifeline: int
    namespaces: tuple[tuple[int, int], ...]

    def enter(self, directory: str) -> None:
        """Move the calling process, which must have one thread, into the namespaces."""
        for descriptor, kind in self.namespaces:
            setns(descriptor, kind)
        # Entering a mount namespace moves the process to its root.
        with contextlib.suppress(OSError):
            os.chdir(directory)

    @property
    def open(self) -> bool:
        """Whether the namespaces are still there; never in a fork of the creator."""
        return self.creator == os.getpid() and self.lifeline in _lifelines

    def close(self) -> None:
        """End the holder and every process in its namespaces; again, or in a fork, a no-op."""
        if not self.open:
            return
        _lifelines.discard(self.lifeline)
        for descriptor, _kind in self.namespaces:
            os.close(descriptor)
        os.close(self.lifeline)
        _reap(self.pid)


def start(hostname: str, resolver: str = "") -> Holder:
    """Start a holder of new network, mount and UTS namespaces and wait until they are ready."""
    waiting, lifeline = os.pipe()
    report, complaint = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become_holder(hostname, resolver, waiting, complaint)
    os.close(waiting)
    os.close(complaint)
    with os.fdopen(report, "rb") as stream:
        problem = stream.read().decode()
    if problem:
        os.close(lifeline)
        os.waitpid(pid, 0)
        raise LabError(f"cannot make {hostname}: {problem}")
    _lifelines.add(lifeline)
    namespaces = tuple((os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in _KINDS)
    return Holder(pid, os.getpid(), lifeline, namespaces)


def _become_holder(hostname: str, resolver: str, waiting: int, complaint: int) -> t.NoReturn:
    try:
        os.setsid()  # an interrupt from the terminal is for the creator
        unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS)
        socket.sethostname(hostname)
        make_private(resolver)
        os.dup2(waiting, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        _close_all_but(complaint)
        os.chdir("/")
        os.execv("/bin/sh", ["sh", "-c", _WAIT_THEN_KILL, hostname])
    except BaseException as error:  # noqa: BLE001 (the creator raises it)
        os.write(complaint, (str(error) or repr(error)).encode())
    finally:
        os._exit(1)


def _close_all_but(kept: int) -> None:
    """Close every descriptor but the standard ones and one that closes itself on exec."""
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor > 2 and descriptor != kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _reap(pid: int, patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.0005)
