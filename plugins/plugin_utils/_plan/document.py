# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as data: the one shape from which the table, the drawing and plan.json are made. No I/O."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.survey import survey
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import values
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import ModuleOptions
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import Network

from .._diagnosis.findings import clean
from .._networks import plain
from .overlaps import overlaps

Data = dict[str, t.Any]

SCHEMA = "netpath.egress/plan"
VERSION = 1
NOTE = (
    "These are the addresses that a host gets on which nothing is built yet. A namespace that is there keeps the "
    "addresses that it has."
)


def plan(asked: t.Mapping[str, t.Any]) -> Data:
    """The content of plan.json, as in docs/plan.md. asked: for each host its networks, or a text that says why not."""
    hosts = {clean(str(host)): _host(networks) for host, networks in asked.items()}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "note": NOTE,
        "counts": {
            "hosts": len(hosts),
            "networks": sum(len(told["networks"]) for told in hosts.values()),
            "namespaces": sum(len(one["namespaces"]) for told in hosts.values() for one in told["networks"]),
            "refused": sum(1 for told in hosts.values() if told["errors"]),
        },
        "warnings": [*overlaps(hosts), *_unprotected(hosts)],
        "refused": {host: told["errors"] for host, told in hosts.items() if told["errors"]},
        "hosts": {host: {key: told[key] for key in ("networks", "removed")} for host, told in hosts.items()},
        "rows": [row for host, told in hosts.items() for one in told["networks"] for row in _rows(host, one)],
    }


def counted(counts: t.Mapping[str, int]) -> str:
    """In words: "3 hosts, 1 network, 9 namespaces"."""
    words = ("host", "network", "namespace")
    return ", ".join(f"{counts[word + 's']} {word}" + ("" if counts[word + "s"] == 1 else "s") for word in words)


def as_json(made: Data) -> str:
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _host(networks: t.Any) -> Data:
    if isinstance(networks, str):
        return {"networks": [], "removed": [], "errors": [clean(networks)]}
    planned, errors = survey(plain(networks))
    return {
        "networks": [clean(_network(*one)) for one in planned if not one[0].absent],
        "removed": [network.name for network, _options in planned if network.absent],
        "errors": [clean(str(error)) for error in errors],
    }


def _network(network: Network, options: ModuleOptions) -> Data:
    published = [port for rules in options["nat_masquerade"] for port in rules.get("publish", [])]
    return {
        "name": network.name,
        "bridge": network.bridge,
        "subnets": list(network.subnets),
        "gateways": [gateway.split("/")[0] for gateway in network.gateways],
        "uplinks": list(network.uplinks) or ["auto"],
        # Without rules nothing is translated either.
        "nat": "none" if network.firewall == "none" else str(network.nat["mode"]),
        "to_source": list(network.nat.get("to_source") or []),
        "spoof_protection": network.wall.spoof_protection,
        "inbound": network.wall.inbound,
        "peers": list(network.wall.peers),
        "namespaces": [
            {
                "name": pair["peer"]["netns"],
                "interface": pair["peer"]["name"],
                "addresses": list(pair["peer"]["addresses"]),
                "published": _towards(published, pair["peer"]["addresses"]),
            }
            for pair in options["veth"]
        ],
    }


def _unprotected(hosts: t.Mapping[str, Data]) -> list[str]:
    """A warning for each network whose namespaces may send what they like, with the hosts."""
    found: dict[str, list[str]] = {}
    for host, told in hosts.items():
        for network in told["networks"]:
            if not network["spoof_protection"]:
                found.setdefault(network["name"], []).append(host)
    may = "send from any address, answer for each other, and advertise themselves as routers"
    return [f"namespaces of {name} on {', '.join(on)} may {may}: spoof_protection is off" for name, on in found.items()]


def _towards(published: t.Sequence[Data], cidrs: t.Sequence[str]) -> list[Data]:
    """The ports that lead to one of the addresses."""
    own = {str(values.interface(cidr).ip) for cidr in cidrs}
    return [one for one in published if _address(one["to"]) in own]


def in_short(published: t.Sequence[Data]) -> list[str]:
    """As "tcp 8080:80", each once for both families; without the second port where the number stays."""
    found = []
    for one in published:
        port = one["to"].rpartition(":")[2] if one["to"] != _address(one["to"]) and one["to"][-1] != "]" else ""
        found.append(f"{one['protocol']} {one['port']}" + (f":{port}" if port not in ("", one["port"]) else ""))
    return list(dict.fromkeys(found))


def _address(target: str) -> str:
    """Without the port: 10.22.33.2:80, [fd00::2]:80, and without brackets an address alone."""
    if target.startswith("["):
        return target[1:].partition("]")[0]
    return target.partition(":")[0] if target.count(":") == 1 else target


def _rows(host: str, network: Data) -> list[Data]:
    """One for each namespace, or one where there is none."""
    shared = {
        "host": host,
        "network": network["name"],
        "bridge": network["bridge"],
        "subnets": network["subnets"],
        "gateways": network["gateways"],
    }
    nat = " ".join([network["nat"], *network["to_source"]])
    nobody: Data = {"name": None, "addresses": [], "published": []}
    return [
        {
            **shared,
            "namespace": one["name"],
            "addresses": one["addresses"],
            "published": one["published"],
            "uplinks": network["uplinks"],
            "nat": nat,
        }
        for one in network["namespaces"] or [nobody]
    ]
