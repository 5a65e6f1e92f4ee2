# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule and route decide about a packet: the kernel's answer to a lookup does not name the rule (ip-rule(8))."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass

from . import policy_rules, routes
from .netlink import NetlinkSocket
from .policy_rules import PolicyRule
from .routes import RouteReply

_LOCAL = 255  # RT_TABLE_LOCAL


@dataclass(frozen=True)
class Packet:
    """source: "" for none. arrives_by: the name of the link that it is forwarded from, "" for one of the host's own."""

    destination: str
    source: str = ""
    arrives_by: str = ""


class Deciding:
    """Rules and tables of one namespace, each read once."""

    def __init__(self, opened: NetlinkSocket) -> None:
        self._opened = opened
        self._rules: dict[int, list[PolicyRule]] = {}
        self._tables: dict[tuple[int, int], list[RouteReply]] = {}

    def rule(self, packet: Packet) -> str:
        """The rule, and the route that it leads to, as ip shows them; "" where no rule of a person decides.

        A packet with a mark may go another way.
        """
        family = 6 if ":" in packet.destination else 4
        if family not in self._rules:
            self._rules[family] = policy_rules.read_all(self._opened, family)
        for rule in self._rules[family]:
            # The first of the kernel's own is for addresses of the namespace, the next for what no other rule takes.
            if rule.is_of_the_kernel and rule.table != _LOCAL:
                return ""
            found = self._decides(family, rule, packet) if _matches(rule, packet) else ""
            if found:
                return found
        return ""

    def _decides(self, family: int, rule: PolicyRule, packet: Packet) -> str:
        if rule.refusal:
            return f"rule {rule.text}"
        if rule.is_of_the_kernel or not rule.table:
            return ""
        key = (family, rule.table)
        if key not in self._tables:
            self._tables[key] = routes.read(self._opened, *key)
        route = _longest(self._tables[key], packet.destination)
        if route is None or _length(route) <= rule.suppressed:
            return ""
        return f"rule {rule.text} ({_worded(route)} in table {rule.table})"


def _matches(rule: PolicyRule, packet: Packet) -> bool:
    destination = _is_in(packet.destination, rule.destination)
    links = rule.arrives_by in ("", packet.arrives_by or "lo") and not rule.leaves_by
    found = _is_in(packet.source, rule.source) and destination and links and not rule.mark
    return found != rule.inverted


def _is_in(address: str, network: str) -> bool:
    if not network:
        return True
    return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(network)


def _longest(found: t.Iterable[RouteReply], destination: str) -> RouteReply | None:
    fitting = [reply for reply in found if _is_in(destination, reply.fact.destination)]
    return min(fitting, key=lambda reply: (-_length(reply), reply.fact.metric), default=None)


def _length(route: RouteReply) -> int:
    return int(route.fact.destination.partition("/")[2])


def _worded(route: RouteReply) -> str:
    kind = f"{route.fact.type} " if route.fact.type != "unicast" else ""
    via = f" via {route.fact.gateway}" if route.fact.gateway else ""
    return f"{kind}{route.fact.destination if _length(route) else 'default'}{via}"
