"""Router advertisements (RFC 4861, section 4.2), sent by the lab's internet host.

As a program it sends one: python3 -m tests.lab.advertisement LIFETIME
"""

from __future__ import annotations

import socket
import struct
import sys

from tests.lab.world import UPLINK

_ALL_NODES = "ff02::1"
_HEADER = struct.Struct("!BBHBBHII")  # type, code, checksum, hop limit, flags, life time in seconds, two timers


def advertise(lifetime: int) -> None:
    """Tell all nodes of the segment that the caller's host is a router; with life time 0, that it is none any more."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.sendto(_HEADER.pack(134, 0, 0, 64, 0, lifetime, 0, 0), (_ALL_NODES, 0, 0, socket.if_nametoindex(UPLINK)))


if __name__ == "__main__":
    advertise(int(sys.argv[1]))
