"""Whether booted nodes can be made here."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from tests.lab import privilege
from tests.lab.booted import cgroup

# program, Debian package
_PROGRAMS = (
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
)

_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_INSTANCES_OF_A_NODE = 4  # of systemd and logind


def room() -> int:
    """How many nodes can be booted now: they are root's, and a user has no more than so many inotify instances."""
    held = sum(map(_is_watch_of_root, glob.glob("/proc/[0-9]*/fd/*")))
    return max(int(_INSTANCES.read_text(encoding="ascii")) - held, 0) // _INSTANCES_OF_A_NODE


def _is_watch_of_root(descriptor: str) -> bool:
    try:
        return os.readlink(descriptor) == "anon_inode:inotify" and os.stat(os.path.dirname(descriptor)).st_uid == 0
    except OSError:
        return False  # its process has ended


def obstacle() -> str | None:
    """Say why this process cannot make booted nodes, or None if it can."""
    if os.geteuid() != 0 or not privilege.real_root():
        return "they need root, and that of a user namespace is not enough: use sudo"
    missing = sorted({package for program, package in _PROGRAMS if shutil.which(program) is None})
    if missing:
        return f"packages are missing: {', '.join(missing)}"
    if cgroup.mount_point() is None:
        return "the unified hierarchy of control groups (cgroup2) is not mounted"
    return privilege.obstacle()
