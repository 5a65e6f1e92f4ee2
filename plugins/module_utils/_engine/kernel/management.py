# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What carries the management path: links of the default routes and the SSH session, the way to its other end."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import typing as t

from ..model import HOST
from ..planning.state import WayBack
from . import addresses, listeners, route_lookup, routes
from .links import Links
from .namespaces import Namespaces


def protected_links(namespaces: Namespaces, links: Links, sessions: t.Sequence[listeners.Connection]) -> dict[str, str]:
    """{link: reason} in the namespace of the host, with the ports of a bridge that is protected."""
    opened = namespaces.socket(HOST)
    reasons: dict[int, str] = {}
    for family in (4, 6):
        for reply in routes.default_uplinks(opened, family):
            for device in reply.devices:
                link = links.get(HOST, index=device)
                if link and routes.leads_out(reply, link.alias, protected=True):
                    reasons.setdefault(device, f"the IPv{family} default route of this host")
    local = {session.local for session in sessions}
    for address in addresses.read(opened) if local else ():
        if address.cidr.split("/")[0] in local:
            reasons.setdefault(address.index, f"the SSH session ({address.cidr.split('/')[0]})")
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


def ways_back(namespaces: Namespaces, links: Links, sessions: t.Sequence[listeners.Connection]) -> list[WayBack]:
    """By which routes packets get back to those who opened the SSH sessions of this host."""
    found = []
    for session in sessions:
        peer = ipaddress.ip_address(session.peer)
        # One that is link-local can be reached on every link, and no route of ours changes that.
        route = None if peer.is_link_local else route_lookup.carrying(namespaces.socket(HOST), peer.packed)
        link = links.get(HOST, index=route.device) if route else None
        if route and link:
            found.append(WayBack(session.peer, link.name, route.prefix, route.metric))
    return found


def ssh_sessions(namespaces: Namespaces) -> list[listeners.Connection]:
    """That of this program; where it has none, as in the background or on a console, all that there are."""
    own = _own_session()
    return [own] if own else listeners.connections(namespaces, HOST, "sshd")


def _own_session() -> listeners.Connection | None:
    """The SSH session that this program was started from, also through sudo."""
    pid = os.getpid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = dict(item.partition(b"=")[::2] for item in file.read().split(b"\0"))
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
        words = variables.get(b"SSH_CONNECTION", b"").decode(errors="replace").split()
        if len(words) == 4:
            with contextlib.suppress(ValueError):
                peer, local = (str(ipaddress.ip_address(word.split("%")[0])) for word in (words[0], words[2]))
                return listeners.Connection(peer, local)
        pid = parent
    return None
