# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this kernel and this program may do, found out without touching the host."""

from __future__ import annotations

import errno
import os
import typing as t

from ..errors import KernelError, UnsupportedError
from ..model import HOST, Address, Fact, Limit, Link, Namespace, Setting, Vlans
from ..planning.step import dotted
from . import limits, link_creation, mount_visibility, sysctls
from .links import Links
from .namespaces import DIRECTORY, Namespaces, in_new_namespace
from .switches import kernel_has_ipv6

_DEFAULT_IPV6 = "net/ipv6/conf/default/disable_ipv6"
BRIDGE_NETFILTER = "net/bridge/bridge-nf-"
_ADMINISTRATE = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}
_PROBE = {13: "CAP_NET_RAW"}
_BRIDGE_FEATURES = {
    "vlan_filtering": "bridge VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING)",
    "nf_call_iptables": "filtering of bridged packets (CONFIG_BRIDGE_NETFILTER)",
    "nf_call_ip6tables": "filtering of bridged packets (CONFIG_BRIDGE_NETFILTER)",
    "multicast_snooping": "bridge multicast snooping (CONFIG_BRIDGE_IGMP_SNOOPING)",
}


def require_privilege(probing: bool = False) -> None:
    """Errors: UnsupportedError without the rights to administrate networks and to enter namespaces.

    probing: packets are sent and captured too, which takes CAP_NET_RAW (capabilities(7)).
    """
    with open("/proc/self/status", encoding="utf-8") as file:
        capabilities = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    needed = {**_ADMINISTRATE, **(_PROBE if probing else {})}
    missing = [name for bit, name in needed.items() if not capabilities >> bit & 1]
    if missing:
        raise UnsupportedError(
            "send and capture packets" if missing == list(_PROBE.values()) else "look at and change networks",
            f"user {os.geteuid()} lacks {' and '.join(missing)}",
            "Run it as root with all capabilities: become: true",
        ).for_all()


def require(namespaces: Namespaces, facts: t.Sequence[Fact]) -> None:
    """Errors: UnsupportedError where this kernel refuses or ignores what is wanted, or the host would not see it."""
    if any(isinstance(fact, Namespace) for fact in facts):
        mount_visibility.require_seen_by_the_host(DIRECTORY)
    for fact in facts:
        asked = _needs_bridge_netfilter(fact)
        if asked and not bridge_netfilter(namespaces, getattr(fact, "netns", HOST)):
            raise UnsupportedError(
                asked,
                "the kernel module br_netfilter is not loaded, so bridged packets pass no rules of iptables",
                "Load it: modprobe br_netfilter. Or leave it out",
            )
    _require_bridge_options(facts)
    _require_ipv6(namespaces, facts)
    limit = next((fact for fact in facts if isinstance(fact, Limit)), None)
    if limit and not _limits_bandwidth(limit):
        raise UnsupportedError(
            f"limit the bandwidth of {limit.link}",
            "this kernel is built without the token bucket filter (CONFIG_NET_SCH_TBF)",
            "Leave bandwidth out",
        )


def _require_ipv6(namespaces: Namespaces, facts: t.Sequence[Fact]) -> None:
    """A link of the host takes IPv6 addresses unless a sysctl says otherwise, which its administrator decides.

    One that is still to come has that of conf.default. On links for which it is asked for, IPv6 is switched on.
    """
    addresses = {fact.link: fact.cidr for fact in facts if isinstance(fact, Address) and fact.netns == HOST}
    asked = {fact.name for fact in facts if isinstance(fact, Link) and fact.netns == HOST and fact.ipv6}
    six = [link for link, cidr in addresses.items() if ":" in cidr and link not in asked]
    keys = {link: f"net/ipv6/conf/{link}/disable_ipv6" for link in six}
    if not keys or not kernel_has_ipv6():
        return
    found = sysctls.read(namespaces, HOST, [*keys.values(), _DEFAULT_IPV6])
    for link, key in keys.items():
        decides = key if key in found else _DEFAULT_IPV6
        if found.get(decides) == "1":
            raise UnsupportedError(
                f"add address {addresses[link]} to {link}",
                f"IPv6 is disabled on it: {dotted(decides)} = 1",
                f"Set {dotted(decides)} to 0, or leave out the IPv6 subnets",
            )


def _needs_bridge_netfilter(fact: Fact) -> str:
    """What of it has no effect without br_netfilter, or nothing."""
    if isinstance(fact, Setting) and fact.key.startswith(BRIDGE_NETFILTER):
        return f"set {dotted(fact.key)} to {fact.value}"
    if isinstance(fact, Link) and (fact.nf_call_iptables or fact.nf_call_ip6tables):
        return f"have packets that bridge {fact.name} forwards filtered"
    return ""


def bridge_netfilter(namespaces: Namespaces, netns: str) -> bool:
    """Whether br_netfilter is loaded. Another namespace than the host's has its switches since Linux 5.3."""
    place = netns if namespaces.exists(netns) else HOST
    return bool(sysctls.matching(namespaces, place, f"{BRIDGE_NETFILTER}call-*"))


def _limits_bandwidth(limit: Limit) -> bool:
    """Try it on the loopback of a namespace that is thrown away."""
    with in_new_namespace(), Namespaces() as namespaces:
        answer = namespaces.socket(HOST).request([limits.put(limit, limits.LOOPBACK)])[0]
    return answer.errno not in (errno.ENOENT, errno.EOPNOTSUPP)


def _require_bridge_options(facts: t.Sequence[Fact]) -> None:
    asked: dict[str, t.Any] = {"vlan_filtering": True} if any(isinstance(fact, Vlans) for fact in facts) else {}
    links = [fact for fact in facts if isinstance(fact, Link)]
    wanted = {key: getattr(link, key) for link in links for key in _BRIDGE_FEATURES if getattr(link, key) is not None}
    for key, value in {**asked, **wanted}.items():
        if not _bridge_takes(key, value):
            raise UnsupportedError(
                f"set {key}", f"this kernel is built without {_BRIDGE_FEATURES[key]}", "Leave it out"
            )


def _bridge_takes(key: str, value: bool) -> bool:
    """Try it on a bridge in a namespace that is thrown away."""
    option: dict[str, t.Any] = {key: value}
    probe = Link(HOST, "probe", kind="bridge", alias="", up=False, **option)
    with in_new_namespace(), Namespaces() as namespaces:
        there = Links(namespaces)
        try:
            link_creation.create(namespaces, there, [probe], lambda _at: "make a bridge to see what this kernel can do")
        except link_creation.CreationError as error:
            if isinstance(error.cause, KernelError) and error.cause.errno == errno.EOPNOTSUPP:
                return False
            raise error.cause from error
        found = there.find(probe)
        return found is not None and getattr(found, key) == value
