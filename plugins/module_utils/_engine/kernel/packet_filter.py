# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What filters and translates packets in a namespace, so what rules must be written for."""

from __future__ import annotations

import json
import os
import typing as t

from ..errors import KernelError, UnsupportedError
from ..model import Choice
from . import firewalld_bus, iptables, nft, programs, ufw
from .base_chains import ACCEPT, FORWARD, BaseChain, hooked, supported

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

Json = dict[str, t.Any]
Found = tuple[str, str, t.Collection[int]]  # back end, why, families
_FAMILIES = {"ip": {4}, "ip6": {6}, "inet": {4, 6}}
_DROPS = ("DROP", "REJECT")
_ASIDE = ("counter", "log")  # statements that neither match nor decide
_FIREWALLD_TABLE = ("inet", "firewalld")


def nat_backend(namespaces: Namespaces, netns: str, asked: str) -> tuple[str, str]:
    """(backend, why). Errors: UnsupportedError where the host has no program for what is asked."""
    if asked == "nftables":
        return asked, "asked for"
    if asked == "iptables":
        return iptables_flavour(namespaces, netns), "asked for"
    if asked == "firewalld":
        _require_firewalld(netns)
        return asked, "asked for"
    lacks = "the program nft is missing"
    if programs.find("nft"):
        if supported(namespaces, netns):
            return "nftables", "a table of our own translates beside whatever else is in use"
        lacks = "this kernel has no nf_tables"
    if not programs.find("iptables"):
        programs_missing = "the programs nft and iptables are missing"
        found = f"{lacks}, and the program iptables is missing" if programs.find("nft") else programs_missing
        raise UnsupportedError("translate source addresses", found, "Install the package nftables").for_all()
    return iptables_flavour(namespaces, netns), lacks


def iptables_flavour(namespaces: Namespaces, netns: str) -> str:
    """The one that is in use for NAT in the namespace, otherwise that of the command iptables."""
    legacy = iptables.tables(namespaces, netns, "iptables-legacy", "nat")
    if any(rules for table in legacy.values() for rules in table.rules.values()):
        return "iptables-legacy"
    program = programs.find("iptables")
    if program is None:
        raise UnsupportedError("use iptables", "the program iptables is missing", "Install the package iptables")
    name = os.path.basename(os.path.realpath(program))
    return "iptables-legacy" if "legacy" in name else "iptables-nft"


def forward_backends(
    namespaces: Namespaces, netns: str, asked: str, bridge: str, families: t.Collection[int], published: bool = False
) -> list[Found]:
    """(backend, why, families) for each filter that must let forwarded packets through.

    published: so must what a port of this host leads on.
    The backend is "" where only a person can do that. A filter that knows one family alone is told about that one.
    """
    found: list[Found] = []
    daemon = _require_firewalld(netns) if asked == "firewalld" else firewalld_bus.running(netns)
    if daemon:
        found.append(("firewalld", f"firewalld {daemon.version} rejects what it does not know", families))
    unreadable: set[int] = set()
    for flavour in iptables.FLAVOURS:
        there = iptables.tables(namespaces, netns, flavour, "filter")
        unreadable.update(version for version, table in there.items() if table.unreadable)
        with_ufw = {version for version, table in there.items() if ufw.is_active(table, version)}
        for version in sorted(families):
            told = list(_filters(flavour, version, there[version], with_ufw, daemon is not None))
            if published and "ufw" in dict(told):
                told.append((flavour, f"ufw has no words for what a published port leads on (IPv{version})"))
            found += [(backend, why, [version]) for backend, why in told]
    if asked == "iptables" and not any(backend in iptables.FLAVOURS for backend, _reason, _families in found):
        found.append((iptables_flavour(namespaces, netns), "asked for", families))
    drops = foreign_drops(namespaces, netns, bridge, families, daemon is not None, unreadable)
    return _once(found) + [("", why, families) for why in drops]


def _require_firewalld(netns: str) -> firewalld_bus.Firewalld:
    daemon = firewalld_bus.running(netns)
    if daemon is None:
        where = f"namespace {netns}" if netns else "this host"
        raise UnsupportedError("use firewalld", f"it does not run in {where}", "Start it, or choose another back end")
    return daemon


def _filters(
    flavour: str, version: int, table: iptables.Table, with_ufw: t.Collection[int], with_firewalld: bool
) -> t.Iterator[tuple[str, str]]:
    """Who filters by one family of one flavour and must be told, and why."""
    # Nothing can be written there; what it drops is looked for as in chains of nft.
    if table.unreadable:
        return
    drops = table.policies.get("FORWARD") == "DROP"
    told_docker = iptables.forward_entry(table) == iptables.DOCKER_USER
    if version in with_ufw and drops:
        yield "ufw", f"ufw drops what no rule of it allows (IPv{version})"
    if with_ufw and version not in with_ufw and drops and not told_docker:
        yield "", f"ufw drops all of IPv{version}, which IPV6 in /etc/default/ufw switches off: set it to yes"
    why = _why_accept(table, with_firewalld) if told_docker or not with_ufw else ""
    if why:
        yield flavour, f"{why} (IPv{version})"


def _once(found: t.Sequence[Found]) -> list[Found]:
    """Each back end once, with all reasons for it and all its families; "" stays as often as it is."""
    reasons: dict[str, list[str]] = {}
    families: dict[str, set[int]] = {}
    for backend, why, versions in found:
        reasons.setdefault(backend, []).append(why)
        families.setdefault(backend, set()).update(versions)
    told: list[Found] = [(backend, "; ".join(whys), families[backend]) for backend, whys in reasons.items() if backend]
    return told + [item for item in found if not item[0]]


def _why_accept(table: iptables.Table, with_firewalld: bool) -> str:
    if iptables.forward_entry(table) == iptables.DOCKER_USER:
        return "Docker filters what is forwarded, and leaves DOCKER-USER to others"
    if table.policies.get("FORWARD") == "DROP":
        return "the policy of FORWARD is DROP"
    verdict = table.verdict()
    if verdict in _DROPS and not (with_firewalld and _is_of_firewalld(table)):
        return f"FORWARD ends with {verdict}"
    return ""


def _is_of_firewalld(table: iptables.Table) -> bool:
    """Whether firewalld itself writes the chain, with iptables as its own back end."""
    return any(rule[-2:] == ("-j", "FORWARD_direct") for rule in table.rules.get("FORWARD", []))


def foreign_drops(
    namespaces: Namespaces,
    netns: str,
    bridge: str,
    families: t.Collection[int],
    with_firewalld: bool,
    unreadable: t.Collection[int] = (),
) -> list[str]:
    """Why chains of somebody else's in nftables drop what the bridge forwards: an accept elsewhere does not help.

    A chain in which a rule names the bridge is taken for one that was told about it. with_firewalld: the daemon runs,
    and so can be told about it. unreadable: families whose table filter iptables cannot list, so nor be told.
    """
    found = []
    for chain in _forward_chains(namespaces, netns):
        where = f"{chain.family} {chain.table} {chain.name}"
        if not _FAMILIES[chain.family] & set(families) or _is_of_iptables(chain, unreadable):
            continue
        if with_firewalld and (chain.family, chain.table) == _FIREWALLD_TABLE:
            continue
        rules = [item["rule"] for item in _nft(namespaces, netns, ["list", "chain", *where.split()]) if "rule" in item]
        drops = (_verdict(rules) or ("accept" if chain.policy == ACCEPT else "drop")) in ("drop", "reject")
        if drops and f'"{bridge}"' not in json.dumps(rules) and not _is_dormant(namespaces, netns, chain):
            found.append(
                f"the nftables chain {where} drops what no rule of it accepts, and no rule of it names {bridge}"
            )
    return found


def _forward_chains(namespaces: Namespaces, netns: str) -> list[BaseChain]:
    # Without the program nobody can tell what is in them.
    return hooked(namespaces, netns, FORWARD, "filter") if programs.find("nft") else []


def _is_of_iptables(chain: BaseChain, unreadable: t.Collection[int]) -> bool:
    versions = {"ip": 4, "ip6": 6}
    here = (chain.table, chain.name) == ("filter", "FORWARD") and chain.family in versions
    return here and versions[chain.family] not in unreadable


def _verdict(rules: t.Sequence[Json]) -> str:
    """What the rules of a chain of nft do with a packet that no condition matches; "" where they leave it."""
    for rule in rules:
        said = [next(iter(item.items())) for item in rule["expr"] if isinstance(item, dict)]
        said = [(kind, value) for kind, value in said if kind not in _ASIDE and not _is_comment(kind, value)]
        if len(said) == 1:
            kind, value = said[0]
            # The table may be one of iptables.
            kind = str(value["name"]).lower() if kind == "xt" and value else kind
            if kind in ("accept", "drop", "reject"):
                return kind
    return ""


def _is_comment(kind: str, value: t.Any) -> bool:
    return kind == "xt" and bool(value) and value.get("name") == "comment"


def _is_dormant(namespaces: Namespaces, netns: str, chain: BaseChain) -> bool:
    """Whether its table is switched off. Not asked in JSON: there, nft 1.0.6 gives other words for a single flag."""
    where = [chain.family, chain.table]
    done = nft.run(namespaces, netns, "look for tables that are switched off", ["list", "table", *where], style=("-t",))
    return any(line.split()[:1] == ["flags"] and "dormant" in line for line in done.stdout.splitlines()[1:3])


def _nft(namespaces: Namespaces, netns: str, arguments: t.Sequence[str]) -> list[Json]:
    done = nft.run(namespaces, netns, "look for rules that drop forwarded packets", arguments)
    if done.returncode:
        raise KernelError("look for rules that drop forwarded packets", f"nft says {done.stderr.strip()}", 0)
    listed: list[Json] = json.loads(done.stdout)["nftables"]
    return listed


def choices(name: str, purpose: str, found: t.Sequence[tuple[str, str]]) -> tuple[Choice, ...]:
    return tuple(Choice(name, purpose, backend, why) for backend, why in found)
