"""The root file systems of booted nodes with programs that tests run beside."""

from __future__ import annotations

from tests.lab.booted import rootfs

# With all of them, so that tests share root file systems.
FIREWALLS = {
    "bookworm": "bookworm+docker.io+firewalld+ufw",
    "trixie": "trixie+docker.io+firewalld+ufw+docker-cli",
}
MANAGER = "bookworm+network-manager"
ALL = (*rootfs.RELEASES, *FIREWALLS.values(), MANAGER)
