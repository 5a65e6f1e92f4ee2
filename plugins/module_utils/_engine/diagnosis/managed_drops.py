# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drop proves by the table of its chain: the reason of a managed one, or the filter of another tool. No I/O."""

from __future__ import annotations

import ipaddress
import types
import typing as t
from dataclasses import replace

from ..kernel import guard_rules, port_table, wall
from ..kernel.nft_trace import Ruling
from ..rules import NatRules
from ..spec import values
from .host_checks import dropped_by_others
from .structure import Seen
from .verdict import Finding

_GUARD = (str(guard_rules.HERE["family"]), guard_rules.TABLE)
_WALL = (wall.TABLE.family, wall.TABLE.name)
_PORTS = (port_table.TABLE.family, port_table.TABLE.name)
_NONE: t.Mapping[str, str] = types.MappingProxyType({})
_SPARE = "have the rule that says notrack spare the network"


# What filters ahead of the host's forwarding and behind it, by hop.
_BESIDE = {
    "bridge_port": "a filter on the host's end of its pair drops its packets",
    "bridge": "a filter of the bridge drops its packets",
    "uplink": "a filter on the uplink drops its packets",
}


def dropped(
    seen: Seen, ruling: Ruling, said: str, direction: str = "out", hops: t.Mapping[str, str] = _NONE
) -> Finding:
    """The finding about a packet that a chain drops. said: where it was seen last. hops: by the family of the chain,
    where a filter of another tool is on the way there.
    """
    evidence = (said, str(ruling))
    table = (ruling.family, ruling.table)
    if is_untranslated(ruling):
        missing = Finding("NAT_MISSING", evidence, direction=direction)
        return _kept_from_the_rules(missing) if has_rules(seen) else missing
    if table in (_GUARD, _PORTS) or (table == _WALL and "@sources" in ruling.rule):
        return _foreign_source(seen, evidence, direction)
    if table == _WALL:
        return _closed(evidence, direction)
    hop = hops.get(ruling.family, "")
    return replace(dropped_by_others(evidence, direction), hop=hop, summary=_BESIDE.get(hop, ""))


def is_untranslated(ruling: Ruling | None) -> bool:
    """Whether the guard drops it behind all NAT, as it still has its private source."""
    if ruling is None or (ruling.family, ruling.table) != _GUARD:
        return False
    return ruling.chain.startswith("left_")


def is_of_ports(ruling: Ruling) -> bool:
    """Whether the table drops it that holds ports to the addresses of their namespaces."""
    return (ruling.family, ruling.table) == _PORTS


def has_rules(seen: Seen) -> bool:
    """Whether the network's rules that translate are seen to be there."""
    return any(isinstance(rules, NatRules) for rules in seen.nat.values())


def untracked(missing: Finding) -> Finding:
    """The rules are there, and translate what is tracked alone."""
    why = "conntrack has no entry: something leaves these packets out of connection tracking (notrack)"
    return replace(missing, evidence=(*missing.evidence, why), fix=_SPARE, tier="advise")


def _kept_from_the_rules(missing: Finding) -> Finding:
    """A packet that is dropped gets no conntrack entry, so that its absence proves nothing."""
    why = (
        "the network's rules that translate are there: a rule of another tool leaves these packets out of connection"
        " tracking (notrack), or decides about their source first"
    )
    fix = f"{_SPARE}, or the rule that translates ahead of the network's"
    return replace(missing, evidence=(*missing.evidence, why), fix=fix, tier="advise")


def _foreign_source(seen: Seen, evidence: tuple[str, ...], direction: str) -> Finding:
    address = ipaddress.ip_address(seen.path.address)
    if any(address in values.network(source) for source in seen.path.sources):
        edited = f"{seen.path.address} is an address of {seen.path.network}: the table is not as it was written"
        return Finding("FORWARD_DROPPED", (*evidence, edited), direction=direction)
    summary = "it has a source that its namespace or network may not send from"
    fix = "give the namespace an address of its network, or ask for spoof_protection: false"
    return Finding("FORWARD_DROPPED", evidence, direction=direction, fix=fix, tier="advise", summary=summary)


def _closed(evidence: tuple[str, ...], direction: str) -> Finding:
    """By what networks of this host are asked to keep from each other, and from who is outside."""
    summary = "networks of this host are closed to each other and to 169.254.0.0/16"
    fix = "name the target's network in peers, or publish the port"
    if direction == "return":
        summary = "the answer belongs to no tracked connection, and who is outside may begin none"
        fix = "have answers tracked with what they answer (no zone of their own, no notrack), or ask for inbound: open"
    return Finding("FORWARD_DROPPED", evidence, direction=direction, fix=fix, tier="advise", summary=summary)
