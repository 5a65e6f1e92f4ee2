# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Source translation in our nftables table: the chain nat_NAME, called from postrouting, and its sets.

Its rules look up src4_NAME, src6_NAME, exclude4_NAME and exclude6_NAME: their number does not depend on that of the
subnets.
"""

from __future__ import annotations

import itertools
import re
import typing as t

from ..rules import NatRules
from ..spec.values import collapsed, family
from .nft import COUNTER, PORT_PROTOCOLS, Json, address_set, match, network, networks_in, normal, part, payload

CHAINS = {"nat": ("postrouting",)}
SETS = ("src4", "src6", "exclude4", "exclude6")
# The host's own mDNS or DHCP answers leave with a source inside, and no router translates group addresses back.
UNTRANSLATED = {4: ("224.0.0.0/4", "255.255.255.255/32"), 6: ("ff00::/8",)}


def sets_of(name: str, rules: NatRules) -> list[tuple[str, Json]]:
    """The sets that have elements; and an empty one of sources where there is but an address to translate to."""
    found = []
    for kind, networks in (("src", rules.sources), ("exclude", rules.exclude)):
        for version, target in zip((4, 6), rules.to_source):
            chosen = [text for text in networks if family(text) == version]
            if chosen or (kind == "src" and target):
                found.append(("set", address_set(part(f"{kind}{version}", name), version, chosen)))
    return found


def rules_of(name: str, rules: NatRules) -> dict[str, list[list[Json]]]:
    """The rules of the network's chain: one for a family and a way out, and with ports one more for what has none.

    Not one with a set of interfaces, in which nft would read a name that ends with "*" back as a wildcard.
    """
    sets = {described["name"] for _kind, described in sets_of(name, rules)}
    found: list[list[Json]] = []
    for version, out in itertools.product((4, 6), rules.out_interfaces or ("",)):
        if part(f"src{version}", name) not in sets:
            continue
        matches = _matches(name, rules, version, out, part(f"exclude{version}", name) in sets)
        if rules.ports:
            protocols = match({"meta": {"key": "l4proto"}}, {"set": list(PORT_PROTOCOLS.values())})
            found.append([*matches, protocols, COUNTER, _translation(rules, version, rules.ports)])
        found.append([*matches, COUNTER, _translation(rules, version, None)])
    return {"nat": found}


def _matches(name: str, rules: NatRules, version: int, out: str, excludes: bool) -> list[Json]:
    source, destination = payload(version, "saddr"), payload(version, "daddr")
    interface = {"meta": {"key": "oifname"}}
    sources = "@" + part(f"src{version}", name)
    found = [match(source, sources), match(destination, sources, "!=")]
    if excludes:
        found.append(match(destination, "@" + part(f"exclude{version}", name), "!="))
    found += [match(destination, network(text), "!=") for text in UNTRANSLATED[version]]
    if rules.not_out_interface:
        found.insert(0, match(interface, escaped(rules.not_out_interface), "!="))
    if out:
        found.insert(0, match(interface, escaped(out)))
    return found


def escaped(interface: str) -> str:
    """nft takes a bare "*" at the end for a wildcard."""
    return interface[:-1] + "\\*" if interface.endswith("*") else interface


def _translation(rules: NatRules, version: int, ports: tuple[int, int] | None) -> Json:
    target = rules.to_source[0 if version == 4 else 1]
    options: Json = {"family": "ip" if version == 4 else "ip6"} if target else {}
    if target:
        first, _dash, last = target.partition("-")
        options["addr"] = {"range": [first, last]} if last else first
    if ports:
        options["port"] = {"range": list(ports)} if ports[0] != ports[1] else ports[0]
    if rules.random_fully:
        options["flags"] = ["fully-random"]
    return {"snat" if target else "masquerade": options or None}


def candidate(elements: t.Mapping[str, list[t.Any]], there: t.Iterable[list[Json]]) -> NatRules:
    """Rules that a listing may stand for, from the elements of each set and all statements."""
    sources, exclude = (
        collapsed(found for version in (4, 6) for item in elements[f"{kind}{version}"] for found in networks_in(item))
        for kind in ("src", "exclude")
    )
    interfaces: dict[str, set[str]] = {"==": set(), "!=": set()}
    targets = {"ip": "", "ip6": ""}
    ports, random_fully = None, False
    for expression in (expression for rule in there for expression in rule):
        ((kind, body),) = normal(expression).items()
        if kind == "match" and body["left"] == {"meta": {"key": "oifname"}}:
            interfaces[body["op"]].add(re.sub(r"\\\*$", "*", body["right"]))
        elif kind in ("snat", "masquerade"):
            ports, random_fully = ports or body.get("port"), "flags" in body
            if kind == "snat":
                targets[body["family"]] = "-".join(body["addr"])
    to_source = (targets["ip"], targets["ip6"])
    out, not_out = tuple(sorted(interfaces["=="])), next(iter(interfaces["!="]), "")
    return NatRules(sources, exclude, out, not_out, to_source, ports, random_fully)
