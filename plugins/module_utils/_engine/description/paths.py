# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a network that are rules of the host: translation, published ports, segment sizes. No I/O."""

from __future__ import annotations

import typing as t

from ..rules import ClampRules, NatRules, PublishRules
from ..spec.values import family
from . import publication, translation
from .note import Notes
from .seen import Bridge, Member, Seen

Options = dict[str, t.Any]

_EDITED = "somebody edited the rules of this collection: run the role egress, then look again"


def options(bridge: Bridge, seen: Seen, subnets: t.Sequence[str], notes: Notes) -> Options:
    """Translation, and what else rules do for the network."""
    about = f"bridge {bridge.link.name}"
    by_subnet = {subnet: _translation(subnet, subnets, bridge, seen, about, notes) for subnet in subnets}
    found = translation.options(by_subnet, about, notes)
    backend = seen.backends.get(bridge.network or "", seen.usual)
    if backend != seen.usual:
        found["firewall"] = "iptables" if backend.startswith("iptables") else backend
    if isinstance(seen.ours.get(("mss", bridge.network or "")), ClampRules):
        found["mss_clamp"] = True
    return found


def _translation(
    subnet: str, subnets: t.Sequence[str], bridge: Bridge, seen: Seen, about: str, notes: Notes
) -> translation.Translation:
    key = ("nat", bridge.network or "")
    ours = seen.ours.get(key)
    if key in seen.ours and ours is None:
        notes.add(about, f"translation of {bridge.network} is not as it was written", _EDITED)
        return translation.Translation("masquerade")
    if isinstance(ours, NatRules):
        return translation.of_ours(ours, family(subnet))
    return translation.of_subnet(subnet, subnets, bridge.link.name, seen.rules.get("postrouting", ()), about, notes)


def published(
    bridge: Bridge, seen: Seen, members: t.Sequence[Member], subnets: t.Sequence[str], notes: Notes
) -> tuple[list[Options], Options]:
    """The entries of publish, and the option hairpin, which is on by itself for those that they name."""
    about = f"bridge {bridge.link.name}"
    key = ("publish", bridge.network or "")
    ours = seen.ours.get(key)
    if key in seen.ours and ours is None:
        notes.add(about, f"published ports of {bridge.network} are not as they were written", _EDITED)
    if isinstance(ours, PublishRules):
        found = publication.of_ours(ours)
    else:
        rules = seen.rules.get("prerouting", ())
        found = publication.of_rules(rules, subnets, bridge.link.name, seen.own, about, notes)
    firsts = {
        member.name: {family(cidr): cidr.split("/")[0] for cidr in reversed(member.addresses)} for member in members
    }
    entries = publication.entries(found, firsts)
    named = {str(entry["to"]).partition(":")[0] for entry in entries} & set(firsts)
    return entries, _hairpin(about, members, named, notes)


def _hairpin(about: str, members: t.Sequence[Member], named: t.Collection[str], notes: Notes) -> Options:
    on = {member.name for member in members if member.outer.options.get("hairpin")}
    if on == set(named):
        return {}
    if len(on) in (0, len(members)):
        return {"hairpin": bool(on)}
    notes.add(
        about, f"hairpin mode is on for {', '.join(sorted(on))}", "all of a network have it, or the published ones"
    )
    return {}
