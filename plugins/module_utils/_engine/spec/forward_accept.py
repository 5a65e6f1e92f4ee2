# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module forward_accept, as facts."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import SpecError
from ..model import Choice, Ruleset, Sender, Want
from ..rules import CLAMP_BACKENDS, FORWARD_BACKENDS, WALL_BACKENDS, ClampRules, ForwardRules, WallRules
from . import values, wall
from .schema import STATE, Options

OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "bridge": {"type": "str"},
    "uplink": {"type": "list", "elements": "str"},
    "sources": {"type": "list", "elements": "str"},
    "published": {"type": "bool", "default": False},
    "mss_clamp": {"type": "bool", "default": False},
    "inbound": {"type": "str", "choices": [wall.PUBLISHED, wall.OPEN]},
    "peers": {"type": "list", "elements": "str", "default": []},
    "isolated": {"type": "bool", "default": False},
    "spoof_protection": {"type": "bool", "default": False},
    "former_ports": {"type": "list", "elements": "str"},
    "backend": {"type": "str", "choices": ["auto", "iptables", "firewalld"], "default": "auto"},
    "netns": {"type": "str"},
    "state": STATE,
}


class Filters(t.Protocol):
    """What filters forwarded packets in a namespace, and by which interfaces they leave it."""

    def forward_backends(
        self, netns: str, asked: str, bridge: str, families: t.Collection[int], published: bool = False
    ) -> t.Sequence[tuple[str, str, t.Collection[int]]]: ...

    def nat_backend(self, netns: str, asked: str) -> tuple[str, str]: ...

    def default_uplinks(self, netns: str) -> t.Mapping[int, t.Sequence[t.Sequence[str]]]: ...

    def uplinks_noted(self, netns: str) -> t.Mapping[int, t.Sequence[str]]: ...


def wanted(options: t.Mapping[str, t.Any], host: Filters, key: str = "") -> Want:
    """Options of one network's way through FORWARD to facts. host tells what filters there."""
    name = values.network_name(options["name"], f"{key}name")
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    rulesets = {backend: Ruleset(netns, name, None, backend, "forward") for backend in FORWARD_BACKENDS}
    if options["state"] == "absent":
        absent = (*rulesets.values(), *_clamps(netns, name, "").absent, *_walls(netns, name))
        return Want(absent=(*absent, *_former_ports(options, netns, key)))
    rules = _rules(options, netns, host, key)
    families = {values.family(source) for source in rules.sources}
    found = host.forward_backends(netns, options["backend"], rules.bridge, families, rules.published)
    chosen = {backend: _of_families(rules, versions) for backend, _reason, versions in found if backend}
    if "ufw" in chosen:
        chosen["ufw"] = dataclasses.replace(chosen["ufw"], published=False)
    return (
        Want(
            tuple(Ruleset(netns, name, chosen[backend], backend, "forward") for backend in chosen),
            tuple(ruleset for backend, ruleset in rulesets.items() if backend not in chosen),
            choices=(
                *(Choice(name, "forward", backend, reason) for backend, reason, _versions in found),
                *(() if options["uplink"] else _without_a_way(name, families, host.default_uplinks(netns))),
            ),
        )
        + _clamps(netns, name, rules.bridge if options["mss_clamp"] else "", host, options["backend"])
        + _wall(options, netns, name, rules, key)
    )


def _wall(options: t.Mapping[str, t.Any], netns: str, name: str, rules: ForwardRules, key: str) -> Want:
    """What the bridge exchanges with other networks and with the outside, where inbound is given."""
    gone = _former_ports(options, netns, key)
    if options["inbound"] is None:
        for option in ("peers", "isolated", "spoof_protection"):
            if options[option]:
                raise SpecError(f"{key}{option}", "given without inbound", "give inbound: published or open")
        return Want(absent=(*_walls(netns, name), *gone))
    found = WallRules(
        rules.bridge,
        rules.sources,
        wall.peers(options["peers"], name, f"{key}peers"),
        isolated=options["isolated"],
        spoof_protection=options["spoof_protection"],
        open=options["inbound"] == wall.OPEN,
        published=options["published"],
    )
    return Want(tuple(Ruleset(netns, name, found, backend, "wall") for backend in WALL_BACKENDS), gone)


def _walls(netns: str, name: str) -> t.Iterator[Ruleset]:
    return (Ruleset(netns, name, None, backend, "wall") for backend in WALL_BACKENDS)


def _former_ports(options: t.Mapping[str, t.Any], netns: str, key: str) -> tuple[Sender, ...]:
    given = enumerate(options["former_ports"] or [])
    return tuple(Sender(netns, values.interface_name(port, f"{key}former_ports[{i}]")) for i, port in given)


def _without_a_way(name: str, families: t.Iterable[int], uplinks: t.Mapping[int, t.Any]) -> t.Iterator[Choice]:
    """What a person is told of families without a default route, of which nobody knows the way out."""
    for family in sorted(families):
        if not uplinks.get(family):
            reason = f"no default route leads IPv{family} out of this host; name the way as uplink"
            yield Choice(name, "forward", "", reason)


def _clamps(netns: str, name: str, bridge: str, host: Filters | None = None, asked: str = "auto") -> Want:
    """Rules that hold the segments of connections through a bridge, and none in any other back end."""
    chosen, reason = host.nat_backend(netns, asked) if host and bridge else ("", "")
    if chosen and chosen not in CLAMP_BACKENDS:
        chosen, reason = "nftables", "a table of our own holds segments beside whatever else is in use"
    return Want(
        (Ruleset(netns, name, ClampRules(bridge), chosen, "mss"),) if chosen else (),
        tuple(Ruleset(netns, name, None, other, "mss") for other in CLAMP_BACKENDS if other != chosen),
        choices=(Choice(name, "mss", chosen, reason),) if chosen else (),
    )


def _of_families(rules: ForwardRules, versions: t.Collection[int]) -> ForwardRules:
    sources = (source for source in rules.sources if values.family(source) in versions)
    return dataclasses.replace(rules, sources=tuple(sources))


def _rules(options: t.Mapping[str, t.Any], netns: str, host: Filters, key: str) -> ForwardRules:
    if not options["bridge"]:
        raise SpecError(f"{key}bridge", "missing", "give the interface behind which the sources are")
    bridge = values.interface_name(options["bridge"], f"{key}bridge")
    sources = values.subnets(options["sources"], f"{key}sources")
    if not sources:
        raise SpecError(f"{key}sources", "missing", "give the networks whose packets are let through")
    if options["uplink"]:
        given = enumerate(options["uplink"])
        uplinks = [values.interface_name(name, f"{key}uplink[{i}]") for i, name in given]
        if bridge in uplinks:
            raise SpecError(f"{key}uplink", f"{bridge} is the bridge itself", "give the interface that leads out")
    else:
        known = host.default_uplinks(netns)
        families = sorted({values.family(source) for source in sources})
        # While there is no way out, as with a router that is silent, the one that there was is kept.
        noted = host.uplinks_noted(netns) if not all(known.get(family) for family in families) else {}
        ways = [known.get(family) or [noted.get(family, ())] for family in families]
        uplinks = [name for links in ways for way in links for name in way]
    # What stays on the bridge is let through anyway.
    ways_out = tuple(uplink for uplink in dict.fromkeys(uplinks) if uplink != bridge)
    return ForwardRules(bridge, ways_out, sources, options["published"])
