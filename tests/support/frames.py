"""Frames as root in a namespace can write them, and a witness that says which of them went past a link.

Layouts: RFC 791, 826, 2131, 4861, 8200, 8415.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
import typing as t

from tests.lab.settling import inside

# In data of packets that are looked for, and in the one after which no more are awaited.
TAG, LAST = b"netpath-looked-for", b"netpath-last-one"
IPV4, IPV6, ARP, VLAN, TESTING = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88B5
EVERYBODY = "ff:ff:ff:ff:ff:ff"
_ALL, _OUTGOING = 3, 4  # ETH_P_ALL, PACKET_OUTGOING
_PLACE = 18  # of what comes behind the addresses, the type, and a VLAN tag, which the kernel takes out
_PATIENCE = 20.0


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _sum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ether(source: str, target: str, kind: int, body: bytes) -> bytes:
    return mac_bytes(target) + mac_bytes(source) + struct.pack("!H", kind) + body


def ip(source: str, target: str, protocol: int, body: bytes, hops: int = 64) -> bytes:
    """A packet of IPv4 or IPv6."""
    one, other = packed(source), packed(target)
    if len(one) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + one + other + body
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, hops, protocol, 0, one, other)
    return header[:10] + struct.pack("!H", _sum(header)) + header[12:] + body


def _pseudo(source: str, target: str, protocol: int, size: int) -> bytes:
    one, other = packed(source), packed(target)
    form = "!IHBB" if len(one) == 16 else "!BBH"
    fields = (size, 0, 0, protocol) if len(one) == 16 else (0, protocol, size)
    return one + other + struct.pack(form, *fields)


def udp(source: str, target: str, sport: int = 4000, dport: int = 4000, data: bytes = TAG) -> bytes:
    head = struct.pack("!HHH", sport, dport, 8 + len(data))
    total = _sum(_pseudo(source, target, 17, 8 + len(data)) + head + b"\0\0" + data)
    return ip(source, target, 17, head + struct.pack("!H", total or 0xFFFF) + data)


def icmp6(source: str, target: str, kind: int, rest: bytes) -> bytes:
    """Of neighbour discovery: with the hop limit that it must have. rest: what follows the checksum."""
    body = struct.pack("!BBH", kind, 0, 0) + rest
    total = _sum(_pseudo(source, target, 58, len(body)) + body)
    return ip(source, target, 58, body[:2] + struct.pack("!H", total) + body[4:], hops=255)


def fragment(packet: bytes, offset: int = 0, more: bool = True) -> bytes:
    """An IPv4 packet as a fragment of a larger one. offset: in units of eight bytes."""
    place = struct.pack("!H", more << 13 | offset)
    header = packet[:6] + place + packet[8:10] + b"\0\0" + packet[12:20]
    return header[:10] + struct.pack("!H", _sum(header)) + header[12:] + packet[20:]


def behind(packet: bytes, number: int, header: bytes) -> bytes:
    """An IPv6 packet with one more header, whose number in the chain that is, ahead of its others."""
    size = int.from_bytes(packet[4:6], "big") + len(header)
    return packet[:4] + struct.pack("!HB", size, number) + packet[7:40] + packet[6:7] + header[1:] + packet[40:]


def with_option(packet: bytes, option_of_ip: bytes) -> bytes:
    """An IPv4 packet with an option, whose length is a multiple of four."""
    size = 20 + len(option_of_ip)
    length = int.from_bytes(packet[2:4], "big") + len(option_of_ip)
    header = bytes([0x40 | size // 4, packet[1]]) + struct.pack("!H", length) + packet[4:10] + b"\0\0" + packet[12:20]
    total = _sum(header + option_of_ip)
    return header[:10] + struct.pack("!H", total) + header[12:] + option_of_ip + packet[20:]


def group_message(source: str, target: str, kind: int) -> bytes:
    """IGMP (RFC 2236) about all groups, with the option that has routers look at it (RFC 2113)."""
    body = struct.pack("!BBH4s", kind, 1, 0, bytes(4))
    packet = ip(source, target, 2, body[:2] + struct.pack("!H", _sum(body)) + body[4:], hops=1)
    return with_option(packet, b"\x94\x04\0\0")


def advertisement(source: str, target: str, about: str, options: bytes = b"") -> bytes:
    """A neighbour advertisement, which overrides what was known."""
    return icmp6(source, target, 136, struct.pack("!I", 0x20000000) + packed(about) + options)


def option(kind: int, mac: str) -> bytes:
    """A link-layer address in neighbour discovery."""
    return struct.pack("!BB", kind, 1) + mac_bytes(mac)


def icmp4(source: str, target: str, kind: int, rest: bytes) -> bytes:
    body = struct.pack("!BBH", kind, 1, 0) + rest
    return ip(source, target, 1, body[:2] + struct.pack("!H", _sum(body)) + body[4:])


def arp(operation: int, mac: str, address: str, target: str, target_mac: str = "00:00:00:00:00:00") -> bytes:
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac_bytes(mac) + packed(address) + mac_bytes(target_mac) + packed(target)


def passed(
    sender: str, frames: t.Sequence[bytes], last: bytes, witnesses: t.Sequence[tuple[str, str]]
) -> list[list[bytes]]:
    """What each witness, as (namespace, link), saw of the frames that eth0 of a namespace sent.

    A link of the host is one by which they leave, with other addresses maybe, and one of a namespace one by which they
    come. They are known by their tag or, where there is no room for one, by all that is behind the MAC addresses.

    All of them see the last frame, which is sent until they do: whatever came before it is past by then.
    """
    with contextlib.ExitStack() as stack:
        ears = []
        for namespace, link in witnesses:
            with inside(namespace) if namespace else contextlib.nullcontext():
                ears.append(stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))))
            with inside(namespace) if namespace else contextlib.nullcontext():
                ears[-1].bind((link, _ALL))
        with inside(sender):
            voice = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
            voice.bind(("eth0", 0))
        # Frames of one processor keep their order.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for frame in frames:
            voice.send(frame)
        bodies = {frame[_PLACE:] for frame in frames}
        return [
            _heard(ear, lambda: voice.send(last), bodies, outgoing=not namespace)
            for ear, (namespace, _link) in zip(ears, witnesses)
        ]


def _heard(
    ear: socket.socket, remind: t.Callable[[], t.Any], bodies: t.Collection[bytes], outgoing: bool
) -> list[bytes]:
    found: list[bytes] = []
    give_up = time.monotonic() + _PATIENCE
    remind()
    while time.monotonic() < give_up:
        if not select.select([ear], [], [], 1.0)[0]:
            remind()
            continue
        data, about = ear.recvfrom(65535)
        if (about[2] == _OUTGOING) is not outgoing:
            continue  # an answer, which quotes what it is about
        if LAST in data:
            return found
        if TAG in data or any(body in data for body in bodies):
            found.append(data)
    raise TimeoutError("the last frame was not seen")
