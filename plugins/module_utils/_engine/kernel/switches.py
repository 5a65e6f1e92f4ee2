# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a link takes from others on it: router advertisements, redirects, objections to its addresses.

They are read from what each link's reply has anyway (IFLA_AF_SPEC in linux/if_link.h). Those of IPv4 are set in the
same way, those of IPv6 by sysctls (ip-sysctl in the kernel's documentation).
"""

from __future__ import annotations

import functools
import os
import socket
import struct
import typing as t

from ..model import Link, is_closed_by_itself
from .attributes import attribute
from .netlink import Spans, attributes

IFLA_AF_SPEC, IFLA_INET_CONF, IFLA_INET6_CONF = 26, 1, 2
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
_ACCEPT_REDIRECTS4 = 4  # IPV4_DEVCONF_* of linux/ip.h, which begin at 1
# {field: sysctls below net/ipv6/conf/LINK, each with its place among DEVCONF_* of linux/ipv6.h}
_SYSCTLS: dict[str, dict[str, int]] = {
    "accept_ra": {"accept_ra": 3, "autoconf": 5},
    "accept_redirects": {"accept_redirects": 4},
    "ipv6_dad": {"accept_dad": 27},
    "ipv6": {"disable_ipv6": 26},
}
FIELDS = tuple(_SYSCTLS)
# What a new namespace's links begin with.
CLOSED_FROM_THE_BEGINNING = {
    "net/ipv6/conf/default": {"accept_ra": "0", "autoconf": "0", "accept_redirects": "0"},
    "net/ipv4/conf": {"all/accept_redirects": "0", "default/accept_redirects": "0"},
}
_NOTHING = (0, 0)
_CONF = struct.Struct("=28i")  # of IPv6, as far as it is looked at


def kernel_has_ipv6() -> bool:
    """Whether the kernel was booted with IPv6 (ipv6.disable in its list of parameters)."""
    return os.path.isdir("/proc/sys/net/ipv6/conf")


def read(data: bytes, found: Spans) -> t.Mapping[str, bool]:
    """FIELDS of a link, and ipv6_link_local, from the attributes of a reply. Without IPv6 all of its are off."""
    families = attributes(data, *found.get(IFLA_AF_SPEC, _NOTHING))
    four, _end = attributes(data, *families.get(socket.AF_INET, _NOTHING)).get(IFLA_INET_CONF, _NOTHING)
    six = attributes(data, *families.get(socket.AF_INET6, _NOTHING))
    start, end = six.get(IFLA_INET6_CONF, _NOTHING)
    redirects = data[four + 4 * _ACCEPT_REDIRECTS4 - 4 : four + 4 * _ACCEPT_REDIRECTS4] if four else b""
    mode = data[six[IFLA_INET6_ADDR_GEN_MODE][0]] if IFLA_INET6_ADDR_GEN_MODE in six else IN6_ADDR_GEN_MODE_NONE
    return _decoded(data[start : min(end, start + _CONF.size)], redirects, mode)


@functools.lru_cache(maxsize=64)
def _decoded(conf: bytes, redirects: bytes, mode: int) -> t.Mapping[str, bool]:
    """Nearly all links have the same."""
    numbers = _CONF.unpack(conf) if len(conf) == _CONF.size else ()
    fields = {name: any(numbers[at] for at in places.values()) for name, places in _SYSCTLS.items()} if numbers else {}
    found = {name: fields.get(name, False) for name in _SYSCTLS}
    found["ipv6"] = bool(numbers) and not found["ipv6"]
    found["accept_redirects"] = found["accept_redirects"] or any(redirects)
    found["ipv6_link_local"] = mode != IN6_ADDR_GEN_MODE_NONE
    return found


def sysctls(fields: t.Mapping[str, bool | None]) -> dict[str, str]:
    """Those of IPv6 that bring fields about, with their values; of a field that is None nothing."""
    values: dict[str, str] = {}
    for name, places in _SYSCTLS.items():
        wanted = fields.get(name)
        if wanted is not None:
            values.update(dict.fromkeys(places, "1" if wanted != (name == "ipv6") else "0"))
    return values


def af_spec(redirects: bool | None, link_local: bool | None) -> bytes:
    """The attribute that sets whether redirects of IPv4 are accepted. link_local False: no such address is made."""
    families = b""
    if redirects is not None:
        conf = attribute(_ACCEPT_REDIRECTS4, struct.pack("=I", int(redirects)))
        families += attribute(socket.AF_INET, attribute(IFLA_INET_CONF, conf))
    if link_local is False:
        mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
        families += attribute(socket.AF_INET6, mode)
    return attribute(IFLA_AF_SPEC, families) if families else b""


def born_with(link: Link) -> dict[str, bool | None]:
    """FIELDS of a link that is made, with what a managed one gets that asks for nothing."""
    fields: dict[str, bool | None] = {name: getattr(link, name) for name in FIELDS}
    if is_closed_by_itself(link):
        for name in ("accept_ra", "accept_redirects"):
            fields[name] = bool(fields[name])
    return fields
