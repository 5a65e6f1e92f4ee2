# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is ours, and what must be written down before it is changed."""

from __future__ import annotations

import dataclasses
import typing as t

from ..ledger import Ledger
from ..model import (
    FILE_MARK,
    HOST,
    NETWORK_FILES,
    ROUTE_PROTOCOL,
    Address,
    Claim,
    Fact,
    File,
    Flows,
    Identity,
    Limit,
    Link,
    Namespace,
    Route,
    Ruleset,
    Sender,
    Setting,
    Vlans,
    differences,
    is_ours,
)
from .facts import Facts, interface_of
from .state import ends, governed_value, governor
from .step import Step


def owned(facts: Facts, fact: Fact) -> bool:
    """Whether the fact found carries our mark, or lives on or in something that does."""
    if isinstance(fact, Link):
        # Nobody else's pair has our mark at one end.
        return any(is_ours(end.alias) for end in ends(fact))
    if isinstance(fact, Namespace):
        return is_ours(fact.alias)
    if isinstance(fact, (Address, Vlans)):
        return _link_is_ours(facts, fact.netns, fact.link)
    if isinstance(fact, Limit):
        return not fact.foreign
    if isinstance(fact, Route):
        return fact.protocol == ROUTE_PROTOCOL
    if isinstance(fact, File):
        return fact.path.startswith(f"{NETWORK_FILES}/") or (fact.content or "").startswith(FILE_MARK)
    if isinstance(fact, Setting):
        namespace = facts.get(("namespace", fact.netns))
        if _link_is_ours(facts, fact.netns, interface_of(fact.key)):
            return True
        return fact.netns != HOST and isinstance(namespace, Namespace) and is_ours(namespace.alias)
    return isinstance(fact, (Ruleset, Flows, Sender))


def _link_is_ours(facts: Facts, netns: str, name: str) -> bool:
    end = facts.end(netns, name)
    return end is not None and is_ours(end.alias)


def written_down(ledger: Ledger, facts: Facts, step: Step, effects: t.Mapping[Identity, Fact | None]) -> Ledger:
    """The ledger with what the step and its side effects change that is not ours. facts are those before it."""
    before, after = step.before, step.after
    if isinstance(after, Route) and after.network:
        # Routes have no room for a mark.
        ledger = ledger.recorded((*step.identity, after.network), None)
    if before is None:
        return _created(ledger, facts, step)
    if isinstance(before, Setting) and isinstance(after, Setting):
        return _setting_changed(ledger, facts, before, effects)
    if owned(facts, before) or not isinstance(before, (Link, Address, Route, File)):
        return ledger
    if isinstance(before, Link) and isinstance(after, Link):
        changed = {key.split(".")[0] for key in differences(after, before)}
        kept = {key: getattr(before, key) for key in changed}
        return ledger.recorded(step.identity, Link(before.netns, before.name, **_without_place(kept)))
    return ledger.recorded(step.identity, before)


def hairpin_lent(ledger: Ledger, fact: Link, have: Fact | None) -> tuple[Ledger, Link]:
    """The ledger, and what is wanted of a port: hairpin mode goes off again if it was on for published ports alone."""
    identity = ("hairpin", fact.peer.netns if fact.peer else fact.netns, fact.netns, fact.name)
    if fact.published and not (isinstance(have, Link) and have.hairpin):
        return ledger.recorded(identity, None), fact
    if fact.published or identity not in ledger.originals:
        return ledger, fact
    if fact.hairpin is not None:
        return ledger.forgotten(identity), fact
    if fact.published is False:
        return ledger.forgotten(identity), dataclasses.replace(fact, hairpin=False)
    return ledger, fact


def without_hairpin(ledger: Ledger, link: Link) -> Ledger:
    """The ledger when a link is gone."""
    for identity in ledger.beginning_with(("hairpin",)):
        if identity[2:] == (link.netns, link.name):
            ledger = ledger.forgotten(identity)
    return ledger


def _without_place(fields: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in fields.items() if key not in ("netns", "name")}


def _created(ledger: Ledger, facts: Facts, step: Step) -> Ledger:
    after = step.after
    if isinstance(after, Namespace) and after.attach:
        return ledger.recorded(step.identity, None)
    if isinstance(after, Address):
        link = facts.get(("link", after.netns, after.link))
        if isinstance(link, Link) and not is_ours(link.alias):
            ledger = ledger.recorded(step.identity, None)
            return ledger.recorded((*step.identity, after.network), None) if after.network else ledger
    return ledger


def lent_addresses(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    """(namespace, link, address, network) of those that networks added to links of others."""
    notes = [identity for identity in ledger.originals if identity[0] == "address" and len(identity) == 5]
    return [(note[1], note[2], note[3], note[4]) for note in notes]


def routes_of_networks(ledger: Ledger) -> dict[Identity, str]:
    """{identity: network} of routes that were made for networks."""
    return {note[:5]: note[5] for note in ledger.originals if note[0] == "route" and len(note) == 6}


def with_senders(ledger: Ledger, senders: t.Sequence[Sender]) -> Ledger:
    """The ledger with the MAC address that each port was given, so that what its namespace says decides nothing."""
    places = {sender.identity for sender in senders}
    notes = {(*sender.identity, sender.mac or "", sender.network) for sender in senders}
    there = {identity for identity in ledger.originals if identity[:3] in places}
    if there == notes:
        return ledger
    return ledger.edited("originals", put=dict.fromkeys(sorted(notes)), drop=there)


def senders_noted(ledger: Ledger) -> dict[tuple[str, str], tuple[str, str]]:
    """{(namespace, port): (MAC address, network)} of what ports were given."""
    notes = [note for note in ledger.originals if note[0] == "sender" and len(note) == 5]
    return {(note[1], note[2]): (note[3], note[4]) for note in notes}


def _setting_changed(
    ledger: Ledger, facts: Facts, before: Setting, effects: t.Mapping[Identity, Fact | None]
) -> Ledger:
    if owned(facts, before):
        return ledger
    ledger = ledger.recorded(before.identity, before)
    for identity, changed in effects.items():
        original = facts[identity]
        # What going back brings back by itself needs no entry.
        if (
            isinstance(changed, Setting)
            and isinstance(original, Setting)
            and original.value != governed_value(original.key, before.value or "0")
        ):
            ledger = ledger.recorded(identity, original)
    return ledger


def released_originals(ledger: Ledger, wanted: t.Iterable[Claim], netns: str) -> list[Setting]:
    """Settings of a namespace that nobody claims, nor wants to, as they were, governors first."""
    claimed = {(claim.netns, claim.key) for claim in (*ledger.claims.values(), *wanted)}
    free = [
        original
        for original in ledger.originals.values()
        if isinstance(original, Setting)
        and original.netns == netns
        and (netns, original.key) not in claimed
        and (netns, governor(original.key)) not in claimed
    ]
    return sorted(free, key=lambda setting: (governor(setting.key) != setting.key, setting.key))


def restored_link(have: Link, original: Link) -> Link:
    """have with the recorded fields put back."""
    fields = {
        item.name: getattr(original, item.name)
        for item in dataclasses.fields(Link)
        if item.name not in ("netns", "name", "index") and getattr(original, item.name) is not None
    }
    return dataclasses.replace(have, **fields)


def uplinks_noted(ledger: Ledger, netns: str, family: int) -> list[str]:
    """Links by which answers came when networks were built: their switches of forwarding are claimed."""
    start, end = f"net/ipv{family}/conf/", "/forwarding"
    keys = [claim.key for claim in ledger.claims.values() if claim.netns == netns]
    names = [key[len(start) : -len(end)] for key in keys if key.startswith(start) and key.endswith(end)]
    return [name for name in dict.fromkeys(names) if name != "all"]
