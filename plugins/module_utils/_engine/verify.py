# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify: observe again, and expect that nothing is left to do."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .errors import EgressError
from .kernel import addresses
from .model import Address, Flows, Want
from .observe import Observer
from .planning.plan import Plan, make_plan

DAD_PATIENCE = 5.0  # seconds; duplicate address detection takes one to two
_IFF_LOWER_UP = 0x10000


def verify(want: Want, plan: Plan, observer: Observer) -> None:
    """Errors: EgressError naming what is still not as wanted."""
    await_duplicate_detection(plan, observer)
    want = _settled(want, plan)
    left = make_plan(want, observer.observe(want, plan.ledger))
    if left:
        raise EgressError(
            "verify what was built",
            f"still to do: {'; '.join(left.actions)}",
            "Somebody else may be changing the same objects",
        )


def _settled(want: Want, plan: Plan) -> Want:
    """What can be looked for again: a link that was given back is not ours, and connections begin at any time."""
    returned = {step.identity for step in plan.steps if step.after is not None}
    gone = tuple(fact for fact in want.absent if fact.identity not in returned and not isinstance(fact, Flows))
    return dataclasses.replace(want, absent=gone)


def await_duplicate_detection(plan: Plan, observer: Observer) -> None:
    """Wait until the IPv6 addresses that were added are usable (RFC 4862, section 5.4)."""
    added = {
        (step.after.netns, step.after.link, step.after.cidr)
        for step in plan.steps
        if step.before is None and isinstance(step.after, Address) and ":" in step.after.cidr
    }
    give_up = time.monotonic() + DAD_PATIENCE
    while added:
        added = _still_tentative(added, observer)
        if added and time.monotonic() > give_up:
            _netns, link, cidr = min(added)
            raise EgressError(
                f"use {cidr} on {link}", f"duplicate address detection took over {DAD_PATIENCE:g} s", "Look at the link"
            )
        if added:
            time.sleep(0.02)


def _still_tentative(added: t.Iterable[tuple[str, str, str]], observer: Observer) -> set[tuple[str, str, str]]:
    """Those of the addresses, as (netns, link, cidr), that are being checked. A link without carrier checks nothing."""
    places: dict[tuple[str, str], set[str]] = {}
    for netns, link, cidr in added:
        places.setdefault((netns, link), set()).add(cidr)
    waiting = set()
    for (netns, link), cidrs in places.items():
        reply = observer.links.get(netns, link)
        if reply is None or not reply.flags & _IFF_LOWER_UP:
            continue
        for address in addresses.read(observer.namespaces.socket(netns), reply.index):
            if address.cidr in cidrs and address.flags & addresses.IFA_F_DADFAILED:
                raise EgressError(
                    f"use {address.cidr} on {link}", "another host on the link has it", "Choose another one"
                )
            if address.cidr in cidrs and address.flags & addresses.IFA_F_TENTATIVE:
                waiting.add((netns, link, address.cidr))
    return waiting
