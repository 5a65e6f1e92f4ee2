"""A node's table of connections, filled and emptied."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess

from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import conntrack
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.conntrack_entry import _attribute, _nested
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.netlink import Message, NetlinkSocket
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Flows

_CREATE = 0x600  # NLM_F_CREATE | NLM_F_EXCL
_NEW = 0x100
_SURE = 0x0E  # IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED
_HOUR = 3600
_BATCH = 40


def _flow(number: int) -> Message:
    """A connection of TCP that the kernel does not give up for a new one."""
    source, port = 0x0A000000 + (number >> 14), 1024 + (number & 0x3FFF)

    def ends(first: bytes, second: bytes, from_port: int, to_port: int) -> bytes:
        addresses = _attribute(1, first) + _attribute(2, second)
        protocol = _attribute(1, b"\x06") + _attribute(2, struct.pack("!H", from_port))
        return _nested(1, addresses) + _nested(2, protocol + _attribute(3, struct.pack("!H", to_port)))

    near, far = struct.pack("!I", source), socket.inet_aton("203.0.113.9")
    state = _nested(4, _nested(1, _attribute(1, b"\x03")))  # CTA_PROTOINFO, of TCP: established
    body = struct.pack("=BBH", socket.AF_INET, 0, 0)
    body += _nested(1, ends(near, far, port, 80)) + _nested(2, ends(far, near, 80, port))
    body += _attribute(3, struct.pack("!I", _SURE)) + _attribute(7, struct.pack("!I", _HOUR)) + state
    return Message(_NEW, _CREATE, body)


def fill(part: int = 0, parts: int = 1) -> int:
    """Fill the table of connections of this namespace, or the part of that number; how many it takes in all."""
    if part == 0:
        # Those of earlier probes make room when they end.
        forget()
    with open("/proc/sys/net/netfilter/nf_conntrack_max", encoding="ascii") as file:
        wanted = int(file.read())
    with contextlib.closing(NetlinkSocket(conntrack.NETLINK_NETFILTER)) as opened:
        starts = range(0, wanted + 4 * _BATCH, _BATCH)
        for start in starts[part * len(starts) // parts : (part + 1) * len(starts) // parts]:
            if start >= wanted:
                # The bridge's reports of multicast groups, which the kernel would give up for a new connection.
                subprocess.run(["conntrack", "-D", "-d", "224.0.0.22"], capture_output=True, check=False)
            opened.request([_flow(start + offset) for offset in range(_BATCH)])
    return wanted


def forget() -> int:
    with Namespaces() as namespaces:
        return conntrack.flush(namespaces, "", Flows(""))
