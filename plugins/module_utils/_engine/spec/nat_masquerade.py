# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module nat_masquerade, as facts."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ..errors import SpecError
from ..model import NAT_BACKENDS, Choice, NatRules, Ruleset, Want
from . import values
from .schema import STATE, Options

OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "sources": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "out_interface": {"type": "str"},
    "not_out_interface": {"type": "str"},
    "mode": {"type": "str", "choices": ["masquerade", "snat"], "default": "masquerade"},
    "to_source": {"type": "list", "elements": "str"},
    "ports": {"type": "str"},
    "random_fully": {"type": "bool", "default": False},
    "backend": {"type": "str", "choices": ["auto", "nftables", "iptables"], "default": "auto"},
    "netns": {"type": "str"},
    "flush_conntrack": {"type": "bool", "default": True},
    "state": STATE,
}


class Translators(t.Protocol):
    """Who can translate source addresses, in a namespace."""

    def nat_backend(self, netns: str, asked: str) -> tuple[str, str]: ...


def wanted(options: t.Mapping[str, t.Any], host: Translators, key: str = "") -> Want:
    """Options of one network's source translation to facts. host chooses the back end."""
    name = values.network_name(options["name"], f"{key}name")
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    if options["state"] == "absent":
        gone = (Ruleset(netns, name, backend=backend, flush=options["flush_conntrack"]) for backend in NAT_BACKENDS)
        return Want(absent=tuple(gone))
    chosen, reason = host.nat_backend(netns, options["backend"])
    wanted_rules = rules(options, key)
    return Want(
        (Ruleset(netns, name, wanted_rules, chosen, flush=options["flush_conntrack"]),),
        # Flows go on when the same rules move elsewhere.
        tuple(Ruleset(netns, name, backend=other, flush=False) for other in NAT_BACKENDS if other != chosen),
        choices=(Choice(name, "nat", chosen, reason),),
    )


def rules(options: t.Mapping[str, t.Any], key: str = "") -> NatRules:
    """What is translated, and how."""
    sources = values.subnets(options["sources"], f"{key}sources")
    if not sources:
        raise SpecError(f"{key}sources", "missing", "give the networks whose packets are translated")
    if any(source.endswith("/0") for source in sources):
        raise SpecError(
            f"{key}sources", "everything is a source", "traffic between sources stays as it is; name ranges"
        )
    found = NatRules(
        sources=sources,
        exclude=values.subnets(options["exclude"], f"{key}exclude"),
        out_interface=_interface(options["out_interface"], f"{key}out_interface"),
        not_out_interface=_interface(options["not_out_interface"], f"{key}not_out_interface"),
        to_source=_to_source(options, sources, key),
        ports=_ports(options["ports"], f"{key}ports"),
        random_fully=options["random_fully"],
    )
    if found.out_interface and found.out_interface == found.not_out_interface:
        raise SpecError(f"{key}not_out_interface", "the same as out_interface", "no packet could match; leave one out")
    return found


def _interface(value: str | None, key: str) -> str:
    if value and value.startswith("@"):
        raise SpecError(
            key, f"{value!r} starts with '@', which nft takes for the name of a set", "rename the interface"
        )
    return values.interface_name(value, key) if value else ""


def _to_source(options: t.Mapping[str, t.Any], sources: tuple[str, ...], key: str) -> tuple[str, str]:
    """One address or "first-last" for each family."""
    given = options["to_source"] or []
    if options["mode"] == "masquerade":
        if given:
            raise SpecError(f"{key}to_source", "given with mode masquerade", "use mode snat, or leave it out")
        return ("", "")
    found = {4: "", 6: ""}
    for i, item in enumerate(given):
        target = _source_range(item, f"{key}to_source[{i}]")
        family = values.family(target)
        if found[family]:
            raise SpecError(
                f"{key}to_source[{i}]", f"a second one for IPv{family}", "give one address or range a family"
            )
        if not any(values.family(source) == family for source in sources):
            raise SpecError(f"{key}to_source[{i}]", f"{item!r}, but no source is IPv{family}", "leave it out")
        found[family] = target
    for source in sources:
        if not found[values.family(source)]:
            family = values.family(source)
            raise SpecError(
                f"{key}to_source",
                f"no IPv{family} address for {source}",
                f"add one, or translate no IPv{family} network",
            )
    return (found[4], found[6])


def _source_range(value: t.Any, key: str) -> str:
    ends = [values.address(end.strip(), key) for end in str(value).split("-")]
    if len(ends) > 2:
        raise SpecError(key, f"{value!r} is no range", "allowed is the form 198.51.100.1-198.51.100.9")
    if len(ends) == 2:
        first, last = (ipaddress.ip_address(end) for end in ends)
        if first.version != last.version or int(first) > int(last):
            raise SpecError(key, f"{value!r} is no range", "the first address must not be above the last")
        if first == last:
            ends.pop()
    return "-".join(ends)


def _ports(value: str | None, key: str) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", value)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise SpecError(key, f"{value!r} is no port range", "allowed is the form 1024-65535")
    return (first, last)
