# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard's table holds of each network: chains, sets, and the elements of the maps that lead to the chains.

Behind all NAT (priority 300), one look at where a packet leaves and one at its source decide: the maps bridges_out,
sources4 and sources6 lead to the chain of a network, however many networks there are. In forward the map bridges_in
leads to the chain that knows which sources a bridge has. See nft(8), libnftables-json(5).
"""

from __future__ import annotations

import ipaddress

from ..model import MARK
from ..rules import GuardRules
from ..spec.values import collapsed, family
from .nft import COUNTER, Json, address_set, match, network, part, payload
from .nft_nat import UNTRANSLATED, escaped

TABLE = "netpath_egress_guard"
HERE: Json = {"family": "inet", "table": TABLE}
BASES: dict[str, Json] = {
    "forward": {"type": "filter", "hook": "forward", "prio": 0, "policy": "accept"},
    "postrouting": {"type": "filter", "hook": "postrouting", "prio": 300, "policy": "accept"},
}
MAPS: dict[str, Json] = {
    "bridges_in": {"type": "ifname"},
    "bridges_out": {"type": "ifname"},
    "sources4": {"type": "ipv4_addr", "flags": ["interval"]},
    "sources6": {"type": "ipv6_addr", "flags": ["interval"]},
}
CHAINS = ("from", "to", "left")
SETS = ("own4", "own6", "exclude4", "exclude6")
OUT: Json = {"meta": {"key": "oifname"}}
REPLY = match({"ct": {"key": "direction"}}, "reply")
_RETURN: Json = {"return": None}
_ACCEPT: Json = {"accept": None}
_DROP: Json = {"drop": None}


def base_rules() -> list[Json]:
    """In the order in which a packet meets them."""
    keys: list[tuple[str, Json, str]] = [
        ("forward", {"meta": {"key": "iifname"}}, "bridges_in"),
        ("postrouting", OUT, "bridges_out"),
        ("postrouting", payload(4, "saddr"), "sources4"),
        ("postrouting", payload(6, "saddr"), "sources6"),
    ]
    return [
        {**HERE, "chain": chain, "comment": MARK, "expr": [{"vmap": {"key": key, "data": f"@{name}"}}]}
        for chain, key, name in keys
    ]


def sets_of(name: str, rules: GuardRules) -> dict[str, Json]:
    found: dict[str, Json] = {}
    kinds = [("exclude", rules.exclude)]
    kinds += [("own", rules.every_source)] if rules.strict or rules.shared else []
    for kind, networks in kinds:
        for version in (4, 6):
            chosen = collapsed(ipaddress.ip_network(text) for text in networks if family(text) == version)
            if chosen:
                described = address_set(part(f"{kind}{version}", name), version, chosen)
                found[described["name"]] = {**HERE, **described}
    return found


def rules_of(name: str, rules: GuardRules) -> dict[str, list[Json]]:
    """The rules of the network's chains."""
    sets = sets_of(name, rules)

    def addresses(kind: str, side: str, verdict: Json) -> list[list[Json]]:
        names = {version: part(f"{kind}{version}", name) for version in (4, 6)}
        return [[match(payload(v, side), f"@{one}"), verdict] for v, one in names.items() if one in sets]

    inside = [[match(OUT, escaped(bridge)), _RETURN] for bridge in rules.bridges]
    replies = [[REPLY, _RETURN]] if rules.replies else []
    found = {"left": [*([] if rules.shared else inside), *addresses("exclude", "daddr", _RETURN), *replies]}
    found["left"].append([COUNTER, _DROP])
    if rules.strict:
        found["from"] = [*inside, *addresses("own", "saddr", _RETURN), [COUNTER, _DROP]]
    if rules.shared:
        groups = [(version, text) for version in (4, 6) for text in UNTRANSLATED[version]]
        to_groups = [[match(payload(version, "daddr"), network(text)), _ACCEPT] for version, text in groups]
        found["to"] = [*addresses("own", "daddr", _ACCEPT), *to_groups]
    return {
        part(prefix, name): [
            {**HERE, "chain": part(prefix, name), "comment": MARK + name, "expr": expression} for expression in listing
        ]
        for prefix, listing in found.items()
    }


def elements_of(name: str, rules: GuardRules) -> dict[str, dict[str, Json]]:
    """What leads to the network's chains: by map, verdicts by the interface or the range of addresses."""
    out: Json = {"jump": {"target": part("to", name)}} if rules.shared else _ACCEPT
    from_bridge: Json = {"jump": {"target": part("from", name)}}
    left: Json = {"goto": {"target": part("left", name)}}
    return {
        "bridges_in": dict.fromkeys(rules.bridges, from_bridge) if rules.strict else {},
        "bridges_out": dict.fromkeys(rules.bridges, out),
        **{f"sources{v}": {text: left for text in rules.every_source if family(text) == v} for v in (4, 6)},
    }
