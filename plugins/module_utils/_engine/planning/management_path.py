# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The management path is sacred: no step may take the way to this host away."""

from __future__ import annotations

import typing as t

from ..errors import ConflictError
from ..model import HOST, ROUTE_PROTOCOL, Address, Link, Route
from .state import Have, ends
from .step import Step, destination, place


def check(steps: t.Iterable[Step], have: Have) -> None:
    """Errors: ConflictError for the first step that would enslave, move, take down or re-address a protected link."""
    for step in steps:
        if isinstance(step.before, Link):
            _check_link(step.before, step.after, have)
        elif isinstance(step.before, Address) and step.after is None:
            _check_address(step.before, have)
        elif isinstance(step.before, Route):
            _check_route(step.before, step.after)


def _check_link(before: Link, after: t.Any, have: Have) -> None:
    new_ends: list[Link | None] = [*ends(after), None, None]
    carrying = [end.name for end in ends(before) if end.netns == HOST and end.name in have.protected]
    for old, new in zip(ends(before), new_ends):
        harm = _harm(old, new)
        # The way goes through both ends of a pair.
        if carrying and harm:
            which = "it" if old.name == carrying[0] else f"the other end, {carrying[0]},"
            raise ConflictError(
                f"{harm} {old.name}{place(old.netns)}",
                f"{which} carries {have.protected[carrying[0]]}",
                "Use another interface; this one is left alone",
            )


def _harm(old: Link, new: Link | None) -> str:
    if new is None:
        return "remove"
    if (new.netns, new.name) != (old.netns, old.name):
        return "move"
    if (new.master or "") != (old.master or ""):
        return "enslave" if new.master else "release from its bridge"
    if old.up and not new.up:
        return "take down"
    return "change the MAC of" if new.mac != old.mac else ""


def _check_address(address: Address, have: Have) -> None:
    ours = address.identity in have.ledger.originals
    if address.netns == HOST and address.link in have.protected and not ours:
        raise ConflictError(
            f"remove the address {address.cidr} from {address.link}",
            f"it carries {have.protected[address.link]}",
            "Leave exclusive_addresses off for this interface, or use another one",
        )


def _check_route(before: Route, after: t.Any) -> None:
    foreign_default = before.netns == HOST and destination(before) == "default" and before.protocol != ROUTE_PROTOCOL
    if foreign_default and (after is None or (after.gateway, after.device) != (before.gateway, before.device)):
        raise ConflictError(
            "replace the default route of this host",
            f"it goes via {before.gateway or before.device} and is not ours",
            "Use another metric or table",
        )
