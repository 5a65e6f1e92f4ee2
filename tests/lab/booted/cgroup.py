"""The control group of a lab: all of its processes are in it, and so found whatever became of their parents."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
import typing as t
from pathlib import Path

from tests.lab.holder import LabError

_PATIENCE = 20.0


def mount_point() -> Path | None:
    """Return where the unified hierarchy (cgroup2) is mounted, if it is."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _separator, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            _number, _parent, device, root, path = fields.split()[:5]
            found = Path(path)
            # Another mount may cover it.
            with contextlib.suppress(OSError):
                known = found.stat().st_dev
                if root == "/" and device == f"{os.major(known)}:{os.minor(known)}":
                    return found
    return None


def path(name: str) -> Path:
    """Return the folder of a group, which need not be there."""
    mounted = mount_point()
    if mounted is None:
        raise LabError("the unified hierarchy of control groups (cgroup2) is not mounted here")
    return mounted / name


def join(folder: Path) -> None:
    """Move this process into a group, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").write_text("0", encoding="ascii")


def processes(folder: Path) -> list[int]:
    """Return the processes of a group and of those below it."""
    pids = []
    for directory, _folders, _files in os.walk(folder):
        with contextlib.suppress(OSError):
            pids += [int(pid) for pid in Path(directory, "cgroup.procs").read_text(encoding="ascii").split()]
    return [pid for pid in pids if pid]  # 0 stands for one that this PID namespace does not show


def first_processes(folder: Path) -> list[int]:
    """Return the processes that are the first of a PID namespace each, the outermost ahead."""
    known = {pid: namespace_pids(pid) for pid in processes(folder)}
    return sorted((pid for pid, pids in known.items() if pids[1:] and pids[-1] == 1), key=lambda pid: len(known[pid]))


def namespace_pids(pid: int) -> list[int]:
    """Return what a process is called in each PID namespace that it is in, from this one inwards."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(number) for line in lines if line.startswith("NSpid:") for number in line.split()[1:]]


def kill(folder: Path) -> None:
    """Kill every process of a group and wait for their end."""
    deadline = time.monotonic() + _PATIENCE
    # Again and again, because a process may fork while its siblings are killed.
    while pids := processes(folder):
        if time.monotonic() > deadline:
            raise LabError(f"processes {' '.join(map(str, pids))} of {folder.name} do not end")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def remove(folder: Path) -> None:
    """Kill what is in a group and remove it with those below it."""
    deadline = time.monotonic() + _PATIENCE
    while folder.is_dir():
        kill(folder)
        try:
            for directory in _depth_first(folder):
                directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            # The kernel frees a group some time after its last process.
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise LabError(f"the control group {folder} cannot be removed: {error.strerror}") from error
            time.sleep(0.01)


def _depth_first(folder: Path) -> t.Iterator[Path]:
    for directory, _folders, _files in os.walk(folder, topdown=False):
        yield Path(directory)
