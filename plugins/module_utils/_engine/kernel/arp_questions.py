# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions of ARP that reach a link and are not answered, as strict rp_filter has it (arp(7), packet(7))."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import typing as t

from .namespaces import Namespaces

_ETH_P_ARP, _REQUEST = 0x0806, 1
_LENGTH = 28  # of a question for an IPv4 address


class Question(t.NamedTuple):
    """Who asks on a link for an address."""

    link: str
    source: str
    address: str


def heard(
    namespaces: Namespaces,
    netns: str,
    addresses: t.Container[str],
    links: t.Container[str],
    send: t.Callable[[], object],
) -> Question | None:
    """The first on one of the links of a namespace for one of the addresses, while send sends what they answer."""
    with namespaces.entered(netns):
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        opened = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ARP))
    with opened:
        send()
        with contextlib.suppress(BlockingIOError):
            while True:
                data, (link, *_rest) = opened.recvfrom(64)
                if len(data) < _LENGTH or int.from_bytes(data[6:8], "big") != _REQUEST or link not in links:
                    continue
                source, wanted = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (14, 24))
                if wanted in addresses:
                    return Question(link, source, wanted)
    return None
