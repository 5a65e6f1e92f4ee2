# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What managed links and namespaces must not accept from tenants, where a request says nothing of it."""

from __future__ import annotations

import dataclasses
import typing as t

from ..model import Assignment, Claim, Fact, Identity, Learned, Link, Namespace, is_closed_by_itself, is_ours
from .facts import Facts, interface_of
from .state import Have, ends

_ACCEPT_RA = "accept_ra"


def closed(fact: Link, have: Fact | None, present: t.Container[Identity]) -> Link:
    """The wanted link, each end of which accepts no advertisements and redirects if it does so by now unasked.

    present: what else is wanted; a sysctl that is asked for by its own name decides.
    """
    if not isinstance(have, Link) or not is_closed_by_itself(have):
        return fact
    if fact.peer and have.peer:
        fact = dataclasses.replace(fact, peer=_closed(fact.peer, have.peer, present))
    return _closed(fact, have, present)


def _closed(fact: Link, have: Link, present: t.Container[Identity]) -> Link:
    open_ = [
        name
        for name in (_ACCEPT_RA, "accept_redirects")
        if getattr(have, name)
        and getattr(fact, name) is None
        and ("setting", fact.netns, f"net/ipv6/conf/{fact.name}/{name}") not in present
    ]
    changes: dict[str, t.Any] = dict.fromkeys(open_, False)
    return dataclasses.replace(fact, **changes) if changes else fact


def completed(assignments: t.Iterable[Assignment], have: Have) -> dict[str, Assignment]:
    """By namespace, with the MAC of the ledger or, where it has none, the one that is found."""
    found = {}
    for one in assignments:
        known = have.ledger.assignments.get(one.namespace)
        mac = one.mac or (known.mac if known else None) or have.macs.get(one.namespace)
        found[one.namespace] = one if mac == one.mac else dataclasses.replace(one, mac=mac)
    return found


def with_mac(fact: Link, have: Fact | None, assignments: t.Mapping[str, Assignment], macs: t.Container[str]) -> Link:
    """The wanted pair, with the MAC that was assigned to its end in a namespace, unless it has that or will be made
    with it. macs: those of Have, by namespace.
    """
    peer = fact.peer
    one = assignments.get(peer.netns) if peer else None
    if peer is None or one is None or peer.mac or one.link != fact.name:
        return fact
    there = have.peer if isinstance(have, Link) else None
    if there.mac == one.mac if there else peer.netns in macs:
        return fact
    return dataclasses.replace(fact, peer=dataclasses.replace(peer, mac=one.mac))


def closed_namespace(fact: Namespace, have: Fact | None, present: t.Container[Identity]) -> Namespace:
    """The same of the switch that all links of a namespace have in common."""
    named = ("setting", fact.name, "net/ipv4/conf/all/accept_redirects") in present
    if named or not isinstance(have, Namespace) or not is_ours(have.alias) or not have.accept_redirects:
        return fact
    return dataclasses.replace(fact, accept_redirects=False)


def forgettable(fact: Link, facts: Facts) -> list[Learned]:
    """What the ends of a managed link learned while they accepted advertisements, and nobody wants them to."""
    have = facts.get(fact.identity)
    if not isinstance(have, Link) or not is_closed_by_itself(have):
        return []
    found = [facts.get(("learned", end.netns, end.name)) for end in ends(fact) if not end.accept_ra]
    return [one for one in found if isinstance(one, Learned)]


def misplaced_claims(claims: t.Iterable[Claim], facts: t.Mapping[Identity, Fact]) -> list[Claim]:
    """Claims that have a managed link accept advertisements, as release 1.0.0 made them where a tenant had sent one."""
    return [claim for claim in claims if claim.key.endswith(f"/{_ACCEPT_RA}") and _is_closed(claim, facts)]


def _is_closed(claim: Claim, facts: t.Mapping[Identity, Fact]) -> bool:
    have = facts.get(("link", claim.netns, interface_of(claim.key)))
    return isinstance(have, Link) and is_closed_by_itself(have)
