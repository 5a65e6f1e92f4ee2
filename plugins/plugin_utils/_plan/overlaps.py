# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subnets that routers outside cannot tell apart, since more than one host has them without translation. No I/O."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.values import span

Hosts = t.Mapping[str, t.Mapping[str, t.Any]]

_SHOWN = 3
_ADVICE = "Routers outside can lead to one of them alone: give each host its own block, or translate"


def overlaps(hosts: Hosts) -> list[str]:
    """Warnings on networks that are not translated."""
    owners: dict[str, list[str]] = {}
    for host, told in hosts.items():
        for network in told["networks"]:
            for subnet in network["subnets"] if network["nat"] == "none" else ():
                owners.setdefault(subnet, []).append(host)
    found = [
        f"{subnet} is used on {len(names)} hosts without NAT ({_named(names)}). {_ADVICE}"
        for subnet, names in owners.items()
        if len(names) > 1
    ]
    around: list[str] = []
    # The larger of two that begin alike comes first, so that whoever holds another one is met before it.
    for subnet in sorted(owners, key=lambda text: (span(text)[0], span(text)[1], -span(text)[2])):
        while around and not _holds(around[-1], subnet):
            around.pop()
        if around:
            outer = around[-1]
            found.append(
                f"{subnet} ({_named(owners[subnet])}) overlaps {outer} ({_named(owners[outer])}), "
                f"and neither is translated. {_ADVICE}"
            )
        around.append(subnet)
    return found


def _holds(outer: str, inner: str) -> bool:
    return span(outer)[0] == span(inner)[0] and span(inner)[1] <= span(outer)[2]


def _named(hosts: t.Sequence[str]) -> str:
    shown = ", ".join(hosts[:_SHOWN])
    return f"{shown} and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else shown
