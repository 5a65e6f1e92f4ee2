# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver of a namespace as an option, from /etc/netns/NAME/resolv.conf."""

from __future__ import annotations

import typing as t

from ..errors import EgressError
from ..kernel import files
from ..spec.resolv_conf import resolv_conf, resolv_conf_path
from .note import Notes


def options(name: str, notes: Notes) -> dict[str, t.Any] | None:
    """None without a file, or for one that is not described."""
    path = resolv_conf_path(name)
    try:
        text = files.read(path)
        return None if text is None else _described(name, text, notes)
    except EgressError as error:
        notes.add(f"namespace {name}", f"{path}: {error.found}", "its resolver is not described")
        return None


def _described(name: str, text: str, notes: Notes) -> dict[str, t.Any] | None:
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        word, _space, rest = line.strip().partition(" ")
        if word == "nameserver":
            servers += rest.split()[:1]
        elif word in ("search", "domain"):
            search = rest.split()
        elif word and word[0] not in "#;":
            notes.add(f"namespace {name}", f"{resolv_conf_path(name)}: {line.strip()}", "dns has servers and search")
    dns = {"servers": servers, **({"search": search} if search else {})}
    if not servers:
        notes.add(f"namespace {name}", f"{resolv_conf_path(name)} names no server", "its resolver is not described")
        return None
    resolv_conf(dns, "", "dns")
    return dns
