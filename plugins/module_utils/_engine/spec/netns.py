# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module netns, as facts."""

from __future__ import annotations

import re
import typing as t

from ..errors import SpecError
from ..model import Fact, File, Namespace, Setting, Want
from . import values
from .resolv_conf import DNS, resolv_conf, resolv_conf_path
from .schema import NETWORK, STATE, Options

OPTIONS: Options = {
    "name": {"type": "str", "required": True},
    "attach": {"type": "str"},
    "loopback": {"type": "bool", "default": True},
    "dns": {"type": "dict", "options": DNS},
    "sysctls": {"type": "dict"},
    "force": {"type": "bool", "default": False},
    "network": NETWORK,
    "state": STATE,
}


def wanted(options: t.Mapping[str, t.Any], key: str = "") -> Want:
    """Options of one namespace to facts. key prefixes the option's name in errors."""
    name = values.namespace_name(options["name"], f"{key}name")
    if options["state"] == "absent":
        return Want(absent=(Namespace(name, force=options["force"]), File(resolv_conf_path(name))))
    facts: list[Fact] = [
        Namespace(
            name,
            alias=values.mark(options["network"], f"{key}network"),
            loopback=True if options["loopback"] else None,
            attach=_attach(options["attach"], f"{key}attach"),
        )
    ]
    for sysctl, value in (options["sysctls"] or {}).items():
        place = f"{key}sysctls.{sysctl}"
        facts.append(Setting(name, values.sysctl_key(sysctl, place), values.sysctl_value(value, place)))
    dns, resolver = options["dns"], File(resolv_conf_path(name))
    if dns and dns["servers"]:
        facts.append(File(resolver.path, resolv_conf(dns, options["network"] or "", f"{key}dns")))
    return Want(tuple(facts), (resolver,) if dns and not dns["servers"] else ())


def _attach(value: str | None, key: str) -> str | None:
    """A PID or a path, as the path of a namespace handle."""
    if value is None:
        return None
    if re.fullmatch(r"[1-9][0-9]*", value):
        return f"/proc/{value}/ns/net"
    if not value.startswith("/") or not value.isprintable() or ".." in value.split("/"):
        raise SpecError(key, f"{value!r} is neither a PID nor an absolute path", "give 1234 or /proc/1234/ns/net")
    return value
