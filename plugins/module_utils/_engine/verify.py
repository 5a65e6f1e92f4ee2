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
from .model import Address, Flows, Link, Want
from .observe import Observer
from .planning.plan import Plan, make_plan
from .planning.sparing import Inside
from .planning.state import Have, ends
from .planning.step import place as in_namespace

# Seconds. It takes one to two, but the kernel has one lock for all namespaces, which some that go keep busy.
DAD_PATIENCE = 30.0
# The kernel passes a carrier on from a port to its bridge in its own time, of up to a second.
_CARRIER_PATIENCE = 2.0
_Place = tuple[str, str]  # namespace and link


def verify(want: Want, plan: Plan, have: Have, observer: Observer) -> None:
    """have: from before the plan. Errors: EgressError naming what is still not as wanted."""
    await_duplicate_detection(want, plan, have, observer)
    want = _settled(want, plan)
    left = make_plan(want, observer.observe(want, plan.ledger))
    if left:
        raise EgressError(
            "verify what was built",
            f"still to do: {'; '.join(left.actions)}",
            "Somebody else may be changing the same objects",
        ).inside(map(Inside(want).of, (step.fact for step in left.steps)))


def _settled(want: Want, plan: Plan) -> Want:
    """What can be looked for again: a link that was given back is not ours, and connections begin at any time."""
    returned = {step.identity for step in plan.steps if step.after is not None}
    gone = tuple(fact for fact in want.absent if fact.identity not in returned and not isinstance(fact, Flows))
    return dataclasses.replace(want, absent=gone)


def await_duplicate_detection(want: Want, plan: Plan, have: Have, observer: Observer) -> None:
    """Wait until the IPv6 addresses that were added are usable (RFC 4862, section 5.4).

    So are those of bridges that got ports: a bridge gets its carrier, and begins to check, with its first port. And so
    are wanted ones that were there and not checked yet, as a run leaves them that is killed while it waits.
    """
    added: dict[_Place, set[str]] = {}
    with_ports: set[_Place] = set()
    for fact in want.facts:
        there = have.facts.get(fact.identity) if isinstance(fact, Address) else None
        if isinstance(there, Address) and there.tentative:
            added.setdefault((there.netns, there.link), set()).add(there.cidr)
    for step in plan.steps:
        if isinstance(step.after, Address) and ":" in step.after.cidr:
            added.setdefault((step.after.netns, step.after.link), set()).add(step.after.cidr)
        for end in ends(step.after) if isinstance(step.after, Link) else []:
            if end.master:
                added.setdefault((end.netns, end.master), set())
                with_ports.add((end.netns, end.master))
    inside = Inside(want)
    began = time.monotonic()
    while added:
        due = with_ports if time.monotonic() < began + _CARRIER_PATIENCE else set()
        waiting = _still_tentative(added, observer, due, inside)
        added = {place: cidrs for place, cidrs in added.items() if place in waiting}
        if added and time.monotonic() > began + DAD_PATIENCE:
            place = min(waiting)
            raise EgressError(
                f"use {waiting[place]} on {place[1]}{in_namespace(place[0])}",
                f"duplicate address detection took over {DAD_PATIENCE:g} s",
                "Look at the link",
            ).inside([inside.of_place(place)])
        if added:
            time.sleep(0.02)


def _still_tentative(
    added: t.Mapping[_Place, t.Container[str]], observer: Observer, due: t.Container[_Place], inside: Inside
) -> dict[_Place, str]:
    """Links, each with an address that is being checked. One without carrier checks nothing, unless one is due."""
    waiting: dict[_Place, str] = {}
    for (netns, link), cidrs in added.items():
        reply = observer.links.get(netns, link)
        if reply is None or not (reply.has_carrier or (reply.up and (netns, link) in due)):
            continue
        for address in addresses.read(observer.namespaces.socket(netns), reply.index):
            if address.link_local and address.cidr not in cidrs:
                continue
            if address.duplicate:
                raise EgressError(
                    f"use {address.cidr} on {link}{in_namespace(netns)}",
                    "another host on the link has it",
                    "Choose another one",
                ).inside([inside.of_place((netns, link))])
            if address.tentative:
                waiting[netns, link] = address.cidr
    return waiting
