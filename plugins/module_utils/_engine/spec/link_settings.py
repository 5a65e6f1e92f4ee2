# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls of a link that are options of the modules which make links."""

from __future__ import annotations

import typing as t

from ..model import Link, Setting
from .schema import Options

OPTIONS: Options = {
    "arp_notify": {"type": "bool"},
    "rp_filter": {"type": "int", "choices": [0, 1, 2]},
}


def settings(options: t.Mapping[str, t.Any], link: Link) -> tuple[Setting, ...]:
    """Those that are asked for. They go with the link."""
    values = [options[name] for name in OPTIONS]
    return tuple(
        Setting(link.netns, key, str(int(value))) for key, value in zip(keys(link), values) if value is not None
    )


def keys(link: Link) -> list[str]:
    """Of all of them, in the order of OPTIONS."""
    return [f"net/ipv4/conf/{link.name}/{name}" for name in OPTIONS]
