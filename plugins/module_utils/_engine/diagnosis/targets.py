# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where probes go: what the user names, or else the gateway of the host's uplink."""

from __future__ import annotations

import re
import typing as t

from ..errors import SpecError
from ..kernel import routes
from ..kernel.probes import Target
from ..kernel.route_lookup import Lookup
from ..kernel.routes import FAR, RouteReply
from ..model import HOST
from ..spec import values
from .path import Path
from .reader import Reader

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


def default_target(reader: Reader, path: Path) -> Target:
    """The gateway by which packets of a path leave this host. A link-local one is nobody's whom a namespace could ask,
    and one that others lead to would answer for a way that they do not take.
    """
    links = reader.place(HOST).links
    # Of one that is not there, no index: nothing leads to it.
    uplinks = {links[name].index if name in links else 0 for name in path.uplinks}
    for route in routes.ways_out(reader.namespaces.socket(HOST), path.family):
        gateway = route.fact.gateway
        if uplinks and uplinks.isdisjoint(route.devices):
            continue
        if gateway and ":" in gateway and path.family == 4:
            continue
        if gateway and not gateway.startswith("fe80:") and _is_taken(reader, path, route, uplinks):
            return Target(gateway, named=False)
    return Target(FAR[path.family][0], somebody=False, named=False)


def _is_taken(reader: Reader, path: Path, route: RouteReply, uplinks: t.Collection[int]) -> bool:
    """Whether the path's packets for what is far go by a route, and those for its gateway leave by the same link, or by
    another one of the uplinks that the network names.
    """
    far = [reader.through(path, address) for address in FAR[path.family]]
    near = reader.through(path, str(route.fact.gateway))
    by_it = any(_agrees(one, route) and one.gateway == route.fact.gateway for one in far if one and one.leads)
    told = [one for one in far if one is not None and (one.leads or one.refused)]
    return (by_it or not told) and (near is None or not near.leads or near.device in (*route.devices, *uplinks))


def _agrees(found: Lookup, route: RouteReply) -> bool:
    return found.device in route.devices
