# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this kernel and this program may do, found out without touching the host."""

from __future__ import annotations

import os
import typing as t

from ..errors import UnsupportedError
from ..model import Link
from .links import Links
from .namespaces import Namespaces, in_new_namespace

_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_BRIDGE_FEATURES = {
    "vlan_filtering": "bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)",
    "multicast_snooping": "bridge multicast snooping (CONFIG_BRIDGE_IGMP_SNOOPING)",
}


def require_privilege() -> None:
    """Errors: UnsupportedError without the rights to administrate networks and to enter namespaces."""
    with open("/proc/self/status", encoding="utf-8") as file:
        capabilities = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    missing = [
        name
        for bit, name in ((_CAP_NET_ADMIN, "CAP_NET_ADMIN"), (_CAP_SYS_ADMIN, "CAP_SYS_ADMIN"))
        if not capabilities >> bit & 1
    ]
    if missing:
        raise UnsupportedError(
            "look at and change networks",
            f"user {os.geteuid()} lacks {' and '.join(missing)}",
            "Run it as root: become: true",
        )


def require_bridge_features(links: t.Iterable[Link]) -> None:
    """Errors: UnsupportedError where a bridge option is asked for that this kernel silently ignores."""
    asked = {key for link in links for key in _BRIDGE_FEATURES if getattr(link, key) is not None}
    if not asked:
        return
    with in_new_namespace(), Namespaces() as namespaces:
        links_there = Links(namespaces)
        probe = Link("", "probe", kind="bridge", alias="", up=False)
        links_there.create(probe, "make a bridge to see what this kernel can do")
        found = links_there.find(probe)
    for key in sorted(asked):
        if found is None or getattr(found, key) is None:
            raise UnsupportedError(
                f"set {key}", f"this kernel is built without {_BRIDGE_FEATURES[key]}", "Leave it out"
            )
