# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule decides about a packet: the kernel's own trace of it through the chains of nftables (nft(8), nftrace).

The rule that asks for it is in a table that belongs to the program nft: with that process it goes, whatever happens.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import struct
import subprocess
import time
import typing as t
from dataclasses import dataclass

from ..model import HOST
from . import nft
from .conntrack import NETLINK_NETFILTER
from .namespaces import Namespaces
from .netlink import attributes

_NFNLGRP_NFTRACE = 9
_TRACE = 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _FAMILY = 1, 2, 3, 4, 5, 15  # NFTA_TRACE_*
_CODE = 1  # NFTA_VERDICT_CODE
_DROP, _BY_RULE = 0, 3  # NF_DROP, NFT_TRACETYPE_RULE
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
_BODY = 20
_PATIENCE = 2.0  # seconds for nft to have the rule in place
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


def drops(namespaces: Namespaces, matches: t.Sequence[str], send: t.Callable[[], object]) -> Ruling | None:
    """Who drops what fits one of the matches, in nft's words, while send sends it; None where no chain does."""
    program = shutil.which("nft", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if program is None:
        return None
    with contextlib.ExitStack() as stack:
        events = stack.enter_context(_events())
        if not stack.enter_context(_traced(program, matches)):
            return None
        send()
        found = _dropped(events)
    return _worded(namespaces, *found) if found else None


@contextlib.contextmanager
def _traced(program: str, matches: t.Sequence[str]) -> t.Iterator[bool]:
    """Whether packets are traced while the block runs."""
    table = f"netpath_trace_{os.getpid()}"
    rules = "".join(
        f"add rule inet {table} early {match} limit rate 100/second meta nftrace set 1\n" for match in matches
    )
    script = (
        f"add table inet {table} {{ flags owner; }}\n"
        f"add chain inet {table} early {{ type filter hook prerouting priority -400; }}\n{rules}"
        f"list table inet {table}\n"
    )
    process = subprocess.Popen(
        [program, "-i"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        # Where it keeps what was typed; there is no such folder.
        env={**os.environ, "HOME": os.devnull},
    )
    # With stdin the table goes too.
    with process:
        asked, told = t.cast("tuple[t.IO[bytes], t.IO[bytes]]", (process.stdin, process.stdout))
        # One that ends at once, for want of a right or a library, reads nothing.
        with contextlib.suppress(BrokenPipeError):
            asked.write(script.encode())
        yield _is_ready(told)


def _is_ready(output: t.IO[bytes]) -> bool:
    give_up = time.monotonic() + _PATIENCE
    said = b""
    while b"nftrace set 1" not in said and select.select([output], [], [], max(0.0, give_up - time.monotonic()))[0]:
        data = os.read(output.fileno(), 4096)
        if not data:
            return False
        said += data
    return b"nftrace set 1" in said


@contextlib.contextmanager
def _events() -> t.Iterator[socket.socket]:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER) as opened:
        opened.bind((0, 1 << (_NFNLGRP_NFTRACE - 1)))
        yield opened


def _dropped(events: socket.socket) -> tuple[str, str, str, int] | None:
    """(family, table, chain, handle of the rule or 0) of the first that drops."""
    while select.select([events], [], [], _SETTLE)[0]:
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


def _worded(namespaces: Namespaces, family: str, table: str, chain: str, handle: int) -> Ruling:
    if not handle:
        return Ruling(family, table, chain, "its policy is drop")
    done = nft.run(
        namespaces, HOST, "look at a rule that drops", ["list", "chain", family, table, chain], style=("-a",)
    )
    for line in done.stdout.splitlines():
        rule, _hash, number = line.partition(" # handle ")
        if number.strip() == str(handle):
            return Ruling(family, table, chain, rule.strip())
    return Ruling(family, table, chain, f"its rule with the handle {handle}")
