# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who sees packets for a target, on every link of a namespace at once (packet(7)).

A filter in the kernel lets through what goes to the target or comes from it, and errors about such packets: on a busy
host nothing else is copied.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import socket
import struct
import time
import typing as t
from dataclasses import dataclass

_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS, _SO_TIMESTAMPING = 26, 35, 37
_SOFTWARE = 1 << 3 | 1 << 4  # SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE
_TIME = struct.Struct("@ll")  # struct timespec
_PACKET_OUTGOING = 4
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_SKF_AD_PROTOCOL = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL
_LENGTH = 256
# Offsets from the IP header: source, destination, and the destination of a packet that an ICMP error quotes.
_OFFSETS = {4: (12, 16, 20 + 8 + 16), 6: (8, 24, 40 + 8 + 24)}


@dataclass(frozen=True)
class Packet:
    """One packet on one link. outgoing: it was sent by it. data: from the IP header on. at: seconds, as time.time."""

    link: str
    outgoing: bool
    data: bytes
    at: float = 0.0


class Packets(t.Protocol):
    """Something that has packets."""

    def packets(self) -> t.Iterator[Packet]:
        """Those that are there."""


def await_clock(patience: float = 0.2) -> None:
    """Wait until the kernel stamps packets, which it begins some time after somebody asks for it (socket(7)).

    Told by a packet on the loopback of the calling thread's namespace; where that is down, nobody waits.
    """
    give_up = time.monotonic() + patience
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as opened:
        opened.settimeout(patience / 4)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _SOFTWARE)
        with contextlib.suppress(OSError):
            opened.bind(("127.0.0.1", 0))
            while time.monotonic() < give_up:
                opened.sendto(b"\0", opened.getsockname())
                _data, told, _flags, _sender = opened.recvmsg(1, 128)
                if any(name == _SO_TIMESTAMPING for _level, name, _value in told):
                    return


class Tap:
    """Opened in the namespace of the calling thread."""

    def __init__(self, target: str) -> None:
        address = ipaddress.ip_address(target)
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._filter(address)
        except OSError:
            self.socket.close()
            raise
        # What came before the filter was there.
        for _packet in self.packets():
            pass

    def close(self) -> None:
        self.socket.close()

    def packets(self) -> t.Iterator[Packet]:
        """Those that are there."""
        while True:
            try:
                data, told, _flags, (link, _protocol, kind, *_rest) = self.socket.recvmsg(_LENGTH, 64)
            except BlockingIOError:
                return
            stamps = [_TIME.unpack(value) for _level, name, value in told if name == _SO_TIMESTAMPNS]
            at = stamps[0][0] + stamps[0][1] / 1e9 if stamps else 0.0
            yield Packet(link, kind == _PACKET_OUTGOING, data, at)

    def _filter(self, address: t.Any) -> None:
        words = [int.from_bytes(address.packed[i : i + 4], "big") for i in range(0, len(address.packed), 4)]
        code: list[tuple[int, int, int, int]] = [(_LOAD_WORD, 0, 0, _SKF_AD_PROTOCOL)]
        protocol = _ETH_P_IP if address.version == 4 else _ETH_P_IPV6
        blocks = [_comparison(offset, words) for offset in _OFFSETS[address.version]]
        size = sum(map(len, blocks))
        code.append((_JUMP_EQUAL, 0, size, protocol))
        for block in blocks:
            code += block
        code.append((_RETURN, 0, 0, 0))
        packed = b"".join(struct.pack("=HBBI", *item) for item in code)
        buffer = ctypes.create_string_buffer(packed)
        self.socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(buffer))
        )


def _comparison(offset: int, words: t.Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Accept where all words are there; go on behind this block where one is not, or the packet is too short."""
    code = []
    length = 2 * len(words) + 1
    for number, word in enumerate(words):
        code.append((_LOAD_WORD, 0, 0, offset + 4 * number))
        code.append((_JUMP_EQUAL, 0, length - 2 * number - 2, word))
    code.append((_RETURN, 0, 0, _LENGTH))
    return code
