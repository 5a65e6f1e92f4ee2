# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module conntrack, as facts."""

from __future__ import annotations

import mmap
import re
import struct
import typing as t

from ..errors import SpecError
from ..model import HOST, IP_PROTOCOLS, Claim, Fact, Flows, Want
from . import values
from .schema import NETWORK, Options

FLUSH: Options = {
    "source": {"type": "str"},
    "destination": {"type": "str"},
    "protocol": {"type": "str"},
}
OPTIONS: Options = {
    "max": {"type": "int"},
    "buckets": {"type": "int"},
    "timeouts": {"type": "dict"},
    "flush": {"type": "dict", "options": FLUSH},
    "persist": {"type": "bool", "default": True},
    "netns": {"type": "str"},
    "network": NETWORK,
    "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
}
AREA = "net/netfilter/"
_MOST = 2**31 - 1
_LONGEST = 2**31 // 1000  # seconds, at the finest clock that kernels are built with
_TIMEOUT = re.compile(r"([a-z0-9]+)(_[a-z0-9_]+)?")


def wanted(options: t.Mapping[str, t.Any], key: str = "") -> Want:
    """Options to facts."""
    netns = values.namespace_name(options["netns"], f"{key}netns", host=True)
    user = options["network"] or ""
    if user:
        values.network_name(user, f"{key}network")
    if options["state"] == "restored":
        return Want(released=frozenset([(user, netns, AREA)]))
    settings = _settings(options, key)
    persist = bool(options["persist"]) and netns == HOST
    facts: list[Fact] = []
    for setting, value in settings.items():
        claim = Claim(user, netns, AREA + setting, str(value), persist)
        facts += [claim, claim.setting]
    gone = (_flows(options["flush"], netns, f"{key}flush"),) if options["flush"] is not None else ()
    if not facts and not gone:
        raise SpecError(f"{key}max", "nothing is asked for", "give max, buckets, timeouts or flush")
    return Want(tuple(facts), gone)


def _settings(options: t.Mapping[str, t.Any], key: str) -> dict[str, int]:
    settings: dict[str, int] = {}
    if options["max"] is not None:
        settings["nf_conntrack_max"] = values.number(options["max"], f"{key}max", 1, _MOST)
    if options["buckets"] is not None:
        settings["nf_conntrack_buckets"] = rounded(values.number(options["buckets"], f"{key}buckets", 1, 2**28))
    for name, seconds in (options["timeouts"] or {}).items():
        found = _TIMEOUT.fullmatch(str(name))
        if not found:
            raise SpecError(
                f"{key}timeouts", f"{name!r} is no name of a timeout", "allowed are such as tcp_established"
            )
        number = int(seconds) if re.fullmatch(r"[0-9]{1,10}", str(seconds)) else seconds
        setting = f"nf_conntrack_{found[1]}_timeout{found[2] or ''}"
        settings[setting] = values.number(number, f"{key}timeouts.{name}", 0, _LONGEST)
    return settings


def rounded(buckets: int) -> int:
    """What the kernel makes of a number of buckets: they fill whole pages."""
    in_a_page = mmap.PAGESIZE // struct.calcsize("P")
    return -(-buckets // in_a_page) * in_a_page


def _flows(flush: t.Mapping[str, t.Any], netns: str, key: str) -> Flows:
    given = {name: flush[name] for name in FLUSH if flush[name]}
    if not given:
        raise SpecError(key, "it names no flows", f"give {', '.join(FLUSH)}, or some of them")
    source, destination = (
        values.subnet(given[name], f"{key}.{name}") if name in given else "" for name in ("source", "destination")
    )
    if source and destination and values.family(source) != values.family(destination):
        raise SpecError(
            f"{key}.destination", f"{destination} and the source {source} are of two families", "choose one"
        )
    return Flows(netns, source, destination, _protocol(given.get("protocol", ""), f"{key}.protocol"))


def _protocol(text: str, key: str) -> str:
    """A name that we know, or a number."""
    if text in IP_PROTOCOLS or not text:
        return text
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 0 < int(text) < 256:
        raise SpecError(key, f"{text!r} is no protocol", f"allowed are {', '.join(IP_PROTOCOLS)} and numbers up to 255")
    return next((name for name, number in IP_PROTOCOLS.items() if number == int(text)), str(int(text)))
