# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of a namespace that wait for others to speak first, from /proc/net (proc(5))."""

from __future__ import annotations

import os
import socket
import struct
import typing as t
from dataclasses import dataclass

from ..rules import PortPlace
from .namespaces import Namespaces

_TABLES = {("tcp", 4): "tcp", ("tcp", 6): "tcp6", ("udp", 4): "udp", ("udp", 6): "udp6"}
# TCP_LISTEN, and for UDP a socket without a peer (TCP_CLOSE), in the kernel's net/tcp_states.h.
_WAITING = {"tcp": "0A", "udp": "07"}
_ESTABLISHED = "01"


def listening(namespaces: Namespaces, netns: str, places: t.Collection[PortPlace]) -> dict[PortPlace, str]:
    """Who listens on which of the places (family, protocol, port), in words; on loopback addresses nobody counts."""
    found: dict[PortPlace, tuple[str, str]] = {}
    with namespaces.entered(netns):
        for (protocol, family), table in _TABLES.items():
            for address, port, inode in _waiting(protocol, table):
                # A socket on "::" takes IPv4 as well, unless it was told not to, which is not in the table.
                for version in (4, 6) if address == "::" else (family,):
                    if (version, protocol, port) in places and not _is_loopback(address):
                        found.setdefault((version, protocol, port), (address, inode))
    owners = _owners({inode for _address, inode in found.values()}) if found else {}
    return {
        place: f"{owners.get(inode, 'a program that cannot be seen from here')} listens there, on {address}"
        for place, (address, inode) in found.items()
    }


def on_loopback_alone(namespaces: Namespaces, netns: str, protocol: str, port: int) -> str:
    """The loopback address on which somebody listens at a port, or "" where nobody does or it is not the only one."""
    with namespaces.entered(netns):
        tables = [table for (kind, _family), table in _TABLES.items() if kind == protocol]
        held = [address for table in tables for address, number, _inode in _waiting(protocol, table) if number == port]
    return held[0] if held and all(map(_is_loopback, held)) else ""


@dataclass(frozen=True)
class Connection:
    """The addresses of the other end and of this one."""

    peer: str
    local: str


def connections(namespaces: Namespaces, netns: str, command: str) -> list[Connection]:
    """TCP connections that somebody has opened to a program of that name, such as sshd or sshd-session."""
    found: dict[str, Connection] = {}
    with namespaces.entered(netns):
        for table in ("tcp", "tcp6"):
            for words in _sockets(table):
                ends = [_plain(_address(words[place].partition(":")[0])) for place in (2, 1)]
                if words[3] == _ESTABLISHED and not _is_loopback(ends[0]):
                    found[words[9]] = Connection(*ends)
    owners = _owners(found, command) if found else {}
    return list(dict.fromkeys(found[inode] for inode in owners))


def _plain(address: str) -> str:
    """An IPv4 address as such, also on a socket that takes both families."""
    return address.rpartition(":")[2] if address.startswith("::ffff:") else address


def _waiting(protocol: str, table: str) -> t.Iterator[tuple[str, int, str]]:
    """(address, port, inode) of each socket that waits."""
    for words in _sockets(table):
        address, _colon, port = words[1].partition(":")
        if words[3] == _WAITING[protocol]:
            yield _address(address), int(port, 16), words[9]


def _sockets(table: str) -> t.Iterator[list[str]]:
    """The words of each line: number, local end, other end, state and so on."""
    try:
        with open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
            lines = file.readlines()[1:]
    except OSError:
        return
    yield from (line.split() for line in lines)


def _address(text: str) -> str:
    """From hexadecimal words in the order of this machine."""
    packed = b"".join(struct.pack("=I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _owners(inodes: t.Collection[str], start: str = "") -> dict[str, str]:
    """{inode of a socket: command and PID of a process that has it open}, of commands that start so."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, str] = {}
    for pid in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                command = file.read().strip()
            descriptors = os.listdir(f"/proc/{pid}/fd") if command.startswith(start) else []
            links = [os.readlink(f"/proc/{pid}/fd/{name}") for name in descriptors]
        except OSError:
            continue
        for link in links:
            if link in wanted:
                found.setdefault(wanted[link], f"{command} (PID {pid})")
    return found
