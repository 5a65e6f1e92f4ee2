# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule decides about a packet: the kernel's own trace of it through the chains of nftables (nft(8), nftrace)."""

from __future__ import annotations

import contextlib
import socket
import struct
import typing as t
from dataclasses import dataclass

from ..errors import UnsupportedError
from ..model import HOST
from . import nft
from .conntrack import NETLINK_NETFILTER
from .namespaces import Namespaces
from .netlink import attributes
from .readiness import await_sockets
from .trace_table import Match, traced

_NFNLGRP_NFTRACE = 9
_TRACE = 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _FAMILY = 1, 2, 3, 4, 5, 15  # NFTA_TRACE_*
_CODE = 1  # NFTA_VERDICT_CODE
_DROP, _BY_RULE = 0, 3  # NF_DROP, NFT_TRACETYPE_RULE
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_BODY = 20
_SETTLE = 0.2  # seconds in which the events of a packet that is gone still come


@dataclass(frozen=True)
class Ruling:
    """A chain that dropped the packet: its family, table and name, and the rule, or its policy."""

    family: str
    table: str
    chain: str
    rule: str

    def __str__(self) -> str:
        return f"the nftables chain {self.family} {self.table} {self.chain} drops it: {self.rule}"


class UntraceableError(Exception):
    """The kernel cannot trace packets for one process alone."""


def drops(
    namespaces: Namespaces,
    matches: t.Sequence[Match],
    send: t.Callable[[], object],
    devices: t.Sequence[str] = (),
    netns: str = HOST,
) -> Ruling | None:
    """Who in a namespace drops what fits one of the matches, while send sends it; None where no chain does.

    devices: links that it arrives by. Errors: UntraceableError.
    """
    with _events(namespaces, netns) as events, traced(namespaces, netns, matches, devices) as ready:
        send()
        found = _dropped(events)
        if not ready and not found:
            raise UntraceableError
    return _worded(namespaces, netns, *found) if found else None


@contextlib.contextmanager
def _events(namespaces: Namespaces, netns: str) -> t.Iterator[socket.socket]:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with namespaces.entered(netns):
        opened = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
    with opened:
        opened.bind((0, 1 << (_NFNLGRP_NFTRACE - 1)))
        yield opened


def _dropped(events: socket.socket) -> tuple[str, str, str, int] | None:
    """(family, table, chain, handle of the rule or 0) of the first that drops."""
    while await_sockets([events], _SETTLE):
        with contextlib.suppress(OSError):
            data = events.recv(1 << 16)
            length, kind = struct.unpack_from("=IH", data)
            if kind == _TRACE and (found := _parse(data[:length])):
                return found
    return None


def _parse(data: bytes) -> tuple[str, str, str, int] | None:
    found = {kind: data[slice(*span)] for kind, span in attributes(data, _BODY, len(data)).items()}
    policy = found.get(16)  # NFTA_TRACE_POLICY
    verdict = attributes(found.get(_VERDICT, b""), 0, len(found.get(_VERDICT, b"")))
    code = found[_VERDICT][slice(*verdict[_CODE])] if _CODE in verdict else policy
    if code is None or int.from_bytes(code, "big") != _DROP or _TABLE not in found:
        return None
    by_rule = int.from_bytes(found.get(_TYPE, b""), "big") == _BY_RULE
    handle = int.from_bytes(found.get(_HANDLE, b""), "big") if by_rule else 0
    table, chain = (found[kind].split(b"\0")[0].decode(errors="replace") for kind in (_TABLE, _CHAIN))
    return _FAMILIES.get(data[16], str(data[16])), table, chain, handle


def _worded(namespaces: Namespaces, netns: str, family: str, table: str, chain: str, handle: int) -> Ruling:
    if not handle:
        return Ruling(family, table, chain, "its policy is drop")
    listed = ""
    # Without the program the rule has its number alone.
    with contextlib.suppress(UnsupportedError):
        where = ["list", "chain", family, table, chain]
        listed = nft.run(namespaces, netns, "look at a rule that drops", where, style=("-a",)).stdout
    for line in listed.splitlines():
        rule, _hash, number = line.partition(" # handle ")
        if number.strip() == str(handle):
            return Ruling(family, table, chain, rule.strip())
    return Ruling(family, table, chain, f"its rule with the handle {handle}")
