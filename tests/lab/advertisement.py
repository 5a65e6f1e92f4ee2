"""Router advertisements (RFC 4861, section 4.2), sent by the lab's internet host.

As a program it sends one: python3 -m tests.lab.advertisement LIFETIME
"""

from __future__ import annotations

import socket
import struct
import sys

from tests.lab.world import UPLINK

_ALL_NODES = "ff02::1"
_PREFIX = struct.Struct("!BBBBIII16s")  # type, length in eights, bits, flags, two life times, reserved, prefix
_HEADER = struct.Struct("!BBHBBHII")  # type, code, checksum, hop limit, flags, life time in seconds, two timers


def advertise(lifetime: int, prefix: str = "") -> None:
    """Tell all nodes of the segment that the caller's host is a router; with life time 0, that it is none any more.

    prefix: of 64 bits, of which they are to make addresses for two hours.
    """
    message = _HEADER.pack(134, 0, 0, 64, 0, lifetime, 0, 0)
    if prefix:
        message += _PREFIX.pack(3, 4, 64, 0xC0, 7200, 3600, 0, socket.inet_pton(socket.AF_INET6, prefix))
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(message, (_ALL_NODES, 0, 0, socket.if_nametoindex(UPLINK)))


if __name__ == "__main__":
    advertise(int(sys.argv[1]))
