# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module ns_route, as facts."""

from __future__ import annotations

import typing as t

from ..errors import SpecError
from ..model import DEFAULT_DESTINATION, ROUTE_PROTOCOL, Route, Want
from . import values
from .schema import NETWORK, STATE, Options, is_number

TABLES = {"default": 253, "main": 254, "local": 255}
# The kernel gives an IPv6 route without a metric this one (IP6_RT_PRIO_USER).
DEFAULT_METRIC = {4: 0, 6: 1024}

OPTIONS: Options = {
    "dest": {"type": "str", "required": True},
    "netns": {"type": "str"},
    "gateway": {"type": "str"},
    "device": {"type": "str"},
    "source": {"type": "str"},
    "metric": {"type": "int"},
    "table": {"type": "str", "default": "main"},
    "type": {"type": "str", "choices": ["unicast", "blackhole", "unreachable", "prohibit"], "default": "unicast"},
    "mtu": {"type": "int"},
    "onlink": {"type": "bool"},
    "family": {"type": "str", "choices": ["ipv4", "ipv6"]},
    "network": NETWORK,
    "state": STATE,
}


def wanted(options: t.Mapping[str, t.Any], key: str = "") -> Want:
    """Options of one route to facts."""
    gateway = None if options["gateway"] is None else values.address(options["gateway"], f"{key}gateway")
    source = None if options["source"] is None else values.address(options["source"], f"{key}source")
    destination = _destination(options, gateway, key)
    family = values.family(destination)
    _same_family(options, destination, gateway, source, key)
    metric = options["metric"] if options["metric"] is not None else DEFAULT_METRIC[family]
    if family == 6 and metric == 0:
        metric = DEFAULT_METRIC[6]
    route = Route(
        values.namespace_name(options["netns"], f"{key}netns", host=True),
        destination,
        _table(options["table"], f"{key}table"),
        values.number(metric, f"{key}metric", 0, 2**32 - 1),
    )
    if options["state"] == "absent":
        return Want(absent=(route,))
    _reachable(options, gateway, key)
    return Want(
        (
            Route(
                *(route.netns, route.destination, route.table, route.metric),
                type=options["type"],
                gateway=gateway if gateway or options["type"] != "unicast" else "",
                device=None if options["device"] is None else values.interface_name(options["device"], f"{key}device"),
                source=source,
                mtu=None if options["mtu"] is None else values.mtu(options["mtu"], f"{key}mtu"),
                onlink=options["onlink"],
                protocol=ROUTE_PROTOCOL,
                network=values.network_name(options["network"], f"{key}network") if options["network"] else "",
            ),
        )
    )


def _destination(options: t.Mapping[str, t.Any], gateway: str | None, key: str) -> str:
    asked = options["family"]
    if options["dest"] != "default":
        return values.subnet(options["dest"], f"{key}dest")
    if asked:
        return DEFAULT_DESTINATION[6 if asked == "ipv6" else 4]
    given = gateway or options["source"]
    return DEFAULT_DESTINATION[values.family(given) if given else 4]


def _same_family(
    options: t.Mapping[str, t.Any], destination: str, gateway: str | None, source: str | None, key: str
) -> None:
    family = values.family(destination)
    for name, value in (("gateway", gateway), ("source", source)):
        if value and values.family(value) != family:
            raise SpecError(
                f"{key}{name}",
                f"{value} is an IPv{values.family(value)} address, the route to {options['dest']} is IPv{family}",
                "both must be of one family",
            )
    if options["family"] and options["family"] != f"ipv{family}":
        raise SpecError(
            f"{key}family", f"{options['family']} asked for, dest {destination} is IPv{family}", "leave it out"
        )


def _reachable(options: t.Mapping[str, t.Any], gateway: str | None, key: str) -> None:
    if options["type"] != "unicast":
        if gateway or options["device"]:
            raise SpecError(
                f"{key}type", f"a route of type {options['type']} leads nowhere", "leave out gateway and device"
            )
        return
    if not gateway and not options["device"]:
        raise SpecError(f"{key}gateway", "missing", "a unicast route needs a gateway or a device")
    if gateway and gateway.startswith("fe80:") and not options["device"]:
        raise SpecError(f"{key}device", "missing", f"the gateway {gateway} is link-local, so the device must be given")


def _table(value: str, key: str) -> int:
    if value in TABLES:
        return TABLES[value]
    if is_number(value) and 0 < int(value) < 2**32:
        return int(value)
    raise SpecError(key, f"{value!r} is no routing table", "allowed are main, default, local, or a number from 1")
