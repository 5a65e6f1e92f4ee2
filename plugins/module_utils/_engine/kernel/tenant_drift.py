# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken back of what a tenant or an advertisement did: names of links, addresses and routes."""

from __future__ import annotations

import errno
import os
import typing as t

from ..errors import EgressError
from ..model import Learned, Misled, Occupied
from . import addresses, routes
from . import link_messages as messages
from .links import Links, send
from .namespaces import Namespaces
from .netlink import Message, kernel_error

_GONE = (0, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENOENT)


def forget(namespaces: Namespaces, links: Links, learned: Learned, asked: str) -> None:
    """Delete what a link has learned by now, which may be more than was seen. Errors: KernelError."""
    opened = namespaces.socket(learned.netns)
    index = links.index(learned.netns, learned.link)
    held = addresses.read(opened, index)
    requests: list[Message] = [addresses.delete_reply(reply) for reply in held if addresses.is_learned(reply)]
    own = [reply.cidr for reply in held if not addresses.is_learned(reply)]
    requests += [routes.delete(reply.fact, index) for reply in routes.learned(opened, index, own)]
    for answer in opened.request(requests):
        if answer.errno not in _GONE:
            raise kernel_error(asked, answer)


def lead(namespaces: Namespaces, misled: Misled, asked: str) -> None:
    """Delete the routes by which the gateway is none. Errors: KernelError."""
    opened = namespaces.socket(misled.netns)
    for answer in opened.request(routes.misleading(opened, misled.gateway)):
        if answer.errno not in _GONE:
            raise kernel_error(asked, answer)


def free(namespaces: Namespaces, occupied: Occupied, asked: str) -> None:
    """Take a name from the link that has it: as its alternative name, or by another one that nobody can foresee.

    Errors: KernelError.
    """
    opened = namespaces.socket(occupied.netns)
    if occupied.alternative:
        send(opened, asked, messages.without_other_name(occupied.index, occupied.name))
        return
    reply = messages.parse_link(_expected(opened.request([messages.get_link(index=occupied.index)])[0], asked))
    if reply.up:
        # One that is up cannot be renamed by kernels before 6.2.
        send(opened, asked, messages.set_link([], index=occupied.index, up=False))
    # No name that a tenant could have given another link before.
    name = f"{occupied.name[:6]}-{os.urandom(4).hex()}"
    send(opened, asked, messages.set_link([("IFLA_IFNAME", name)], index=occupied.index))
    if reply.up:
        opened.request([messages.set_link([], index=occupied.index, up=True)])


def occupy(namespaces: Namespaces, occupied: Occupied, asked: str) -> None:
    """Give the link its name back, if it is still there. Errors: KernelError."""
    opened = namespaces.socket(occupied.netns)
    if occupied.alternative:
        send(opened, asked, messages.with_other_name(occupied.index, occupied.name))
        return
    answer = opened.request([messages.get_link(index=occupied.index)])[0]
    if answer.errno:
        return
    up = messages.parse_link(answer.replies[0]).up
    rename = messages.set_link([("IFLA_IFNAME", occupied.name)], index=occupied.index)
    down = [messages.set_link([], index=occupied.index, up=False)] if up else []
    again = [messages.set_link([], index=occupied.index, up=True)] if up else []
    send(opened, asked, *down, rename, *again)


def _expected(answer: t.Any, asked: str) -> bytes:
    if answer.errno or not answer.replies:
        raise kernel_error(asked, answer) if answer.errno else EgressError(asked, "the link is gone", "Run it again")
    return bytes(answer.replies[0])
