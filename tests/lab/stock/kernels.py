"""Debian's kernel packages, unpacked and kept in the user's cache.

apt downloads them from the archive that it is configured with, into folders of their own, and checks the signature of
the archive's index and the checksum of each file. Nothing is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.lab.booted import mirror
from tests.lab.holder import LabError

# Kernel and the release of Debian that has it.
RELEASES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ARCHIVE = "http://deb.debian.org/debian"
_PACKAGE = "linux-image-amd64"
_APT = {
    "Dir::Etc::SourceList": "{place}/sources.list",
    "Dir::Etc::SourceParts": "/dev/null",
    "Dir::Etc::Preferences": "/dev/null",
    "Dir::Etc::PreferencesParts": "/dev/null",
    "Dir::State::Lists": "{place}/lists",
    "Dir::State::Status": "/dev/null",
    "Dir::Cache": "{place}/cache",
    "APT::Architecture": "amd64",
    "APT::Architectures": "amd64",
    "APT::Sandbox::User": "",
    "Acquire::Languages": "none",
    # One that has reached its end of life is not signed anew.
    "Acquire::Check-Valid-Until": "false",
}
# Modules of devices, which a guest does not have, are most of a package.
_LEFT_OUT = ("sound", *(f"drivers/{name}" for name in ("gpu", "media", "scsi", "infiniband", "staging", "usb", "iio")))
_LEFT_OUT_OF_NET = ("ethernet", "wireless", "usb", "can", "arcnet", "fddi", "hamradio")


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel. modules: the folder that is /lib/modules."""

    name: str
    version: str
    image: Path
    modules: Path


def cache() -> Path:
    """Return the folder of the kernels, which need not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "netpath-egress", "kernels")


def ensure(name: str, tell: t.Callable[[str], None] = lambda _line: None) -> Kernel:
    """Return a kernel, downloaded if it is not in the cache. Errors: LabError."""
    if name not in RELEASES:
        raise LabError(f"there is no kernel {name}; known are {', '.join(RELEASES)}")
    target = _place(name)
    if not target.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        with (cache() / f".{name}.lock").open("w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another process may have made it meanwhile.
            if not target.is_dir():
                _make(name, target, tell)
    modules = target / "lib/modules"
    (version,) = [entry.name for entry in modules.iterdir()]
    return Kernel(name, version, target / "vmlinuz", modules)


def _place(name: str) -> Path:
    parts = repr((RELEASES[name], _PACKAGE, _LEFT_OUT, _LEFT_OUT_OF_NET))
    return cache() / f"{name}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def _make(name: str, target: Path, tell: t.Callable[[str], None]) -> None:
    part = cache() / f".{name}.part"
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(part)
    began = time.monotonic()
    tell(f"downloading the kernel of {RELEASES[name]}")
    package = _download(RELEASES[name], part / "apt")
    _run(["dpkg-deb", "-x", str(package), str(part / "all")])
    whole = part / "whole"
    (whole / "lib/modules").mkdir(parents=True)
    (image,) = (part / "all/boot").glob("vmlinuz-*")
    image.rename(whole / "vmlinuz")
    # Debian 13 has it below /usr.
    (folder,) = [*(part / "all").glob("lib/modules/*"), *(part / "all").glob("usr/lib/modules/*")]
    for left_out in (*_LEFT_OUT, *(f"drivers/net/{kind}" for kind in _LEFT_OUT_OF_NET)):
        shutil.rmtree(folder / "kernel" / left_out, ignore_errors=True)
    compressed = list(map(str, folder.rglob("*.ko.xz")))
    if compressed:
        _run(["xz", "-d", *compressed])
    folder.rename(whole / "lib/modules" / folder.name)
    _run(["depmod", "-b", str(whole), folder.name])
    # The only way to the final name, so what has it is whole.
    whole.rename(target)
    shutil.rmtree(part)
    tell(f"unpacked {folder.name} in {time.monotonic() - began:.0f} s")


def _download(release: str, place: Path) -> Path:
    """Download the package that the one for the newest kernel of a release depends on."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (place / folder).mkdir(parents=True)
    source = f"deb [signed-by={KEYRING}] {mirror.configured() or _ARCHIVE} {release} main\n"
    (place / "sources.list").write_text(source, encoding="ascii")
    options = [part for key, value in _APT.items() for part in ("-o", f"{key}={value.format(place=place)}")]
    _run(["apt-get", *options, "-qq", "update"])
    shown = _run(["apt-cache", *options, "--no-all-versions", "show", _PACKAGE])
    (depends,) = [line.partition(": ")[2] for line in shown.splitlines() if line.startswith("Depends: ")]
    _run(["apt-get", *options, "-qq", "download", depends.split()[0]], place)
    (package,) = place.glob("*.deb")
    return package


def _run(argv: t.Sequence[str], folder: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{argv[0]} failed with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        for wanted in sys.argv[1:] or RELEASES:
            ensure(wanted, lambda line: print(line, flush=True))
    except LabError as error:
        sys.exit(str(error))
