# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of nftables that translate addresses, from its JSON (libnftables-json(5)). Tables of our own are left out."""

from __future__ import annotations

import functools
import typing as t

from ..kernel import mss, nft, wall
from .calls import Reader, Step, of_base
from .rule import REFUSED, Rule

Json = dict[str, t.Any]
Place = tuple[str, str]  # family and name of a table

_FAMILIES = {"ip": 4, "ip6": 6, "inet": 0}
_HOOKS = ("prerouting", "postrouting")
_OF_IPTABLES = ("PREROUTING", "POSTROUTING")
_OURS = (nft.TABLE, mss.TABLE, wall.TABLE.name)
_ACTIONS = {name: name for name in ("masquerade", "snat", "dnat", "redirect")}
_ACTIONS.update({"accept": "pass", "return": "pass"})
_SILENT = ("counter", "log", "comment", "continue")
_PROTOCOLS = {6: "tcp", 17: "udp"}
_INTERFACES = {"oifname": "out", "oif": "out", "iifname": "into", "iif": "into"}


class Listing:
    """A whole ruleset. skipped: tables, as (family, name), whose chains of iptables it reads by itself."""

    def __init__(self, listed: t.Sequence[Json], skipped: t.Collection[tuple[str, str]] = ()) -> None:
        self.bases: list[Json] = []
        self.sets: dict[tuple[str, str, str], list[t.Any]] = {}
        self.rules: dict[tuple[str, str, str], list[Json]] = {}
        for item in listed:
            ((kind, body),) = item.items()
            family, table = body.get("family", ""), body.get("table", "")
            if family not in _FAMILIES or table in _OURS:
                continue
            by_iptables = (family, table) in skipped and body.get("name") in _OF_IPTABLES
            if kind == "chain" and body.get("type") == "nat" and body.get("hook") in _HOOKS and not by_iptables:
                self.bases.append(body)
            elif kind == "rule":
                self.rules.setdefault((family, table, body["chain"]), []).append(body)
            elif kind in ("set", "map"):
                self.sets[family, table, body["name"]] = body.get("elem", [])

    def hooked(self) -> dict[str, list[Rule]]:
        """By hook, in the order in which a packet meets them."""
        found: dict[str, list[Rule]] = {hook: [] for hook in _HOOKS}
        for base in sorted(self.bases, key=lambda chain: int(chain.get("prio", 0))):
            family, table, name = base["family"], base["table"], base["name"]
            listed = functools.partial(self._listed, family, table)
            found[base["hook"]] += of_base(name, listed, Rule("", _FAMILIES[family]), (family, table, name))
        return found

    def _listed(self, family: str, table: str, chain: str) -> t.Iterator[tuple[str, Reader]]:
        for body in self.rules.get((family, table, chain), []):
            text = f"rule {body.get('handle')} of the chain {chain} in the table {family} {table} of nft"
            for expressions in self._variants(body.get("expr", []), (family, table)):
                yield text, functools.partial(self._parsed, expressions, (family, table))

    def _variants(self, expressions: t.Sequence[t.Any], place: Place) -> t.Iterator[list[t.Any]]:
        """The rules that a rule with a map of verdicts stands for: one for each element."""
        for number, expression in enumerate(expressions):
            kind, value = _statement(expression)
            found = self._verdicts(value["data"], place) if kind == "vmap" else None
            if found is not None:
                for key, verdict in found:
                    condition = {"match": {"op": "==", "left": value["key"], "right": key}}
                    behind = expressions[number + 1 :] if _statement(verdict)[0] == "continue" else []
                    yield from self._variants([*expressions[:number], condition, verdict, *behind], place)
                return
        yield list(expressions)

    def _verdicts(self, data: t.Any, place: Place) -> list[tuple[t.Any, t.Any]] | None:
        """By what is looked up. None for a map that is not listed."""
        try:
            return [(_value(key), verdict) for key, verdict in self._elements(data, place)]
        except (LookupError, TypeError, ValueError):
            return None

    def _parsed(self, expressions: t.Sequence[t.Any], place: Place, rule: Rule) -> Step:
        verb = target = ""
        for expression in expressions:
            kind, value = _statement(expression)
            if kind == "match":
                rule = self._match(rule, value, place)
            elif kind in _ACTIONS:
                rule, verb = _translating(rule, kind, value or {}), kind
            elif kind in ("jump", "goto"):
                verb, target = kind, value["target"]
            elif kind == "xt" and value:
                rule = _of_iptables(rule, str(value.get("name")))
            elif kind == "vmap":
                rule = rule.within(action="pass").but("a map of verdicts")
            elif kind not in _SILENT:
                rule = rule.but(kind)
        return Step(rule, verb, target)

    def _match(self, rule: Rule, body: Json, place: Place) -> Rule:
        try:
            known = self._known(rule, body, place)
        except (LookupError, TypeError, ValueError, AttributeError):
            known = None
        return known or rule.but((REFUSED if body["op"] == "!=" else "") + _named(body["left"]))

    def _known(self, rule: Rule, body: Json, place: Place) -> Rule | None:
        """The rule with one more condition, None for one that has no place."""
        left, refused = body["left"], body["op"] == "!="
        if body["op"] not in ("==", "!=", "in"):
            return None
        elements = self._elements(body["right"], place)
        if "payload" in left:
            return _of_packet(rule, left["payload"], elements, refused)
        if "fib" in left:
            local = left["fib"]["result"] == "type" and "daddr" in left["fib"]["flags"] and elements == ["local"]
            return rule.within(local=True) if local and not refused else None
        key = left["meta"]["key"]
        if key in _INTERFACES and not any(str(name).endswith("*") for name in elements):
            names = tuple(map(str, elements))
            if not refused:
                return rule.within(**{_INTERFACES[key]: names})
            return rule.within(not_out=(*rule.not_out, *names)) if _INTERFACES[key] == "out" else None
        if key == "nfproto" and not refused:
            return rule.within(family={"ipv4": 4, "ipv6": 6}[elements[0]])
        if key == "l4proto" and not refused and len(elements) == 1:
            return rule.within(protocol=_protocol(elements[0]))
        return None

    def _elements(self, right: t.Any, place: Place) -> list[t.Any]:
        if isinstance(right, str) and right.startswith("@"):
            found = self.sets[(*place, right[1:])]
        else:
            found = right["set"] if isinstance(right, dict) and "set" in right else [right]
        return [_value(item) for item in found]


def _value(element: t.Any) -> t.Any:
    """Without what nft keeps beside it, such as a counter."""
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _statement(expression: t.Any) -> tuple[str, t.Any]:
    """Its kind and its body. Some have no body."""
    return next(iter(expression.items())) if isinstance(expression, dict) else (str(expression), None)


def _of_packet(rule: Rule, payload: Json, elements: list[t.Any], refused: bool) -> Rule | None:
    protocol, field = payload["protocol"], payload["field"]
    if protocol in ("ip", "ip6") and field in ("saddr", "daddr"):
        networks = tuple(str(one) for item in elements for one in nft.networks_in(item))
        family, name = 4 if protocol == "ip" else 6, "sources" if field == "saddr" else "destinations"
        if refused:
            return rule.within(family=family, **{f"not_{name}": (*getattr(rule, f"not_{name}"), *networks)})
        return rule.within(family=family, **{name: networks})
    if field in ("protocol", "nexthdr") and len(elements) == 1 and not refused:
        return rule.within(family=4 if field == "protocol" else 6, protocol=_protocol(elements[0]))
    if field == "dport" and not refused:
        named = rule.protocol if protocol == "th" else protocol
        return rule.within(protocol=named, ports=tuple(map(_range, elements)))
    return None


def _translating(rule: Rule, kind: str, body: Json) -> Rule:
    """What it does. An argument that is looked up has no place."""
    done = rule.within(action=_ACTIONS[kind])
    flags = body.get("flags", [])
    flags = [flags] if isinstance(flags, str) else flags
    try:
        networks = nft.networks_in(body["addr"]) if "addr" in body else []
        ends = list(dict.fromkeys(str(end) for end in (networks[0][0], networks[-1][-1]))) if networks else []
        ports = _range(body["port"]) if "port" in body else None
    except (KeyError, TypeError, ValueError, IndexError):
        return done.but(f"{kind} by a map")
    for flag in flags:
        done = done.within(random_fully=True) if flag == "fully-random" else done.but(str(flag))
    family = {"ip": 4, "ip6": 6}.get(body.get("family", ""), done.family)
    family = (6 if ":" in ends[0] else 4) if ends else family
    return done.within(to="-".join(ends), to_ports=ports, family=family)


def _of_iptables(rule: Rule, name: str) -> Rule:
    """With a part that only iptables can show, where it cannot show the table."""
    if name == "comment":
        return rule
    return rule.within(action=_ACTIONS.get(name.lower(), rule.action)).but(f"{name} of iptables")


def _protocol(value: t.Any) -> str:
    return _PROTOCOLS.get(value, str(value))


def _range(value: t.Any) -> tuple[int, int]:
    if isinstance(value, dict):
        first, last = value["range"]
        return int(first), int(last)
    return int(value), int(value)


def _named(left: t.Any) -> str:
    """What a condition is about, in its own words."""
    if isinstance(left, dict) and len(left) == 1:
        ((kind, body),) = left.items()
        if kind == "&" and isinstance(body, list):
            return _named(body[0])
        key = body.get("key") or body.get("field") if isinstance(body, dict) else ""
        return f"{kind} {key}" if key else str(kind)
    return "an expression"
