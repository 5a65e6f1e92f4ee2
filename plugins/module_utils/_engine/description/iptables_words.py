# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of iptables that translate addresses, from the words of iptables-save (iptables-extensions(8))."""

from __future__ import annotations

import functools
import typing as t

from ..kernel.iptables import Rule as Words
from ..kernel.iptables import Table
from ..spec.values import network
from .calls import Reader, Step, of_base
from .rule import REFUSED, Rule

HOOKS = {"prerouting": "PREROUTING", "postrouting": "POSTROUTING"}
_ACTIONS = {"MASQUERADE": "masquerade", "SNAT": "snat", "DNAT": "dnat", "REDIRECT": "redirect"}
_ACTIONS.update(ACCEPT="pass", RETURN="pass")
_CALLS = {"-j": "jump", "-g": "goto"}
_VERBS = {"RETURN": "return"}
_PROTOCOLS = {"6": "tcp", "17": "udp"}
_MODULES = ("tcp", "udp", "comment", "addrtype", "multiport")


def rules(table: Table, family: int, program: str, flavour: str) -> dict[str, list[Rule]]:
    """By hook, in the order in which a packet meets them."""

    def listed(chain: str) -> t.Iterator[tuple[str, Reader]]:
        for words in table.of(chain):
            text = f"{program} -t nat -A {chain} {' '.join(words)}"
            yield text, functools.partial(_parsed, words, table)

    return {hook: of_base(chain, listed, Rule("", family), (flavour,)) for hook, chain in HOOKS.items()}


def _parsed(words: Words, table: Table, rule: Rule) -> Step:
    left, verb, target = list(words), "", ""
    while left:
        refused = left[0] == "!"
        option = left.pop(1 if refused else 0)
        if refused:
            left.pop(0)
        value = left.pop(0) if left and not left[0].startswith("-") and left[0] != "!" else ""
        if option in _CALLS:
            verb, target = _VERBS.get(value, _CALLS[option]), value
            rule = rule.within(action=_ACTIONS.get(value, ""))
        elif option == "-m" and (value in _MODULES or (left and (left[0] == "!" or left[0].startswith("--")))):
            continue  # its options say what it asks
        elif option != "--comment":
            rule = _with(rule, option, value, refused)
    return Step(rule, verb, target if target in table.policies else "")


def _with(rule: Rule, option: str, value: str, refused: bool) -> Rule:
    """The rule with one more condition or argument."""
    try:
        known = _refusals(rule, option, value) if refused else _conditions(rule, option, value)
    except ValueError:
        known = None
    return known or rule.but(f"{REFUSED if refused else ''}{option} {value}".strip())


def _refusals(rule: Rule, option: str, value: str) -> Rule | None:
    if option == "-s":
        return rule.within(not_sources=(*rule.not_sources, str(network(value))))
    if option == "-d":
        return rule.within(not_destinations=(*rule.not_destinations, str(network(value))))
    return rule.within(not_out=(*rule.not_out, value)) if option == "-o" and not value.endswith("+") else None


def _conditions(rule: Rule, option: str, value: str) -> Rule | None:
    if option in ("-s", "-d"):
        return rule.within(**{"sources" if option == "-s" else "destinations": (str(network(value)),)})
    if option in ("-o", "-i") and not value.endswith("+"):
        return rule.within(**{"out" if option == "-o" else "into": (value,)})
    if option == "-p":
        return rule.within(protocol=_PROTOCOLS.get(value, value))
    if option in ("--dport", "--dports"):
        return rule.within(ports=tuple(_range(item, ":") for item in value.split(",")))
    if option == "--dst-type" and value == "LOCAL":
        return rule.within(local=True)
    if option == "--random-fully":
        return rule.within(random_fully=True)
    if option == "--to-ports":
        return rule.within(to_ports=_range(value, "-"))
    if option in ("--to-source", "--to-destination"):
        address, ports = _target(value)
        return rule.within(to=address, to_ports=_range(ports, "-") if ports else None)
    return None


def _range(text: str, sign: str) -> tuple[int, int]:
    first, _sign, last = text.partition(sign)
    return int(first), int(last or first)


def _target(text: str) -> tuple[str, str]:
    """Address or range, and ports: 10.0.0.2:80, [fd00::2]:80, 10.0.0.1-10.0.0.9."""
    if text.startswith("["):
        address, _bracket, ports = text[1:].partition("]")
        return address, ports.lstrip(":")
    return (text, "") if text.count(":") != 1 else (text.partition(":")[0], text.partition(":")[2])
