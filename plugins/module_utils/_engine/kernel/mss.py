# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The largest segment that connections of a network may announce, held to what fits the route of both directions.

In nftables that is a table of its own, in iptables two rules of each network in the chain FORWARD of the table mangle.
The kernel only ever lowers the value (nft_exthdr, xt_TCPMSS).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import typing as t

from ..errors import KernelError, attempt
from ..model import MARK
from ..rules import ClampRules
from . import iptables
from .base_chains import may_hold
from .iptables_rules import NETWORK_MARK, Rule, Table, called_by, chains_of, comment_of
from .nft import run
from .nft_nat import escaped

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

TABLE, CHAIN = "netpath_egress_mss", "forward"
Json = dict[str, t.Any]
Changes = t.Sequence[tuple[str, t.Optional[ClampRules]]]
Found = dict[str, t.Optional[ClampRules]]

_TABLE: Json = {"family": "inet", "name": TABLE}
_HERE: Json = {"family": "inet", "table": TABLE}
_BASE: Json = {"type": "filter", "hook": "forward", "prio": -150, "policy": "accept"}
_SYN: Json = {"match": {"op": "in", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": "syn"}}
_CLAMP: Json = {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": {"rt": {"key": "mtu"}}}}
_INTERFACES = {"iifname": "-i", "oifname": "-o"}


def read(namespaces: Namespaces, netns: str, backend: str) -> Found:
    """By network what holds it; None for what is not exactly as write would leave it."""
    if backend == "nftables":
        return parsed(_listed(namespaces, netns))
    there = iptables.tables(namespaces, netns, backend, "mangle")
    found: Found = {}
    for name in sorted(set().union(*map(_networks, there.values()))):
        rules = [_of_network(table, name) for table in there.values()]
        bridge = _value(rules[0][0], "-i") if rules[0] else ""
        intact = all(listed == iptables_rules(name, ClampRules(bridge)) for listed in rules)
        found[name] = ClampRules(bridge) if intact else None
    return found


def write(namespaces: Namespaces, netns: str, backend: str, changes: Changes) -> None:
    """Replace what holds each network, or delete it where its rules are None. Errors: KernelError."""
    if backend == "nftables":
        commands = transaction(_listed(namespaces, netns), changes)
        asked = f"change table inet {TABLE}"
        done = run(namespaces, netns, asked, ["-f", "-"], commands) if commands else None
        if done and done.returncode:
            raise KernelError(asked, f"nft says {' '.join(done.stderr.split())}", 0)
        return
    with contextlib.ExitStack() as undo:
        for version, table in iptables.tables(namespaces, netns, backend, "mangle").items():
            old = [rule for name, _rules in changes for rule in _of_network(table, name)]
            new = [rule for name, rules in changes if rules for rule in iptables_rules(name, rules)]
            _replace(namespaces, netns, backend, version, old, new)
            undo.callback(attempt, _replace, namespaces, netns, backend, version, new, old)
        undo.pop_all()


def _replace(
    namespaces: Namespaces,
    netns: str,
    flavour: str,
    version: int,
    old: t.Sequence[Rule],
    new: t.Sequence[Rule],
) -> None:
    """One family's rules, in one transaction."""
    lines = [
        " ".join([action, "FORWARD", *map(_quoted, rule)])
        for action, rules in (("-D", old), ("-A", new))
        for rule in rules
    ]
    if lines:
        iptables.restore(namespaces, netns, flavour, version, "\n".join(["*mangle", *lines, "COMMIT", ""]))


def iptables_rules(name: str, rules: ClampRules) -> list[Rule]:
    """In the words and the order of iptables-save, for each family the same."""
    matches = ("-p", "tcp", "-m", "tcp", "--tcp-flags", "SYN,RST", "SYN", "-m", "comment", "--comment", MARK + name)
    return [(side, rules.bridge, *matches, "-j", "TCPMSS", "--clamp-mss-to-pmtu") for side in _INTERFACES.values()]


def _comment(rule: Json) -> str:
    """So that the rules of a network come to the same place again."""
    return str(rule.get("comment", ""))


def _networks(table: Table) -> set[str]:
    marks = (NETWORK_MARK.fullmatch(comment_of(rule)) for rule in table.rules.get("FORWARD", []) if _clamps(rule))
    return {mark[1] for mark in marks if mark}


def _of_network(table: Table, name: str) -> list[Rule]:
    return [rule for rule in table.rules.get("FORWARD", []) if comment_of(rule) == MARK + name and _clamps(rule)]


def _clamps(rule: Rule) -> bool:
    """Not a jump of the guard, which has the same mark and place."""
    return called_by(rule) not in chains_of("guard", comment_of(rule)[len(MARK) :])


def _value(rule: Rule, option: str) -> str:
    return rule[rule.index(option) + 1] if option in rule else ""


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)


def nft_rules(name: str, rules: ClampRules) -> list[Json]:
    return [
        {
            **_HERE,
            "chain": CHAIN,
            "comment": MARK + name,
            "expr": [
                {"match": {"op": "==", "left": {"meta": {"key": side}}, "right": escaped(rules.bridge)}},
                _SYN,
                _CLAMP,
            ],
        }
        for side in _INTERFACES
    ]


def _listed(namespaces: Namespaces, netns: str) -> list[Json]:
    if not may_hold(namespaces, netns, "inet", TABLE):
        return []
    asked = f"read table inet {TABLE}"
    done = run(namespaces, netns, asked, ["list", "table", "inet", TABLE])
    if done.returncode:
        if os.strerror(errno.ENOENT) in done.stderr:
            return []
        raise KernelError(asked, f"nft says {' '.join(done.stderr.split())}", 0)
    listed: list[Json] = json.loads(done.stdout)["nftables"]
    return listed


def parsed(listed: t.Sequence[Json]) -> Found:
    """What our table, as nft lists it, holds for each network."""
    by_name = _by_name(listed)
    found: Found = {}
    for name, rules in by_name.items():
        sides = [rule["expr"][0].get("match", {}) for rule in rules if rule["expr"]]
        bridge = str(sides[0].get("right", "")).replace("\\*", "*") if sides else ""
        wanted = nft_rules(name, ClampRules(bridge))
        same = [(rule["chain"], rule["expr"]) for rule in rules] == [(rule["chain"], rule["expr"]) for rule in wanted]
        found[name] = ClampRules(bridge) if same and _is_sound(listed) else None
    return found


def _by_name(listed: t.Sequence[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for item in listed:
        comment = _comment(item.get("rule", {}))
        if comment.startswith(MARK):
            found.setdefault(comment[len(MARK) :], []).append(item["rule"])
    return found


def _is_sound(listed: t.Sequence[Json]) -> bool:
    """Whether our chain is called as it shall be, and the table is not dormant."""
    awake = all("flags" not in item["table"] for item in listed if "table" in item)
    return awake and any(_BASE.items() <= item["chain"].items() for item in listed if "chain" in item)


def transaction(listed: t.Sequence[Json], changes: Changes) -> list[Json]:
    """The commands that lead to the changes; the table goes with the last of what is in it."""
    changed = dict(changes)
    rules = [item["rule"] for item in listed if "rule" in item]
    chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
    stay = [rule for rule in rules if _network(rule) not in changed]
    added = [rule for name, wanted in changed.items() if wanted for rule in nft_rules(name, wanted)]
    others = [item for item in listed if not {"metainfo", "table", "chain", "rule"} & set(item)]
    if not stay and not added and not others and set(chains) <= {CHAIN}:
        return [{"delete": {"table": _TABLE}}] if listed else []
    here = {"chain": {**_HERE, "name": CHAIN}}
    again = [rule for rule in stay if rule["chain"] == CHAIN]
    # Adding a table that is there wakes it where it is dormant.
    commands: list[Json] = [{"add": {"table": _TABLE}}, *([{"flush": here}] if CHAIN in chains else [])]
    strays = [rule for rule in rules if _network(rule) in changed and rule["chain"] != CHAIN]
    commands += [{"delete": {"rule": {**_HERE, "chain": rule["chain"], "handle": rule["handle"]}}} for rule in strays]
    if CHAIN in chains and (not _BASE.items() <= chains[CHAIN].items() or not [*again, *added]):
        commands.append({"delete": here})
    if again or added:
        commands.append({"add": {"chain": {**_HERE, "name": CHAIN, **_BASE}}})
    return commands + [
        {"add": {"rule": {key: v for key, v in rule.items() if key != "handle"}}}
        for rule in sorted([*again, *added], key=_comment)
    ]


def _network(rule: Json) -> str:
    """Whose rule it is, "" for nobody's of ours."""
    comment = _comment(rule)
    return comment[len(MARK) :] if comment.startswith(MARK) else ""
