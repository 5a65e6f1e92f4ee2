"""Whether booted nodes can be made here."""

from __future__ import annotations

import os
import shutil

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
