"""The machine that measures: what it is, and how quiet it is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
import typing as t
from importlib import metadata
from pathlib import Path

from tests.bench import tools

_SLAB = "net_namespace"
_SETTLED = 40  # namespaces more than before that do not matter: others on the machine make some, too
_PATIENCE = 60.0  # seconds for the kernel to take namespaces away, which it does in the background
_LOOPS = 3_000_000


def describe() -> dict[str, str]:
    """What a reader has to know to compare figures with those of another machine."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "processors": str(os.cpu_count()),
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.1f} GiB",
        "kernel": platform.release(),
        "system": _field("/etc/os-release", "PRETTY_NAME", "="),
        "Python": platform.python_version(),
        "ansible-core": metadata.version("ansible-core"),
        "pyroute2": metadata.version("pyroute2"),
        "ansible": _of_peers("ansible"),
        "iproute2": _said("ip", "-V"),
        "nftables": _said("nft", "--version"),
        "iptables": _said("iptables", "--version"),
        "netavark": _packaged("netavark"),
        "containernetworking-plugins": _packaged("containernetworking-plugins"),
    }


def noise() -> dict[str, float | None]:
    """How busy the machine is: its load of the last minute, and seconds for which work has waited for a processor."""
    return {"load": os.getloadavg()[0], "waited": waited()}


def waited() -> float | None:
    """Seconds since the boot in which a process had to wait for a processor; None where the kernel does not count."""
    try:
        text = Path("/proc/pressure/cpu").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^some .*total=(\d+)", text, re.MULTILINE)
    return int(found[1]) / 1e6 if found else None


def calibrate() -> float:
    """Seconds for the same work every time: where they grow, the machine has become slower."""
    began = time.perf_counter()
    total = 0
    for number in range(_LOOPS):
        total += number & 7
    return time.perf_counter() - began


def namespaces() -> int | None:
    """How many network namespaces the kernel has, with those that it is taking away; None where it does not tell."""
    try:
        text = Path("/proc/slabinfo").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{_SLAB} +(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None


def settle(before: int | None, size: int) -> bool:
    """Wait until the namespaces of a node that is gone are taken away; whether they are, as far as one can see."""
    if before is None:
        time.sleep(1 + size / 100)
        return True
    deadline = time.monotonic() + _PATIENCE
    while (namespaces() or 0) > before + _SETTLED:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _field(path: str, name: str, sign: str = ":") -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(rf"^{re.escape(name)}\s*{sign}\s*(.*)$", text, re.MULTILINE)
    return found[1].strip().strip('"') if found else ""


def _said(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().partition("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "not there"


def _packaged(name: str) -> str:
    return _said("dpkg-query", "--show", "--showformat", "${Version}", name)


def _of_peers(name: str) -> str:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = tools.PEERS / "lib" / version / "site-packages"
    found: t.Iterable[metadata.Distribution] = metadata.distributions(name=name, path=[str(folder)])
    return next((one.version for one in found), "not there")
