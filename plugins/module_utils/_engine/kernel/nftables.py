# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Source translation in our own table inet netpath_egress, by the program nft and its JSON.

The base chain postrouting has one jump for each network, to the chain nat_NAME. That one's rules look up the sets
src4_NAME, src6_NAME, exclude4_NAME and exclude6_NAME, so their number does not depend on the number of subnets.
See nft(8), libnftables-json(5).
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import signal
import subprocess
import typing as t
from dataclasses import dataclass, field

from ..errors import EgressError, KernelError, UnsupportedError
from ..model import MARK, NatRules
from ..spec.values import collapsed, family

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

TABLE, BASE = "netpath_egress", "postrouting"
# We write numbers, as /etc/protocols may be missing; nft lists names where it is not.
PORT_PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}
# The host's own mDNS or DHCP answers leave with a source inside, and no router translates group addresses back.
UNTRANSLATED = {4: ("224.0.0.0/4", "255.255.255.255/32"), 6: ("ff00::/8",)}

Json = dict[str, t.Any]
Changes = t.Sequence[tuple[str, t.Optional[NatRules]]]

_HERE = {"family": "inet", "table": TABLE}
_BASE_CHAIN = {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"}
_COUNTER: Json = {"counter": None}
_CHAIN, _SET = (re.compile(kind + r"_([a-z0-9_]{1,32})") for kind in ("nat", "(?:src|exclude)[46]"))
_NETWORK_MARK = re.compile(re.escape(MARK) + r"([a-z0-9-]{1,32})")
_REFERENCE = re.compile(r'"(?:target": "nat|@(?:src|exclude)[46])_([a-z0-9_]{1,32})"')
_UNSUPPORTED = (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL)


@dataclass
class Table:
    """What nft lists of our table. Sets with their kind, as a map could have the name of one of ours.

    rules: by network, those in its chain, with its mark, or that refer to its chain or sets; under "" all others.
    """

    exists: bool = False
    dormant: bool = False
    chains: dict[str, Json] = field(default_factory=dict)
    sets: dict[str, tuple[str, Json]] = field(default_factory=dict)
    rules: dict[str, list[Json]] = field(default_factory=dict)
    base_rules: list[Json] = field(default_factory=list)
    foreign: bool = False

    @property
    def base_is_right(self) -> bool:
        return _BASE_CHAIN.items() <= self.chains.get(BASE, {}).items()

    def networks(self) -> set[str]:
        """Names of the networks that anything here belongs to."""
        parts = (*map(_CHAIN.fullmatch, self.chains), *map(_SET.fullmatch, self.sets))
        return {part[1].replace("_", "-") for part in parts if part} | {name for name in self.rules if name}

    def has_foreign_parts(self) -> bool:
        """Whether something is here that belongs to no network."""
        chains_are_ours = all(name == BASE or _CHAIN.fullmatch(name) for name in self.chains)
        return self.foreign or "" in self.rules or not chains_are_ours or not all(map(_SET.fullmatch, self.sets))


def read(namespaces: Namespaces, netns: str) -> dict[str, NatRules | None]:
    """What our table holds for each network; None for what is not exactly as write would leave it."""
    table = _listed(namespaces, netns, f"read table inet {TABLE}")
    return {name: parsed(table, name) for name in sorted(table.networks())}


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace each network's part, or delete it where its rules are None, in one transaction.

    Rules must have sources, with collapsed networks. The table goes with the last of what is in it.
    """
    asked = f"change table inet {TABLE}"
    for _name, rules in changes:
        if rules and any(name.startswith("@") for name in (rules.out_interface, rules.not_out_interface)):
            raise UnsupportedError(asked, "nft takes an interface name that starts with '@' for a set", "Rename it")
    commands = transaction(_listed(namespaces, netns, asked), changes)
    done = run(namespaces, netns, asked, ["-f", "-"], commands) if commands else None
    if done and done.returncode:
        raise _failure(namespaces, netns, asked, done)


def _listed(namespaces: Namespaces, netns: str, asked: str) -> Table:
    done = run(namespaces, netns, asked, ["list", "table", "inet", TABLE])
    if done.returncode < 0:
        # nft 1.0.6 crashes at times when others change rules while it lists them.
        done = run(namespaces, netns, asked, ["list", "table", "inet", TABLE])
    if done.returncode:
        if _code(done.stderr) == errno.ENOENT:
            return Table()
        raise _failure(namespaces, netns, asked, done)
    try:
        return listed(json.loads(done.stdout)["nftables"])
    except ValueError as error:
        advice = f"Versions up to 1.0.6 do so where the table is dormant: wake it by nft add table inet {TABLE}"
        raise KernelError(asked, "nft lists it in JSON that is not valid", 0, advice) from error


def run(
    namespaces: Namespaces, netns: str, asked: str, arguments: t.Sequence[str], commands: t.Sequence[Json] = ()
) -> subprocess.CompletedProcess[str]:
    """Run nft with JSON in and out. Errors: UnsupportedError where it is missing."""
    # Not every PATH has the folders where distributions keep nft; errors are told apart by their English words.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    environment = {**os.environ, "PATH": path, "LC_ALL": "C"}
    document, command = json.dumps({"nftables": commands}), ["nft", "-j", *arguments]
    try:
        with namespaces.entered(netns):
            pipes: Json = {"input": document, "capture_output": True, "encoding": "utf-8", "errors": "replace"}
            return subprocess.run(command, env=environment, check=False, **pipes)
    except FileNotFoundError as error:
        raise UnsupportedError(asked, "the program nft is missing", "Install the package nftables") from error


def _code(words: str) -> int:
    """The errno whose text is in nft's words, or 0."""
    return next((code for code in errno.errorcode if os.strerror(code) in words), 0)


def _failure(namespaces: Namespaces, netns: str, asked: str, done: subprocess.CompletedProcess[str]) -> EgressError:
    lines = dict.fromkeys(line.rpartition("Error: ")[2].strip() for line in done.stderr.splitlines())
    words = "nft says " + ("; ".join(filter(None, lines)) or f"nothing, and {_end(done.returncode)}")
    code = _code(words)
    if "JSON support not compiled" in words:
        return UnsupportedError(asked, words, "Install a build of nftables with JSON")
    if code in (errno.EPERM, errno.EACCES):
        return UnsupportedError(asked, words, "Root rights (CAP_NET_ADMIN) are needed")
    missing = _missing_in_kernel(namespaces, netns, asked) if code in _UNSUPPORTED and "open file" not in words else ""
    if missing:
        return UnsupportedError(asked, f"this kernel lacks {missing}. {words}", "Load it, or use a kernel that has it")
    # Without rights in the first user namespace nft cannot have a larger socket buffer than this.
    advice = {errno.EMSGSIZE: "Raise net.core.wmem_max"}.get(code, "Try again if something else changes the table now")
    return KernelError(asked, words, code, advice)


def _end(status: int) -> str:
    return f"ends with {status}" if status >= 0 else f"crashed ({signal.Signals(-status).name})"


def _missing_in_kernel(namespaces: Namespaces, netns: str, asked: str) -> str:
    """The first kernel feature that a dry run (nft -c) of its own fails for, or nothing."""
    table = {**_HERE, "table": "netpath_probe"}
    snat = {"snat": {"family": "ip", "addr": "192.0.2.1"}}
    commands: list[Json] = []
    for feature, command in (
        ("nftables (nf_tables)", {"table": {"family": "inet", "name": table["table"]}}),
        ("interval sets of nftables (nft_set_rbtree)", {"set": {**table, **_set("probe", 4, ["198.51.100.0/24"])}}),
        ("NAT chains of nftables (nft_chain_nat)", {"chain": {**table, "name": "probe", **_BASE_CHAIN}}),
        ("masquerading by nftables (nft_masq)", {"rule": {**table, "chain": "probe", "expr": [{"masquerade": None}]}}),
        ("source NAT by nftables (nft_nat)", {"rule": {**table, "chain": "probe", "expr": [snat]}}),
    ):
        commands.append({"add": command})
        if run(namespaces, netns, asked, ["-c", "-f", "-"], commands).returncode:
            return feature
    return ""


def _part(kind: str, name: str) -> str:
    """Network names have no "_", so that two of them never become one."""
    return f"{kind}_{name.replace('-', '_')}"


def _set_names(name: str) -> list[str]:
    return [_part(kind, name) for kind in ("src4", "src6", "exclude4", "exclude6")]


def sets_of(name: str, rules: NatRules) -> dict[str, Json]:
    """The sets that have elements; and an empty one of sources where there is but an address to translate to."""
    found: dict[str, Json] = {}
    for kind, networks in (("src", rules.sources), ("exclude", rules.exclude)):
        for version, target in zip((4, 6), rules.to_source):
            chosen = [network for network in networks if family(network) == version]
            set_name = _part(f"{kind}{version}", name)
            if chosen or (kind == "src" and target):
                found[set_name] = {**_HERE, **_set(set_name, version, chosen)}
    return found


def _set(set_name: str, version: int, networks: t.Sequence[str]) -> Json:
    elements: Json = {"elem": [_network(network) for network in networks]} if networks else {}
    return {"name": set_name, "type": f"ipv{version}_addr", "flags": ["interval"], **elements}


def _network(text: str) -> str | Json:
    address, _slash, length = text.partition("/")
    return address if length == ("128" if ":" in text else "32") else {"prefix": {"addr": address, "len": int(length)}}


def rules_of(name: str, rules: NatRules) -> list[Json]:
    """The rules of the network's chain, one a family, and with ports one more for what has none; and its jump."""
    sets = sets_of(name, rules)
    found: list[list[Json]] = []
    for version in (4, 6):
        if _part(f"src{version}", name) not in sets:
            continue
        matches = _matches(name, rules, version, _part(f"exclude{version}", name) in sets)
        if rules.ports:
            protocols = _match({"meta": {"key": "l4proto"}}, {"set": list(PORT_PROTOCOLS.values())})
            found.append([*matches, protocols, _COUNTER, _translation(rules, version, rules.ports)])
        found.append([*matches, _COUNTER, _translation(rules, version, None)])
    chain = {**_HERE, "chain": _part("nat", name), "comment": MARK + name}
    jump = {**chain, "chain": BASE, "expr": [_COUNTER, {"jump": {"target": chain["chain"]}}]}
    return [*({**chain, "expr": expressions} for expressions in found), jump]


def _matches(name: str, rules: NatRules, version: int, excludes: bool) -> list[Json]:
    protocol = "ip" if version == 4 else "ip6"
    source, destination = ({"payload": {"protocol": protocol, "field": key}} for key in ("saddr", "daddr"))
    interface = {"meta": {"key": "oifname"}}
    sources = "@" + _part(f"src{version}", name)
    found = [_match(source, sources), _match(destination, sources, "!=")]
    if excludes:
        found.append(_match(destination, "@" + _part(f"exclude{version}", name), "!="))
    found += [_match(destination, _network(network), "!=") for network in UNTRANSLATED[version]]
    if rules.not_out_interface:
        found.insert(0, _match(interface, escaped(rules.not_out_interface), "!="))
    if rules.out_interface:
        found.insert(0, _match(interface, escaped(rules.out_interface)))
    return found


def _match(left: Json, right: t.Any, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def escaped(interface: str) -> str:
    """nft takes a bare "*" at the end for a wildcard."""
    return interface[:-1] + "\\*" if interface.endswith("*") else interface


def _translation(rules: NatRules, version: int, ports: tuple[int, int] | None) -> Json:
    target = rules.to_source[0 if version == 4 else 1]
    options: Json = {"family": "ip" if version == 4 else "ip6"} if target else {}
    if target:
        first, _dash, last = target.partition("-")
        options["addr"] = {"range": [first, last]} if last else first
    if ports:
        options["port"] = {"range": list(ports)} if ports[0] != ports[1] else ports[0]
    if rules.random_fully:
        options["flags"] = ["fully-random"]
    return {"snat" if target else "masquerade": options or None}


def transaction(table: Table, changes: Changes) -> list[Json]:
    """The commands that lead from what the table holds, whatever that is, to the changes."""
    wanted = dict(changes)
    if not table.networks() - set(wanted) and not any(wanted.values()) and not table.has_foreign_parts():
        return [{"delete": {"table": {"family": "inet", "name": TABLE}}}] if table.exists else []
    # Adding a table that is there wakes it where it is dormant.
    commands: list[Json] = [{"add": {"table": {"family": "inet", "name": TABLE}}}]
    stale = {rule["handle"]: rule["chain"] for name in wanted for rule in table.rules.get(name, [])}
    commands += [{"delete": {"rule": {**_HERE, "chain": c, "handle": h}}} for h, c in stale.items()]
    commands += _base_chain(table, stale)
    for name, rules in wanted.items():
        commands += _removal(table, name, keep_chain=rules is not None)
        if rules:
            commands.append({"add": {"chain": {**_HERE, "name": _part("nat", name)}}})
            commands += [{"add": {"set": described}} for described in sets_of(name, rules).values()]
            commands += [{"add": {"rule": rule}} for rule in rules_of(name, rules)]
    return commands


def _base_chain(table: Table, deleted: t.Container[int]) -> list[Json]:
    """Make it anew where it is of another type, with the rules that stay."""
    add: Json = {"add": {"chain": {**_HERE, "name": BASE, **_BASE_CHAIN}}}
    if BASE not in table.chains or table.base_is_right:
        return [add]
    stay = [rule for rule in table.base_rules if rule["handle"] not in deleted]
    here = {"chain": {**_HERE, "name": BASE}}
    again = [{"add": {"rule": {key: value for key, value in rule.items() if key != "handle"}}} for rule in stay]
    return [{"flush": here}, {"delete": here}, add, *again]


def _removal(table: Table, name: str, keep_chain: bool) -> list[Json]:
    chain = _part("nat", name)
    goes = chain in table.chains and ("hook" in table.chains[chain] or not keep_chain)
    gone = [("chain", chain)] if goes else []
    gone += [(table.sets[part][0], part) for part in _set_names(name) if part in table.sets]
    return [{"delete": {kind: {**_HERE, "name": part}}} for kind, part in gone]


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
            table.base_rules += [body] if body["chain"] == BASE else []
            for name in _owners(body):
                table.rules.setdefault(name, []).append(body)
        elif kind in ("set", "map", "meter"):
            table.sets[body["name"]] = (kind, body)
        elif kind != "metainfo":
            table.foreign = True
    return table


def _owners(rule: Json) -> set[str]:
    """The networks that a rule belongs to, or "" for none."""
    found = [_CHAIN.fullmatch(rule["chain"]), _NETWORK_MARK.fullmatch(str(rule.get("comment")))]
    parts = {match[1] for match in found if match} | set(_REFERENCE.findall(json.dumps(rule["expr"])))
    return {part.replace("_", "-") for part in parts} or {""}


def parsed(table: Table, name: str) -> NatRules | None:
    """The rules that our table holds for a network; None where write would not have left it so."""
    there = sorted(table.rules.get(name, []), key=lambda rule: bool(rule["chain"] == BASE))
    try:
        found = _candidate(table, name, there)
        written = rules_of(name, found)
        same = len(written) == len(there) and all(map(_same_rule, there, written)) and _same_sets(table, name, found)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    chain = table.chains.get(_part("nat", name), {"hook": "missing"})
    return found if same and table.base_is_right and "hook" not in chain and not table.dormant else None


def _candidate(table: Table, name: str, there: t.Sequence[Json]) -> NatRules:
    """Rules that the listing may stand for; whether it does is the caller's to compare."""
    sources, exclude = (
        collapsed(
            network
            for version in (4, 6)
            for element in table.sets.get(_part(f"{kind}{version}", name), ("", {}))[1].get("elem", [])
            for network in _networks(element)
        )
        for kind in ("src", "exclude")
    )
    interfaces, targets = {"==": "", "!=": ""}, {"ip": "", "ip6": ""}
    ports, random_fully = None, False
    for expression in (expression for rule in there for expression in rule["expr"]):
        ((kind, body),) = _normal(expression).items()
        if kind == "match" and body["left"] == {"meta": {"key": "oifname"}}:
            interfaces[body["op"]] = re.sub(r"\\\*$", "*", body["right"])
        elif kind in ("snat", "masquerade"):
            ports, random_fully = ports or body.get("port"), "flags" in body
            if kind == "snat":
                targets[body["family"]] = "-".join(body["addr"])
    to_source = (targets["ip"], targets["ip6"])
    return NatRules(sources, exclude, interfaces["=="], interfaces["!="], to_source, ports, random_fully)


def _same_sets(table: Table, name: str, rules: NatRules) -> bool:
    """Whether the network's sets are those that we write. Their elements are where the rules come from."""
    there = [table.sets[part] for part in _set_names(name) if part in table.sets]
    shapes = {b["name"]: (kind, b["type"], b.get("flags") in ("interval", ["interval"])) for kind, b in there}
    return shapes == {part: ("set", body["type"], True) for part, body in sets_of(name, rules).items()}


def _networks(element: t.Any) -> list[t.Any]:
    """Of an address, a prefix or a range. Errors: ValueError, KeyError or TypeError for what is none of these."""
    if isinstance(element, str):
        return [ipaddress.ip_network(element)]
    if "range" in element:
        first, last = (ipaddress.ip_address(end) for end in element["range"])
        return list(ipaddress.summarize_address_range(first, last))
    first = ipaddress.ip_address(element["prefix"]["addr"])
    network = ipaddress.ip_network(f"{first}/{element['prefix']['len']}", strict=False)
    if first == network[0]:
        return [network]
    # nft 0.9.8 lists a range from 1 to 6 as 1/29, by the bits in which its ends differ.
    return list(ipaddress.summarize_address_range(first, type(first)(int(first) ^ int(network.hostmask))))


def _same_rule(there: Json, written: Json) -> bool:
    one, other = ([rule["chain"], rule.get("comment"), *map(_normal, rule["expr"])] for rule in (there, written))
    return one == other


def _normal(expression: Json) -> Json:
    """A statement in one form, as versions of nft list the same one differently."""
    ((kind, body),) = expression.items()
    if kind == "counter" and isinstance(body, dict):
        return _COUNTER
    if kind == "match" and body["left"] == {"meta": {"key": "l4proto"}} and isinstance(body["right"], dict):
        numbers = [PORT_PROTOCOLS.get(item, item) for item in body["right"].get("set", [])]
        return {kind: {**body, "right": {"set": sorted(numbers, key=str)}}}
    if kind not in ("snat", "masquerade"):
        return expression
    found = dict(body or {})
    if "addr" in found:
        networks = _networks(found["addr"])
        found["addr"] = tuple(dict.fromkeys((str(networks[0][0]), str(networks[-1][-1]))))
    if "port" in found:
        found["port"] = tuple(found["port"]["range"]) if isinstance(found["port"], dict) else (found["port"],) * 2
    if "flags" in found:
        found["flags"] = [found["flags"]] if isinstance(found["flags"], str) else found["flags"]
    return {kind: found}
