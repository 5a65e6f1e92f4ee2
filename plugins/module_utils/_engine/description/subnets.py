# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subnets of a bridge with their gateways, from its addresses and what the namespaces behind it use. No I/O."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass

from ..spec import values
from .note import Notes
from .seen import Bridge


@dataclass(frozen=True)
class Subnets:
    """gateways: {subnet: address}, in the order of the bridge's addresses."""

    gateways: t.Mapping[str, str]

    @classmethod
    def of(cls, bridge: Bridge, notes: Notes) -> Subnets:
        about = f"bridge {bridge.link.name}"
        used = [gateway for member in bridge.members for gateway in member.gateways.values()]
        found: dict[str, str] = {}
        for cidr in bridge.addresses:
            interface = values.interface(cidr)
            subnet, address = str(interface.network), str(interface.ip)
            if interface.network.prefixlen >= interface.network.max_prefixlen:
                notes.add(about, f"address {cidr}", "it is no gateway of a subnet")
            elif subnet not in found or (found[subnet] not in used and address in used):
                if subnet in found:
                    _second(about, found[subnet], notes)
                found[subnet] = address
            else:
                _second(about, address, notes)
        found.update(_by_link_local(bridge, found, used))
        return cls(found)

    def gateway_of(self, cidr: str) -> str | None:
        """None for an address of no subnet."""
        return self.gateways.get(str(values.interface(cidr).network))


def _by_link_local(bridge: Bridge, found: t.Mapping[str, str], used: t.Collection[str]) -> dict[str, str]:
    """Subnets of IPv6 that the bridge has no address of, with a link-local gateway that it has."""
    own = [cidr.split("/")[0] for cidr in bridge.link_local]
    gateway = next((address for address in own if address in used), "")
    subnets = [
        str(values.interface(cidr).network)
        for member in bridge.members
        for cidr in member.addresses
        if ":" in cidr and ipaddress.ip_interface(cidr).network.prefixlen < 128
    ]
    return {subnet: gateway for subnet in subnets if subnet not in found} if gateway else {}


def _second(about: str, address: str, notes: Notes) -> None:
    notes.add(about, f"address {address}", "a subnet of a network has one gateway")
