# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who translates on this host: rules of others in the same terms, and those of this collection as it reads them."""

from __future__ import annotations

import json
import typing as t

from ..errors import EgressError, UnsupportedError
from ..kernel import iptables, nft, packet_filter, rulesets
from ..kernel.iptables import FLAVOURS
from ..kernel.namespaces import Namespaces
from ..model import HOST, MARK
from ..rules import NAT_BACKENDS, Rules
from . import iptables_words, nft_words
from .note import Notes
from .rule import Rule

_FAMILIES = {4: "ip", 6: "ip6"}
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_ASKED = "read rules that translate addresses"


def of_others(namespaces: Namespaces, notes: Notes) -> dict[str, list[Rule]]:
    """By hook. What cannot be read is noted."""
    found: dict[str, list[Rule]] = {hook: [] for hook in iptables_words.HOOKS}
    skipped = []
    for flavour in FLAVOURS:
        for version, table in _tables(namespaces, flavour, notes).items():
            if table.unreadable or not table.policies:
                continue
            skipped += [(_FAMILIES[version], "nat")] if flavour == "iptables-nft" else []
            _add(found, iptables_words.rules(_without_ours(table), version, _PROGRAMS[version], flavour))
    _add(found, nft_words.Listing(_ruleset(namespaces, notes), skipped).hooked())
    return found


def of_ours(namespaces: Namespaces, notes: Notes) -> tuple[dict[tuple[str, str], Rules | None], dict[str, str], str]:
    """Rules by (purpose, network), what holds the translation of each, and what would hold that of a new network."""
    rules: dict[tuple[str, str], Rules | None] = {}
    backends: dict[str, str] = {}
    for backend in NAT_BACKENDS:
        try:
            purposes = ("nat", "publish") if backend == "firewalld" else ("nat", "publish", "mss", "wall")
            read = rulesets.read(namespaces, HOST, backend, purposes)
        except EgressError as error:
            notes.add(backend, error.found, "its rules cannot be read")
            continue
        rules.update(read)
        backends.update({name: backend for purpose, name in read if purpose == "nat"})
    try:
        usual = packet_filter.nat_backend(namespaces, HOST, "auto")[0]
    except UnsupportedError:
        usual = ""
    return rules, backends, usual


def _add(found: dict[str, list[Rule]], more: t.Mapping[str, t.Sequence[Rule]]) -> None:
    for hook, rules in more.items():
        found[hook] += rules


def _tables(namespaces: Namespaces, flavour: str, notes: Notes) -> dict[int, iptables.Table]:
    try:
        return iptables.tables(namespaces, HOST, flavour, "nat")
    except EgressError as error:
        notes.add(flavour, error.found, "its rules cannot be read")
        return {}


def _without_ours(table: iptables.Table) -> iptables.Table:
    """Jumps to chains of this collection carry its mark."""
    rules = {
        chain: [words for words in listed if not any(word.startswith(MARK) for word in words)]
        for chain, listed in table.rules.items()
    }
    return iptables.Table(table.policies, rules)


def _ruleset(namespaces: Namespaces, notes: Notes) -> list[dict[str, t.Any]]:
    try:
        done = nft.run(namespaces, HOST, _ASKED, ["-p", "list", "ruleset"])
        if done.returncode:
            raise nft.failure(namespaces, HOST, _ASKED, done)
        listed: list[dict[str, t.Any]] = json.loads(done.stdout)["nftables"]
    except UnsupportedError:
        # Without the program nobody wrote rules by it.
        return []
    except (EgressError, ValueError) as error:
        notes.add("nftables", getattr(error, "found", "nft lists it in JSON that is not valid"), "it cannot be read")
        return []
    return listed
