# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a network that are settings of its bridge, of the ports, and of the namespaces' links. No I/O."""

from __future__ import annotations

import typing as t

from ..model import is_ours
from ..spec import link_settings
from .note import Notes
from .seen import Bridge, Member

Options = dict[str, t.Any]


def options(bridge: Bridge, members: t.Sequence[Member], notes: Notes) -> Options:
    about = f"bridge {bridge.link.name}"
    if bridge.link.options.get("stp"):
        notes.add(about, "the spanning tree protocol is on", "bridges of a network have it off")
    return {
        **_isolated(about, members, notes),
        **_link_local(about, members, notes),
        **_vlans(about, bridge, members, notes),
        **_settings(about, bridge, members, notes),
    }


def _isolated(about: str, members: t.Sequence[Member], notes: Notes) -> Options:
    found = {bool(member.outer.options.get("isolated")) for member in members}
    if len(found) == 2:
        notes.add(about, "some ports are isolated, others are not", "all of a network are, or none")
    return {"isolated": True} if found == {True} else {}


def _link_local(about: str, members: t.Sequence[Member], notes: Notes) -> Options:
    """Whether links get such addresses. In a network of IPv4 alone it is nobody's choice unless the pair is ours."""
    usual = any(":" in cidr for member in members for cidr in member.addresses)
    chosen = [member.inner.ipv6_link_local for member in members if usual or is_ours(member.outer.alias)]
    if len(set(chosen)) == 2:
        notes.add(
            about, "some namespaces have link-local addresses, others have none", "all of a network have, or none"
        )
        return {}
    return {"ipv6_link_local": chosen[0]} if chosen and chosen[0] != usual else {}


def _vlans(about: str, bridge: Bridge, members: t.Sequence[Member], notes: Notes) -> Options:
    if not bridge.link.options.get("vlan_filtering") or bridge.vlans is None:
        return {}
    if bridge.vlans.tagged:
        text = ", ".join(map(str, bridge.vlans.tagged))
        notes.add(about, f"VLANs {text} are tagged on the bridge itself", "a network has one VLAN without a tag")
    for member in members:
        if member.vlans is None or not (member.vlans.untagged or member.vlans.tagged):
            seen = f"its port {member.outer.name} is in no VLAN"
            notes.add(f"namespace {member.name}", seen, "it is described as in that of the network")
    if bridge.vlans.untagged in (0, 1, None):
        return {"vlan_filtering": True}
    return {"vlan": bridge.vlans.untagged}


def _settings(about: str, bridge: Bridge, members: t.Sequence[Member], notes: Notes) -> Options:
    """Sysctls that the bridge and all links have, and new links have not."""
    found: Options = {}
    for name, option in link_settings.OPTIONS.items():
        there = [bridge.settings.get(name), *(member.settings.get(name) for member in members)]
        if any(value is None or value != there[0] for value in there):
            if any(value is not None for value in there):
                notes.add(about, f"{name} is set on some of its links", "an option of a network is for all of them")
        elif option["type"] == "bool":
            found[name] = bool(there[0])
        else:
            found[name] = there[0]
    return found
