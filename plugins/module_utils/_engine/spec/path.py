# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module egress_path, as facts: the union of what the modules of a network's path want."""

from __future__ import annotations

import typing as t

from ..model import Want
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


def wanted(options: t.Mapping[str, t.Any], host: Host, files: bool = False) -> Want:
    """All networks of a host as one request. files: those that they are built from at boot change along."""
    only = None if options.get("only") is None else frozenset(options["only"])
    view = host.view(only)
    absent = options["state"] == "absent"
    expanded = expansion.module_options(options["networks"], view, "networks", absent, only)
    wants = []
    if files:
        wants.append(("files", network_file.wanted(options, host.network_files(), view.assigned, view.found)))
    for name, items in expanded.items():
        module = _MODULES[name]
        for index, item in enumerate(items):
            key = f"{name}[{index}]"
            checked = schema.checked(item, module.OPTIONS, key)
            arguments = (checked, host) if module in _LOOKING else (checked,)
            wants.append((key, module.wanted(*arguments, f"{key}.")))
    return union(wants) + Want(only=only or frozenset())
