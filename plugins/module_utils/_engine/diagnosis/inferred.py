# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way that packets of a namespace take as the kernel has it, where nobody described it."""

from __future__ import annotations

import ipaddress
import os
import typing as t
from dataclasses import replace

from ..errors import SpecError
from ..kernel import namespaces as handles
from ..kernel.link_messages import LinkReply
from ..kernel.links import host_ends
from ..kernel.mounts import is_namespace
from ..kernel.processes import namespaces_of_processes
from ..model import HOST
from ..spec import values
from .path import Path
from .reader import Reader
from .structure import Place

_VIRTUAL = ("veth", "bridge", "dummy")


def of_names(reader: Reader, names: t.Sequence[t.Any], key: str = "netns") -> list[Path]:
    """Of namespaces below /run/netns. Errors: SpecError."""
    return [path for i, name in enumerate(names) for path in _named(reader, values.namespace_name(name, f"{key}[{i}]"))]


def of_processes(reader: Reader, pids: t.Sequence[t.Any], key: str = "pid") -> list[Path]:
    """Of namespaces in which processes live. Errors: SpecError."""
    found = []
    for i, pid in enumerate(pids):
        text = str(pid)
        place = f"/proc/{text}/ns/net"
        if not (text.isdecimal() and text.isascii()) or not os.path.exists(place):
            raise SpecError(f"{key}[{i}]", f"there is no process {text!r}", "give the number of one that runs")
        found += of_place(reader, place, _named_like(reader, place) or f"process {text}")
    return found


def of_everything(reader: Reader) -> list[Path]:
    """Of those with a name, and of those that only processes hold and a pair of links leads to."""
    names = [name for name in handles.names() if reader.namespaces.may_enter(name)]
    found = [replace(path, meant=bool(path.interface)) for name in names for path in of_place(reader, name)]
    seen = {_identity(reader, name) for name in (HOST, *names)}
    places: dict[str, str] = {}
    for identity, inhabitants in sorted(namespaces_of_processes().items()):
        pid, command = min(inhabitants)
        place = f"/proc/{pid}/ns/net"
        if identity not in seen and reader.namespaces.may_enter(place):
            places[place] = f"process {pid} ({command})"
    for place, indexes in host_ends(reader.namespaces, list(places)).items():
        # Services are often kept from the network by a namespace with nothing in it, and not all are of this host.
        if indexes:
            found += of_place(reader, place, places[place])
    return found


def of_place(reader: Reader, netns: str, title: str = "") -> list[Path]:
    """Of one namespace, by the engine's name of it: for each family in which it has an address or should have one."""
    inside, host = reader.place(netns), reader.place(HOST)
    interface = _outward(inside, host, reader.default_devices(netns))
    if interface is None:
        return [_nowhere(netns, title)]
    end = host.peer_of(interface)
    bridge = host.by_index(end.master) if end and end.master else None
    return [
        _in_family(netns, title, family, interface, end, bridge if bridge and bridge.kind == "bridge" else None, reader)
        for family in _families(inside, host, interface, bridge)
    ]


def _named(reader: Reader, name: str) -> list[Path]:
    return of_place(reader, name) if is_namespace(handles.path_of(name)) else [_nowhere(name, "")]


def _nowhere(netns: str, title: str) -> Path:
    return Path(netns, "", 4, "", "", "", "", "", firewall="none", title=title, routed=False, asked=False)


def _in_family(
    netns: str,
    title: str,
    family: int,
    interface: LinkReply,
    end: LinkReply | None,
    bridge: LinkReply | None,
    reader: Reader,
) -> Path:
    inside, host = reader.place(netns), reader.place(HOST)
    held = [item.cidr for item in inside.of_family(interface, family)]
    cidr = held[0] if held else ""
    ingress = bridge or end
    gateway = reader.gateway(netns, family) or _on_link(host, ingress, family, cidr)
    return Path(
        namespace=netns,
        network="",
        family=family,
        interface=interface.name,
        host_end=end.name if end else "",
        bridge=bridge.name if bridge else "",
        cidr=cidr,
        gateway=gateway,
        sources=(str(ipaddress.ip_interface(cidr).network),) if cidr else (),
        firewall="none",
        title=title,
        routed=ingress is not None and not _leads_out(host, bridge, gateway),
        asked=False,
    )


def _outward(inside: Place, host: Place, defaults: t.Collection[int]) -> LinkReply | None:
    """The link that leads to the host; of several, that of the default route, or one that is up and has an address."""
    links = [link for link in inside.links.values() if link.name != "lo" and link.kind not in ("bridge", "dummy")]
    ordered = sorted(
        links,
        key=lambda link: (
            link.index not in defaults,
            host.peer_of(link) is None,
            not inside.addresses.get(link.index),
            not link.up,
        ),
    )
    return ordered[0] if ordered else None


def _families(inside: Place, host: Place, interface: LinkReply, bridge: LinkReply | None) -> list[int]:
    """Those of its addresses; without any, those of the bridge."""
    found = [family for family in (4, 6) if inside.of_family(interface, family)]
    return found or [family for family in (4, 6) if host.of_family(bridge, family)] or [4]


def _on_link(host: Place, ingress: LinkReply | None, family: int, cidr: str) -> str:
    """An address of the host next to the namespace's own."""
    for item in host.of_family(ingress, family):
        near = ipaddress.ip_interface(item.cidr)
        if not cidr or ipaddress.ip_interface(cidr).ip in near.network:
            return str(near.ip)
    return ""


def _leads_out(host: Place, bridge: LinkReply | None, gateway: str) -> bool:
    """Whether the gateway is behind a bridge that also has a link of the machine, and not on this host."""
    if bridge is None or gateway in host.own:
        return False
    return any(link.master == bridge.index and link.kind not in _VIRTUAL for link in host.links.values())


def _identity(reader: Reader, netns: str) -> tuple[int, int]:
    status = os.fstat(reader.namespaces.handle(netns))
    return status.st_dev, status.st_ino


def _named_like(reader: Reader, place: str) -> str:
    """The name of the namespace of a process, or ""."""
    if not reader.namespaces.may_enter(place):
        raise SpecError("pid", f"{place} cannot be entered", "it ended, or belongs to another user's namespace")
    identity = _identity(reader, place)
    names = filter(reader.namespaces.may_enter, handles.names())
    return next((name for name in names if _identity(reader, name) == identity), "")
