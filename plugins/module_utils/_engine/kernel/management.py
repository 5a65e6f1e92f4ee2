# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which links carry the management path: the default routes, and the SSH session that runs this program."""

from __future__ import annotations

import os

from ..model import HOST
from . import addresses, routes
from .links import Links
from .namespaces import Namespaces


def protected_links(namespaces: Namespaces, links: Links) -> dict[str, str]:
    """{link: reason} in the namespace of the host, with the ports of a bridge that is protected."""
    opened = namespaces.socket(HOST)
    reasons: dict[int, str] = {}
    for family in (4, 6):
        for reply in routes.default_uplinks(opened, family):
            for device in reply.devices:
                reasons.setdefault(device, f"the IPv{family} default route of this host")
    local = _ssh_address()
    if local:
        for address in addresses.read(opened):
            if address.cidr.split("/")[0] == local:
                reasons.setdefault(address.index, f"the SSH session ({local})")
    protected: dict[str, str] = {}
    for index, reason in reasons.items():
        link = links.get(HOST, index=index)
        if link is None:
            continue
        protected[link.name] = reason
        if link.kind == "bridge":
            for port in links.ports(HOST, link.name):
                if port.kind != "veth":
                    protected[port.name] = f"{reason}, as a port of {link.name}"
    return protected


def _ssh_address() -> str:
    """The local address of the SSH session that this program was started from, also through sudo."""
    pid = os.getpid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = dict(item.partition(b"=")[::2] for item in file.read().split(b"\0"))
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return ""
        words = variables.get(b"SSH_CONNECTION", b"").decode(errors="replace").split()
        if len(words) == 4:
            return words[2].split("%")[0]
        pid = parent
    return ""
