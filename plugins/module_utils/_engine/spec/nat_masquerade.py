# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module nat_masquerade, as facts."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ..errors import SpecError
from ..model import Choice, Ruleset, Want
from ..rules import GUARD_BACKENDS, NAT_BACKENDS, PUBLISH_BACKENDS, GuardRules, NatRules, PublishRules
from . import publish, values
from .schema import STATE, Options

GUARD: Options = {
    "bridge": {"type": "str", "required": True},
    "shared": {"type": "bool", "default": False},
    "strict": {"type": "bool", "default": True},
    "replies": {"type": "bool", "default": False},
    "exclude": {"type": "list", "elements": "str", "default": []},
}
OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "sources": {"type": "list", "elements": "str"},
    "exclude": {"type": "list", "elements": "str"},
    "out_interface": {"type": "list", "elements": "str"},
    "not_out_interface": {"type": "str"},
    "mode": {"type": "str", "choices": ["masquerade", "snat", "none"], "default": "masquerade"},
    "to_source": {"type": "list", "elements": "str"},
    "ports": {"type": "str"},
    "random_fully": {"type": "bool", "default": False},
    "publish": {"type": "list", "elements": "dict", "options": publish.OPTIONS},
    "guard": {"type": "dict", "options": GUARD},
    "backend": {"type": "str", "choices": ["auto", "nftables", "iptables", "firewalld"], "default": "auto"},
    "netns": {"type": "str"},
    "flush_conntrack": {"type": "bool", "default": True},
    "state": STATE,
}


class Translators(t.Protocol):
    """Who can translate source addresses, in a namespace."""

    def nat_backend(self, netns: str, asked: str) -> tuple[str, str]: ...

    def lacking(self, netns: str, addresses: t.Iterable[str]) -> list[str]:
        """Those that no link in the namespace has."""


def wanted(options: t.Mapping[str, t.Any], host: Translators, key: str = "") -> Want:
    """Options of one network's translation to facts. host chooses the back end."""
    name = values.network_name(options["name"], f"{key}name")
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    flush = options["flush_conntrack"]
    facts: list[Ruleset] = []
    choices: tuple[Choice, ...] = ()
    if options["state"] == "present":
        chosen, reason = host.nat_backend(netns, options["backend"])
        choices = (Choice(name, "nat", chosen, reason),)
        if options["mode"] != "none":
            translated = rules(options, key)
            facts.append(Ruleset(netns, name, translated, chosen, flush=flush))
            choices += _sources_of_nobody(host, netns, name, translated)
            if options["guard"]:
                guarding, reason = host.nat_backend(netns, "auto")
                choices += (Choice(name, "guard", guarding, reason),)
                facts.append(Ruleset(netns, name, guard(options, translated, key), guarding, "guard", flush=False))
        if options["publish"]:
            backend = chosen if chosen in PUBLISH_BACKENDS else PUBLISH_BACKENDS[0]
            facts.append(Ruleset(netns, name, published(options, key), backend, "publish", flush))
    there = {(fact.purpose, fact.backend) for fact in facts}
    moved = {fact.purpose for fact in facts}
    places = (("nat", NAT_BACKENDS), ("publish", PUBLISH_BACKENDS), ("guard", GUARD_BACKENDS))
    everywhere = [(purpose, backend) for purpose, backends in places for backend in backends]
    gone = [
        # Flows go on when the same rules move elsewhere.
        Ruleset(netns, name, None, backend, purpose, flush and purpose not in (*moved, "guard"))
        for purpose, backend in everywhere
        if (purpose, backend) not in there
    ]
    return Want(tuple(facts), tuple(gone), choices=choices)


def _sources_of_nobody(host: Translators, netns: str, name: str, translated: NatRules) -> tuple[Choice, ...]:
    """A warning on addresses that no link has. Of a range only a packet shows which address it gets."""
    single = [address for address in translated.to_source if address and "-" not in address]
    reason = (
        "no link of this host has {} of to_source, so that answers come only if a router leads it here. "
        "Add it to a link, or correct to_source"
    )
    return tuple(Choice(name, "source", "", reason.format(one)) for one in host.lacking(netns, single))


def source_ranges(given: t.Sequence[str] | None) -> tuple[str, ...]:
    """to_source as rules have it."""
    return tuple(_source_range(item, "to_source") for item in given or ())


def guard(options: t.Mapping[str, t.Any], translated: NatRules, key: str = "") -> GuardRules:
    """What never leaves, of a network that is translated so."""
    asked = options["guard"]
    bridge = values.interface_in_rules(asked["bridge"], f"{key}guard.bridge")
    strict = asked["strict"] and not asked["shared"]
    excluded = values.subnets([*translated.exclude, *asked["exclude"]], f"{key}guard.exclude")
    exclude = _of_families(excluded, translated.sources)
    return GuardRules((bridge,), translated.sources, exclude, asked["shared"], strict, replies=asked["replies"])


def published(options: t.Mapping[str, t.Any], key: str = "") -> PublishRules:
    """Which ports of the host lead into the network."""
    sources = _sources(options, key)
    publications = publish.publications(options["publish"], sources, f"{key}publish")
    return PublishRules(publications, _of_families(sources, [publication.target for publication in publications]))


def _of_families(networks: tuple[str, ...], others: t.Iterable[str]) -> tuple[str, ...]:
    """Those of the families that others have: no back end has a place for what no rule could ever use."""
    families = set(map(values.family, others))
    return tuple(network for network in networks if values.family(network) in families)


def _sources(options: t.Mapping[str, t.Any], key: str) -> tuple[str, ...]:
    sources = values.subnets(options["sources"], f"{key}sources")
    if not sources:
        raise SpecError(f"{key}sources", "missing", "give the networks whose packets are translated")
    if any(source.endswith("/0") for source in sources):
        raise SpecError(
            f"{key}sources", "everything is a source", "traffic between sources stays as it is; name ranges"
        )
    return sources


def rules(options: t.Mapping[str, t.Any], key: str = "") -> NatRules:
    """What is translated, and how."""
    sources = _sources(options, key)
    found = NatRules(
        sources=sources,
        exclude=_exclude(options, sources, key),
        out_interfaces=_interfaces(options["out_interface"], f"{key}out_interface"),
        not_out_interface=_interface(options["not_out_interface"], f"{key}not_out_interface"),
        to_source=_to_source(options, sources, key),
        ports=_ports(options["ports"], f"{key}ports"),
        random_fully=options["random_fully"],
    )
    if found.not_out_interface in found.out_interfaces:
        raise SpecError(f"{key}not_out_interface", "in out_interface too", "no packet could match; leave one out")
    if found.out_interfaces:
        # Says nothing more, and iptables has no words for both.
        found = dataclasses.replace(found, not_out_interface="")
    if options["backend"] == "firewalld":
        _check_for_firewalld(found, key)
    return found


def _exclude(options: t.Mapping[str, t.Any], sources: tuple[str, ...], key: str) -> tuple[str, ...]:
    found = values.subnets(options["exclude"], f"{key}exclude")
    for everything in (network for network in found if network.endswith("/0")):
        swallowed = [source for source in sources if values.family(source) == values.family(everything)]
        if swallowed:
            raise SpecError(
                f"{key}exclude",
                f"{everything} leaves no destination for which {', '.join(swallowed)} would be translated",
                "leave these out of sources, or use mode none",
            )
    # The others are without effect.
    return _of_families(found, sources)


def _check_for_firewalld(rules: NatRules, key: str) -> None:
    """Refuse what a policy of firewalld cannot say."""
    beyond = {
        "exclude": bool(rules.exclude),
        "to_source": any(rules.to_source),
        "ports": rules.ports is not None,
        "random_fully": rules.random_fully,
        "sources": len({values.family(source) for source in rules.sources}) < len(rules.sources),
    }
    for option, given in beyond.items():
        if given:
            found = "several of one family" if option == "sources" else "given"
            raise SpecError(
                f"{key}{option}",
                f"{found}, which firewalld cannot translate",
                "use auto or nftables: a table of our own works beside firewalld",
            )


def _interfaces(given: t.Sequence[str] | None, key: str) -> tuple[str, ...]:
    return tuple(sorted({values.interface_in_rules(value, f"{key}[{i}]") for i, value in enumerate(given or [])}))


def _interface(value: str | None, key: str) -> str:
    return values.interface_in_rules(value, key) if value else ""


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
    ends = [values.host_address(end.strip(), key) for end in str(value).split("-")]
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
    return None if value is None else publish.port_range(value, key, "1024-65535")
