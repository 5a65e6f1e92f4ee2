# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our chains in iptables hold, in the words and the order of iptables-save, and how these read back.

Each purpose has a chain or two a network in one table, and jumps to these from base chains. See iptables-extensions(8).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import typing as t
from dataclasses import dataclass, field

from ..model import MARK
from ..rules import ForwardRules, GuardRules, NatRules, Publication, PublishRules, Rules
from ..spec.publish import joined
from ..spec.values import collapsed, family
from . import iptables_guard
from .nft import PORT_PROTOCOLS
from .nft_nat import UNTRANSLATED
from .nft_publish import LOOPBACK

MAX_CHAIN_NAME = 28  # XT_EXTENSION_MAXNAMELEN in linux/netfilter/x_tables.h, less the NUL
TABLES = {"nat": "nat", "publish": "nat", "forward": "filter", "guard": "mangle"}
DOCKER_USER = "DOCKER-USER"
FINAL = ("ACCEPT", "DROP", "REJECT")
# Network names have no capitals, so that two chains never become one.
CHAINS = {"nat": ("netpath-",), "publish": ("netpath-IN-", "netpath-HP-"), "forward": ("netpath-",)}
CHAINS["guard"] = ("netpath-GD-", "netpath-GF-")
# The purpose of a rule that has our mark, and nothing else of ours, by its chain.
_STRAY = {
    "PREROUTING": {"publish"},
    "OUTPUT": {"publish"},
    "POSTROUTING": {"nat"},
    "FORWARD": {"forward"},
    DOCKER_USER: {"forward"},
}
PROTOCOLS = {name: str(number) for name, number in PORT_PROTOCOLS.items()}
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

NETWORK_MARK = re.compile(re.escape(MARK) + r"([a-z0-9-]{1,32})")

Rule = tuple[str, ...]  # the words after "-A CHAIN"
Jump = tuple[str, Rule]  # the base chain, and the rule in it


@dataclass(frozen=True)
class Table:
    """One table of one family: policies of its base chains ("-" for other chains), and the rules of each chain.

    unreadable: rules that only nft has words for are in it, so that no rules are known.
    """

    policies: t.Mapping[str, str] = field(default_factory=dict)
    rules: t.Mapping[str, t.Sequence[Rule]] = field(default_factory=dict)
    unreadable: bool = False

    def of(self, chain: str) -> t.Sequence[Rule]:
        return self.rules.get(chain, [])

    def networks(self, purpose: str) -> set[str]:
        """Networks that any rule here carries the mark of, as far as they are for a purpose."""
        found = set(self._names(purpose)) if self.unreadable else set()
        for chain, rules in self.rules.items():
            for rule in rules:
                mark = NETWORK_MARK.fullmatch(comment_of(rule))
                if mark and purpose in purposes_of(chain, rule, mark[1]):
                    found.add(mark[1])
        return found

    def _names(self, purpose: str) -> t.Iterator[str]:
        """What the names of chains tell, where marks cannot be read."""
        for chain in self.policies:
            for prefix in CHAINS[purpose]:
                if chain.startswith(prefix) and NETWORK_MARK.fullmatch(MARK + chain[len(prefix) :]):
                    yield chain[len(prefix) :]

    def met(self, chain: str = "FORWARD") -> t.Iterator[tuple[str, Rule]]:
        """(chain, rule) in the order in which a packet meets them that no condition matches, to the end of its way."""
        for rule in self.of(chain):
            yield chain, rule
            called = called_by(rule)
            if not is_unconditional(rule):
                continue
            last: Rule = ()
            for place, inner in self.met(called):
                yield place, inner
                last = inner
            if called in (*FINAL, "RETURN") or is_final(last) or "-g" in rule:
                return

    def verdict(self) -> str:
        """What the rules of FORWARD do with a packet that no condition matches; "" leaves it to the policy."""
        last = next(reversed(list(self.met())), ("", ()))[1]
        return target_of(last) if is_final(last) else ""


def is_final(rule: Rule) -> bool:
    return is_unconditional(rule) and target_of(rule) in FINAL


def is_unconditional(rule: Rule) -> bool:
    place = next((rule.index(word) for word in ("-j", "-g") if word in rule), len(rule))
    matches = rule[:place]
    return not matches or (matches[:2] == ("-m", "comment") and len(matches) == 4)


def purposes_of(chain: str, rule: Rule, name: str) -> set[str]:
    """What a rule with the mark of a network is for; nothing in a chain where we never write."""
    found = {purpose for purpose in CHAINS if {chain, target_of(rule)} & set(chains_of(purpose, name))}
    return found or _STRAY.get(chain, set())


def chains_of(purpose: str, name: str) -> list[str]:
    """The chains of a network: its name, cut and kept apart by a hash where it is too long."""
    return [_chain(prefix, name) for prefix in CHAINS[purpose]]


def _chain(prefix: str, name: str) -> str:
    full = prefix + name
    if len(full) <= MAX_CHAIN_NAME:
        return full
    return f"{full[: MAX_CHAIN_NAME - 7]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def comment_of(rule: Rule) -> str:
    return rule[rule.index("--comment") + 1] if "--comment" in rule else ""


def value_of(rule: Rule, option: str) -> str:
    return rule[rule.index(option) + 1] if option in rule else ""


def target_of(rule: Rule) -> str:
    return value_of(rule, "-j")


def called_by(rule: Rule) -> str:
    """The target or the chain that a rule goes to, whether it comes back or not."""
    return target_of(rule) or value_of(rule, "-g")


def forward_entry(table: Table) -> str:
    """The chain from which ours is called: the one that Docker leaves to others, where packets come to it."""
    met = (rule for _chain, rule in table.met() if is_unconditional(rule))
    return DOCKER_USER if any(called_by(rule) == DOCKER_USER for rule in met) else "FORWARD"


def rules_of(name: str, rules: Rules, version: int) -> dict[str, list[Rule]]:
    """The rules of each of the network's chains in one family; nothing where the family has none."""
    if isinstance(rules, NatRules):
        made = [list(_nat_rules(name, rules, version))]
        chains = chains_of("nat", name)
    elif isinstance(rules, PublishRules):
        made = [list(_publish_rules(name, rules, version)), list(_hairpin_rules(name, rules, version))]
        chains = chains_of("publish", name)
    elif isinstance(rules, GuardRules):
        made = [list(part(name, rules, version)) for part in (iptables_guard.left_rules, iptables_guard.from_rules)]
        chains = chains_of("guard", name)
    elif not isinstance(rules, ForwardRules):
        raise TypeError(f"{rules} have no chains in iptables")
    else:
        made = [list(_forward_rules(name, rules, version))]
        chains = chains_of("forward", name)
    found = {chain: [tuple(rule) for rule in words] for chain, words in zip(chains, made)}
    return found if any(found.values()) else {}


def jumps_of(name: str, rules: Rules, version: int, table: Table) -> list[Jump]:
    """The jumps to the network's chains, from a table as it is."""
    calls: list[tuple[str, list[str], str]]
    if isinstance(rules, PublishRules):
        arriving, leaving = chains_of("publish", name)
        local = ["!", "-d", LOOPBACK[version], "-m", "addrtype", "--dst-type", "LOCAL"]
        led = ["-m", "conntrack", "--ctstate", "DNAT"]
        calls = [("PREROUTING", local, arriving), ("OUTPUT", local, arriving), ("POSTROUTING", led, leaving)]
    elif isinstance(rules, GuardRules):
        calls = iptables_guard.calls(rules, *chains_of("guard", name))
    elif isinstance(rules, NatRules):
        ways = [["-o", out] for out in rules.out_interfaces]
        if not ways:
            ways = [["!", "-o", rules.not_out_interface] if rules.not_out_interface else []]
        calls = [("POSTROUTING", limits, chains_of("nat", name)[0]) for limits in ways]
    else:
        calls = [(forward_entry(table), [], chains_of("forward", name)[0])]
    return [(base, (*limits, *_comment(name), "-j", chain)) for base, limits, chain in calls]


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
            for number in PROTOCOLS.values():
                yield ["-s", source, "-p", number, *_comment(name), "-j", *_translation(rules, version, ports), *fully]
        yield ["-s", source, *_comment(name), "-j", *_translation(rules, version, ""), *fully]


def _translation(rules: NatRules, version: int, ports: str) -> list[str]:
    target = rules.to_source[0 if version == 4 else 1]
    if not target:
        return ["MASQUERADE", *(["--to-ports", ports] if ports else [])]
    if ports:
        target = f"{target}:{ports}" if version == 4 else f"[{target}]:{ports}"
    return ["SNAT", "--to-source", target]


def _publish_rules(name: str, rules: PublishRules, version: int) -> t.Iterator[list[str]]:
    for item in rules.publications:
        if family(item.target) == version:
            ports = f"{item.first}:{item.last}" if item.last > item.first else f"{item.first}"
            to = f"[{item.target}]" if version == 6 else item.target
            # Without a port, each keeps its number.
            to = f"{to}:{item.target_port}" if item.target_port != item.first else item.target
            match = ["-p", PROTOCOLS[item.protocol], "-m", item.protocol, "--dport", ports]
            yield [*match, *_comment(name), "-j", "DNAT", "--to-destination", to]


def _hairpin_rules(name: str, rules: PublishRules, version: int) -> t.Iterator[list[str]]:
    bits = 32 if version == 4 else 128
    targets = dict.fromkeys(item.target for item in rules.publications if family(item.target) == version)
    for source in (source for source in rules.sources if family(source) == version):
        for target in targets:
            yield ["-s", source, "-d", f"{target}/{bits}", *_comment(name), "-j", "MASQUERADE"]


def _forward_rules(name: str, rules: ForwardRules, version: int) -> t.Iterator[list[str]]:
    sources = [network for network in rules.sources if family(network) == version]
    accept = [*_comment(name), "-j", "ACCEPT"]
    replies = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *accept]
    led = ["-m", "conntrack", "--ctstate", "DNAT", *accept]
    if not sources:
        return
    # With br_netfilter, what stays on the bridge is filtered as well.
    yield ["-i", rules.bridge, "-o", rules.bridge, *accept]
    for source in sources:
        # Where no way leads out, the bridge stands for it, so that the rules say their sources.
        for uplink in rules.uplinks or [rules.bridge]:
            yield ["-s", source, "-i", rules.bridge, "-o", uplink, *accept]
            yield ["-d", source, "-i", uplink, "-o", rules.bridge, *replies]
        if rules.published:
            yield ["-d", source, "-o", rules.bridge, *led]
            yield ["-s", source, "-i", rules.bridge, *led]


def candidate(purpose: str, name: str, there: t.Mapping[int, Table]) -> Rules:
    """Rules that the tables of both families may stand for. Errors: IndexError, ValueError for none."""
    if purpose == "nat":
        return _parsed_nat(name, there)
    if purpose == "guard":
        left, arriving = ([rule for table in there.values() for rule in table.of(c)] for c in chains_of("guard", name))
        return iptables_guard.parsed(left, arriving)
    return _parsed_publish(name, there) if purpose == "publish" else _parsed_forward(name, there)


def _parsed_nat(name: str, there: t.Mapping[int, Table]) -> NatRules:
    sources: list[str] = []
    exclude: list[str] = []
    targets = {4: "", 6: ""}
    ports: tuple[int, int] | None = None
    fully = False
    ways: dict[bool, set[str]] = {True: set(), False: set()}
    (chain,) = chains_of("nat", name)
    for version, table in there.items():
        rules = table.of(chain)
        translated = [rule for rule in rules if target_of(rule) in ("MASQUERADE", "SNAT")]
        own = list(dict.fromkeys(value_of(rule, "-s") for rule in translated))
        returned = [value_of(rule, "-d") for rule in rules if target_of(rule) == "RETURN"]
        sources += own
        exclude += returned[: len(returned) - len(own) - len(UNTRANSLATED[version])]
        for rule in translated:
            targets[version], found = _translated_to(rule)
            ports, fully = ports or found, "--random-fully" in rule
        for rule in (rule for rules in table.rules.values() for rule in rules if target_of(rule) == chain):
            if comment_of(rule) == MARK + name:
                ways["!" not in rule].add(value_of(rule, "-o"))
    out, not_out = (tuple(sorted(filter(None, ways[positive]))) for positive in (True, False))
    limits = (out, not_out[0] if not_out else "")
    return NatRules(_collapsed(sources), _collapsed(exclude), *limits, (targets[4], targets[6]), ports, fully)


def _collapsed(networks: t.Iterable[str]) -> tuple[str, ...]:
    return collapsed(ipaddress.ip_network(network) for network in networks)


def _translated_to(rule: Rule) -> tuple[str, tuple[int, int] | None]:
    """The address or range, and the ports, that a rule translates to."""
    target, ports = _apart(value_of(rule, "--to-source"))
    ports = ports or value_of(rule, "--to-ports")
    first, _dash, last = ports.partition("-")
    return target, (int(first), int(last or first)) if ports else None


def _apart(target: str) -> tuple[str, str]:
    """Address and port of 10.0.0.1:80 or [fd00::1]:80; the port is "" for an address alone."""
    if target.startswith("["):
        address, _bracket, port = target[1:].partition("]:")
    elif target.count(":") == 1:
        address, _colon, port = target.partition(":")
    else:
        address, port = target, ""
    return address, port


def _parsed_publish(name: str, there: t.Mapping[int, Table]) -> PublishRules:
    arriving, leaving = chains_of("publish", name)
    found = []
    sources: list[str] = []
    for table in there.values():
        sources += dict.fromkeys(value_of(rule, "-s") for rule in table.of(leaving))
        for rule in table.of(arriving):
            protocol = value_of(rule, "-p")
            first, _colon, last = value_of(rule, "--dport").partition(":")
            target, port = _apart(value_of(rule, "--to-destination"))
            name_of_it = _PROTOCOL_NAMES.get(protocol, protocol)
            found.append(Publication(name_of_it, int(first), int(last or first), target, int(port or first)))
    return PublishRules(joined(found), _collapsed(sources))


def _parsed_forward(name: str, there: t.Mapping[int, Table]) -> ForwardRules:
    rules = [rule for table in there.values() for rule in table.of(chains_of("forward", name)[0])]
    outward = [rule for rule in rules if value_of(rule, "-s")]
    sources = list(dict.fromkeys(value_of(rule, "-s") for rule in outward))
    bridge = value_of(rules[0], "-i")
    ways = dict.fromkeys(value_of(rule, "-o") for rule in outward)
    published = any(value_of(rule, "--ctstate") == "DNAT" for rule in rules)
    return ForwardRules(bridge, tuple(way for way in ways if way not in ("", bridge)), _collapsed(sources), published)


def normal(rule: Rule) -> Rule:
    """Protocols as numbers: where /etc/protocols is missing, iptables lists some so."""
    return tuple(
        PROTOCOLS.get(word, word) if place and rule[place - 1] == "-p" else word for place, word in enumerate(rule)
    )
