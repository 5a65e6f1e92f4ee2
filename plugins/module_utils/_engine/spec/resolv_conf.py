# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver configuration of a namespace: /etc/netns/NAME/resolv.conf (ip-netns(8), resolv.conf(5))."""

from __future__ import annotations

import re
import typing as t

from ..errors import SpecError
from ..model import FILE_MARK
from . import values
from .schema import Options

_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")

DNS: Options = {
    "servers": {"type": "list", "elements": "str", "required": True},
    "search": {"type": "list", "elements": "str", "default": []},
}
RESOLVERS = "/etc/netns"


def resolv_conf_path(namespace: str) -> str:
    return f"{RESOLVERS}/{namespace}/resolv.conf"


def resolv_conf(dns: t.Mapping[str, t.Any], network: str, key: str) -> str:
    """The file's text. Its first line is our mark."""
    servers = [values.scoped_address(server, f"{key}.servers[{i}]") for i, server in enumerate(dns["servers"])]
    if not 1 <= len(servers) <= 3:
        raise SpecError(f"{key}.servers", f"{len(servers)} servers", "the resolver reads 1 to 3")
    search = list(dns.get("search") or [])
    for i, domain in enumerate(search):
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise SpecError(f"{key}.search[{i}]", f"{domain!r} is no domain name", "allowed is the form example.org")
    lines = [f"{FILE_MARK}{network}"]
    if search:
        lines.append("search " + " ".join(search))
    lines += [f"nameserver {server}" for server in servers]
    return "\n".join(lines) + "\n"
