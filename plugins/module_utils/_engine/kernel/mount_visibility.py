# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the host sees what this run mounts (mount_namespaces(7), proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import UnsupportedError

_OWN, _FIRST = "/proc/thread-self", "/proc/1"
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(t.NamedTuple):
    """Where it is, and its peer group: mounts below it are seen in all of a group. "" where it is in none."""

    place: str
    group: str


def require_seen_by_the_host(directory: str) -> None:
    """Errors: UnsupportedError where this run has mounts of its own over the host's directory, as in a unit of systemd
    with PrivateTmp= or in unshare -m: handles of namespaces would be gone with it, and nobody else would see them.
    """
    if _is_own_world(directory):
        return
    own, first = (_holding(_mounts(process), directory) for process in (_OWN, _FIRST))
    if own is None or first is None or (own.group and own.group == first.group):
        return
    raise UnsupportedError(
        f"make namespaces below {directory}",
        "this run has a mount namespace of its own, and what it mounts is not seen by PID 1",
        "Run it on the host itself (nsenter -t 1 -m), or without PrivateTmp=, ProtectSystem= and the like in its unit",
    ).for_all()


def _is_own_world(directory: str) -> bool:
    """Whether its mounts are those of PID 1, or it has a directory of its own, as a container and a test has."""
    try:
        if os.path.samestat(os.stat(f"{_OWN}/ns/mnt"), os.stat(f"{_FIRST}/ns/mnt")):
            return True
        parent = _existing(directory)
        return not os.path.samestat(os.stat(parent), os.stat(f"{_FIRST}/root{parent}"))
    except OSError:
        return True


def _existing(directory: str) -> str:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def _mounts(process: str) -> list[Mount]:
    try:
        with open(f"{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return [_parsed(line) for line in file]
    except OSError:
        return []


def _parsed(line: str) -> Mount:
    _number, _parent, _device, _root, place, _options, *rest = line.split(" ")
    tags = rest[: rest.index("-")]
    group = next((tag[len("shared:") :] for tag in tags if tag.startswith("shared:")), "")
    return Mount(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), place), group)


def _holding(mounts: t.Sequence[Mount], directory: str) -> Mount | None:
    """The one that a directory is on: of several the last, which covers those before."""
    found = [one for one in mounts if one.place == "/" or f"{directory}/".startswith(f"{one.place}/")]
    return max(enumerate(found), key=lambda item: (len(item[1].place), item[0]))[1] if found else None
