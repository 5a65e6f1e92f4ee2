# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own table inet netpath_egress: what it holds of each network, and transactions that change it.

What a network has for one purpose is some chains of its own, the jumps to these from base chains, and sets and maps.
Each of them has the network's name in its own, and each rule has its mark. See libnftables-json(5).
"""

from __future__ import annotations

import json
import re
import types
import typing as t
from dataclasses import dataclass, field

from ..errors import UnsupportedError
from ..model import MARK
from ..rules import NatRules, Rules
from . import nft_nat, nft_publish
from .base_chains import may_hold
from .iptables_rules import NETWORK_MARK
from .nft import BASES, COUNTER, HERE, TABLE, Json, failure, normal, part, run, table_objects

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

Key = tuple[str, str]  # purpose and network
Changes = t.Sequence[tuple[Key, t.Optional[Rules]]]

PURPOSES: dict[str, types.ModuleType] = {"nat": nft_nat, "publish": nft_publish}
_CHAINS = {prefix: purpose for purpose, kind in PURPOSES.items() for prefix in kind.CHAINS}
_SETS = {prefix: purpose for purpose, kind in PURPOSES.items() for prefix in kind.SETS}
# The purpose of a rule that has our mark, and nothing else of ours.
_STRAY = {"postrouting": "nat"}
_NAME = r"([a-z0-9_]{1,32})"
_PARTS = {"chain": re.compile(f"({'|'.join(_CHAINS)})_{_NAME}"), "set": re.compile(f"({'|'.join(_SETS)})_{_NAME}")}
_REFERENCE = re.compile(f'"(?:target": "({"|".join(_CHAINS)})|@({"|".join(_SETS)}))_{_NAME}"')


@dataclass
class Table:
    """What nft lists of our table. Sets with their kind, as a map could have the name of one of ours.

    rules: by purpose and network, those in its chains, with its mark, or that refer to its parts; under ("", "")
    all others. base_rules: by base chain.
    """

    exists: bool = False
    dormant: bool = False
    chains: dict[str, Json] = field(default_factory=dict)
    sets: dict[str, tuple[str, Json]] = field(default_factory=dict)
    rules: dict[Key, list[Json]] = field(default_factory=dict)
    base_rules: dict[str, list[Json]] = field(default_factory=dict)
    foreign: bool = False

    def base_is_right(self, base: str) -> bool:
        return BASES[base].items() <= self.chains.get(base, {}).items()

    def owners(self) -> set[Key]:
        """Purposes and networks that anything here belongs to."""
        parts = {_key_of("chain", name) for name in self.chains} | {_key_of("set", name) for name in self.sets}
        return (parts | set(self.rules)) - {("", "")}

    def has_foreign_parts(self) -> bool:
        """Whether something is here that belongs to no network."""
        chains_are_ours = all(name in BASES or _key_of("chain", name)[0] for name in self.chains)
        sets_are_ours = all(_key_of("set", name)[0] for name in self.sets)
        return self.foreign or ("", "") in self.rules or not chains_are_ours or not sets_are_ours


def _key_of(kind: str, name: str) -> Key:
    """Purpose and network of a chain or a set, ("", "") for none."""
    found = _PARTS[kind].fullmatch(name)
    if not found:
        return ("", "")
    return {**_CHAINS, **_SETS}[found[1]], found[2].replace("_", "-")


def read(namespaces: Namespaces, netns: str) -> dict[Key, Rules | None]:
    """What our table holds for each purpose and network; None for what is not exactly as write would leave it."""
    table = _listed(namespaces, netns, f"read table inet {TABLE}")
    return {key: parsed(table, key) for key in sorted(table.owners())}


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace each network's part, or delete it where its rules are None, in one transaction.

    Networks in rules must be collapsed. The table goes with the last of what is in it.
    """
    asked = f"change table inet {TABLE}"
    for _key, rules in changes:
        interfaces = (*rules.out_interfaces, rules.not_out_interface) if isinstance(rules, NatRules) else ()
        if any(name.startswith("@") for name in interfaces):
            raise UnsupportedError(asked, "nft takes an interface name that starts with '@' for a set", "Rename it")
    commands = transaction(_listed(namespaces, netns, asked), changes)
    done = run(namespaces, netns, asked, ["-f", "-"], commands) if commands else None
    if done and done.returncode:
        raise failure(namespaces, netns, asked, done)


def _listed(namespaces: Namespaces, netns: str, asked: str) -> Table:
    if not may_hold(namespaces, netns, "inet", TABLE):
        return Table()
    return listed(table_objects(namespaces, netns, asked, TABLE))


def sets_of(key: Key, rules: Rules) -> dict[str, tuple[str, Json]]:
    """The sets and maps of a network, by name, with their kind."""
    purpose, name = key
    return {body["name"]: (kind, {**HERE, **body}) for kind, body in PURPOSES[purpose].sets_of(name, rules)}


def rules_of(key: Key, rules: Rules) -> list[Json]:
    """The rules of a network's chains, and the jumps to these."""
    purpose, name = key
    found, jumps = [], []
    for prefix, expressions in PURPOSES[purpose].rules_of(name, rules).items():
        chain = {**HERE, "chain": part(prefix, name), "comment": MARK + name}
        found += [{**chain, "expr": expression} for expression in expressions]
        jump = [COUNTER, {"jump": {"target": chain["chain"]}}]
        jumps += [{**chain, "chain": base, "expr": jump} for base in PURPOSES[purpose].CHAINS[prefix]]
    return [*found, *jumps]


def transaction(table: Table, changes: Changes) -> list[Json]:
    """The commands that lead from what the table holds, whatever that is, to the changes."""
    wanted = dict(changes)
    if not table.owners() - set(wanted) and not any(wanted.values()) and not table.has_foreign_parts():
        return [{"delete": {"table": {"family": "inet", "name": TABLE}}}] if table.exists else []
    # Adding a table that is there wakes it where it is dormant.
    commands: list[Json] = [{"add": {"table": {"family": "inet", "name": TABLE}}}]
    stale = {rule["handle"]: rule["chain"] for key in wanted for rule in table.rules.get(key, [])}
    commands += [{"delete": {"rule": {**HERE, "chain": c, "handle": h}}} for h, c in stale.items()]
    used = {base for (purpose, _name), rules in wanted.items() if rules for base in bases(purpose)}
    for base in BASES:
        commands += _base_chain(table, base, base in used, stale)
    for key, rules in wanted.items():
        commands += _removal(table, key, keep_chains=rules is not None)
        if rules:
            names = [part(prefix, key[1]) for prefix in PURPOSES[key[0]].CHAINS]
            commands += [{"add": {"chain": {**HERE, "name": name}}} for name in names]
            commands += [{"add": {kind: described}} for kind, described in sets_of(key, rules).values()]
            commands += [{"add": {"rule": rule}} for rule in rules_of(key, rules)]
    return commands


def bases(purpose: str) -> list[str]:
    """The base chains that call those of a purpose."""
    return [base for callers in PURPOSES[purpose].CHAINS.values() for base in callers]


def _base_chain(table: Table, base: str, used: bool, deleted: t.Container[int]) -> list[Json]:
    """Make it where it is used; anew, with the rules that stay, where it is of another type; it goes with the last."""
    stay = [rule for rule in table.base_rules.get(base, []) if rule["handle"] not in deleted]
    here = {"chain": {**HERE, "name": base}}
    add: Json = {"add": {"chain": {**HERE, "name": base, **BASES[base]}}}
    if not used and not stay:
        return [{"delete": here}] if base in table.chains else []
    if base not in table.chains or table.base_is_right(base):
        return [add]
    again = [{"add": {"rule": {key: value for key, value in rule.items() if key != "handle"}}} for rule in stay]
    return [{"flush": here}, {"delete": here}, add, *again]


def _removal(table: Table, key: Key, keep_chains: bool) -> list[Json]:
    purpose, name = key
    chains = [part(prefix, name) for prefix in PURPOSES[purpose].CHAINS]
    sets = [part(prefix, name) for prefix in PURPOSES[purpose].SETS]
    gone = [("chain", c) for c in chains if c in table.chains and ("hook" in table.chains[c] or not keep_chains)]
    gone += [(table.sets[name][0], name) for name in sets if name in table.sets]
    return [{"delete": {kind: {**HERE, "name": name}}} for kind, name in gone]


def listed(objects: t.Iterable[Json]) -> Table:
    """A listing of our table, sorted out."""
    table = Table()
    for item in objects:
        ((kind, body),) = item.items()
        if kind == "table":
            table.exists, table.dormant = True, "flags" in body
        elif kind == "chain":
            table.chains[body["name"]] = body
        elif kind == "rule":
            if body["chain"] in BASES:
                table.base_rules.setdefault(body["chain"], []).append(body)
            for key in _owners(body):
                table.rules.setdefault(key, []).append(body)
        elif kind in ("set", "map", "meter"):
            table.sets[body["name"]] = (kind, body)
        elif kind != "metainfo":
            table.foreign = True
    return table


def _owners(rule: Json) -> set[Key]:
    """The purposes and networks that a rule belongs to, or ("", "") for none."""
    found = {_key_of("chain", rule["chain"])}
    for chain, set_name, name in _REFERENCE.findall(json.dumps(rule["expr"])):
        found.add(({**_CHAINS, **_SETS}[chain or set_name], name.replace("_", "-")))
    found.discard(("", ""))
    mark = NETWORK_MARK.fullmatch(str(rule.get("comment")))
    if mark and mark[1] not in {name for _purpose, name in found}:
        found.add((_STRAY.get(rule["chain"], "publish"), mark[1]))
    return found or {("", "")}


def parsed(table: Table, key: Key) -> Rules | None:
    """The rules that our table holds for a purpose and network; None where write would not have left them so."""
    purpose, name = key
    kind = PURPOSES[purpose]
    elements = {prefix: table.sets.get(part(prefix, name), ("", {}))[1].get("elem", []) for prefix in kind.SETS}
    there = table.rules.get(key, [])
    try:
        found: Rules = kind.candidate(elements, [rule["expr"] for rule in there])
        same = _same_rules(there, rules_of(key, found)) and _same_sets(table, key, found)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    chains = [table.chains.get(part(prefix, name), {"hook": "missing"}) for prefix in kind.CHAINS]
    sound = all(map(table.base_is_right, bases(purpose))) and not any("hook" in chain for chain in chains)
    return found if same and sound and not table.dormant else None


def _same_sets(table: Table, key: Key, rules: Rules) -> bool:
    """Whether the network's sets are those that we write. Their elements are where the rules come from."""
    names = [part(prefix, key[1]) for prefix in PURPOSES[key[0]].SETS]
    there = {name: _shape(*table.sets[name]) for name in names if name in table.sets}
    return there == {name: _shape(kind, body) for name, (kind, body) in sets_of(key, rules).items()}


def _shape(kind: str, body: Json) -> tuple[t.Any, ...]:
    flags = body.get("flags", [])
    return (kind, body["type"], body.get("map"), [flags] if isinstance(flags, str) else flags)


def _same_rules(there: t.Iterable[Json], written: t.Iterable[Json]) -> bool:
    """Chain by chain, since the order of chains is nft's own."""
    one, other = (
        sorted(
            ([rule["chain"], rule.get("comment"), *map(normal, rule["expr"])] for rule in rules),
            key=lambda rule: str(rule[0]),
        )
        for rules in (there, written)
    )
    return one == other
