# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules in the tables of iptables: for each network chains of its own in nat and in filter, with one jump to each.

Both flavours may be in use at once: iptables-nft keeps its rules in nftables, iptables-legacy in older tables of the
kernel, and a packet passes both. See iptables(8), iptables-restore(8).
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shlex
import subprocess
import typing as t

from ..errors import ConflictError, KernelError, UnsupportedError, attempt
from ..model import MARK
from ..rules import Rules
from . import nft, programs
from .base_chains import may_hold
from .iptables_rules import (
    CHAINS,
    DOCKER_USER,
    TABLES,
    Rule,
    Table,
    called_by,
    candidate,
    chains_of,
    comment_of,
    forward_entry,
    jumps_of,
    normal,
    purposes_of,
    rules_of,
)

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

__all__ = [
    "DOCKER_USER",
    "FLAVOURS",
    "TABLES",
    "Changes",
    "Key",
    "Rule",
    "Table",
    "check",
    "forward_entry",
    "read",
    "refuse_wildcards",
    "tables",
    "write",
]

FLAVOURS = ("iptables-nft", "iptables-legacy")
LOCK_PATIENCE = "10"  # seconds
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_LEGACY_TABLES = {4: "/proc/thread-self/net/ip_tables_names", 6: "/proc/thread-self/net/ip6_tables_names"}
_NFT_FAMILIES = {4: "ip", 6: "ip6"}
_UNREADABLE = "is incompatible, use 'nft' tool"
_INTERFACE_FIELDS = ("bridge", "uplinks", "out_interfaces", "not_out_interface")
_QUOTING = re.compile(r"""["'\\]""")
_PLAIN = re.compile(r"[A-Za-z0-9!./,:\[\]_-]+")

Key = tuple[str, str]  # purpose and network
Changes = t.Sequence[tuple[Key, t.Optional[Rules]]]


def tables(namespaces: Namespaces, netns: str, flavour: str, name: str) -> dict[int, Table]:
    """A table of both families. It is empty, and not made by looking, where it is not in use."""
    return {version: _table(namespaces, netns, flavour, version, name) for version in _PROGRAMS}


def read(
    namespaces: Namespaces, netns: str, flavour: str, purposes: t.Iterable[str], names: t.Collection[str] = ()
) -> dict[Key, Rules | None]:
    """What our chains hold for each network; None for what is not exactly as write would leave it.

    names: networks to look for by their chains, whose names do not say a long one, in tables that are unreadable.
    """
    found: dict[Key, Rules | None] = {}
    purposes = list(purposes)
    for table_name in dict.fromkeys(TABLES[purpose] for purpose in purposes):
        there = tables(namespaces, netns, flavour, table_name)
        for purpose in (purpose for purpose in purposes if TABLES[purpose] == table_name):
            by_chain = {n for n in names for table in there.values() if table.unreadable and _holds(table, purpose, n)}
            for name in sorted(by_chain.union(*(table.networks(purpose) for table in there.values()))):
                found[purpose, name] = parsed(purpose, name, there)
    return found


def write(namespaces: Namespaces, netns: str, flavour: str, changes: Changes) -> None:
    """Replace each network's chains, or delete them where its rules are None. Each family is one transaction.

    Errors: KernelError, with both families as they were.
    """
    there = {name: tables(namespaces, netns, flavour, name) for name in dict.fromkeys(TABLES.values())}
    _refuse_unreadable(there, changes)
    with contextlib.ExitStack() as undo:
        for version in _PROGRAMS:
            before = {name: both[version] for name, both in there.items()}
            document = transaction(version, before, changes)
            if document:
                restore(namespaces, netns, flavour, version, document)
                back = _going_back(version, before, changes)
                undo.callback(attempt, restore, namespaces, netns, flavour, version, back)
        undo.pop_all()


def check(namespaces: Namespaces, netns: str, flavour: str, changes: Changes) -> None:
    """Errors: EgressError, where write would refuse the changes, or could not make them."""
    named = dict.fromkeys(TABLES[purpose] for (purpose, _name), _rules in changes)
    there = {name: tables(namespaces, netns, flavour, name) for name in named}
    _refuse_unreadable(there, changes)
    _refuse_same_chains(there, changes)
    for key, rules in changes:
        for table in there[TABLES[key[0]]].values() if rules is None else ():
            for chain, rule in _callers(table, key):
                raise ConflictError(
                    f"remove the chain {called_by(rule)} of {flavour}",
                    f"a rule of somebody else's calls it: -A {chain} {_line(rule)}",
                    "Delete that rule first",
                )


def refuse_wildcards(changes: t.Iterable[tuple[Key, Rules]]) -> None:
    """Errors: UnsupportedError, where a name of an interface would stand for others as well."""
    for (_purpose, name), rules in changes:
        used = [value for key, value in vars(rules).items() if key in _INTERFACE_FIELDS]
        named = [link for value in used for link in ([value] if isinstance(value, str) else value)]
        for link in (link for link in named if link.endswith("+")):
            found = f"{link!r} ends in '+', and so stands for all names that begin like it"
            raise UnsupportedError(f"name {link} in rules of iptables for {name}", found, "Rename the interface")


def _refuse_same_chains(there: t.Mapping[str, t.Mapping[int, Table]], changes: Changes) -> None:
    """The names of long networks are cut, so that a chain may be another one's already."""
    gone = {key for key, rules in changes if rules is None}
    readable = [(name, table) for name, both in there.items() for table in both.values() if not table.unreadable]
    before = [(p, n) for p in CHAINS for place, table in readable if place == TABLES[p] for n in table.networks(p)]
    owners: dict[tuple[str, str], str] = {}
    for purpose, name in [*(key for key in before if key not in gone), *(key for key, rules in changes if rules)]:
        chain = chains_of(purpose, name)[0]
        other = owners.setdefault((TABLES[purpose], chain), name)
        if other != name:
            asked, found = f"make the chain {chain} for {name}", f"it is that of {other}"
            raise ConflictError(asked, found, "Give one of these networks another name")


def _refuse_unreadable(there: t.Mapping[str, t.Mapping[int, Table]], changes: Changes) -> None:
    """Errors: UnsupportedError, where a change is for a table that iptables cannot list, and so cannot change."""
    for (purpose, name), rules in changes:
        for version, table in there[TABLES[purpose]].items():
            held = _holds(table, purpose, name)
            if table.unreadable and (held or (rules and rules_of(name, rules, version))):
                title = f"table {TABLES[purpose]} of IPv{version}"
                raise UnsupportedError(
                    f"change the rules of {name} in iptables-nft",
                    f"iptables cannot read {title}: rules of nft in it" + (" beside ours" if held else ""),
                    f"Move them to a table of their own: nft -a list table {_NFT_FAMILIES[version]} {TABLES[purpose]}",
                )


def _holds(table: Table, purpose: str, name: str) -> bool:
    return not set(chains_of(purpose, name)).isdisjoint(table.policies)


def parsed(purpose: str, name: str, there: t.Mapping[int, Table]) -> Rules | None:
    """The rules of a network's chains in both families; None where write would not have left them so."""
    if any(table.unreadable for table in there.values()):
        return None
    try:
        found = candidate(purpose, name, there)
    except (IndexError, ValueError):
        return None
    chains = chains_of(purpose, name)
    for version, table in there.items():
        wanted = rules_of(name, found, version)
        jumps = [(base, rule) for base, _number, rule in _ours(table, (purpose, name))]
        expected = jumps_of(name, found, version, table) if wanted else []
        for chain in chains:
            if list(map(normal, table.of(chain))) != list(map(normal, wanted.get(chain, []))):
                return None
        # Behind a rule that drops everything, or accepts it, no packet comes to ours.
        reached = purpose != "forward" or set(jumps) <= set(table.met())
        if sorted(jumps) != sorted(expected) or not reached:
            return None
    return found


def transaction(version: int, there: t.Mapping[str, Table], changes: Changes) -> str:
    """Input for iptables-restore --noflush, which leaves all other chains and rules alone; "" for nothing to do."""

    def lines(table: Table, key: Key, rules: Rules | None) -> list[str]:
        return _replacement(table, key, version, rules)

    return _document(there, changes, lines)


def _document(
    there: t.Mapping[str, Table], changes: Changes, lines_of: t.Callable[[Table, Key, Rules | None], list[str]]
) -> str:
    document = []
    for table_name, table in there.items():
        of_table = [(key, rules) for key, rules in changes if TABLES[key[0]] == table_name]
        lines = [line for key, rules in of_table for line in lines_of(table, key, rules)]
        if lines:
            document += [f"*{table_name}", *sorted(lines, key=_turn), "COMMIT"]
    return "".join(f"{line}\n" for line in document)


def _turn(line: str) -> tuple[int, int]:
    """Chains are there before rules name them, and rules go to a place once all before it are there."""
    words = line.split(maxsplit=3)
    return (2, int(words[2])) if words[0] == "-I" else (0 if line.startswith(":") else 1, 0)


def _ours(table: Table, key: Key) -> t.Iterator[tuple[str, int, Rule]]:
    """Rules of a purpose and network outside of its own chains: (chain, number from 1, rule)."""
    purpose, name = key
    chains = chains_of(purpose, name)
    for base, there in table.rules.items():
        for number, rule in enumerate(there, 1):
            marked = comment_of(rule) == MARK + name and purpose in purposes_of(base, rule, name)
            if base not in chains and marked:
                yield base, number, rule


def _callers(table: Table, key: Key) -> list[tuple[str, Rule]]:
    """(chain, rule) of somebody else's that calls a chain of ours."""
    purpose, name = key
    chains = chains_of(purpose, name)
    return [
        (base, rule)
        for base, there in table.rules.items()
        for rule in there
        if called_by(rule) in chains and comment_of(rule) != MARK + name
    ]


def _replacement(table: Table, key: Key, version: int, rules: Rules | None) -> list[str]:
    purpose, name = key
    lines = [_line(["-D", base, *rule]) for base, _number, rule in _ours(table, key)]
    wanted = rules_of(name, rules, version) if rules else {}
    for chain, words in wanted.items():
        lines += [f":{chain} - [0:0]", *(_line(["-A", chain, *rule]) for rule in words)]
    if rules and wanted:
        jumps = jumps_of(name, rules, version, table)
        return lines + [_line([*(["-A", b] if purpose != "forward" else ["-I", b, "1"]), *rule]) for b, rule in jumps]
    kept = {called_by(rule) for _base, rule in _callers(table, key)}
    for chain in chains_of(purpose, name):
        lines += [f"-F {chain}"] if chain in table.policies else []
        lines += [f"-X {chain}"] if chain in table.policies and chain not in kept else []
    return lines


def _going_back(version: int, before: t.Mapping[str, Table], changes: Changes) -> str:
    """What brings a family's chains back after a transaction of these changes."""

    def lines(table: Table, key: Key, rules: Rules | None) -> list[str]:
        made = rules_of(key[1], rules, version) if rules else {}
        found = (
            [_line(["-D", b, *rule]) for b, rule in jumps_of(key[1], rules, version, table)] if rules and made else []
        )
        for chain in chains_of(*key):
            if chain in table.policies:
                found += [f":{chain} - [0:0]", *(_line(["-A", chain, *rule]) for rule in table.of(chain))]
            elif chain in made:
                found += [f"-F {chain}", f"-X {chain}"]
        return found + [_line(["-I", base, str(number), *rule]) for base, number, rule in _ours(table, key)]

    return _document(before, changes, lines)


def _line(words: t.Sequence[str]) -> str:
    return " ".join(word if _PLAIN.fullmatch(word) else '"' + re.sub(r'(["\\])', r"\\\1", word) + '"' for word in words)


def _table(namespaces: Namespaces, netns: str, flavour: str, version: int, name: str) -> Table:
    if not _is_there(namespaces, netns, flavour, version, name):
        return Table()
    with namespaces.entered(netns):
        done = _run([_program(flavour, version, "save"), "-t", name], "", f"list table {name}")
    if done is None:
        return Table()
    if done.returncode:
        raise _failure(f"list table {name} of {flavour}", done)
    if _UNREADABLE in done.stdout:
        return _chains_alone(namespaces, netns, version, name)
    return listed(done.stdout)


def _chains_alone(namespaces: Namespaces, netns: str, version: int, name: str) -> Table:
    """What nft knows of a table that iptables cannot list: not the marks, which are in the data of iptables."""
    asked = f"list table {name} of IPv{version}"
    done = nft.run(namespaces, netns, asked, ["list", "table", _NFT_FAMILIES[version], name])
    if done.returncode:
        raise KernelError(asked, f"nft says {done.stderr.strip()}", 0)
    chains = [item["chain"] for item in json.loads(done.stdout)["nftables"] if "chain" in item]
    return Table({chain["name"]: chain.get("policy", "-").upper() for chain in chains}, unreadable=True)


def _is_there(namespaces: Namespaces, netns: str, flavour: str, version: int, name: str) -> bool:
    """Whether a table is in use. Asking iptables-legacy for another one would make it."""
    if flavour == "iptables-nft":
        return may_hold(namespaces, netns, _NFT_FAMILIES[version], name)
    try:
        with namespaces.entered(netns), open(_LEGACY_TABLES[version], encoding="ascii") as file:
            return name in file.read().split()
    except OSError:
        return False


def listed(text: str) -> Table:
    """The output of iptables-save for one table."""
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            policies[chain] = policy
        elif line.startswith("-A "):
            # Most lines have nothing to unquote, and shlex takes a hundred times as long.
            words = shlex.split(line) if _QUOTING.search(line) else line.split()
            rules.setdefault(words[1], []).append(tuple(words[2:]))
    return Table(policies, rules)


def restore(namespaces: Namespaces, netns: str, flavour: str, version: int, document: str) -> None:
    asked = f"change the rules of {flavour} for IPv{version}"
    argv = [_program(flavour, version, "restore"), "--noflush", "--wait", LOCK_PATIENCE]
    with namespaces.entered(netns):
        done = _run(argv, document, asked)
    if done is None:
        found = f"the program {argv[0]} is missing"
        raise UnsupportedError(asked, found, "Install the package iptables").for_all()
    if done.returncode:
        raise _failure(asked, done)


def _program(flavour: str, version: int, action: str) -> str:
    return f"{_PROGRAMS[version]}-{flavour.partition('-')[2]}-{action}"


def _run(argv: list[str], document: str, asked: str) -> subprocess.CompletedProcess[str] | None:
    """None where the program is missing."""
    try:
        return programs.run(asked, argv, document)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        return None


def _failure(asked: str, done: subprocess.CompletedProcess[str]) -> KernelError:
    words = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("Try "))
    return KernelError(asked, f"{done.args[0]} says {words or f'nothing, and ends with {done.returncode}'}", 0)
