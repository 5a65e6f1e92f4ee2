# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VLANs as options: an access port has one, a trunk port has tagged ones, and may have one for frames without a tag."""

from __future__ import annotations

import typing as t

from ..errors import SpecError
from ..model import Link, Vlans
from . import values
from .schema import Options

OPTIONS: Options = {
    "vlan": {"type": "int"},
    "trunk": {"type": "list", "elements": "int"},
}
_MOST = 4094


def vlans(options: t.Mapping[str, t.Any], link: Link, key: str) -> tuple[Vlans, ...]:
    """What is asked for; nothing leaves the VLANs of a link as they are."""
    found = members(options, key)
    return () if found is None else (Vlans(link.netns, link.name, *found),)


def members(options: t.Mapping[str, t.Any], key: str) -> tuple[int, tuple[int, ...]] | None:
    """(untagged or 0, tagged), None where nothing is asked for."""
    untagged, trunk = options["vlan"], options.get("trunk")
    if untagged is None and trunk is None:
        return None
    tagged = tuple(sorted(values.number(v, f"{key}trunk[{i}]", 1, _MOST) for i, v in enumerate(trunk or [])))
    values.no_duplicates(map(str, tagged), f"{key}trunk")
    if untagged is not None and values.number(untagged, f"{key}vlan", 1, _MOST) in tagged:
        raise SpecError(f"{key}trunk", f"{untagged} is also that of frames without a tag (vlan)", "list it once")
    return untagged or 0, tagged
