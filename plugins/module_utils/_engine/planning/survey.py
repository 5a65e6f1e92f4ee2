# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is wrong with a list of networks, where a run ends with the first of it."""

from __future__ import annotations

import re
import typing as t

from ..errors import EgressError, SpecError
from ..model import HOST, Ruleset, Want
from ..spec import nat_masquerade, schema, values
from ..spec.expansion import ModuleOptions, expanded
from ..spec.host import HostView
from ..spec.network import Network, check_together, parse_network
from . import rule_conflicts
from .state import Have

Planned = tuple[Network, ModuleOptions]
_ITEM = re.compile(r"namespaces\[([0-9]+)\]")
_NOBODY = {"prefix": "none", "count": 0}
# What the rest of a network depends on, with what takes its place while that is looked at.
_STAND_INS: dict[str, t.Any] = {"name": "nameless", "subnets": ["192.0.2.0/24"], "gateway": "first"}


def survey(data: t.Any, key: str = "networks", absent: bool = False) -> tuple[list[Planned], list[EgressError]]:
    """Networks with what builds them on a host where nothing is, and all errors. One that has an error is left out.

    absent: all of them are to be removed, whatever their state.
    """
    errors: list[EgressError] = []
    planned: list[Planned] = []
    try:
        entries = values.as_list(data, key)
    except SpecError as error:
        return [], [error]
    for number, entry in enumerate(entries):
        network = _network(entry, f"{key}[{number}]", errors, absent)
        try:
            if network:
                check_together([*(other for other, _options in planned), network])
                options = expanded([network], _fresh(network))
                rulesets = [
                    fact for made in (*(more for _other, more in planned), options) for fact in _published(made)
                ]
                rule_conflicts.check(Want(tuple(rulesets)), Have())
                planned.append((network, options))
        except EgressError as error:
            errors.append(error)
    return planned, errors


def _fresh(network: Network) -> HostView:
    """A host that has the uplinks that are named, and nothing else that is known."""
    return HostView(mtus=dict.fromkeys(network.uplinks, 0))


def _published(options: ModuleOptions) -> t.Iterator[Ruleset]:
    """The ports of a network."""
    for item in options["nat_masquerade"]:
        if item.get("publish"):
            rules = nat_masquerade.published(schema.checked(item, nat_masquerade.OPTIONS, item["name"]))
            yield Ruleset(HOST, item["name"], rules, purpose="publish")


def _network(entry: t.Any, key: str, errors: list[EgressError], absent: bool) -> Network | None:
    """One entry, None where it has errors."""
    try:
        return parse_network(entry, key, absent)
    except SpecError as error:
        errors.append(error)
        # The rest is looked at again without what is wrong.
        rest = _without(entry, error.asked[len(key) + 1 :]) if error.asked.startswith(f"{key}.") else entry
    if rest != entry:
        _network(rest, key, errors, absent)
    return None


def _without(entry: dict[str, t.Any], place: str) -> dict[str, t.Any]:
    """The entry without what is wrong, and without what would be wrong for that reason alone; or as it was."""
    item = _ITEM.match(place)
    name = re.split(r"[.\[]", place)[0]
    if item:
        members = list(entry["namespaces"])
        members[int(item[1])] = _NOBODY
        return {**_dropped(entry, "publish"), "namespaces": members}
    if name in _STAND_INS:
        rest = _dropped(entry, "publish", "gateway", "count", "prefix")
        members = [
            _dropped(one, "addresses") if isinstance(one, dict) else one for one in entry.get("namespaces") or []
        ]
        rest = {**rest, "namespaces": members, name: _STAND_INS[name]}
        nat = entry.get("nat")
        mode = nat.get("mode") if isinstance(nat, dict) else nat
        return _dropped(rest, "nat") if mode == "snat" else {**rest, "nat": {"mode": mode}}
    if name in ("prefix", "count"):
        return _dropped(entry, "prefix", "count", "publish")
    return _dropped(entry, name)


def _dropped(entry: dict[str, t.Any], *names: str) -> dict[str, t.Any]:
    return {name: value for name, value in entry.items() if name not in names}
