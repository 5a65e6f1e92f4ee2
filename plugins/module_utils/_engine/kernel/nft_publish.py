# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports in our nftables table: the chains publish_NAME and hairpin_NAME, with maps and sets.

publish_NAME is called where packets come in and where the host sends its own. One rule a family looks the port up in
the maps to4_NAME and port4_NAME, or to6_NAME and port6_NAME, however many ports there are. hairpin_NAME is called from
postrouting: what the network's own sources send to one of its ports comes back by this host only if it seems to come
from here.
"""

from __future__ import annotations

import typing as t

from ..rules import Publication, PublishRules
from ..spec.publish import joined
from ..spec.values import collapsed, family
from .nft import COUNTER, IS_LOCAL, PORT_PROTOCOLS, Json, address_set, match, network, networks_in, part, payload

CHAINS = {"publish": ("prerouting", "output"), "hairpin": ("postrouting",)}
SETS = ("to4", "to6", "port4", "port6", "hairpin4", "hairpin6")
# A packet to a loopback address cannot leave the host.
LOOPBACK = {4: "127.0.0.0/8", 6: "::1/128"}
_PROTOCOLS = {number: name for name, number in PORT_PROTOCOLS.items()}
_KEY = {"concat": [{"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}]}


def sets_of(name: str, rules: PublishRules) -> list[tuple[str, Json]]:
    """Of each family that has ports: two maps, and the sources."""
    found: list[tuple[str, Json]] = []
    for version, chosen in _by_family(rules).items():
        key = {"type": ["inet_proto", "inet_service"]}
        hosts, numbers = [], []
        for publication in chosen:
            for offset, port in enumerate(publication.ports):
                place = {"concat": [PORT_PROTOCOLS[publication.protocol], port]}
                hosts.append([place, publication.target])
                numbers.append([place, publication.target_port + offset])
        to, port_map = part(f"to{version}", name), part(f"port{version}", name)
        found.append(("map", {"name": to, **key, "map": f"ipv{version}_addr", "elem": hosts}))
        found.append(("map", {"name": port_map, **key, "map": "inet_service", "elem": numbers}))
        sources = [text for text in rules.sources if family(text) == version]
        found.append(("set", address_set(part(f"hairpin{version}", name), version, sources)))
    return found


def rules_of(name: str, rules: PublishRules) -> dict[str, list[list[Json]]]:
    """One rule a family in each chain."""
    publish, hairpin = [], []
    for version in _by_family(rules):
        host, port = ({"map": {"key": _KEY, "data": "@" + part(f"{kind}{version}", name)}} for kind in ("to", "port"))
        leads = {"dnat": {"family": "ip" if version == 4 else "ip6", "addr": host, "port": port}}
        publish.append([IS_LOCAL, match(payload(version, "daddr"), network(LOOPBACK[version]), "!="), leads])
        own = "@" + part(f"hairpin{version}", name)
        ends = [match(payload(version, field), own) for field in ("saddr", "daddr")]
        hairpin.append([*ends, match({"ct": {"key": "status"}}, "dnat", "in"), COUNTER, {"masquerade": None}])
    return {"publish": publish, "hairpin": hairpin}


def candidate(elements: t.Mapping[str, list[t.Any]], _there: t.Iterable[list[Json]]) -> PublishRules:
    """Rules that a listing may stand for, from the elements of each set and map."""
    found: list[Publication] = []
    for version in (4, 6):
        ports = {_place(key): number for key, number in elements[f"port{version}"]}
        targets = {_place(key): target for key, target in elements[f"to{version}"]}
        if set(ports) != set(targets):
            raise ValueError("the maps have other ports")
        found += _runs(sorted((*place, targets[place], number) for place, number in ports.items()))
    own = [net for version in (4, 6) for item in elements[f"hairpin{version}"] for net in networks_in(item)]
    return PublishRules(joined(found), collapsed(own))


def _runs(leads: t.Iterable[tuple[str, int, str, int]]) -> list[Publication]:
    """In order, of many ports in a row one item: to make one of each port takes ten times as long."""
    found: list[list[t.Any]] = []
    for protocol, port, target, number in leads:
        if found and number == port and found[-1] == [protocol, found[-1][1], port - 1, target, found[-1][1]]:
            found[-1][2] = port
        else:
            found.append([protocol, port, port, target, number])
    return [Publication(*item) for item in found]


def _by_family(rules: PublishRules) -> dict[int, list[Publication]]:
    """The publications of each family that has some."""
    found: dict[int, list[Publication]] = {}
    for publication in sorted(rules.publications, key=lambda item: family(item.target)):
        found.setdefault(family(publication.target), []).append(publication)
    return found


def _place(key: Json) -> tuple[str, int]:
    """Protocol and port. Errors: KeyError, TypeError or ValueError for another key."""
    protocol, port = key["concat"]
    return _PROTOCOLS.get(protocol, str(protocol)), int(port)
