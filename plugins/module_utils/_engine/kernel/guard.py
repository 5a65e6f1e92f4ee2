# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard behind source translation: its table, and transactions that change it. What is in it: guard_rules.py."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass, field

from ..rules import GuardRules
from ..spec.values import collapsed
from .base_chains import may_hold
from .guard_rules import BASES, CHAINS, HERE, MAPS, OUT, REPLY, SETS, TABLE, base_rules, elements_of, rules_of, sets_of
from .nft import Json, failure, network, networks_in, normal, part, run, table_objects
from .nft_nat import escaped

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

Changes = t.Sequence[tuple[str, t.Optional[GuardRules]]]
Element = list[t.Any]  # key and verdict

_PART = re.compile(f"({'|'.join((*CHAINS, *SETS))})_([a-z0-9_]{{1,32}})")


@dataclass
class Table:
    """What nft lists of the table. maps: elements by name. foreign: something is in it that is not managed."""

    exists: bool = False
    dormant: bool = False
    chains: dict[str, Json] = field(default_factory=dict)
    sets: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, list[Json]] = field(default_factory=dict)
    maps: dict[str, list[Element]] = field(default_factory=dict)
    foreign: bool = False

    def networks(self) -> set[str]:
        return {_network(name) for name in (*self.chains, *self.sets)} - {""}

    def of(self, chain: str, name: str) -> list[Json]:
        return self.rules.get(part(chain, name), [])

    def bridges(self, name: str) -> list[str]:
        """Where the network's own packets may leave."""
        own = [_value(rule) for rule in self.of("left", name) if _left(rule) == OUT]
        return [*own, *(_name(key) for key, to in self.maps.get("bridges_out", []) if _target(to) == part("to", name))]


def read(namespaces: Namespaces, netns: str) -> dict[str, GuardRules | None]:
    """By network what guards it; None for what is not exactly as write would leave it."""
    table = _listed(namespaces, netns)
    return {name: parsed(table, name) for name in sorted(table.networks())}


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace what guards each network, or delete it where its rules are None, in one transaction."""
    asked = f"change table inet {TABLE}"
    commands = transaction(_listed(namespaces, netns), changes)
    done = run(namespaces, netns, asked, ["-f", "-"], commands) if commands else None
    if done and done.returncode:
        raise failure(namespaces, netns, asked, done)


def _listed(namespaces: Namespaces, netns: str) -> Table:
    if not may_hold(namespaces, netns, "inet", TABLE):
        return Table()
    return listed(table_objects(namespaces, netns, f"read table inet {TABLE}", TABLE))


def listed(objects: t.Iterable[Json]) -> Table:
    """A listing of the table, sorted out."""
    table = Table()
    for item in objects:
        ((kind, body),) = item.items()
        if kind == "table":
            table.exists, table.dormant = True, "flags" in body
        elif kind == "chain":
            table.chains[body["name"]] = body
            table.foreign |= body["name"] not in BASES and not _network(body["name"])
        elif kind == "rule":
            table.rules.setdefault(body["chain"], []).append(body)
            table.foreign |= body["chain"] in BASES and not _is_base_rule(body)
        elif kind == "map" and body["name"] in MAPS:
            table.maps[body["name"]] = body.get("elem", [])
        elif kind == "set" and _network(body["name"]):
            table.sets[body["name"]] = body
        elif kind != "metainfo":
            table.foreign = True
    return table


def _network(name: str) -> str:
    """Whose chain or set it is, "" for none."""
    found = _PART.fullmatch(name)
    return found[2].replace("_", "-") if found else ""


def _is_base_rule(rule: Json) -> bool:
    return any(
        expression.get("vmap", {}).get("data", "") in {f"@{name}" for name in MAPS} for expression in rule["expr"]
    )


def _left(rule: Json) -> t.Any:
    return rule["expr"][0].get("match", {}).get("left") if rule["expr"] else None


def _value(rule: Json) -> str:
    return _name(rule["expr"][0]["match"]["right"])


def _name(listed_name: t.Any) -> str:
    """An interface as it is called; nft lists a "*" at the end with or without its escape."""
    return re.sub(r"\\\*$", "*", str(listed_name))


def _target(verdict: Json) -> str:
    ((_kind, body),) = verdict.items()
    return body["target"] if body else ""


def parsed(table: Table, name: str) -> GuardRules | None:
    """The rules that the table holds for a network; None where write would not have left them so."""
    try:
        found = _candidate(table, name)
        chains = {chain for chain in table.chains if _network(chain) == name}
        wanted = rules_of(name, found)
        same = chains == set(wanted) and all(
            _comparable(table.rules.get(chain, [])) == _comparable(rules) for chain, rules in wanted.items()
        )
        sets = {one: body for one, body in table.sets.items() if _network(one) == name}
        own = sets_of(name, found)
        same = same and {one: _members(body) for one, body in sets.items()} == {o: _members(b) for o, b in own.items()}
        same = same and not any("hook" in table.chains[chain] for chain in chains)
        same = same and _leads(table, name, elements_of(name, found))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return found if same and _is_sound(table) else None


def _candidate(table: Table, name: str) -> GuardRules:
    target = part("left", name)
    keys = [key for m in ("sources4", "sources6") for key, to in table.maps.get(m, []) if _target(to) == target]
    excluded = [
        item for one in ("exclude4", "exclude6") for item in table.sets.get(part(one, name), {}).get("elem", [])
    ]
    return GuardRules(
        tuple(sorted(table.bridges(name))),
        collapsed(found for key in keys for found in networks_in(key)),
        collapsed(found for item in excluded for found in networks_in(item)),
        part("to", name) in table.chains,
        part("from", name) in table.chains,
        any(rule["expr"][0] == REPLY for rule in table.of("left", name)),
    )


def _comparable(rules: t.Iterable[Json]) -> list[t.Any]:
    return [[rule.get("comment"), *map(_normal, rule["expr"])] for rule in rules]


def _normal(expression: Json) -> Json:
    found = normal(expression)
    body = found.get("match", {})
    if body.get("left") == OUT:
        return {"match": {**body, "right": _name(body["right"])}}
    return found


def _members(body: Json) -> tuple[t.Any, ...]:
    flags = body.get("flags", [])
    networks = collapsed(found for item in body.get("elem", []) for found in networks_in(item))
    return (body["type"], [flags] if isinstance(flags, str) else flags, networks)


def _leads(table: Table, name: str, wanted: t.Mapping[str, t.Mapping[str, Json]]) -> bool:
    """Whether the maps have the network's elements and no others. Ranges of sources are where the rules come from."""
    for map_name in ("bridges_in", "bridges_out"):
        there = {_name(key): verdict for key, verdict in table.maps.get(map_name, [])}
        own = {key for key, verdict in there.items() if _network(_target(verdict)) == name}
        if not own <= set(wanted[map_name]) or not wanted[map_name].items() <= there.items():
            return False
    verdicts = [verdict for m in ("sources4", "sources6") for _key, verdict in table.maps.get(m, [])]
    return all("goto" in verdict for verdict in verdicts if _network(_target(verdict)) == name)


def _is_sound(table: Table) -> bool:
    """Whether packets come to the chains: the table is awake, its base chains and their rules are as they must be."""
    bases = all(body.items() <= table.chains.get(name, {}).items() for name, body in BASES.items())
    there = [rule for name in BASES for rule in table.rules.get(name, []) if _is_base_rule(rule)]
    whole = set(MAPS) <= set(table.maps) and _comparable(there) == _comparable(base_rules())
    networks = table.networks()
    bridges = {bridge for name in networks for bridge in table.bridges(name)}
    exits = {_name(key) for key, _verdict in table.maps.get("bridges_out", [])}
    return not table.dormant and bases and whole and exits <= bridges


def transaction(table: Table, changes: Changes) -> list[Json]:
    """The commands that lead from what the table holds to the changes; the table goes with the last network."""
    wanted = dict(changes)
    stay = table.networks() - set(wanted)
    new = {name: rules for name, rules in wanted.items() if rules}
    if not stay and not new:
        return _emptied(table)
    # Adding a table that is there wakes it where it is dormant.
    commands: list[Json] = [{"add": {"table": {"family": "inet", "name": TABLE}}}]
    for name, body in BASES.items():
        commands += _base(table, name, body)
    commands += [{"delete": {"map": {**HERE, "name": name}}} for name in table.maps]
    for name in wanted:
        commands += _removal(table, name)
    for name, rules in new.items():
        chains = rules_of(name, rules)
        commands += [{"add": {"chain": {**HERE, "name": chain}}} for chain in chains]
        commands += [{"add": {"set": described}} for described in sets_of(name, rules).values()]
        commands += [{"add": {"rule": rule}} for listing in chains.values() for rule in listing]
    for name, elements in _all_elements(table, wanted).items():
        listing = {"elem": elements} if elements else {}
        commands.append({"add": {"map": {**HERE, "name": name, "map": "verdict", **MAPS[name], **listing}}})
    return [*commands, *({"add": {"rule": rule}} for rule in base_rules())]


def _emptied(table: Table) -> list[Json]:
    """Without any network: whatever is in the table that is not managed stays."""
    if not table.exists:
        return []
    if not table.foreign:
        return [{"delete": {"table": {"family": "inet", "name": TABLE}}}]
    commands = [command for name in BASES for command in _without_base_rules(table, name)]
    empty = [name for name in BASES if name in table.chains and all(map(_is_base_rule, table.rules.get(name, [])))]
    return [
        *commands,
        *({"delete": {"chain": {**HERE, "name": name}}} for name in empty),
        *({"delete": {"map": {**HERE, "name": name}}} for name in table.maps),
        *(command for name in table.networks() for command in _removal(table, name)),
    ]


def _without_base_rules(table: Table, chain: str) -> list[Json]:
    stale = [rule["handle"] for rule in table.rules.get(chain, []) if _is_base_rule(rule)]
    return [{"delete": {"rule": {**HERE, "chain": chain, "handle": handle}}} for handle in stale]


def _base(table: Table, name: str, body: Json) -> list[Json]:
    """The base chain without its rules; anew, with the rules of others, where it is of another type."""
    here = {"chain": {**HERE, "name": name}}
    add: Json = {"add": {"chain": {**HERE, "name": name, **body}}}
    there = table.chains.get(name)
    if there is None or body.items() <= there.items():
        return [add, *_without_base_rules(table, name)]
    others = [rule for rule in table.rules.get(name, []) if not _is_base_rule(rule)]
    again = [{"add": {"rule": {key: v for key, v in rule.items() if key != "handle"}}} for rule in others]
    return [{"flush": here}, {"delete": here}, add, *again]


def _removal(table: Table, name: str) -> list[Json]:
    chains = [chain for chain in table.chains if _network(chain) == name]
    sets = [one for one in table.sets if _network(one) == name]
    return [
        *({"flush": {"chain": {**HERE, "name": chain}}} for chain in chains),
        *({"delete": {"chain": {**HERE, "name": chain}}} for chain in chains),
        *({"delete": {"set": {**HERE, "name": one}}} for one in sets),
    ]


def _all_elements(table: Table, changes: t.Mapping[str, GuardRules | None]) -> dict[str, list[Element]]:
    """Elements of all maps: those of networks that stay, and the new ones."""
    found: dict[str, list[Element]] = {}
    stay = table.networks() - set(changes)
    exits = {bridge for name in stay for bridge in table.bridges(name)}
    for map_name in MAPS:
        kept: list[Element] = []
        for key, verdict in table.maps.get(map_name, []):
            link = _name(key) if map_name.startswith("bridges") else ""
            if _network(_target(verdict)) in stay or (not _target(verdict) and link in exits):
                kept.append([escaped(link) if link else key, verdict])
        taken = {key for key, _verdict in kept if isinstance(key, str)}
        new = {k: v for name, rules in changes.items() if rules for k, v in elements_of(name, rules)[map_name].items()}
        if map_name.startswith("bridges"):
            found[map_name] = [*kept, *([escaped(k), v] for k, v in new.items() if escaped(k) not in taken)]
        else:
            found[map_name] = [*kept, *_sources(kept, changes, map_name)]
    return found


def _sources(kept: t.Sequence[Element], changes: t.Mapping[str, GuardRules | None], map_name: str) -> list[Element]:
    """The ranges of each network. What another network has by now is no longer a former source."""
    taken = [found for key, _verdict in kept for found in networks_in(key)]
    made: list[Element] = []
    for former in (False, True):
        for name, rules in changes.items():
            verdicts = elements_of(name, rules)[map_name] if rules else {}
            chosen = [text for text in verdicts if rules and (text not in rules.sources) == former]
            for text in chosen:
                free = _without(ipaddress.ip_network(text), taken)
                made += [[network(str(one)), verdicts[text]] for one in free]
                taken += free
    return made


def _without(wanted: t.Any, taken: t.Iterable[t.Any]) -> list[t.Any]:
    """What of a range nobody has yet."""
    free = [wanted]
    for other in taken:
        if other.version == wanted.version:
            free = [
                piece
                for one in free
                for piece in (
                    [] if one.subnet_of(other) else one.address_exclude(other) if other.subnet_of(one) else [one]
                )
            ]
    return free
