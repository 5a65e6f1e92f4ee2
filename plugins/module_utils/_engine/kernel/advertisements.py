# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which links listen to router advertisements as long as the host does not forward (accept_ra, ip-sysctl).

Forwarding ends that with accept_ra 1, and what a link has learned goes when its lifetime ends. A router may be silent
just now: what a link is set to counts, and what is known of it from before.
"""

from __future__ import annotations

from ..ledger import Ledger
from ..model import Setting, is_ours
from . import addresses, routes, sysctls
from .link_messages import LinkReply, get_links, parse_link
from .namespaces import Namespaces

_KEY = "net/ipv6/conf/{}/{}"
_FORWARDING = "net/ipv6/conf/all/forwarding"
# Kinds that lead outside whatever is known of them: "" is a device of the machine.
_OUTSIDE = ("", "vlan", "bond", "team", "macvlan", "ipvlan")


def listening(namespaces: Namespaces, netns: str, ledger: Ledger) -> list[str]:
    """Names of links, in their order. Those of networks lead to tenants, who are not listened to.

    Programs that listen themselves, such as systemd-networkd, set accept_ra to 0 and keep what they learn.
    """
    opened = namespaces.socket(netns)
    links = [parse_link(data) for data in opened.dump(get_links())]
    links = [link for link in links if link.name != "lo" and not is_ours(link.alias)]
    keys = [_KEY.format(link.name, name) for link in links for name in ("accept_ra", "disable_ipv6")]
    values = sysctls.read(namespaces, netns, [_FORWARDING, *keys])
    original = ledger.originals.get(Setting(netns, _FORWARDING).identity)
    router = (original.value if isinstance(original, Setting) else values.get(_FORWARDING)) == "1"
    claimed = {claim.key for claim in ledger.claims.values() if claim.netns == netns}
    learned, expecting = _learned(namespaces, netns), _expecting(namespaces, netns)

    def listens(link: LinkReply) -> bool:
        accepts = values.get(_KEY.format(link.name, "accept_ra"), "0")
        if accepts == "0":
            return False
        if link.index in learned or _KEY.format(link.name, "accept_ra") in claimed:
            return True
        # A host that forwarded before listens where it is told to, with 2.
        able = link.up and not link.master and values.get(_KEY.format(link.name, "disable_ipv6")) == "0"
        return able and accepts == "1" and not router and ((link.kind or "") in _OUTSIDE or link.index in expecting)

    return [link.name for link in links if listens(link)]


def _learned(namespaces: Namespaces, netns: str) -> set[int]:
    """Links, by index, that have a default route or an address of an advertisement."""
    opened = namespaces.socket(netns)
    found = routes.default_uplinks(opened, 6)
    ways = {index for route in found if route.fact.protocol == routes.RTPROT_RA for index in route.devices}
    held = addresses.read(opened)
    return ways | {item.index for item in held if item.flags & addresses.IFA_F_MANAGETEMPADDR and not item.link_local}


def _expecting(namespaces: Namespaces, netns: str) -> set[int]:
    """The IPv4 uplinks of a host that nobody gave an IPv6 default route: where one may be advertised."""
    opened = namespaces.socket(netns)
    if any(route.fact.protocol != routes.RTPROT_RA for route in routes.default_uplinks(opened, 6)):
        return set()
    return {index for route in routes.ways_out(opened, 4) for index in route.devices}
