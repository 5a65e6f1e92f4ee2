# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where probes go: what the user names, or else the gateway of the host's uplink."""

from __future__ import annotations

import re
import typing as t

from ..errors import SpecError
from ..kernel import routes
from ..kernel.namespaces import Namespaces
from ..kernel.probes import Target
from ..model import HOST
from ..spec import values

# For route lookups where there is no gateway to ask: addresses for documentation, which nothing is sent to.
_NOWHERE = {4: "203.0.113.1", 6: "2001:db8::1"}
_FORM = re.compile(r"(?:(icmp|tcp|udp)://)?(?:\[([0-9a-fA-F:.]+)\]|([0-9a-fA-F:.]+?))(?::([0-9]{1,5}))?")


def parsed(given: t.Sequence[t.Any], key: str = "targets") -> list[Target]:
    """Of the form 198.51.100.80, tcp://198.51.100.80:443 or udp://[2001:db8::1]:53. Errors: SpecError."""
    return [_parsed(item, f"{key}[{index}]") for index, item in enumerate(given)]


def _parsed(item: t.Any, key: str) -> Target:
    text = str(item)
    if text.count(":") > 1 and "://" not in text and not text.startswith("["):
        return Target(values.address(text, key))
    match = _FORM.fullmatch(text)
    if not match:
        raise SpecError(key, f"{text!r} is no target", "such as 198.51.100.80, tcp://198.51.100.80:443")
    protocol, port = match[1] or ("tcp" if match[4] else "icmp"), int(match[4] or 0)
    if (protocol == "icmp") != (port == 0) or port > 65535:
        raise SpecError(key, f"{text!r} has {'a' if port else 'no'} port", "tcp and udp need one, and icmp has none")
    return Target(values.address(match[2] or match[3], key), protocol, port)


def default_target(namespaces: Namespaces, family: int, uplinks: frozenset[int] = frozenset()) -> Target:
    """The gateway of the best default route. A link-local one is nobody's whom a namespace could ask.

    uplinks: links by index, where packets are to leave by these alone.
    """
    for route in routes.default_uplinks(namespaces.socket(HOST), family):
        if uplinks and uplinks.isdisjoint(route.devices):
            continue
        if route.fact.gateway and not route.fact.gateway.startswith("fe80:"):
            return Target(route.fact.gateway, named=False)
    return Target(_NOWHERE[family], somebody=False, named=False)
