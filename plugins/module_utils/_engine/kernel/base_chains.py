# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and base chains of nftables, among them those that iptables-nft makes for a rule and leaves behind empty.

They are read and removed by netlink: iptables-nft-save lists all base chains of a table, whether they are there or
not, and the program nft removes a table with whatever is in it. See linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import typing as t

from ..errors import KernelError
from ..model import Identity
from .conntrack import NETLINK_NETFILTER
from .netlink import ATTRIBUTE, Answer, Message, NetlinkSocket, attributes

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
_ALL_FAMILIES = {**FAMILIES, "inet": 1}  # NFPROTO_*
_FAMILY_NAMES = {number: name for name, number in _ALL_FAMILIES.items()}
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _DELTABLE, _GETCHAIN, _DELCHAIN, _GETGEN = 1, 2, 4, 5, 16  # NFT_MSG_*
_NONREC = 0x100  # NLM_F_NONREC: refused with EBUSY while something is in it
_TABLE_NAME, _CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE, _GEN_ID = 1, 1, 3, 4, 5, 7, 1  # NFTA_*
_HOOK_NUMBER = 1  # NFTA_HOOK_HOOKNUM
FORWARD, POSTROUTING = 2, 4  # NF_INET_*
ACCEPT = 1
_FAMILY, _BODY = 16, 20  # where nfgenmsg, after nlmsghdr, has the family, and where it ends
_ATTEMPTS = 5


class BaseChain(t.NamedTuple):
    """family: ip, ip6, inet, or "" for others. kind: filter, nat or route. policy: NF_DROP (0) or NF_ACCEPT (1)."""

    family: str
    table: str
    name: str
    kind: str
    hook: int
    policy: int


def may_hold(namespaces: Namespaces, netns: str, family: str, table: str) -> bool:
    """Whether a namespace may have a table. To ask the kernel spares a program that would find none."""
    return _answer(namespaces, netns, family, table) not in (errno.ENOENT, errno.EINVAL)


def supported(namespaces: Namespaces, netns: str) -> bool:
    """Whether the kernel has nf_tables. Without its module nfnetlink answers EINVAL (net/netfilter/nfnetlink.c)."""
    return _answer(namespaces, netns, "inet", "netpath_egress") != errno.EINVAL


def _answer(namespaces: Namespaces, netns: str, family: str, table: str) -> int:
    with contextlib.closing(_socket(namespaces, netns)) as opened:
        (answer,) = opened.request([_message(_GETTABLE, _ALL_FAMILIES[family], _encoded(_TABLE_NAME, table))])
    return answer.errno


def present(namespaces: Namespaces, netns: str) -> frozenset[Identity]:
    """Identities of all tables and base chains of IPv4 and IPv6 in a namespace."""
    opened = _socket(namespaces, netns)
    try:
        found: set[Identity] = set()
        for family, number in FAMILIES.items():
            for table in opened.dump(_message(_GETTABLE, number, b"")):
                found.add(("table", netns, family, _text(_attributes(table)[_TABLE_NAME])))
            found.update(("chain", netns, family, one.table, one.name) for one in _base_chains(opened, number))
        return frozenset(found)
    finally:
        opened.close()


def hooked(namespaces: Namespaces, netns: str, hook: int, kind: str) -> list[BaseChain]:
    """Chains of any table of IPv4, IPv6 or both that packets pass at a hook (FORWARD, POSTROUTING)."""
    with contextlib.closing(_socket(namespaces, netns)) as opened:
        try:
            found = list(_base_chains(opened, socket.AF_UNSPEC))
        except KernelError:
            # A kernel without nftables has no such chains.
            return []
    return [one for one in found if one.family and (one.hook, one.kind) == (hook, kind)]


def remove(namespaces: Namespaces, netns: str, identities: t.Collection[Identity]) -> None:
    """Remove those of the tables and base chains that nobody uses: without rules, and with the policy ACCEPT."""
    opened = _socket(namespaces, netns)
    try:
        for family, number in FAMILIES.items():
            chains = {identity[3:] for identity in identities if identity[0] == "chain" and identity[2] == family}
            _remove_chains(opened, number, chains)
            for identity in identities:
                if identity[0] == "table" and identity[2] == family:
                    name = _encoded(_TABLE_NAME, identity[3])
                    opened.transaction(_SUBSYSTEM, [_message(_DELTABLE, number, name, _NONREC)])
    finally:
        opened.close()


def _remove_chains(opened: NetlinkSocket, number: int, chains: t.Collection[tuple[str, ...]]) -> None:
    for _attempt in range(_ATTEMPTS if chains else 0):
        generation = _generation(opened)
        free = [
            (one.table, one.name)
            for one in _base_chains(opened, number)
            if one.policy == ACCEPT and (one.table, one.name) in chains
        ]
        # Each alone, so that one that is in use keeps no other.
        answers: list[Answer] = []
        for table, chain in free:
            body = _encoded(_CHAIN_TABLE, table) + _encoded(_CHAIN_NAME, chain)
            message = _message(_DELCHAIN, number, body, _NONREC)
            answers += opened.transaction(_SUBSYSTEM, [message], generation)
            generation = generation + 1 if not answers[-1].errno else generation
        if not any(answer.errno == errno.ERESTART for answer in answers):
            return


def _generation(opened: NetlinkSocket) -> int:
    """The number of the last change of any rules: a change that names an older one is refused with ERESTART."""
    (answer,) = opened.request([_message(_GETGEN, socket.AF_UNSPEC, b"")])
    if answer.errno or not answer.replies:
        raise KernelError("look at the tables of iptables-nft", "the kernel tells no generation", answer.errno)
    return int.from_bytes(_attributes(answer.replies[0])[_GEN_ID], "big")


def _base_chains(opened: NetlinkSocket, number: int) -> t.Iterator[BaseChain]:
    for reply in opened.dump(_message(_GETCHAIN, number, b"")):
        spans = attributes(reply, _BODY, len(reply))
        if _CHAIN_HOOK in spans:
            found = {kind: reply[slice(*place)] for kind, place in spans.items()}
            yield BaseChain(
                _FAMILY_NAMES.get(reply[_FAMILY], ""),
                _text(found[_CHAIN_TABLE]),
                _text(found[_CHAIN_NAME]),
                _text(found.get(_CHAIN_TYPE, b"")),
                int.from_bytes(_attributes(reply, spans[_CHAIN_HOOK])[_HOOK_NUMBER], "big"),
                int.from_bytes(found.get(_CHAIN_POLICY, b""), "big"),
            )


def _socket(namespaces: Namespaces, netns: str) -> NetlinkSocket:
    with namespaces.entered(netns):
        return NetlinkSocket(NETLINK_NETFILTER)


def _message(kind: int, number: int, body: bytes, flags: int = 0) -> Message:
    return Message(_SUBSYSTEM << 8 | kind, flags, struct.pack("=BBH", number, 0, 0) + body)


def _encoded(kind: int, text: str) -> bytes:
    data = text.encode() + b"\0"
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(data), kind) + data + b"\0" * (-len(data) % 4)


def _attributes(reply: bytes, span: tuple[int, int] | None = None) -> dict[int, bytes]:
    found = attributes(reply, *(span or (_BODY, len(reply))))
    return {kind: reply[slice(*place)] for kind, place in found.items()}


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode(errors="surrogateescape")
