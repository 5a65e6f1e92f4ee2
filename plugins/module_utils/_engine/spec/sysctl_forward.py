# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module sysctl_forward, as facts."""

from __future__ import annotations

import typing as t

from ..errors import SpecError
from ..model import HOST, Claim, Fact, Want
from . import values
from .schema import NETWORK, Options

OPTIONS: Options = {
    "ipv4": {"type": "bool"},
    "ipv6": {"type": "bool"},
    "interfaces": {"type": "list", "elements": "str"},
    "accept_ra": {"type": "str", "choices": ["keep", "ignore"], "default": "keep"},
    "rp_filter": {"type": "int", "choices": [0, 1, 2]},
    "bridge_nf_call": {"type": "bool"},
    "persist": {"type": "bool", "default": True},
    "netns": {"type": "str"},
    "network": NETWORK,
    "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
}
BRIDGE_NF_CALL = ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")


class Settings(t.Protocol):
    """What the settings of a namespace depend on.

    listening_links: those that learn from router advertisements unless the namespace forwards.
    bridge_netfilter: whether br_netfilter is loaded.
    """

    def listening_links(self, netns: str) -> t.Sequence[str]: ...

    def bridge_netfilter(self, netns: str) -> bool: ...


def wanted(options: t.Mapping[str, t.Any], host: Settings, key: str = "") -> Want:
    """Options to facts. host is asked only where something depends on it."""
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    user = options["network"] or ""
    if user:
        values.network_name(user, f"{key}network")
    if options["state"] == "restored":
        return Want(released=frozenset([(user, netns, "")]))
    interfaces = [values.interface_name(v, f"{key}interfaces[{i}]") for i, v in enumerate(options["interfaces"] or [])]
    settings = _settings(options, interfaces)
    if not settings:
        raise SpecError(f"{key}ipv4", "nothing is asked for", "give ipv4, ipv6, rp_filter or bridge_nf_call")
    if options["ipv6"] and options["accept_ra"] == "keep":
        # First: forwarding with accept_ra 1 drops the default route that an advertisement gave.
        kept = {f"net/ipv6/conf/{link}/accept_ra": "2" for link in host.listening_links(netns)}
        settings = {**kept, **settings}
    if options["bridge_nf_call"] is False and not host.bridge_netfilter(netns):
        # Off it is already.
        settings = {name: value for name, value in settings.items() if name not in BRIDGE_NF_CALL}
    persist = bool(options["persist"]) and netns == HOST
    facts: list[Fact] = []
    for setting, value in settings.items():
        claim = Claim(user, netns, setting, value, persist)
        facts += [claim, claim.setting]
    exclusive = [(user, netns)] if options["interfaces"] is not None and user else []
    return Want(tuple(facts), exclusive_claims=frozenset(exclusive))


def _settings(options: t.Mapping[str, t.Any], interfaces: list[str]) -> dict[str, str]:
    """Sysctls in the order in which they are set: a global switch rewrites those of each interface."""
    settings: dict[str, str] = {}
    for family, switch in (("ipv4", "net/ipv4/ip_forward"), ("ipv6", "net/ipv6/conf/all/forwarding")):
        if options[family] is not None:
            value = "1" if options[family] else "0"
            settings[switch] = value
            settings.update({f"net/{family}/conf/{name}/forwarding": value for name in interfaces})
    if options["rp_filter"] is not None:
        for name in interfaces or ["all", "default"]:
            settings[f"net/ipv4/conf/{name}/rp_filter"] = str(options["rp_filter"])
    if options["bridge_nf_call"] is not None:
        settings.update(dict.fromkeys(BRIDGE_NF_CALL, "1" if options["bridge_nf_call"] else "0"))
    return settings
