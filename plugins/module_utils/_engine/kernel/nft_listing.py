# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a table of nftables holds, read by netlink: the elements of its sets, and a digest of all the rest.

The program nft lists one rule in other words from version to version. The kernel does not, so that the digest of what
was written tells whether anything was changed since. See linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
import struct
import typing as t
from dataclasses import dataclass, field

from ..errors import KernelError
from .attributes import attribute, attributes
from .conntrack import NETLINK_NETFILTER
from .netlink import Message, NetlinkSocket, kernel_error

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

FAMILIES = {"inet": 1, "bridge": 7}  # NFPROTO_*
# In it is one rule, whose comment is the digest of all others.
SEAL = "seal"
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _GETCHAIN, _GETRULE, _GETSET, _GETSETELEM = 1, 4, 7, 10, 13  # NFT_MSG_*
_TABLE_FLAGS = 2  # NFTA_TABLE_*
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7  # NFTA_CHAIN_*
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7  # NFTA_RULE_*
_EXPR_NAME, _EXPR_DATA = 1, 2  # NFTA_EXPR_*
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_KEY_LEN, _SET_DATA_LEN = 1, 2, 3, 5, 7  # NFTA_SET_*
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*
_KEY, _DATA, _FLAGS, _USERDATA, _KEY_END = 1, 2, 3, 6, 10  # NFTA_SET_ELEM_*
_VALUE = 1  # NFTA_DATA_VALUE
_ANONYMOUS, _INTERVAL_END = 1, 1  # NFT_SET_ANONYMOUS, NFT_SET_ELEM_INTERVAL_END
_COMMENT = 0  # the type of a comment in user data, of rules and of elements alike (libnftnl)
# No such table, or a kernel without nftables.
_NONE = (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
_BODY = 20  # where the attributes begin, after nlmsghdr and nfgenmsg


@dataclass(frozen=True)
class Element:
    """One of a set. key, until: bytes of the first and the last key.

    ends: it is no element, but the first key after an interval. data: of a map, what it leads to, encoded.
    """

    key: bytes
    until: bytes = b""
    comment: str = ""
    ends: bool = False
    data: bytes = b""


@dataclass(frozen=True)
class Listing:
    """digest: of all but named sets' elements. seal: what was written down as that."""

    digest: str
    seal: str
    elements: t.Mapping[str, t.Sequence[Element]] = field(default_factory=dict)


def read(namespaces: Namespaces, netns: str, family: str, table: str) -> Listing | None:
    """None where there is no such table. Errors: KernelError."""
    with namespaces.entered(netns):
        opened = NetlinkSocket(NETLINK_NETFILTER)
    with contextlib.closing(opened):
        return _Reader(opened, FAMILIES[family], table).listing()


class _Reader:
    def __init__(self, opened: NetlinkSocket, family: int, table: str) -> None:
        self._opened = opened
        self._family = family
        self._table = table.encode() + b"\0"

    def listing(self) -> Listing | None:
        (answer,) = self._opened.request([self._message(_GETTABLE, attribute(1, self._table))])
        if answer.errno in _NONE:
            return None
        if answer.errno:
            raise kernel_error("read a table of nftables", answer)
        flags = dict(attributes(answer.replies[0][_BODY:])).get(_TABLE_FLAGS, b"")
        digest = hashlib.sha256(flags)
        for chain in sorted(self._chains()):
            digest.update(repr(chain).encode())
        seal = ""
        for name, expressions, comment in self._rules():
            if name == SEAL:
                seal = comment
            else:
                digest.update(repr((name, expressions)).encode())
        named: dict[str, t.Sequence[Element]] = {}
        for name, kind, anonymous in sorted(self._sets()):
            digest.update(repr((name, kind)).encode())
            found = self._elements(name)
            if anonymous:
                digest.update(repr(sorted(found, key=lambda one: one.key)).encode())
            else:
                named[name] = found
        return Listing(digest.hexdigest()[:32], seal, named)

    def _message(self, kind: int, body: bytes = b"") -> Message:
        return Message(_SUBSYSTEM << 8 | kind, 0, struct.pack("=BBH", self._family, 0, 0) + body)

    def _dump(self, kind: int, body: bytes = b"") -> t.Iterator[dict[int, bytes]]:
        try:
            replies = self._opened.dump(self._message(kind, body))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            return  # the table went meanwhile
        for reply in replies:
            found = dict(attributes(reply[_BODY:]))
            # In all of these messages the first attribute is the name of the table.
            if found.get(1) == self._table:
                yield found

    def _chains(self) -> t.Iterator[tuple[str, bytes, bytes, str]]:
        for found in self._dump(_GETCHAIN):
            hook = found.get(_CHAIN_HOOK, b"")
            yield _text(found[_CHAIN_NAME]), hook, found.get(_CHAIN_POLICY, b""), _text(found.get(_CHAIN_TYPE, b""))

    def _rules(self) -> t.Iterator[tuple[str, list[tuple[str, bytes]], str]]:
        """(chain, expressions, comment) of each rule, in order."""
        for found in self._dump(_GETRULE, attribute(_RULE_TABLE, self._table)):
            expressions = []
            for _kind, body in attributes(found.get(_RULE_EXPRESSIONS, b"")):
                parts = dict(attributes(body))
                name = _text(parts[_EXPR_NAME])
                # What a counter has counted is no part of the rule.
                expressions.append((name, b"" if name == "counter" else parts.get(_EXPR_DATA, b"")))
            yield _text(found[_RULE_CHAIN]), expressions, _comment(found.get(_RULE_USERDATA, b""))

    def _sets(self) -> t.Iterator[tuple[str, tuple[bytes, ...], bool]]:
        for found in self._dump(_GETSET, attribute(_SET_TABLE, self._table)):
            kind = tuple(found.get(part, b"") for part in (_SET_FLAGS, _SET_KEY_LEN, _SET_DATA_LEN))
            yield _text(found[_SET_NAME]), kind, bool(int.from_bytes(kind[0], "big") & _ANONYMOUS)

    def _elements(self, name: str) -> list[Element]:
        asked = attribute(_LIST_TABLE, self._table) + attribute(_LIST_SET, name.encode() + b"\0")
        return [
            _element(dict(attributes(body)))
            for found in self._dump(_GETSETELEM, asked)
            for _kind, body in attributes(found.get(_LIST_ELEMENTS, b""))
        ]


def _element(found: t.Mapping[int, bytes]) -> Element:
    return Element(
        _value(found.get(_KEY, b"")),
        _value(found.get(_KEY_END, b"")),
        _comment(found.get(_USERDATA, b"")),
        bool(int.from_bytes(found.get(_FLAGS, b""), "big") & _INTERVAL_END),
        found.get(_DATA, b""),
    )


def _value(nested: bytes) -> bytes:
    return dict(attributes(nested)).get(_VALUE, b"")


def _comment(userdata: bytes) -> str:
    """Of user data, which are one byte for the type, one for the length, and so many."""
    at = 0
    while at + 2 <= len(userdata):
        kind, length = userdata[at], userdata[at + 1]
        if kind == _COMMENT:
            return _text(userdata[at + 2 : at + 2 + length])
        at += 2 + length
    return ""


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode(errors="surrogateescape")


def interface(name: str) -> bytes:
    """The name of an interface as the kernel compares it."""
    return name.encode().ljust(16, b"\0")


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
