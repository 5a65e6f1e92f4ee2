# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes live in which network namespace, from /proc (proc(5))."""

from __future__ import annotations

import contextlib
import os
import typing as t


def namespaces_of_processes(threads: bool = True) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """{(device, inode) of a network namespace: [(PID, command)]}. Processes that end meanwhile are left out.

    threads: also those that are elsewhere than their process, each by its TID, which has a folder in /proc as well.
    """
    found: dict[tuple[int, int], list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                home = _namespace(name)
                found.setdefault(home, []).append((int(name), _command(name)))
                for thread in os.listdir(f"/proc/{name}/task") if threads else ():
                    place = home if thread == name else _namespace(thread)
                    if place != home:
                        found.setdefault(place, []).append((int(thread), _command(thread)))
    return found


def _namespace(task: str) -> tuple[int, int]:
    status = os.stat(f"/proc/{task}/ns/net")
    return status.st_dev, status.st_ino


def processes_in(namespaces: t.Mapping[str, os.stat_result]) -> dict[str, list[tuple[int, str]]]:
    """(PID, command) of each process in each of the namespaces, by one walk."""
    if not namespaces:
        return {}
    found = namespaces_of_processes()
    return {name: sorted(found.get((status.st_dev, status.st_ino), [])) for name, status in namespaces.items()}


def _command(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
