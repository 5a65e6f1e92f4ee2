# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a network's namespaces to their own addresses, and the network apart from others. No I/O."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..errors import SpecError
from ..rules import ALL_NETWORKS
from . import values
from .schema import Options

OPEN, PUBLISHED = "open", "published"
OPTIONS: Options = {
    "spoof_protection": {"type": "bool"},
    "peers": {"type": "list", "elements": "str", "default": []},
    "inbound": {"type": "str", "choices": [PUBLISHED, OPEN]},
}


@dataclass(frozen=True)
class Wall:
    """spoof_protection: ports send from their own addresses alone. peers: networks that it exchanges packets with.

    inbound: who outside may begin a connection: those to a published port alone, or everybody (open).
    """

    spoof_protection: bool
    peers: tuple[str, ...]
    inbound: str

    def needs_rules(self, isolated: bool) -> bool:
        """Whether anything is to be refused."""
        return self.spoof_protection or isolated or self.inbound != OPEN or self.peers != (ALL_NETWORKS,)


def parse(data: t.Mapping[str, t.Any], name: str, absent: bool, key: str) -> Wall:
    """Of an entry that has been checked. Errors: SpecError with the offending key."""
    no_rules = absent or data["firewall"] == "none"
    for option in OPTIONS:
        if no_rules and not absent and data[option] and data[option] != OPEN:
            raise SpecError(f"{key}.{option}", "given with firewall none", "that takes rules; allow some")
    nat = data["nat"] if isinstance(data["nat"], str) else data["nat"].get("mode", "masquerade")
    protected = data["spoof_protection"] is not False and not no_rules
    inbound = data["inbound"] or (OPEN if nat == "none" else PUBLISHED)
    return Wall(protected, peers(data["peers"], name, f"{key}.peers"), OPEN if no_rules else inbound)


def peers(given: t.Sequence[str], name: str, key: str) -> tuple[str, ...]:
    """Names of other networks, in order, or all alone. Errors: SpecError."""
    found = [values.network_name(peer, f"{key}[{i}]") for i, peer in enumerate(given)]
    if ALL_NETWORKS in found:
        return (ALL_NETWORKS,)
    if name in found:
        raise SpecError(
            key, f"it names {name} itself", "give other networks; isolated is what parts its own namespaces"
        )
    return tuple(sorted(set(found)))
