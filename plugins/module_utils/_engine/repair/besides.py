# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repair takes besides what the network asks for."""

from __future__ import annotations

from ..kernel import neighbours
from ..kernel.links import Links
from ..kernel.namespaces import Namespaces
from ..model import HOST, Link, Setting, Want
from .decision import Decision


def beyond_the_network(decision: Decision, wanted: Want) -> Want:
    """IPv6 in the namespaces that cannot use it, as the kernel refuses addresses where it is switched off; and that
    empty files in place of handles give way.
    """
    stale = {finding["namespace"] for finding in decision.repaired if finding["code"] == "STALE_HANDLE"}
    ill = {finding["namespace"] for finding in decision.repaired if finding["code"] == "V6_ADDRESS_UNUSABLE"}
    inner = [fact.peer for fact in wanted.facts if isinstance(fact, Link) and fact.peer and fact.peer.netns in ill]
    return Want(
        facts=tuple(
            Setting(link.netns, f"net/ipv6/conf/{name}/disable_ipv6", "0")
            for link in inner
            for name in ("all", link.name)
        ),
        replaceable=frozenset(stale),
    )


def forget_neighbours(wanted: Want) -> None:
    """On the bridges: an address may have been at another port while it was broken."""
    with Namespaces() as namespaces:
        links = Links(namespaces)
        for fact in wanted.facts:
            found = links.get(HOST, fact.name) if isinstance(fact, Link) and fact.kind == "bridge" else None
            if found:
                neighbours.forget(namespaces.socket(HOST), found.index)
