# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as a user would write them, from what was seen. No I/O."""

from __future__ import annotations

import collections
import re
import typing as t

from ..errors import SpecError
from ..rules import WallRules
from ..spec import values
from ..spec.expansion import narrowest_uplink
from ..spec.network import OPTIONS, Network, check_together, derived_name, first_host, parse_network
from ..spec.wall import OPEN, PUBLISHED
from . import members, paths, ports
from .note import Notes
from .seen import Bridge, Seen
from .subnets import Subnets

Options = dict[str, t.Any]

_UNNAMED = "net"


def described(seen: Seen, notes: Notes) -> list[Options]:
    """The networks of all bridges that can be described; each by itself would be accepted, and all together."""
    found: list[Options] = []
    parsed: list[Network] = []
    for bridge in seen.bridges:
        about = f"bridge {bridge.link.name}"
        entry = _entry(bridge, seen, notes, {network.name for network in parsed})
        if entry is None:
            continue
        try:
            entry = _without_bad_ports(entry, about, notes)
            network = parse_network(entry, entry["name"])
            check_together([*parsed, network])
        except SpecError as error:
            notes.add(about, str(error), "no network can be like that")
            continue
        found.append(entry)
        parsed.append(network)
    for version, forwards in seen.forwarding.items():
        if not forwards and any(values.family(subnet) == version for one in parsed for subnet in one.subnets):
            notes.add("the host", f"it does not forward IPv{version}", "building the networks switches that on")
    return found


def _without_bad_ports(entry: Options, about: str, notes: Notes) -> Options:
    """Ports that cannot be published keep no network from being described. Errors: SpecError for anything else."""
    try:
        parse_network(entry, entry["name"])
    except SpecError as error:
        if not error.asked.startswith(f"{entry['name']}.publish"):
            raise
        notes.add(about, str(error), "its published ports are left out")
        return {key: value for key, value in entry.items() if key not in ("publish", "hairpin")}
    return entry


def _entry(bridge: Bridge, seen: Seen, notes: Notes, taken: t.Collection[str]) -> Options | None:
    """None for a bridge that is no network's."""
    about = f"bridge {bridge.link.name}"
    if not bridge.members and bridge.network is None:
        if bridge.addresses:
            notes.add(about, "no namespace with a name is behind it", "there is nothing to describe")
        return None
    if bridge.routed:
        notes.add(about, "the host's own default route leads to it", "the bridge of a network is not the uplink")
        return None
    subnets = Subnets.of(bridge, notes)
    inhabitants = members.fitting(bridge, subnets, notes)
    if not subnets.gateways or (bridge.members and not inhabitants):
        if not subnets.gateways:
            notes.add(about, "it has no address that namespaces use", "the gateway of a network is on its bridge")
        return None
    name = _name(bridge, taken)
    entry: Options = {"name": name, "subnets": list(subnets.gateways)}
    if derived_name("br-", name) != bridge.link.name:
        entry["bridge"] = bridge.link.name
    entry.update(_gateway(subnets))
    entry.update(ports.options(bridge, inhabitants, notes))
    entry.update(paths.options(bridge, seen, list(subnets.gateways), notes))
    published, hairpin = paths.published(bridge, seen, inhabitants, list(subnets.gateways), notes)
    entry.update({"publish": published} if published else {}, **hairpin)
    entry.update(_wall(entry, seen))
    entry["namespaces"] = members.entries(entry, inhabitants, notes)
    entry.update(_mtu(bridge, entry, seen, notes))
    return {key: entry[key] for key in OPTIONS if key in entry and (key != "namespaces" or entry[key])}


def _wall(entry: Options, seen: Seen) -> Options:
    """What a managed network may exchange, where that differs from the defaults."""
    rules = seen.ours.get(("wall", entry["name"]))
    if not isinstance(rules, WallRules):
        return {}
    nat = entry.get("nat", {})
    usual = (nat if isinstance(nat, str) else nat.get("mode")) == "none"
    return {
        **({"isolated": True} if rules.isolated else {}),
        **({"peers": list(rules.peers)} if rules.peers else {}),
        **({"inbound": OPEN if rules.open else PUBLISHED} if rules.open != usual else {}),
        **({} if rules.spoof_protection else {"spoof_protection": False}),
    }


def _name(bridge: Bridge, taken: t.Collection[str]) -> str:
    """That of the mark, else the bridge's, as far as it can be one."""
    if bridge.network and bridge.network not in taken:
        return bridge.network
    own = bridge.link.name
    text = own.removeprefix("br-")
    name = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-") or _UNNAMED
    number, chosen = 2, name
    while chosen in taken:
        number, chosen = number + 1, f"{name}-{number}"
    return chosen


def _gateway(subnets: Subnets) -> Options:
    given = list(dict.fromkeys(subnets.gateways.values()))
    usual = [_first(subnet) for subnet in subnets.gateways]
    if list(subnets.gateways.values()) == usual:
        return {}
    return {"gateway": given[0] if len(given) == 1 else given}


def _first(subnet: str) -> str:
    network = values.network(subnet)
    return str(type(network.network_address)(first_host(network)))


def _mtu(bridge: Bridge, entry: Options, seen: Seen, notes: Notes) -> Options:
    """The one that most have, unless it is the uplink's."""
    there = collections.Counter(member.inner.mtu for member in bridge.members) or {bridge.link.mtu: 1}
    (chosen, _times), *others = sorted(there.items(), key=lambda item: -item[1])
    if others:
        text = ", ".join(str(mtu) for mtu in sorted(there))
        notes.add(
            f"bridge {bridge.link.name}", f"MTUs {text} behind it", f"a network has one: it is described with {chosen}"
        )
    try:
        network = parse_network({**entry, "namespaces": [], "publish": []}, entry["name"])
    except SpecError:
        return {}
    families = {values.family(subnet) for subnet in network.subnets}
    usual = seen.view.mtus.get(narrowest_uplink(network, seen.view, families), 1500)
    return {} if chosen == usual else {"mtu": chosen}
