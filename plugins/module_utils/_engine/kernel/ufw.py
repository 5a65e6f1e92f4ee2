# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as route rules of ufw, which carry our mark as their comment. ufw keeps them in files, with a line for each.

They are written by the program, and read from its files and from the tables of iptables that it fills from them.
See ufw(8).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import typing as t

from ..errors import ConflictError, KernelError, UnsupportedError, attempt
from ..model import HOST, MARK
from ..rules import ForwardRules, Rules
from ..spec.values import collapsed
from . import files, iptables, programs

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

CHAINS = {4: "ufw-user-forward", 6: "ufw6-user-forward"}
_FOLDERS = ("/etc/ufw", "/lib/ufw")
_FILES = {4: "user.rules", 6: "user6.rules"}
# ### tuple ### route:allow any any TO-ADDRESS any FROM-ADDRESS in_IF!out_IF comment=HEX
_TUPLE = re.compile(
    r"### tuple ### route:(?P<action>\S+) any any (?P<to>\S+) any (?P<source>\S+) in_(?P<into>\S+)!out_(?P<out>\S+)"
    r"(?: comment=(?P<comment>[0-9a-f]*))?$"
)
_ANYWHERE = ("0.0.0.0/0", "::/0")

Changes = t.Sequence[tuple[str, t.Optional[Rules]]]


class Rule(t.NamedTuple):
    """One route rule: what comes from a network by one interface and leaves by another is accepted."""

    source: str
    into: str
    out: str


def is_active(table: iptables.Table, version: int) -> bool:
    """Whether ufw filters what is forwarded, by the table filter of one family."""
    prefix = CHAINS[version].partition("-")[0] + "-"
    jumps = (rule for rule in table.rules.get("FORWARD", []) if "-j" in rule)
    return any(rule[rule.index("-j") + 1].startswith(prefix) for rule in jumps)


def read(namespaces: Namespaces, netns: str) -> dict[str, Rules | None]:
    """{network: rules}; None for those that are not exactly as write would leave them."""
    if netns != HOST or not _there():
        return {}
    marked, _others = _listed()
    live = _live(namespaces) if marked else set()
    return {name: _parsed(rules, live) for name, rules in marked.items()}


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace each network's rules, or remove them where they are None. Errors: EgressError, with all as it was."""
    if not changes:
        return
    if netns != HOST or not _there():
        raise UnsupportedError("use ufw", "it is not there", "Install it, or choose another back end")
    with contextlib.ExitStack() as undo:
        for name, rules in changes:
            _replace(name, rules_of(rules) if isinstance(rules, ForwardRules) else [], _live(namespaces), undo)
        undo.pop_all()


def check(netns: str, changes: Changes) -> None:
    """Errors: EgressError, where write would refuse the changes."""
    if any(rules for _name, rules in changes) and (netns != HOST or not _there()):
        raise UnsupportedError("use ufw", "it is not there", "Install it, or choose another back end")
    _marked, others = _listed()
    for _name, rules in changes:
        _refuse_others(rules_of(rules) if isinstance(rules, ForwardRules) else [], others)


def _refuse_others(wanted: t.Iterable[Rule], others: t.Container[Rule]) -> None:
    for rule in wanted:
        if rule in others:
            raise ConflictError(
                f"let {rule.source} through ufw",
                f"it has a rule {' '.join(_words(rule)[1:])} of somebody else's, which ours would take the place of",
                "Delete it, if it is not needed: ufw keeps one rule for the same packets",
            )


def rules_of(rules: ForwardRules) -> list[Rule]:
    found = []
    for source in rules.sources:
        # With br_netfilter, what stays on the bridge is filtered as well. Replies are let through by ufw's own rules.
        found += [Rule(source, rules.bridge, out) for out in (rules.bridge, *rules.uplinks)]
    return found


def _replace(name: str, wanted: list[Rule], live: set[Rule], undo: contextlib.ExitStack) -> None:
    marked, others = _listed()
    there = marked.get(name, [])
    _refuse_others(wanted, others)
    for rule in there:
        if rule not in wanted or rule not in live:
            _run("delete", rule, name)
            undo.callback(attempt, _run, "add", rule, name)
    for rule in wanted:
        if rule not in there or rule not in live:
            _run("add", rule, name)
            undo.callback(attempt, _run, "delete", rule, name)


def _parsed(found: list[Rule], live: set[Rule]) -> ForwardRules | None:
    bridges = {rule.into for rule in found}
    if len(bridges) != 1 or not live.issuperset(found):
        return None
    (bridge,) = bridges
    uplinks = tuple(dict.fromkeys(rule.out for rule in found if rule.out != bridge))
    rules = ForwardRules(bridge, uplinks, collapsed(ipaddress.ip_network(rule.source) for rule in found))
    return rules if sorted(rules_of(rules)) == sorted(found) else None


def _listed() -> tuple[dict[str, list[Rule]], set[Rule]]:
    """({network: rules with our mark}, rules of others, whatever they do with the same packets)."""
    marked: dict[str, list[Rule]] = {}
    others = set()
    for file in _FILES.values():
        for line in _lines(file):
            found = _TUPLE.match(line)
            if found and found["to"] in _ANYWHERE:
                rule = Rule(_network(found["source"]), found["into"], found["out"])
                comment = bytes.fromhex(found["comment"] or "").decode("utf-8", errors="replace")
                if comment.startswith(MARK) and found["action"] == "allow":
                    marked.setdefault(comment[len(MARK) :], []).append(rule)
                else:
                    others.add(rule)
    return marked, others


def _network(source: str) -> str:
    """As the rest of the engine writes it: of a single address, ufw leaves the length out."""
    return str(ipaddress.ip_network(source))


def _live(namespaces: Namespaces) -> set[Rule]:
    """The rules that are in force."""
    found = set()
    for flavour in iptables.FLAVOURS:
        for version, table in iptables.tables(namespaces, HOST, flavour, "filter").items():
            for rule in table.rules.get(CHAINS[version], []):
                words = dict(zip(rule[::2], rule[1::2]))
                if set(words) == {"-s", "-i", "-o", "-j"} and words["-j"] == "ACCEPT":
                    found.add(Rule(words["-s"], words["-i"], words["-o"]))
    return found


def _lines(file: str) -> list[str]:
    path = next((f"{folder}/{file}" for folder in _FOLDERS if os.path.exists(f"{folder}/{file}")), "")
    return (files.read(path) or "").splitlines() if path else []


def _words(rule: Rule) -> list[str]:
    return ["allow", "in", "on", rule.into, "out", "on", rule.out, "from", rule.source]


def _run(action: str, rule: Rule, name: str) -> None:
    words = ["delete", *_words(rule)] if action == "delete" else [*_words(rule), "comment", MARK + name]
    argv = [_there() or "ufw", "route", *words]
    asked = f"{action} the rule {' '.join(words)} of ufw"
    done = programs.run(asked, argv)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise KernelError(asked, f"ufw says {said}", 0)


def _there() -> str | None:
    return programs.find("ufw")
