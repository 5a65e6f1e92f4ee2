# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to a resolver (RFC 1035): whether it answers at all."""

from __future__ import annotations

import os
import socket
import struct
import time

from .namespaces import Namespaces
from .readiness import await_sockets

_RECURSION_DESIRED, _NAME_SERVERS, _INTERNET = 0x0100, 2, 1
# The name servers of the root: every resolver has an answer, if only a refusal.
_QUESTION = struct.pack("!BHH", 0, _NAME_SERVERS, _INTERNET)
_ATTEMPTS = 2


def answers(namespaces: Namespaces, netns: str, server: str, patience: float) -> bool:
    """Whether a server, an address with or without a zone, answers within patience, in seconds."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with namespaces.entered(netns):
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    with opened:
        try:
            with namespaces.entered(netns):
                place = socket.getaddrinfo(server, 53, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)[0][4]
            opened.connect(place)
            return any(_answer(opened, patience / _ATTEMPTS) for _attempt in range(_ATTEMPTS))
        # A server that is no address, as another program's file may have it, is a UnicodeError to Python.
        except (OSError, UnicodeError):
            return False


def _answer(opened: socket.socket, patience: float) -> bool:
    number = os.urandom(2)
    opened.send(number + struct.pack("!HHHHH", _RECURSION_DESIRED, 1, 0, 0, 0) + _QUESTION)
    give_up = time.monotonic() + patience
    while await_sockets([opened], give_up - time.monotonic()):
        if opened.recv(2048)[:2] == number:
            return True
    return False
