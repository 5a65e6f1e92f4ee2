# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bandwidth limits: a token bucket filter as a link's root queueing discipline, under a handle of our own.

See tc-tbf(8), linux/pkt_sched.h, net/sched/sch_tbf.c in the kernel.
"""

from __future__ import annotations

import errno
import struct
import typing as t

from ..model import BURST_UNIT, Limit
from .attributes import attribute, attributes
from .netlink import NLM_F_CREATE, NLM_F_ECHO, NLM_F_REPLACE, Message, NetlinkSocket, kernel_error

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
HANDLE = 250 << 16  # our mark: shown as fa:
ROOT = 0xFFFFFFFF
KIND = "tbf"
LOOPBACK = 1
# What a link has when nobody chose anything.
NONE = ("noqueue", "noop")
_TICK = 64  # nanoseconds in which a burst is told as a time (PSCHED_SHIFT)
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST = 1, 4, 6
_TCMSG = struct.Struct("=BxxxiIII")
_NLMSG_HEADER = 16
_RATE = struct.Struct("=BBHhHI")
_PARMS_TAIL = struct.Struct("=III")
_FULL = 0xFFFFFFFF
# No discipline at all is told in these ways.
_NOTHING = (errno.ENOENT, errno.EINVAL)


def read(opened: NetlinkSocket, netns: str, links: t.Mapping[int, str]) -> list[Limit]:
    """What limits links, given as {index: name}. One of somebody else's has its kind in foreign."""
    # Without the echo the kernel tells those who listen alone.
    requests = [Message(RTM_GETQDISC, NLM_F_ECHO, _TCMSG.pack(0, index, 0, ROOT, 0)) for index in links]
    found = []
    for answer, name in zip(opened.request(requests), links.values()):
        if answer.errno and answer.errno not in _NOTHING:
            raise kernel_error(f"look at the queueing discipline of {name}", answer)
        for reply in answer.replies[:1]:
            limit = _parse(reply[_NLMSG_HEADER:], netns, name)
            found += [limit] if limit else []
    return found


def _parse(body: bytes, netns: str, name: str) -> Limit | None:
    _family, _index, handle, _parent, _info = _TCMSG.unpack_from(body)
    found = dict(attributes(body[_TCMSG.size :]))
    kind = found.get(_TCA_KIND, b"").split(b"\0")[0].decode()
    # The kernel's own choice has no handle.
    if not handle:
        return None
    if handle != HANDLE or kind != KIND:
        return Limit(netns, name, foreign=kind)
    options = dict(attributes(found.get(_TCA_OPTIONS, b"")))
    parameters = options[_TCA_TBF_PARMS]
    rate = _RATE.unpack_from(parameters)[-1]
    if _TCA_TBF_RATE64 in options:
        rate = struct.unpack("=Q", options[_TCA_TBF_RATE64])[0]
    queue, ticks, _mtu = _PARMS_TAIL.unpack_from(parameters, 2 * _RATE.size)
    burst = round(rate * ticks * _TICK / 1e9 / BURST_UNIT) * BURST_UNIT
    return Limit(netns, name, rate=rate * 8, burst=burst, queue=queue)


def put(limit: Limit, index: int) -> Message:
    """Limit a link, whether it is limited already or not."""
    rate = (limit.rate or 0) // 8
    burst = limit.burst or BURST_UNIT
    ticks = min(int(burst * 1e9 / rate) // _TICK, _FULL)
    parameters = _RATE.pack(0, 1, 0, -1, 0, min(rate, _FULL)) + _RATE.pack(0, 0, 0, 0, 0, 0)
    parameters += _PARMS_TAIL.pack(min(limit.queue or burst, _FULL), ticks, 0)
    options = attribute(_TCA_TBF_PARMS, parameters) + attribute(_TCA_TBF_BURST, struct.pack("=I", burst))
    if rate >= _FULL:
        options += attribute(_TCA_TBF_RATE64, struct.pack("=Q", rate))
    body = _TCMSG.pack(0, index, HANDLE, ROOT, 0)
    body += attribute(_TCA_KIND, KIND.encode() + b"\0") + attribute(_TCA_OPTIONS, options)
    return Message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def lift(index: int, managed: bool = True) -> Message:
    """Remove the discipline of a link; managed: unless it is another one by now."""
    return Message(RTM_DELQDISC, 0, _TCMSG.pack(0, index, HANDLE if managed else 0, ROOT, 0))
