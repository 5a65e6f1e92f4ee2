# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A route netlink socket that stays in the namespace in which it was opened.

The socket is our own so that many requests go in one send, each with its own answer, and so that the kernel's own words
(extended acknowledgements) reach the user. message_layout.py encodes what is sent.
See rtnetlink(7), netlink(7).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import threading
import typing as t

from ..errors import KernelError

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP = 0x1, 0x4, 0x8, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP_INTR, NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
NLMSGERR_ATTR_MSG = 1
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_BATCH_GENID = 0x10, 0x11, 1
NLA_TYPE_MASK = 0x3FFF
ATTRIBUTE = struct.Struct("=HH")
# Answers wait in the socket's buffer until the whole send was worked off, and that buffer is finite.
BATCH = 40
# Bytes that the kernel sends at once, and some more: a link has lists of up to 64 KiB, such as its alternative names.
_LONGEST = 1 << 20
_buffers = threading.local()
_HEADER, _ERROR = struct.Struct("=IHHII"), struct.Struct("=i")


Span = tuple[int, int]
Spans = dict[int, Span]


class Message(t.NamedTuple):
    """One request: a message type (RTM_*), its flags besides REQUEST, and the encoded body."""

    type: int
    flags: int
    body: bytes


class Answer(t.NamedTuple):
    """What came back for one request: errno 0 or an error with the kernel's words, and reply bodies with header."""

    errno: int
    text: str
    replies: tuple[bytes, ...] = ()


def attributes(data: bytes, start: int, end: int, until: int = -1) -> Spans:
    """Start and end of each netlink attribute's value, by type; up to a type after which nothing is of interest."""
    found = {}
    unpack = ATTRIBUTE.unpack_from
    while start + 4 <= end:
        length, kind = unpack(data, start)
        if length < 4:
            break
        kind &= NLA_TYPE_MASK
        found[kind] = (start + 4, start + length)
        if kind == until:
            break
        start += (length + 3) & ~3
    return found


def address_text(address: bytes) -> str:
    """An address of IPv4 or IPv6 in its canonical form (RFC 5952)."""
    text = socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)
    # The C library writes some IPv6 addresses with an IPv4 one at their end.
    return str(ipaddress.IPv6Address(address)) if ":" in text and "." in text else text


class NetlinkSocket:
    """protocol: NETLINK_ROUTE (0) or another netlink family."""

    def __init__(self, protocol: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
                self._socket.setsockopt(SOL_NETLINK, option, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def request(self, messages: t.Sequence[Message]) -> list[Answer]:
        """Send all, and return each one's answer in order. The kernel works off every message, also after an error."""
        answers: list[Answer] = []
        for start in range(0, len(messages), BATCH):
            answers += self._exchange(messages[start : start + BATCH])
        return answers

    def dump(self, message: Message) -> list[bytes]:
        """All replies of a dump; repeated where a concurrent change interrupted it."""
        for _attempt in range(10):
            self._send([Message(message.type, message.flags | NLM_F_DUMP, message.body)], ack=False)
            answer, interrupted = self._collect_dump()
            if answer.errno:
                raise kernel_error("read by netlink", answer)
            if not interrupted:
                return list(answer.replies)
        raise KernelError("read by netlink", "the dump was interrupted ten times", errno.EINTR, "Try again")

    def transaction(self, subsystem: int, messages: t.Sequence[Message], generation: int = 0) -> list[Answer]:
        """The same of a subsystem of netfilter, all or nothing; ERESTART if rules are of a later generation."""
        bounds = struct.pack(">BBH", 0, 0, subsystem)
        expected = struct.pack("=HH", 8, NFNL_BATCH_GENID) + struct.pack(">I", generation) if generation else b""
        begin = Message(NFNL_MSG_BATCH_BEGIN, 0, bounds + expected)
        acknowledged = [Message(message.type, message.flags | NLM_F_ACK, message.body) for message in messages]
        first = self._send([begin, *acknowledged, Message(NFNL_MSG_BATCH_END, 0, bounds)], ack=False)
        answers: dict[int, Answer] = {}
        while len(answers) < len(messages):
            for kind, flags, sequence, data in self._receive():
                if kind == NLMSG_ERROR and sequence == first:
                    return [Answer(*_error(data, flags)) for _message in messages]
                if kind == NLMSG_ERROR and first < sequence <= first + len(messages):
                    answers[sequence] = Answer(*_error(data, flags))
        return [answers[sequence] for sequence in sorted(answers)]

    def _exchange(self, messages: t.Sequence[Message]) -> list[Answer]:
        """Only the last is to be acknowledged: the kernel works in order, and tells of errors in any case."""
        first = self._send(messages, ack=True)
        replies: dict[int, list[bytes]] = {}
        errors: dict[int, tuple[int, str]] = {}
        last = len(messages) - 1
        while last not in errors:
            for kind, flags, sequence, data in self._receive():
                index = sequence - first
                if not 0 <= index <= last:
                    continue
                if kind == NLMSG_ERROR:
                    errors[index] = _error(data, flags)
                else:
                    replies.setdefault(index, []).append(data)
        none = (0, "")
        return [Answer(*errors.get(index, none), tuple(replies.get(index, ()))) for index in range(len(messages))]

    def _collect_dump(self) -> tuple[Answer, bool]:
        replies: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, sequence, data in self._receive():
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind == NLMSG_ERROR:
                    code, text = _error(data, flags)
                    return Answer(code, text), False
                if kind == NLMSG_DONE:
                    return Answer(0, "", tuple(replies)), interrupted
                replies.append(data)

    def _send(self, messages: t.Sequence[Message], ack: bool) -> int:
        """ack: of the last. Returns the number of the first."""
        first, last = self._sequence + 1, len(messages) - 1
        parts: list[bytes] = []
        for index, (kind, flags, body) in enumerate(messages):
            asked = flags | NLM_F_REQUEST | (NLM_F_ACK if ack and index == last else 0)
            parts += (_HEADER.pack(_HEADER.size + len(body), kind, asked, first + index, 0), body)
            if len(body) % 4:
                parts.append(b"\0" * (-len(body) % 4))
        self._sequence += len(messages)
        self._socket.send(b"".join(parts))
        return first

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        data = _received(self._socket)
        size, unpack = len(data), _HEADER.unpack_from
        found, offset = [], 0
        while offset + 16 <= size:
            length, kind, flags, sequence, _port = unpack(data, offset)
            found.append((kind, flags, sequence, data[offset : offset + length]))
            offset += (length + 3) & ~3
        return found


def _received(opened: socket.socket) -> bytes:
    """One datagram. Errors: KernelError for one that is cut."""
    buffer: bytearray | None = getattr(_buffers, "one", None)
    if buffer is None:
        buffer = _buffers.one = bytearray(_LONGEST)
    size = opened.recv_into(buffer, 0, socket.MSG_TRUNC)
    if size > _LONGEST:
        raise KernelError("read by netlink", f"an answer has {size} bytes, and {_LONGEST} are read", errno.EMSGSIZE)
    return bytes(memoryview(buffer)[:size])


def _error(data: bytes, flags: int) -> tuple[int, str]:
    """errno and the kernel's words of an NLMSG_ERROR message."""
    code = -_ERROR.unpack_from(data, _HEADER.size)[0]
    if not flags & NLM_F_ACK_TLVS:
        return code, ""
    offset = _HEADER.size + 4 + _HEADER.size
    if not flags & NLM_F_CAPPED:
        offset += struct.unpack_from("=I", data, _HEADER.size + 4)[0] - _HEADER.size
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        if kind == NLMSGERR_ATTR_MSG:
            return code, data[offset + 4 : offset + length].split(b"\0")[0].decode(errors="replace")
        offset += (length + 3) & ~3
    return code, ""


def kernel_error(asked: str, answer: Answer) -> KernelError:
    """An answer that is an error, in words."""
    name = errno.errorcode.get(answer.errno, str(answer.errno))
    detail = f" ({answer.text})" if answer.text else ""
    return KernelError(asked, f"the kernel says {name}, {os.strerror(answer.errno)}{detail}", answer.errno)
