# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as lines for a terminal. No I/O."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.program.output import table

from .document import counted, in_short

Row = t.Mapping[str, t.Any]

COLUMNS = {
    "host": "host",
    "network": "network",
    "bridge": "bridge",
    "subnet": "subnets",
    "gateway": "gateways",
    "namespace": "namespace",
    "addresses": "addresses",
    "published": "published",
    "uplink": "uplinks",
    "nat": "nat",
}
# Of one network, before the rest is only counted; plan.json has all.
_SHOWN = 50


class Line(t.NamedTuple):
    """tone: bad, warn or nothing."""

    text: str
    tone: str = ""


def lines(made: t.Mapping[str, t.Any]) -> list[Line]:
    """The table, then what is refused, what is doubtful, and what the addresses mean."""
    rows = [row for _network, group in itertools.groupby(made["rows"], _place) for row in _shown(list(group))]
    found = [Line(line) for line in table(rows, list(COLUMNS))] if rows else []
    if not rows and not made["refused"]:
        found.append(Line("There is no network to plan."))
    found.append(Line(counted(made["counts"])))
    for host, told in made["hosts"].items():
        found += [Line(f"{host}: the network {name} is to be removed") for name in told["removed"]]
    for host, errors in made["refused"].items():
        found += [Line(f"REFUSED {host}: {error}", "bad") for error in errors]
    found += [Line(f"WARNING: {warning}", "warn") for warning in made["warnings"]]
    return [*found, Line(made["note"])]


def _place(row: Row) -> tuple[str, str]:
    return row["host"], row["network"]


def _shown(rows: t.Sequence[Row]) -> list[Row]:
    short = [{**row, "published": in_short(row["published"])} for row in rows[:_SHOWN]]
    found: list[Row] = [{column: row[key] for column, key in COLUMNS.items()} for row in short]
    if len(rows) > _SHOWN:
        rest = {"host": rows[0]["host"], "network": rows[0]["network"]}
        found.append({**rest, "namespace": f"and {len(rows) - _SHOWN} more"})
    return found
