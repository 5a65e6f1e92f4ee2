# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program nft and its JSON: how it is run, what its errors mean, and the statements that our rules are made of.

See nft(8), libnftables-json(5).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import signal
import subprocess
import typing as t

from ..errors import EgressError, KernelError, UnsupportedError
from ..spec import values
from . import programs

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

# We write numbers, as /etc/protocols may be missing; nft lists names where it is not.
PORT_PROTOCOLS = {"tcp": 6, "udp": 17, "dccp": 33, "sctp": 132}

Json = dict[str, t.Any]

TABLE = "netpath_egress"
HERE = {"family": "inet", "table": TABLE}
BASES: dict[str, Json] = {
    "prerouting": {"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"},
    "output": {"type": "nat", "hook": "output", "prio": -100, "policy": "accept"},
    "postrouting": {"type": "nat", "hook": "postrouting", "prio": 100, "policy": "accept"},
}
COUNTER: Json = {"counter": None}
_UNSUPPORTED = (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL)


def run(
    namespaces: Namespaces,
    netns: str,
    asked: str,
    arguments: t.Sequence[str],
    commands: t.Sequence[Json] = (),
    style: t.Sequence[str] = ("-j",),
) -> subprocess.CompletedProcess[str]:
    """Run nft with JSON in and, unless style is another one, out. Errors: UnsupportedError where it is missing."""
    with namespaces.entered(netns):
        try:
            return programs.run(asked, ["nft", *style, *arguments], json.dumps({"nftables": commands}))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            missing = UnsupportedError(asked, "the program nft is missing", "Install the package nftables")
            raise missing.for_all() from error


def run_words(
    namespaces: Namespaces, netns: str, asked: str, lines: t.Iterable[str], check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run nft with lines in its own language, as one transaction. check: no more than try it."""
    with namespaces.entered(netns):
        try:
            return programs.run(asked, ["nft", *(["-c"] if check else []), "-f", "-"], "\n".join([*lines, ""]))
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            raise UnsupportedError(asked, "the program nft is missing", "Install the package nftables") from error


def code_in(words: str) -> int:
    """The errno whose text is in nft's words, or 0."""
    return next((code for code in errno.errorcode if os.strerror(code) in words), 0)


def failure(namespaces: Namespaces, netns: str, asked: str, done: subprocess.CompletedProcess[str]) -> EgressError:
    """What a run of nft that failed means."""
    lines = dict.fromkeys(line.rpartition("Error: ")[2].strip() for line in done.stderr.splitlines())
    words = "nft says " + ("; ".join(filter(None, lines)) or f"nothing, and {_end(done.returncode)}")
    code = code_in(words)
    if "JSON support not compiled" in words:
        return UnsupportedError(asked, words, "Install a build of nftables with JSON")
    if code in (errno.EPERM, errno.EACCES):
        return UnsupportedError(asked, words, "Root rights (CAP_NET_ADMIN) are needed").for_all()
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
    table = {**HERE, "table": "netpath_probe"}

    def rule(expression: Json) -> Json:
        return {"rule": {**table, "chain": "probe", "expr": [expression]}}

    commands: list[Json] = []
    for feature, command in (
        ("nftables (nf_tables)", {"table": {"family": "inet", "name": table["table"]}}),
        ("interval sets of nftables (nft_set_rbtree)", {"set": {**table, **address_set("probe", 4, ["192.0.2.0/24"])}}),
        ("NAT chains of nftables (nft_chain_nat)", {"chain": {**table, "name": "probe", **BASES["postrouting"]}}),
        ("masquerading by nftables (nft_masq)", rule({"masquerade": None})),
        ("source NAT by nftables (nft_nat)", rule({"snat": {"family": "ip", "addr": "192.0.2.1"}})),
        ("connection tracking in nftables (nft_ct)", rule(match({"ct": {"key": "status"}}, "dnat", "in"))),
        ("lookups of local addresses by nftables (nft_fib_inet)", rule(IS_LOCAL)),
    ):
        commands.append({"add": command})
        if run(namespaces, netns, asked, ["-c", "-f", "-"], commands).returncode:
            return feature
    return ""


def match(left: Json, right: t.Any, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


IS_LOCAL = match({"fib": {"result": "type", "flags": ["daddr"]}}, "local")


def address_set(set_name: str, version: int, networks: t.Sequence[str]) -> Json:
    elements: Json = {"elem": [network(text) for text in networks]} if networks else {}
    return {"name": set_name, "type": f"ipv{version}_addr", "flags": ["interval"], **elements}


def network(text: str) -> str | Json:
    address, _slash, length = text.partition("/")
    return address if length == ("128" if ":" in text else "32") else {"prefix": {"addr": address, "len": int(length)}}


def payload(version: int, field: str) -> Json:
    """An address of the IP header: saddr or daddr."""
    return {"payload": {"protocol": "ip" if version == 4 else "ip6", "field": field}}


def part(kind: str, name: str) -> str:
    """The name of a chain, a set or a map of a network. Network names have no "_": two never become one."""
    return f"{kind}_{name.replace('-', '_')}"


def networks_in(element: t.Any) -> list[t.Any]:
    """Of an address, a prefix or a range. Errors: ValueError, KeyError or TypeError for what is none of these."""
    if isinstance(element, str):
        return [values.network(element)]
    if "range" in element:
        first, last = (ipaddress.ip_address(end) for end in element["range"])
        return list(ipaddress.summarize_address_range(first, last))
    with contextlib.suppress(ValueError):
        return [values.network(f"{element['prefix']['addr']}/{element['prefix']['len']}")]
    first = ipaddress.ip_address(element["prefix"]["addr"])
    network = ipaddress.ip_network(f"{first}/{element['prefix']['len']}", strict=False)
    # nft 0.9.8 lists a range from 1 to 6 as 1/29, by the bits in which its ends differ.
    return list(ipaddress.summarize_address_range(first, type(first)(int(first) ^ int(network.hostmask))))


def normal(expression: Json) -> Json:
    """A statement in one form, as versions of nft list the same one differently."""
    ((kind, body),) = expression.items()
    if kind == "counter" and isinstance(body, dict):
        return COUNTER
    if kind == "match" and body["left"] == {"meta": {"key": "l4proto"}} and isinstance(body["right"], dict):
        numbers = [PORT_PROTOCOLS.get(item, item) for item in body["right"].get("set", [])]
        return {kind: {**body, "right": {"set": sorted(numbers, key=str)}}}
    if kind == "match" and isinstance(body["left"].get("fib", {}).get("flags"), str):
        return {kind: {**body, "left": {"fib": {**body["left"]["fib"], "flags": [body["left"]["fib"]["flags"]]}}}}
    return {kind: _normal_translation(dict(body or {}))} if kind in ("snat", "masquerade") else expression


def _normal_translation(found: Json) -> Json:
    if "addr" in found:
        networks = networks_in(found["addr"])
        found["addr"] = tuple(dict.fromkeys((str(networks[0][0]), str(networks[-1][-1]))))
    if "port" in found:
        found["port"] = tuple(found["port"]["range"]) if isinstance(found["port"], dict) else (found["port"],) * 2
    if "flags" in found:
        found["flags"] = [found["flags"]] if isinstance(found["flags"], str) else found["flags"]
    return found


def table_objects(namespaces: Namespaces, netns: str, asked: str, table: str) -> list[Json]:
    """What nft lists of a table of inet, empty where it is not there. Errors: EgressError."""
    # Without -p nft reads /etc/protocols again for each published port.
    arguments = ["-p", "list", "table", "inet", table]
    done = run(namespaces, netns, asked, arguments)
    if done.returncode < 0:
        # nft 1.0.6 crashes at times when others change rules while it lists them.
        done = run(namespaces, netns, asked, arguments)
    if done.returncode:
        if code_in(done.stderr) == errno.ENOENT:
            return []
        raise failure(namespaces, netns, asked, done)
    try:
        return t.cast("list[Json]", json.loads(done.stdout)["nftables"])
    except ValueError as error:
        advice = f"Versions up to 1.0.6 do so where the table is dormant: wake it by nft add table inet {table}"
        raise KernelError(asked, "nft lists it in JSON that is not valid", 0, advice) from error
