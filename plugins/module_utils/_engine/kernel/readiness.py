# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for sockets by poll(2): select(2) takes no descriptor above 1023, and a host may have more namespaces."""

from __future__ import annotations

import select
import socket
import typing as t


def await_sockets(
    read: t.Iterable[socket.socket], seconds: float, write: t.Iterable[socket.socket] = ()
) -> list[socket.socket]:
    """Those that can be read or written, or have failed; none where time is up."""
    events: dict[socket.socket, int] = dict.fromkeys(read, select.POLLIN)
    for opened in write:
        events[opened] = events.get(opened, 0) | select.POLLOUT
    poll = select.poll()
    for opened, kinds in events.items():
        poll.register(opened, kinds)
    # Rounded up, or the last part of a millisecond would be spent in a loop.
    ready = {descriptor for descriptor, _event in poll.poll(int(max(0.0, seconds) * 1000) + 1)}
    return [opened for opened in events if opened.fileno() in ready]
