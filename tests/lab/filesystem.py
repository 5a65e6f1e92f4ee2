"""The file system of a lab node: the machine's own, with private /run, /etc, /var/lib, /var/log, /usr/local/sbin
and /sys.

Nothing here touches the machine: it runs in a new mount namespace, writes go to tmpfs, and
whiteouts in the upper layer of an overlay hide what the machine itself has configured.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.lab.syscalls import (
    MNT_DETACH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    mount,
    unmount,
)

# Absent in a new node, whatever the machine has.
ABSENT = ("/etc/netns", "/etc/netpath", "/etc/NetworkManager", "/var/lib/netpath", "/var/log/netpath")
# There, writable and empty in a new node.
EMPTY = ("/etc/sysctl.d", "/etc/systemd/network", "/etc/systemd/system")


def make_private(resolver: str) -> None:
    """Give the calling process, already in a mount namespace of its own, a node's file system."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    staging = "/run"  # covered by a tmpfs that holds the upper layers, and covered again below
    mount("tmpfs", staging, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for directory in ("/etc", "/var/lib", "/var/log", "/usr/local/sbin"):
        _overlay(directory, Path(staging, directory.strip("/").replace("/", "-")), resolver)
    unmount(staging, MNT_DETACH)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    Path("/run/lock").mkdir()
    if not os.access("/root", os.W_OK):
        # In a user namespace root has another user's rights, and needs a home of its own.
        mount("tmpfs", "/root", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
    # The old /sys would go on showing the devices of the machine.
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _overlay(directory: str, layer: Path, resolver: str) -> None:
    upper, work = layer / "upper", layer / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    for path in map(Path, EMPTY):
        if path.is_relative_to(directory):
            _hide_entries(path, upper / path.relative_to(directory))
    for path in map(Path, ABSENT):
        if path.is_relative_to(directory) and os.path.lexists(path):
            _whiteout(upper / path.relative_to(directory))
    if directory == "/etc":
        # A regular file: the machine's may be a link into its own /run.
        (upper / "resolv.conf").write_text(resolver, encoding="ascii")
    options = f"lowerdir={directory},upperdir={upper},workdir={work}"
    mount("overlay", directory, "overlay", MS_NOSUID | MS_NODEV, options)


def _hide_entries(path: Path, upper: Path) -> None:
    upper.mkdir(parents=True)
    if path.is_dir():
        for entry in path.iterdir():
            _whiteout(upper / entry.name)


def _whiteout(upper: Path) -> None:
    os.mknod(upper, stat.S_IFCHR, os.makedev(0, 0))
