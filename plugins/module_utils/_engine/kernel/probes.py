# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One marked packet from a namespace to a target, and where it was seen on its way there and back."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import time
import typing as t
from dataclasses import dataclass, field

from ..model import HOST
from .namespaces import Namespaces
from .readiness import await_sockets
from .taps import Packet, Packets, Tap, await_clock

_ECHO = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_ERRORS = {4: (3, 5, 11, 12), 6: (1, 2, 3, 4)}
# Those by which filters reject, as (type, code).
_REJECTIONS = {4: {(3, code) for code in (0, 1, 2, 3, 9, 10, 13)}, 6: {(1, code) for code in range(7)}}
_ICMP = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_HEADER = {4: 20, 6: 40}
_MTU_DISCOVER = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}
_PMTUDISC_PROBE = 3  # DF, whatever path MTU the kernel remembers
_TOKEN = 16
DNS_PORT = 53
_WHOLE = 96  # bytes of a packet behind its IP header, of those that are sent
_PLACES = ("inside", "host", "peer")  # in which a packet passes them


@dataclass(frozen=True)
class Target:
    """Where packets go. protocol: icmp, tcp or udp; port 0 with icmp. somebody: who may be expected to answer.

    named: by a person; one that is asked for want of that may keep silent.
    """

    address: str
    protocol: str = "icmp"
    port: int = 0
    somebody: bool = True
    named: bool = True

    @property
    def family(self) -> int:
        return 6 if ":" in self.address else 4

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.family == 6 and self.port else self.address
        return f"{self.protocol} {host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True)
class Sight:
    """The packet on one link. place: "inside" or "host"; back: an answer. source: where it says that it comes from.

    error: of ICMP, that somebody sent about it; rejects: it is one of those by which filters reject.
    at: seconds since it was sent, by the kernel's clock.
    """

    place: str
    link: str
    outgoing: bool
    back: bool
    source: str
    error: str = ""
    destination: str = ""
    at: float = field(default=0.0, compare=False)
    rejects: bool = False


@dataclass
class Trace:
    """answered: an answer reached the socket. error: what the kernel said to the one who sent it.

    number: source port, or identifier of the echo request. source: the address that it was sent from.
    """

    answered: bool = False
    refused: bool = False
    number: int = 0
    source: str = ""
    error: str = ""
    sights: list[Sight] = field(default_factory=list)
    watch: t.Callable[[Sight], None] | None = field(default=None, compare=False)

    def first(self, place: str, link: str = "", back: bool = False, outgoing: bool | None = None) -> Sight | None:
        for sight in self.sights:
            same = sight.place == place and sight.back == back and not sight.error
            if same and link in ("", sight.link) and outgoing in (None, sight.outgoing):
                return sight
        return None


def send(
    namespaces: Namespaces,
    netns: str,
    target: Target,
    patience: float = 1.0,
    size: int = 0,
    peer: str = "",
    watch: t.Callable[[Sight], None] | None = None,
) -> Trace:
    """Send it and watch it, until the answer is there or patience, in seconds, ends.

    size: in bytes with the IP header, then not to be fragmented (icmp alone). peer: a namespace to watch in as well.
    watch: is called with each sight as it happens.

    Errors: OSError where a socket cannot be opened, which says nothing of the network. What the network answers to the
    packet, such as EHOSTUNREACH, is trace.error.
    """
    trace = Trace(watch=watch)
    with contextlib.ExitStack() as opened:
        taps = {"host": opened.enter_context(contextlib.closing(_tap(namespaces, HOST, target)))}
        if peer:
            taps["peer"] = opened.enter_context(contextlib.closing(_tap(namespaces, peer, target)))
        if netns != HOST:
            taps["inside"] = opened.enter_context(contextlib.closing(_tap(namespaces, netns, target)))
        with namespaces.entered(netns):
            if watch:
                await_clock()
            sender = opened.enter_context(contextlib.closing(_opened(target, size)))
            try:
                _exchange(sender, target, taps, trace, patience, size)
            except OSError as error:
                trace.error = os.strerror(error.errno or 0)
    return trace


def _tap(namespaces: Namespaces, netns: str, target: Target) -> Tap:
    with namespaces.entered(netns):
        return Tap(target.address)


def _opened(target: Target, size: int) -> socket.socket:
    family = socket.AF_INET6 if target.family == 6 else socket.AF_INET
    kinds = {"icmp": socket.SOCK_RAW, "udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    protocol = _ICMP[target.family] if target.protocol == "icmp" else 0
    opened = socket.socket(family, kinds[target.protocol] | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    if size:
        opened.setsockopt(*_MTU_DISCOVER[target.family], _PMTUDISC_PROBE)
    return opened


def _exchange(
    sender: socket.socket, target: Target, taps: dict[str, Tap], trace: Trace, patience: float, size: int
) -> None:
    token = os.urandom(_TOKEN)
    give_up = time.monotonic() + patience
    flow = Flow(target, token, time.time())
    with contextlib.suppress(BlockingIOError):
        sender.connect((target.address, target.port))
    if target.protocol == "tcp":
        flow.port = sender.getsockname()[1]
    trace.source = sender.getsockname()[0]
    trace.number = int.from_bytes(token[:2], "big") if target.protocol == "icmp" else sender.getsockname()[1]
    if target.protocol != "tcp":
        sender.send(_message(target, token, size))
    watched = [sender, *(tap.socket for tap in taps.values())]
    while not trace.answered and time.monotonic() < give_up:
        wanted = [sender] if target.protocol == "tcp" else []
        ready = await_sockets(watched, give_up - time.monotonic(), wanted)
        look(taps, flow, trace)
        if sender in ready and _is_over(sender, target, token, trace):
            break
    look(taps, flow, trace)


def _is_over(sender: socket.socket, target: Target, token: bytes, trace: Trace) -> bool:
    """Whether the sender's socket has an answer, or an error that ends it."""
    if target.protocol == "tcp":
        code = sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        # A refusal is an answer: the packet was there and back.
        trace.refused = code == errno.ECONNREFUSED
        trace.answered = trace.refused or not code
        trace.error = "" if trace.answered else os.strerror(code)
        return True
    try:
        data = sender.recv(2048)
    except BlockingIOError:
        return False
    except OSError as error:
        trace.answered = trace.refused = error.errno == errno.ECONNREFUSED
        trace.error = "" if trace.answered else os.strerror(error.errno or 0)
        return True
    if target.protocol == "icmp":
        message = data if target.family == 6 else data[(data[0] & 0x0F) * 4 :]
        trace.answered = message[0] == _REPLY[target.family] and token in message
    else:
        trace.answered = True
    return trace.answered


def _message(target: Target, token: bytes, size: int) -> bytes:
    if target.protocol == "udp":
        return dns_question(token) if target.port == DNS_PORT else token
    identifier = int.from_bytes(token[:2], "big")
    body = (struct.pack("!HH", identifier, 1) + token).ljust(size - _HEADER[target.family] - 4, b"\0")
    if target.family == 6:
        return struct.pack("!BBH", _ECHO[6], 0, 0) + body
    return struct.pack("!BBH", _ECHO[4], 0, _checksum(struct.pack("!BBH", _ECHO[4], 0, 0) + body)) + body


def dns_question(token: bytes) -> bytes:
    """For the name servers of the root (RFC 1035), with the token as padding (RFC 7830): any resolver has an answer."""
    header = struct.pack("!2sHHHHH", token[:2], 0x0100, 1, 0, 0, 1)
    option = struct.pack("!HH", 12, len(token)) + token
    return header + struct.pack("!BHH", 0, 2, 1) + struct.pack("!BHHIH", 0, 41, 1232, 0, len(option)) + option


def _checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def look(taps: t.Mapping[str, Packets], flow: Flow, trace: Trace) -> None:
    """In the order in which the kernel saw them, whichever tap has them.

    Its clock for packets starts a moment after it is asked for; until then a packet has the time at which it is read.
    """
    packets = [(place, packet) for place in _PLACES if place in taps for packet in taps[place].packets()]
    packets.sort(key=lambda item: item[1].at)
    known = flow.known
    sights = [flow.sight(place, packet) for place, packet in packets]
    if flow.known != known:
        # An answer with the kernel's time may stand before the question with that of reading.
        sights = [flow.sight(place, packet) for place, packet in packets]
    for sight in sights:
        if sight and sight not in trace.sights:
            trace.sights.append(sight)
            if trace.watch:
                trace.watch(sight)


class Flow:
    """Tells the packets of one probe from others of the same target, however their addresses were changed."""

    def __init__(self, target: Target, token: bytes, sent: float) -> None:
        self.target = target
        self.token = token
        self.sent = sent
        self.port = 0
        self.ports: set[int] = set()
        self.sequence: int | None = None

    @property
    def known(self) -> tuple[int | None, int]:
        """What was learned from questions, by which answers are told."""
        return self.sequence, len(self.ports)

    def sight(self, place: str, packet: Packet) -> Sight | None:
        data, version = packet.data, self.target.family
        if len(data) < _HEADER[version] + 8 or data[0] >> 4 != version:
            return None
        size = (data[0] & 0x0F) * 4 if version == 4 else _HEADER[6]
        # Taps see what the kernel would refuse as well.
        if size < _HEADER[version] or len(data) < size + 8:
            return None
        protocol = data[9] if version == 4 else data[6]
        ends = (data[12:16], data[16:20]) if version == 4 else (data[8:24], data[24:40])
        source, destination = (str(ipaddress.ip_address(end)) for end in ends)
        back = source == self.target.address
        if protocol == _ICMP[version] and data[size] in _ERRORS[version]:
            return self._error(place, packet, (source, destination), size)
        if not back and destination != self.target.address:
            return None
        if not self._is_ours(data[size:], protocol, back):
            return None
        at = packet.at - self.sent
        return Sight(place, packet.link, packet.outgoing, back, source, destination=destination, at=at)

    def _is_ours(self, rest: bytes, protocol: int, back: bool) -> bool:
        if self.target.protocol == "tcp":
            return protocol == socket.IPPROTO_TCP and len(rest) >= 12 and self._same_connection(rest, back)
        if self.target.protocol == "udp":
            return protocol == socket.IPPROTO_UDP and self._same_ports(rest, back)
        return self.token in rest

    def _same_ports(self, rest: bytes, back: bool) -> bool:
        """What comes back goes to a port from which the token was seen to go, translated or not."""
        source, destination = struct.unpack_from("!HH", rest)
        if back:
            return bool(source == self.target.port and destination in self.ports)
        if destination == self.target.port and self.token in rest:
            self.ports.add(source)
            return True
        return False

    def _same_connection(self, rest: bytes, back: bool) -> bool:
        """By the sequence number, which translation leaves alone."""
        source, destination, sequence, acknowledged = struct.unpack_from("!HHII", rest)
        if back:
            return bool(source == self.target.port and self.sequence and acknowledged == self.sequence + 1)
        if destination == self.target.port and self.sequence is None and source == self.port:
            self.sequence = sequence
        return bool(destination == self.target.port and sequence == self.sequence)

    def _quotes_ours(self, quoted: bytes) -> bool:
        """By what routers quote behind the header, which is eight bytes at least."""
        if self.target.protocol == "tcp":
            return len(quoted) < 8 or self.sequence is None or int.from_bytes(quoted[4:8], "big") == self.sequence
        return len(quoted) < _WHOLE or self.token in quoted

    def _error(self, place: str, packet: Packet, ends: tuple[str, str], size: int) -> Sight | None:
        """An error that quotes the probe."""
        version = self.target.family
        quoted = packet.data[size + 8 :]
        inner = quoted[16:20] if version == 4 else quoted[24:40]
        if inner != ipaddress.ip_address(self.target.address).packed:
            return None
        if not self._quotes_ours(quoted[_HEADER[version] :]):
            return None
        kind, code = packet.data[size], packet.data[size + 1]
        error = f"ICMP type {kind}, code {code}"
        source, destination = ends
        at, rejects = packet.at - self.sent, (kind, code) in _REJECTIONS[version]
        return Sight(place, packet.link, packet.outgoing, True, source, error, destination, at, rejects)
