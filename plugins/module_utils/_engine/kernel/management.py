# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What carries the management path: the links of the default routes and the SSH session with all that is below and
above them, and the way to the other end of the session.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import typing as t

from ..model import HOST, is_ours
from ..planning.state import WayBack
from . import addresses, listeners, route_lookup, routes
from .link_messages import LinkReply
from .links import Links
from .namespaces import Namespaces

# Kinds that are never the master of others: a physical link has none.
_NO_MASTERS = ("", "veth", "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "dummy", "tun", "wireguard")


def protected_links(namespaces: Namespaces, links: Links, sessions: t.Sequence[listeners.Connection]) -> dict[str, str]:
    """{link: reason} in the namespace of the host: the default routes' links, the SSH sessions', and their closure."""
    opened = namespaces.socket(HOST)
    reasons: dict[int, str] = {}
    for family in (4, 6):
        for reply in routes.ways_out(opened, family):
            for device in reply.devices:
                link = links.get(HOST, index=device)
                if link and routes.leads_out(reply, link.alias, protected=True):
                    reasons.setdefault(device, f"the IPv{family} default route of this host")
    local = {session.local for session in sessions}
    for address in addresses.read(opened) if local else ():
        if address.cidr.split("/")[0] in local:
            reasons.setdefault(address.index, f"the SSH session ({address.cidr.split('/')[0]})")
    return closure(reasons, lambda index: links.get(HOST, index=index), lambda link: links.ports(HOST, link.name))


def closure(
    reasons: t.Mapping[int, str],
    known: t.Callable[[int], LinkReply | None],
    ports: t.Callable[[LinkReply], t.Iterable[LinkReply]],
) -> dict[str, str]:
    """{name: reason} of links, given by index, and of all that packets pass on their way to the outside.

    Below a link are its slaves and ports, what it stands on (VLAN, macvlan, tunnel), and the other end of a pair with
    what that end is a port of. Above are its masters alone: others that stand on it are not in the way.
    known: the link of an index. ports: those that have a link as their master.
    """
    found: dict[str, str] = {}
    waiting = [(known(index), reason) for index, reason in reasons.items()]
    for link, reason in waiting:
        if link and link.name not in found:
            found[link.name] = reason
            waiting += [(below, f"{reason}, {how} {link.name}") for below, how in _below(link, known, ports)]
    for index, reason in reasons.items():
        link = known(index)
        while link and link.master:
            above = known(link.master)
            if above:
                found.setdefault(above.name, f"{reason}, as the master of {link.name}")
            link = above
    return found


def _below(
    link: LinkReply, known: t.Callable[[int], LinkReply | None], ports: t.Callable[[LinkReply], t.Iterable[LinkReply]]
) -> t.Iterator[tuple[LinkReply | None, str]]:
    if link.kind not in _NO_MASTERS:
        slave = "as a port of" if link.kind == "bridge" else "as a slave of"
        # Those of networks lead to namespaces, not to the outside.
        yield from ((port, slave) for port in ports(link) if not (port.kind == "veth" and is_ours(port.alias)))
    if link.parent:
        yield known(link.parent), "below"
    if link.peer_index and link.peer_nsid is None:
        other = known(link.peer_index)
        yield other, "as the other end of"
        if other and other.master:
            yield known(other.master), "by the other end of"


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
