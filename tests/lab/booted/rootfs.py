"""The root file systems that booted nodes share, made once by debootstrap and kept in the user's cache."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.booted import mirror
from tests.lab.holder import LabError
from tests.lab.syscalls import die_with

RELEASES = ("bullseye", "bookworm", "trixie")
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo"),
    *("python3", "python3-apt", "python3-pyroute2"),
    *("iproute2", "nftables", "iptables", "procps", "iputils-ping"),
)
# Its pyroute2 is too old for the collection, so the roles must be able to install another one.
MORE_PACKAGES = {"bullseye": ("python3-pip",)}
_SCRIPT = Path(__file__).resolve().with_name("rootfs.sh")
_LAST_LINES = 20
_KEPT = 30 * 24 * 3600  # seconds: other checkouts may have other recipes, and nodes may run on them


def cache() -> Path:
    """Return the folder of the root file systems, which need not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "netpath-egress", "rootfs")


def path(release: str) -> Path:
    """Return where the root file system of a release is, or will be: its name changes with the recipe."""
    recipe = [release, platform.machine(), *_packages(release), _SCRIPT.read_text(encoding="utf-8")]
    digest = hashlib.sha256("\0".join(recipe).encode()).hexdigest()
    return cache() / f"{release}-{digest[:12]}"


def ensure(releases: t.Iterable[str], tell: t.Callable[[str], None] = lambda _line: None) -> dict[str, Path]:
    """Make the root file systems that are not in the cache, side by side, and return all asked for."""
    wanted = dict.fromkeys(releases)
    unknown = sorted(set(wanted) - set(RELEASES))
    if unknown:
        raise LabError(f"there is no recipe for {', '.join(unknown)}; known are {', '.join(RELEASES)}")
    with ThreadPoolExecutor() as threads:
        return dict(zip(wanted, threads.map(functools.partial(_ensure, tell=tell), wanted)))


def _packages(release: str) -> tuple[str, ...]:
    return (*PACKAGES, *MORE_PACKAGES.get(release, ()))


def _ensure(release: str, tell: t.Callable[[str], None]) -> Path:
    target = path(release)
    with contextlib.suppress(FileNotFoundError):
        os.utime(target)  # which says that it is in use
        return target
    cache().mkdir(parents=True, exist_ok=True)
    with _locked(cache() / f".{release}.lock"):
        # Made meanwhile by the process that had the lock.
        if not target.is_dir():
            _clear(release)
            _build(release, target, tell)
    return target


def _build(release: str, target: Path, tell: t.Callable[[str], None]) -> None:
    folder = cache() / f".{target.name}.part"
    folder.mkdir(mode=0o700)
    log = cache() / f"{release}.log"
    began = time.monotonic()
    tell(f"making the root file system of {release} (the log is {log})")
    parent = os.getpid()
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv += [str(_SCRIPT), release, str(folder), ",".join(_packages(release)), mirror.configured()]
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            env=mirror.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 (a system call alone)
        )
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if status != 0:
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        raise LabError("\n    ".join([f"debootstrap of {release} failed with status {status}; its log ends:", *end]))
    # The only way to the final name, so what has it is whole.
    (folder / "whole").rename(target)
    shutil.rmtree(folder)
    tell(f"made the root file system of {release} in {time.monotonic() - began:.0f} s")


def _clear(release: str) -> None:
    """Delete what an interrupted run left, and what was made by another recipe and not used for long."""
    for part in cache().glob(f".{release}-*.part"):
        shutil.rmtree(part)
    for old in cache().glob(f"{release}-*"):
        if time.time() - old.stat().st_mtime > _KEPT:
            shutil.rmtree(old)


@contextlib.contextmanager
def _locked(lock: Path) -> t.Iterator[None]:
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    ensure(sys.argv[1:] or RELEASES, lambda line: print(line, flush=True))
