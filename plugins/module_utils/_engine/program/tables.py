# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory as tables."""

from __future__ import annotations

import typing as t

from .output import Output, cell, table

# Columns of sections that are lists; a dictionary has a line for each key.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "namespaces": ("name", "path", "inode", "network", "processes"),
    "links": (
        *("netns", "name", "index", "kind", "state", "mtu", "master", "mac", "peer", "network"),
        *("addresses", "link_local", "alias"),
    ),
    "fdb": ("netns", "bridge", "port", "mac", "vlan", "kind"),
    "neighbours": ("netns", "link", "address", "mac", "state"),
    "bridges": ("netns", "name", "network", "ports", "stp", "vlan_filtering", "ageing_time"),
    "routes": ("netns", "family", "dest", "type", "gateway", "device", "metric", "table", "protocol", "network"),
    "forwarding": ("netns", "ipv4", "ipv6"),
    "nat": ("netns", "name", "backend", "intact", "mode", "sources", "exclude", "to_source", "out_interface"),
    "resolvers": ("netns", "network"),
    "orphans": ("kind", "name", "evidence"),
}
_HOST = "(host)"
Data = t.Mapping[str, t.Any]


def show(found: Data, output: Output) -> None:
    """Each section under its name."""
    for number, (section, data) in enumerate(found.items()):
        if number:
            output.line()
        output.line(f"{section}:", "good")
        lines = _lines(section, data)
        for index, line in enumerate(lines or ["none"]):
            output.line(f"  {line}", "faint" if isinstance(data, list) and lines and index == 0 else "")


def _lines(section: str, data: t.Any) -> list[str]:
    if isinstance(data, dict):
        return [f"{key}: {cell(value)}" for key, value in data.items()]
    rows = [_row(section, item) for item in data]
    columns = _COLUMNS.get(section) or tuple(dict.fromkeys(key for row in rows for key in row))
    return table(rows, columns) if rows else []


def _row(section: str, item: Data) -> dict[str, t.Any]:
    row = dict(item)
    if "netns" in row:
        row["netns"] = row["netns"] or _HOST
    if section == "namespaces":
        row["processes"] = [f"{process['pid']}({process['command']})" for process in row["processes"]]
    if section == "links":
        row["state"] = "down" if not row["up"] else "up" if row["carrier"] else "no-carrier"
        peer = row["peer"]
        row["peer"] = f"{peer['netns'] or _HOST}/{peer['name']}" if peer else None
    return row
