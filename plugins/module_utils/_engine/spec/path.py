# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module egress_path, as facts: the union of what the modules of a network's path want."""

from __future__ import annotations

import typing as t

from ..model import Identity, Want
from . import (
    expansion,
    forward_accept,
    linux_bridge,
    nat_masquerade,
    netns,
    network,
    network_file,
    ns_route,
    schema,
    sysctl_forward,
    veth,
)
from .allocation import allocate, gateway_for
from .host import HostView
from .schema import STATE, Options
from .union import union

OPTIONS: Options = {
    "networks": network.NETWORKS,
    "only": {"type": "list", "elements": "str"},
    "state": STATE,
}
_MODULES: dict[str, t.Any] = {
    "netns": netns,
    "linux_bridge": linux_bridge,
    "veth": veth,
    "ns_route": ns_route,
    "sysctl_forward": sysctl_forward,
    "nat_masquerade": nat_masquerade,
    "forward_accept": forward_accept,
}


_LOOKING = (linux_bridge, sysctl_forward, nat_masquerade, forward_accept)


class Host(
    linux_bridge.Managed,
    sysctl_forward.Settings,
    nat_masquerade.Translators,
    forward_accept.Filters,
    t.Protocol,
):
    """What the path needs to know of a host."""

    def view(self, only: t.Collection[str] | None = None) -> HostView: ...

    def network_files(self) -> t.Collection[str]: ...


def wanted(
    options: t.Mapping[str, t.Any],
    host: Host,
    files: bool = False,
    chosen: t.Collection[str] | None = None,
    seen: t.Callable[[HostView], None] = lambda _view: None,
) -> Want:
    """The networks of a host as one request. files: those that they are built from at boot change along.

    chosen: names of the networks that are built or removed, if not all. seen: gets the look at the host that decides.
    """
    only = None if options.get("only") is None else frozenset(options["only"])
    view = host.view(only)
    seen(view)
    absent = options["state"] == "absent"
    parsed = network.parse_networks(options["networks"], "networks", absent)
    wants = []
    if files:
        wants += [
            (name, ("files", want))
            for name, want in network_file.wanted(options, host.network_files(), view.assigned, view.found).items()
            if chosen is None or name in chosen
        ]
    parts = expansion.by_network(parsed, view, absent, only, chosen)
    # In the order in which the modules run: it is that of tables and rules.
    for module in _MODULES:
        wants += [(name, one) for name, expanded in parts.items() for one in _wants(name, module, expanded, host)]
    concerned: dict[Identity, frozenset[str]] = {}
    for name, (_key, want) in wants:
        for fact in (*want.facts, *want.absent):
            concerned[fact.identity] = concerned.get(fact.identity, frozenset()) | {name}
    return union([one for _name, one in wants]) + Want(only=only or frozenset(), concerned=concerned)


def described(
    parsed: t.Sequence[network.Network], view: HostView, names: t.Collection[str]
) -> dict[str, dict[str, t.Any]]:
    """{network: what later tasks need to know of it} on a host, for some of the networks, once they are built."""
    return {one.name: _described(one, view) for one in parsed if not one.absent and one.name in names}


def _described(one: network.Network, view: HostView) -> dict[str, t.Any]:
    addresses = allocate(one, view.assigned, view.found)
    return {
        "bridge": one.bridge,
        "subnets": list(one.subnets),
        "gateways": [gateway.split("/")[0] for gateway in one.gateways],
        "namespaces": [
            {
                "name": namespace.name,
                "interface": namespace.interface,
                "host_interface": namespace.host_end,
                "addresses": list(addresses[namespace.name]),
                "gateways": [gateway_for(one, cidr) for cidr in addresses[namespace.name]],
            }
            for namespace in one.namespaces
        ],
    }


def _wants(
    network_name: str, module_name: str, expanded: expansion.ModuleOptions, host: Host
) -> t.Iterator[tuple[str, Want]]:
    """What one module wants for one network."""
    module = _MODULES[module_name]
    for index, item in enumerate(expanded[module_name]):
        key = f"{network_name}.{module_name}[{index}]"
        checked = schema.checked(item, module.OPTIONS, key)
        arguments = (checked, host) if module in _LOOKING else (checked,)
        yield key, module.wanted(*arguments, f"{key}.")
