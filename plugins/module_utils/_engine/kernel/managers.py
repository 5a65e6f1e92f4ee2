# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that manage the links of the host: whether they run, and telling them to read their files again."""

from __future__ import annotations

import contextlib
import os
import signal

from ..errors import KernelError
from ..model import HOST
from ..spec.drop_ins import MANAGERS, NETWORK_MANAGER, NETWORKD
from . import programs
from .namespaces import Namespaces
from .processes import namespaces_of_processes

_COMMAND_LENGTH = 15  # TASK_COMM_LEN - 1 in the kernel's linux/sched.h
_PATIENCE = 20  # seconds


def running(namespaces: Namespaces) -> dict[str, int]:
    """{manager: PID} of those that run in the host's network namespace."""
    status = os.fstat(namespaces.handle(HOST))
    inhabitants = namespaces_of_processes(threads=False).get((status.st_dev, status.st_ino), [])
    pids = {command: pid for pid, command in reversed(inhabitants)}
    return {name: pids[name[:_COMMAND_LENGTH]] for name in MANAGERS if name[:_COMMAND_LENGTH] in pids}


def reload(namespaces: Namespaces, manager: str) -> None:
    """Have it read its files. One that cannot be told reads them when it is started again."""
    pid = running(namespaces).get(manager)
    if pid and manager == NETWORK_MANAGER:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
    elif pid and manager == NETWORKD:
        with contextlib.suppress(KernelError):
            programs.run(f"have {manager} read its files", ["networkctl", "reload"], patience=_PATIENCE)
