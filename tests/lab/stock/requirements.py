"""Whether stock kernels can be booted here."""

from __future__ import annotations

import platform
import shutil
import sys

from tests.lab.stock.kernels import KEYRING

# program, Debian package
PROGRAMS = (
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("modprobe", "kmod"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    (str(KEYRING), "debian-archive-keyring"),
    # What tests ask in the guest, from this machine's root.
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ping", "iputils-ping"),
    ("wg", "wireguard-tools"),
    ("teamd", "libteam-utils"),
)


def missing() -> list[str]:
    """The Debian packages that are missing."""
    return sorted({package for program, package in PROGRAMS if shutil.which(program) is None and not _is_file(program)})


def obstacle() -> str | None:
    """Say why no stock kernel can be booted here, or None if one can."""
    if platform.machine() != "x86_64":
        return f"the kernels are for amd64, and the programs of this machine for {platform.machine()}"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "the kernels are downloaded by apt and unpacked by dpkg, which are missing"
    packages = missing()
    return f"packages are missing: {', '.join(packages)}" if packages else None


def _is_file(program: str) -> bool:
    return program == str(KEYRING) and KEYRING.is_file()


if __name__ == "__main__":
    if sys.argv[1:] == ["missing"]:
        print(*missing())
    else:
        sys.exit(obstacle())
