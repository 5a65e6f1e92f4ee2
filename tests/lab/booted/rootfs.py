"""The root file systems that booted nodes share, made once by debootstrap and kept in the user's cache.

A recipe is a release, or a release with more packages ("bookworm+firewalld+ufw"), whose services are disabled.
"""

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
_VARIANT_SCRIPT = _SCRIPT.with_name("variant.sh")
_LAST_LINES = 20
_KEPT = 30 * 24 * 3600  # seconds: other checkouts may have other recipes, and nodes may run on them


def cache() -> Path:
    """Return the folder of the root file systems, which need not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "netpath-egress", "rootfs")


def release_of(recipe: str) -> str:
    """Return the release that a recipe begins with."""
    return recipe.partition("+")[0]


def path(recipe: str) -> Path:
    """Return where the root file system of a recipe is, or will be: its name changes with all that it is made from."""
    recipe = _normal(recipe)
    release, *more = recipe.split("+")
    parts = [release, platform.machine(), *_packages(release), _SCRIPT.read_text(encoding="utf-8")]
    if more:
        parts += [*more, _VARIANT_SCRIPT.read_text(encoding="utf-8")]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return cache() / f"{recipe}-{digest[:12]}"


def ensure(recipes: t.Iterable[str], tell: t.Callable[[str], None] = lambda _line: None) -> dict[str, Path]:
    """Make the root file systems that are not in the cache, side by side, and return all asked for."""
    wanted = list(dict.fromkeys(recipes))
    unknown = sorted({release_of(recipe) for recipe in wanted} - set(RELEASES))
    if unknown:
        raise LabError(f"there is no recipe for {', '.join(unknown)}; known are {', '.join(RELEASES)}")
    with ThreadPoolExecutor() as threads:
        return dict(zip(wanted, threads.map(functools.partial(_ensure, tell=tell), wanted)))


def _normal(recipe: str) -> str:
    release, *more = recipe.split("+")
    return "+".join([release, *sorted(set(more))])


def _packages(release: str) -> tuple[str, ...]:
    return (*PACKAGES, *MORE_PACKAGES.get(release, ()))


def _ensure(recipe: str, tell: t.Callable[[str], None]) -> Path:
    recipe = _normal(recipe)
    target = path(recipe)
    base = _ensure(release_of(recipe), tell) if "+" in recipe else None
    with contextlib.suppress(FileNotFoundError):
        os.utime(target)  # which says that it is in use
        return target
    cache().mkdir(parents=True, exist_ok=True)
    with locked(cache() / f".{recipe}.lock"):
        # Made meanwhile by the process that had the lock.
        if not target.is_dir():
            _clear(recipe)
            _build(recipe, base, target, tell)
    return target


def _build(recipe: str, base: Path | None, target: Path, tell: t.Callable[[str], None]) -> None:
    folder = cache() / f".{target.name}.part"
    folder.mkdir(mode=0o700)
    log = cache() / f"{recipe}.log"
    began = time.monotonic()
    tell(f"making the root file system of {recipe} (the log is {log})")
    parent = os.getpid()
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if base is None:
        argv += [str(_SCRIPT), recipe, str(folder), ",".join(_packages(recipe)), mirror.configured()]
    else:
        argv += [str(_VARIANT_SCRIPT), str(base), str(folder), " ".join(recipe.split("+")[1:])]
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
        raise LabError(
            "\n    ".join([f"the root file system of {recipe} failed with status {status}; its log ends:", *end])
        )
    # The only way to the final name, so what has it is whole.
    (folder / "whole").rename(target)
    shutil.rmtree(folder)
    tell(f"made the root file system of {recipe} in {time.monotonic() - began:.0f} s")


def _clear(recipe: str) -> None:
    """Delete what an interrupted run left, and what was made by another recipe and not used for long."""
    for part in cache().glob(f".{recipe}-*.part"):
        shutil.rmtree(part)
    for old in cache().glob(f"{recipe}-*"):
        if time.time() - old.stat().st_mtime > _KEPT:
            shutil.rmtree(old)


@contextlib.contextmanager
def locked(lock: Path) -> t.Iterator[None]:
    """Keep other processes out that make the same, for as long as the block lasts."""
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    ensure(sys.argv[1:] or RELEASES, lambda line: print(line, flush=True))
