# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rulesets in whatever holds them: what each back end can do, behind one way to read and one to write."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import EgressError, UnsupportedError
from ..model import Ruleset
from ..rules import ClampRules, GuardRules, Rules, WallRules
from . import firewalld, guard, iptables, mss, nftables, ufw, wall

if t.TYPE_CHECKING:
    from .namespaces import Namespaces


def read(
    namespaces: Namespaces, netns: str, backend: str, purposes: t.Collection[str], names: t.Collection[str] = ()
) -> dict[tuple[str, str], Rules | None]:
    """{(purpose, network): rules}; rules are None where they are not exactly as write would leave them.

    names: networks that are asked about; some back ends find them where others' rules hide the marks.
    """
    found: dict[tuple[str, str], Rules | None] = {}
    if set(purposes) - {"mss", "wall", *(("guard",) if backend == "nftables" else ())}:
        found.update(_read(namespaces, netns, backend, names))
    if "guard" in purposes and backend == "nftables":
        with contextlib.suppress(UnsupportedError):
            found.update({("guard", name): rules for name, rules in guard.read(namespaces, netns).items()})
    if "mss" in purposes:
        # Without the program nothing of ours can be there.
        with contextlib.suppress(UnsupportedError):
            found.update({("mss", name): rules for name, rules in mss.read(namespaces, netns, backend).items()})
    if "wall" in purposes and backend == "nftables":
        found.update({("wall", name): rules for name, rules in wall.read(namespaces, netns).items()})
    return found


def _read(
    namespaces: Namespaces, netns: str, backend: str, names: t.Collection[str]
) -> dict[tuple[str, str], Rules | None]:
    if backend == "nftables":
        try:
            return nftables.read(namespaces, netns)
        except UnsupportedError:
            # Without the program nothing of ours can be there; what needs it says so when it writes.
            return {}
    if backend == "firewalld":
        return firewalld.read(netns)
    if backend == "ufw":
        return {("forward", name): rules for name, rules in ufw.read(namespaces, netns).items()}
    return iptables.read(namespaces, netns, backend, iptables.TABLES, names)


def refusal(
    namespaces: Namespaces, netns: str, backend: str, changes: t.Sequence[tuple[Ruleset, Rules | None]]
) -> EgressError | None:
    """Why a firewall would not take the changes, which is known before anything is changed."""
    pairs = [((ruleset.purpose, ruleset.name), rules) for ruleset, rules in changes]
    new = [(key, rules) for key, rules in pairs if rules]
    walls = [(key[1], rules) for key, rules in pairs if isinstance(rules, WallRules)]
    if walls:
        return wall.refusal(namespaces, netns, walls)
    try:
        if backend in iptables.FLAVOURS or backend == "ufw":
            iptables.refuse_wildcards(new)
        if backend == "firewalld" and new:
            firewalld.check(namespaces, netns, new)
        elif backend == "ufw" and new:
            ufw.check(netns, [(name, rules) for (_purpose, name), rules in new])
        elif backend in iptables.FLAVOURS:
            iptables.check(namespaces, netns, backend, [pair for pair in pairs if pair[0][0] in iptables.TABLES])
    except EgressError as error:
        return error
    return None


def write(namespaces: Namespaces, netns: str, backend: str, changes: t.Sequence[tuple[Ruleset, Rules | None]]) -> None:
    """Replace what there is of each network, or delete it where its rules are None; all or nothing."""
    clamps = [(ruleset.name, rules) for ruleset, rules in changes if ruleset.purpose == "mss"]
    if clamps:
        # Those of one purpose come together.
        held = [(name, rules) for name, rules in clamps if rules is None or isinstance(rules, ClampRules)]
        mss.write(namespaces, netns, backend, held)
        return
    if any(ruleset.purpose == "wall" for ruleset, _rules in changes):
        asked = [(ruleset.name, rules) for ruleset, rules in changes if rules is None or isinstance(rules, WallRules)]
        wall.write(namespaces, netns, asked)
        return
    pairs = [((ruleset.purpose, ruleset.name), rules) for ruleset, rules in changes]
    if backend == "nftables" and changes[0][0].purpose == "guard":
        guards = [(r.name, rules) for r, rules in changes if rules is None or isinstance(rules, GuardRules)]
        guard.write(namespaces, netns, guards)
    elif backend == "nftables":
        nftables.write(namespaces, netns, pairs)
    elif backend == "firewalld":
        firewalld.write(namespaces, netns, [((r.purpose, r.name), rules) for r, rules in changes])
    elif backend == "ufw":
        ufw.write(namespaces, netns, [(r.name, rules) for r, rules in changes])
    else:
        iptables.write(namespaces, netns, backend, pairs)
