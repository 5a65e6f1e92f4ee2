# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules in the tables of iptables: for each network a chain of its own in nat and in filter, with one jump to each.

Both flavours may be in use at once: iptables-nft keeps its rules in nftables, iptables-legacy in older tables of the
kernel, and a packet passes both. See iptables(8), iptables-restore(8), iptables-extensions(8).
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shlex
import subprocess
import typing as t
from dataclasses import dataclass, field

from ..errors import KernelError, UnsupportedError
from ..model import MARK, ForwardRules, NatRules, Rules
from ..spec.values import collapsed, family
from .nftables import PORT_PROTOCOLS, UNTRANSLATED

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

FLAVOURS = ("iptables-nft", "iptables-legacy")
MAX_CHAIN_NAME = 28  # XT_EXTENSION_MAXNAMELEN in linux/netfilter/x_tables.h, less the NUL
LOCK_PATIENCE = "10"  # seconds
TABLES = {"nat": "nat", "forward": "filter"}
DOCKER_USER = "DOCKER-USER"
_PREFIX = "netpath-"
_PROGRAMS = {4: "iptables", 6: "ip6tables"}
_LEGACY_TABLES = {4: "/proc/thread-self/net/ip_tables_names", 6: "/proc/thread-self/net/ip6_tables_names"}
_PLAIN = re.compile(r"[A-Za-z0-9!./,:\[\]_-]+")
_PROTOCOLS = {name: str(number) for name, number in PORT_PROTOCOLS.items()}

Key = tuple[str, str]  # purpose ("nat" or "forward") and network
Changes = t.Sequence[tuple[Key, t.Optional[Rules]]]
Rule = tuple[str, ...]  # the words after "-A CHAIN"


@dataclass(frozen=True)
class Table:
    """One table of one family: policies of its base chains ("-" for other chains), and the rules of each chain."""

    policies: t.Mapping[str, str] = field(default_factory=dict)
    rules: t.Mapping[str, t.Sequence[Rule]] = field(default_factory=dict)

    def networks(self) -> set[str]:
        """Networks that any rule here carries the mark of."""
        found = {comment_of(rule) for rules in self.rules.values() for rule in rules}
        return {comment[len(MARK) :] for comment in found if comment.startswith(MARK)}


def chain_of(name: str) -> str:
    """The chain of a network: its name, cut and kept apart by a hash where it is too long."""
    full = _PREFIX + name
    if len(full) <= MAX_CHAIN_NAME:
        return full
    return f"{full[: MAX_CHAIN_NAME - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def comment_of(rule: Rule) -> str:
    return rule[rule.index("--comment") + 1] if "--comment" in rule else ""


def tables(namespaces: Namespaces, netns: str, flavour: str, name: str) -> dict[int, Table]:
    """A table of both families. It is empty, and not made by looking, where it is not in use."""
    return {version: _table(namespaces, netns, flavour, version, name) for version in _PROGRAMS}


def read(namespaces: Namespaces, netns: str, flavour: str, purposes: t.Iterable[str]) -> dict[Key, Rules | None]:
    """What our chains hold for each network; None for what is not exactly as write would leave it."""
    found: dict[Key, Rules | None] = {}
    for purpose in purposes:
        there = tables(namespaces, netns, flavour, TABLES[purpose])
        for name in sorted(set().union(*(table.networks() for table in there.values()))):
            found[purpose, name] = parsed(purpose, name, there)
    return found


def write(namespaces: Namespaces, netns: str, flavour: str, changes: Changes) -> None:
    """Replace each network's chain, or delete it where its rules are None. Each family is one transaction.

    Errors: KernelError, with both families as they were.
    """
    done: list[tuple[int, str]] = []
    there = {name: tables(namespaces, netns, flavour, name) for name in TABLES.values()}
    for version in _PROGRAMS:
        before = {name: both[version] for name, both in there.items()}
        document = transaction(version, before, changes)
        if not document:
            continue
        try:
            restore(namespaces, netns, flavour, version, document)
        except (KernelError, UnsupportedError):
            for other, undo in done:
                restore(namespaces, netns, flavour, other, undo)
            raise
        old = {key: _rules_of_family(before[TABLES[key[0]]], key) for key, _rules in changes}
        done.append((version, _going_back(version, before, old, changes)))


def parsed(purpose: str, name: str, there: t.Mapping[int, Table]) -> Rules | None:
    """The rules of a network's chains in both families; None where write would not have left them so."""
    try:
        found: Rules = _parsed_nat(name, there) if purpose == "nat" else _parsed_forward(name, there)
    except (IndexError, ValueError):
        return None
    for version, table in there.items():
        chain, wanted = chain_of(name), rules_of(name, found, version)
        jumps = [(base, rule) for base, rules in table.rules.items() for rule in rules if _target(rule) == chain]
        if [_normal(rule) for rule in table.rules.get(chain, [])] != [_normal(rule) for rule in wanted]:
            return None
        if jumps != ([(entry(purpose, table), jump_of(name, found))] if wanted else []):
            return None
    return found


def entry(purpose: str, table: Table) -> str:
    """The chain from which ours is called: for forwarding the one that Docker leaves to others, where it is there."""
    if purpose == "nat":
        return "POSTROUTING"
    return DOCKER_USER if DOCKER_USER in table.policies else "FORWARD"


def rules_of(name: str, rules: Rules, version: int) -> list[Rule]:
    """The rules of the network's chain in one family, in the words and the order of iptables-save."""
    if isinstance(rules, NatRules):
        return [tuple(rule) for rule in _nat_rules(name, rules, version)]
    return [tuple(rule) for rule in _forward_rules(name, t.cast(ForwardRules, rules), version)]


def jump_of(name: str, rules: Rules) -> Rule:
    limits: list[str] = []
    if isinstance(rules, NatRules) and rules.out_interface:
        limits = ["-o", rules.out_interface]
    elif isinstance(rules, NatRules) and rules.not_out_interface:
        limits = ["!", "-o", rules.not_out_interface]
    return (*limits, *_comment(name), "-j", chain_of(name))


def transaction(version: int, there: t.Mapping[str, Table], changes: Changes) -> str:
    """Input for iptables-restore --noflush, which leaves all other chains and rules alone; "" for nothing to do."""
    document = []
    for purpose, table_name in TABLES.items():
        table = there[table_name]
        lines: list[str] = []
        for (kind, name), rules in changes:
            if kind == purpose:
                lines += _replacement(table, purpose, name, rules_of(name, rules, version) if rules else [], rules)
        if lines:
            document += [f"*{table_name}", *sorted(lines, key=lambda line: not line.startswith(":")), "COMMIT"]
    return "".join(f"{line}\n" for line in document)


def _replacement(table: Table, purpose: str, name: str, wanted: list[Rule], rules: Rules | None) -> list[str]:
    chain = chain_of(name)
    stale = [
        ["-D", base, *rule]
        for base, there in table.rules.items()
        for rule in there
        if base != chain and (_target(rule) == chain or comment_of(rule) == MARK + name)
    ]
    lines = [_line(words) for words in stale]
    if wanted and rules:
        base = entry(purpose, table)
        place = ["-A", base] if purpose == "nat" else ["-I", base, "1"]
        lines += [f":{chain} - [0:0]", *(_line(["-A", chain, *rule]) for rule in wanted)]
        return [*lines, _line([*place, *jump_of(name, rules)])]
    return [*lines, f"-F {chain}", f"-X {chain}"] if chain in table.policies else lines


def _going_back(version: int, before: t.Mapping[str, Table], old: t.Mapping[Key, list[Rule]], changes: Changes) -> str:
    """What brings a family's chains back after a transaction of these changes."""
    document = []
    for purpose, table_name in TABLES.items():
        lines: list[str] = []
        for (kind, name), rules in changes:
            chain = chain_of(name)
            if kind != purpose:
                continue
            if rules and rules_of(name, rules, version):
                lines += [_line(["-D", entry(purpose, before[table_name]), *jump_of(name, rules)])]
                lines += [f"-F {chain}"] if chain in before[table_name].policies else [f"-F {chain}", f"-X {chain}"]
            if chain in before[table_name].policies:
                lines += [f":{chain} - [0:0]", *(_line(["-A", chain, *rule]) for rule in old[kind, name])]
            for base, there in before[table_name].rules.items():
                for number, rule in enumerate(there, 1):
                    if base != chain and (_target(rule) == chain or comment_of(rule) == MARK + name):
                        lines.append(_line(["-I", base, str(number), *rule]))
        if lines:
            document += [f"*{table_name}", *sorted(lines, key=lambda line: not line.startswith(":")), "COMMIT"]
    return "".join(f"{line}\n" for line in document)


def _rules_of_family(table: Table, key: Key) -> list[Rule]:
    return list(table.rules.get(chain_of(key[1]), []))


def _line(words: t.Sequence[str]) -> str:
    return " ".join(word if _PLAIN.fullmatch(word) else '"' + re.sub(r'(["\\])', r"\\\1", word) + '"' for word in words)


def _comment(name: str) -> list[str]:
    return ["-m", "comment", "--comment", MARK + name]


def _nat_rules(name: str, rules: NatRules, version: int) -> t.Iterator[list[str]]:
    sources, exclude = ([n for n in nets if family(n) == version] for nets in (rules.sources, rules.exclude))
    if not sources:
        return
    for destination in (*exclude, *UNTRANSLATED[version], *sources):
        yield ["-d", destination, *_comment(name), "-j", "RETURN"]
    fully = ["--random-fully"] if rules.random_fully else []
    for source in sources:
        if rules.ports:
            ports = "-".join(map(str, dict.fromkeys(rules.ports)))
            for number in _PROTOCOLS.values():
                yield ["-s", source, "-p", number, *_comment(name), "-j", *_translation(rules, version, ports), *fully]
        yield ["-s", source, *_comment(name), "-j", *_translation(rules, version, ""), *fully]


def _translation(rules: NatRules, version: int, ports: str) -> list[str]:
    target = rules.to_source[0 if version == 4 else 1]
    if not target:
        return ["MASQUERADE", *(["--to-ports", ports] if ports else [])]
    if ports:
        target = f"{target}:{ports}" if version == 4 else f"[{target}]:{ports}"
    return ["SNAT", "--to-source", target]


def _forward_rules(name: str, rules: ForwardRules, version: int) -> t.Iterator[list[str]]:
    sources = [network for network in rules.sources if family(network) == version]
    accept = [*_comment(name), "-j", "ACCEPT"]
    replies = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *accept]
    if not sources:
        return
    # With br_netfilter, what stays on the bridge is filtered as well.
    yield ["-i", rules.bridge, "-o", rules.bridge, *accept]
    for source in sources:
        for uplink in rules.uplinks:
            yield ["-s", source, "-i", rules.bridge, "-o", uplink, *accept]
            yield ["-d", source, "-i", uplink, "-o", rules.bridge, *replies]


def _parsed_nat(name: str, there: t.Mapping[int, Table]) -> NatRules:
    sources: list[str] = []
    exclude: list[str] = []
    targets = {4: "", 6: ""}
    ports: tuple[int, int] | None = None
    fully = False
    limits: tuple[str, str] = ("", "")
    for version, table in there.items():
        rules = table.rules.get(chain_of(name), [])
        translated = [rule for rule in rules if _target(rule) in ("MASQUERADE", "SNAT")]
        own = list(dict.fromkeys(_value(rule, "-s") for rule in translated))
        returned = [_value(rule, "-d") for rule in rules if _target(rule) == "RETURN"]
        sources += own
        exclude += returned[: len(returned) - len(own) - len(UNTRANSLATED[version])]
        for rule in translated:
            targets[version], found = _translated_to(rule)
            ports, fully = ports or found, "--random-fully" in rule
        for rule in (rule for chain in table.rules.values() for rule in chain if _target(rule) == chain_of(name)):
            limits = ("", _value(rule, "-o")) if "!" in rule else (_value(rule, "-o"), "")
    return NatRules(_collapsed(sources), _collapsed(exclude), *limits, (targets[4], targets[6]), ports, fully)


def _collapsed(networks: t.Iterable[str]) -> tuple[str, ...]:
    return collapsed(ipaddress.ip_network(network) for network in networks)


def _translated_to(rule: Rule) -> tuple[str, tuple[int, int] | None]:
    """The address or range, and the ports, that a rule translates to."""
    target, ports = _value(rule, "--to-source"), _value(rule, "--to-ports")
    if target.startswith("["):
        target, _bracket, ports = target[1:].partition("]:")
    elif target.count(":") == 1:
        target, _colon, ports = target.partition(":")
    first, _dash, last = ports.partition("-")
    return target, (int(first), int(last or first)) if ports else None


def _parsed_forward(name: str, there: t.Mapping[int, Table]) -> ForwardRules:
    rules = [rule for table in there.values() for rule in table.rules.get(chain_of(name), [])]
    outward = [rule for rule in rules if _value(rule, "-s")]
    sources = list(dict.fromkeys(_value(rule, "-s") for rule in outward))
    uplinks = tuple(dict.fromkeys(_value(rule, "-o") for rule in outward))
    return ForwardRules(_value(rules[0], "-i"), uplinks, _collapsed(sources))


def _value(rule: Rule, option: str) -> str:
    return rule[rule.index(option) + 1] if option in rule else ""


def _target(rule: Rule) -> str:
    return _value(rule, "-j")


def _normal(rule: Rule) -> Rule:
    """Protocols as numbers: where /etc/protocols is missing, iptables lists some so."""
    return tuple(
        _PROTOCOLS.get(word, word) if place and rule[place - 1] == "-p" else word for place, word in enumerate(rule)
    )


def _table(namespaces: Namespaces, netns: str, flavour: str, version: int, name: str) -> Table:
    with namespaces.entered(netns):
        if flavour == "iptables-legacy" and name not in _legacy_tables(version):
            return Table()
        done = _run([_program(flavour, version, "save"), "-t", name], "", f"list table {name}")
    if done is None:
        return Table()
    if done.returncode:
        raise _failure(f"list table {name} of {flavour}", done)
    return listed(done.stdout)


def _legacy_tables(version: int) -> list[str]:
    """Those in use. Asking iptables-legacy for another one would make it."""
    try:
        with open(_LEGACY_TABLES[version], encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def listed(text: str) -> Table:
    """The output of iptables-save for one table."""
    policies: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            policies[chain] = policy
        elif line.startswith("-A "):
            words = shlex.split(line)
            rules.setdefault(words[1], []).append(tuple(words[2:]))
    return Table(policies, rules)


def restore(namespaces: Namespaces, netns: str, flavour: str, version: int, document: str) -> None:
    asked = f"change the rules of {flavour} for IPv{version}"
    argv = [_program(flavour, version, "restore"), "--noflush", "--wait", LOCK_PATIENCE]
    with namespaces.entered(netns):
        done = _run(argv, document, asked)
    if done is None:
        raise UnsupportedError(asked, f"the program {argv[0]} is missing", "Install the package iptables")
    if done.returncode:
        raise _failure(asked, done)


def _program(flavour: str, version: int, action: str) -> str:
    return f"{_PROGRAMS[version]}-{flavour.partition('-')[2]}-{action}"


def _run(argv: list[str], document: str, asked: str) -> subprocess.CompletedProcess[str] | None:
    """None where the program is missing."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    try:
        return subprocess.run(
            argv,
            input=document,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(asked, f"{argv[0]}: {os.strerror(error.errno or 0)}", error.errno or 0) from error


def _failure(asked: str, done: subprocess.CompletedProcess[str]) -> KernelError:
    words = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("Try "))
    return KernelError(asked, f"{done.args[0]} says {words or f'nothing, and ends with {done.returncode}'}", 0)
