# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of a network, from which it is built at boot.

It has {"version": 1, "network": {...}, "addresses": {namespace: [...]}} and a checksum, as JSON. The network is in the
form of egress_networks. The addresses are those that its namespaces keep.
"""

from __future__ import annotations

import typing as t

from ..model import NETWORK_FILES, File, Want
from ..sealed import seal
from .allocation import Assigned, allocate
from .network import Network, parse_networks

FORMAT = 1
MODE = 0o600


def path(name: str) -> str:
    return f"{NETWORK_FILES}/{name}.json"


def content(network: Network, entry: t.Any, assigned: Assigned, found: Assigned | None = None) -> str:
    """entry: the network as it was asked for. assigned and found: as of allocate."""
    kept = {name: list(cidrs) for name, cidrs in allocate(network, assigned, found).items()}
    return seal({"version": FORMAT, "network": _given(entry), "addresses": kept})


def wanted(
    options: t.Mapping[str, t.Any], there: t.Collection[str], assigned: Assigned, found: Assigned | None = None
) -> dict[str, Want]:
    """{network: its file, which goes with what it is about}. there: names of networks that have one."""
    files = {}
    parsed = parse_networks(options["networks"], "networks", options["state"] == "absent")
    for network, entry in zip(parsed, options["networks"]):
        if network.name in there and network.absent:
            files[network.name] = Want(absent=(File(path(network.name)),))
        elif network.name in there:
            files[network.name] = Want(
                facts=(File(path(network.name), content(network, entry, assigned, found), MODE),)
            )
    return files


def _given(value: t.Any) -> t.Any:
    """Without the options that were left out, which Ansible fills in as none."""
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value
