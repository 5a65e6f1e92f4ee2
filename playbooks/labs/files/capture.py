# ruff: noqa: INP001
"""Show the echo packets of one ping as they are on an interface, one a line. The exit code is that of ping.

Usage: capture.py INTERFACE NAMESPACE TARGET    The ping runs in the namespace, the capture where the program runs.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time

ETH_P_IP, ETH_P_ALL = 0x0800, 3
ECHO = {8: "request", 0: "reply"}
LINGER = 0.1  # seconds to read what came last


def main(interface: str, namespace: str, target: str) -> int:
    """Ping, and show what was there meanwhile."""
    # Without a protocol the socket receives nothing until it is bound, so it sees this interface alone.
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as tap:
        tap.bind((interface, ETH_P_ALL))
        tap.settimeout(LINGER / 2)
        command = ["ip", "netns", "exec", namespace, "ping", "-c", "1", "-W", "1", target]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as ping:
            end = None
            while end is None or time.monotonic() < end:
                if end is None and ping.poll() is not None:
                    end = time.monotonic() + LINGER
                with contextlib.suppress(socket.timeout):
                    packet, (_interface, protocol, *_rest) = tap.recvfrom(128)
                    if protocol == ETH_P_IP:
                        show(packet, target)
        return ping.returncode


def show(packet: bytes, target: str) -> None:
    """Print one line if it is an ICMP echo packet from or to the target."""
    source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    kind = packet[(packet[0] & 0x0F) * 4]
    if packet[9] == socket.IPPROTO_ICMP and kind in ECHO and target in {source, destination}:
        print(f"{source} > {destination} echo {ECHO[kind]}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
