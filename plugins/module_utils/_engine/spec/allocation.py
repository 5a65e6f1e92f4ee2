# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which namespace gets which address: as given, as it was given, else the next free one. Pure, the same each time."""

from __future__ import annotations

import ipaddress
import typing as t

from ..errors import SpecError
from . import values
from .network import Network, first_host, last_host

Assigned = t.Mapping[str, t.Sequence[str]]


def allocate(network: Network, assigned: Assigned, found: Assigned | None = None) -> dict[str, tuple[str, ...]]:
    """{namespace: addresses with prefix length}, one for each family.

    assigned: what namespaces were given; kept where it fits, so that a new neighbour moves nobody. found: what is in
    those that the ledger does not have, as of release 1.0.0. One that several have goes to whom it would go if nobody
    had any.
    """
    if found:
        assigned = {**_undisputed(network, assigned, found), **assigned}
    taken = set(network.gateways)
    chosen: dict[str, dict[int, str]] = {namespace.name: {} for namespace in network.namespaces}
    for namespace in network.namespaces:
        for cidr in namespace.addresses or ():
            taken.add(cidr)
    for namespace in network.namespaces:
        if namespace.addresses is None:
            _keep(network, assigned.get(namespace.name, ()), taken, chosen[namespace.name])
    free = {version: _free(network, version, taken) for version in (4, 6)}
    result = {}
    for namespace in network.namespaces:
        if namespace.addresses is not None:
            result[namespace.name] = namespace.addresses
            continue
        for version in _families(network):
            if version not in chosen[namespace.name]:
                chosen[namespace.name][version] = _next(network, version, free[version])
        result[namespace.name] = tuple(chosen[namespace.name][version] for version in _families(network))
    return result


def _undisputed(network: Network, assigned: Assigned, found: Assigned) -> dict[str, list[str]]:
    """What of found a namespace may keep."""
    names = [namespace.name for namespace in network.namespaces if namespace.name not in assigned]
    owners: dict[str, list[str]] = {}
    for name, cidrs in [(name, assigned[name]) for name in assigned] + [(name, found.get(name, ())) for name in names]:
        for cidr in cidrs:
            owners.setdefault(cidr, []).append(name)
    disputed = {cidr for cidr, claimants in owners.items() if len(claimants) > 1}
    fresh = allocate(network, assigned) if disputed else {}
    return {
        name: [cidr for cidr in found.get(name, ()) if cidr not in disputed or cidr in fresh.get(name, ())]
        for name in names
    }


def _families(network: Network) -> list[int]:
    return sorted({values.family(subnet) for subnet in network.subnets})


def _keep(network: Network, cidrs: t.Sequence[str], taken: set[str], chosen: dict[int, str]) -> None:
    for cidr in cidrs:
        version = values.family(cidr)
        interface = values.interface(cidr)
        subnet = interface.network
        fits = str(subnet) in network.subnets and first_host(subnet) <= int(interface.ip) <= last_host(subnet)
        if fits and version not in chosen and cidr not in taken:
            chosen[version] = cidr
            taken.add(cidr)


def _free(network: Network, version: int, taken: set[str]) -> t.Iterator[str]:
    for subnet in map(ipaddress.ip_network, network.subnets):
        if subnet.version != version:
            continue
        for number in range(first_host(subnet), last_host(subnet) + 1):
            cidr = f"{type(subnet.network_address)(number)}/{subnet.prefixlen}"
            if cidr not in taken:
                yield cidr


def _next(network: Network, version: int, free: t.Iterator[str]) -> str:
    for cidr in free:
        return cidr
    subnets = [subnet for subnet in network.subnets if values.family(subnet) == version]
    room = sum(last_host(n) - first_host(n) + 1 for n in map(ipaddress.ip_network, subnets))
    raise SpecError(
        f"{network.key}.subnets",
        f"{', '.join(subnets)} holds {room}, too few for the gateway and {len(network.namespaces)} namespaces",
        "give a larger subnet or another one",
    )


def gateway_for(network: Network, cidr: str) -> str:
    """The gateway's bare address in the subnet of an address."""
    subnet = values.interface(cidr).network
    for home, gateway in zip(network.subnets, network.gateways):
        if home == str(subnet):
            return gateway.split("/")[0]
    raise SpecError(f"{network.key}.gateway", f"none for {subnet}", "give one for each subnet")
