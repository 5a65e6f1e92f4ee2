# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics in a file for the textfile collector of node_exporter (Prometheus text format 0.0.4)."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ..kernel import directories, files

# That of Debian's node_exporter.
PATH = "/var/lib/prometheus/node-exporter/netpath.prom"
Labels = t.Mapping[str, str]
_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass
class Metrics:
    """Samples by metric, each metric with its type and what it says."""

    _found: dict[str, tuple[str, str, list[tuple[Labels, float]]]] = field(default_factory=dict)

    def gauge(self, name: str, told: str, value: float, **labels: str) -> None:
        self._add(name, "gauge", told, value, labels)

    def counter(self, name: str, told: str, value: float, **labels: str) -> None:
        self._add(name, "counter", told, value, labels)

    def _add(self, name: str, kind: str, told: str, value: float, labels: Labels) -> None:
        self._found.setdefault(name, (kind, told, []))[2].append((labels, value))

    def text(self) -> str:
        lines = []
        for name, (kind, told, samples) in self._found.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_labels(labels)} {value:.17g}" for labels, value in samples]
        return "".join(f"{line}\n" for line in lines)

    def write(self, path: str) -> None:
        """As a whole, for a collector that may read it at any time. Errors: EgressError.

        The directory may be another user's, as Debian's is: no link in it is followed.
        """
        files.write(os.path.abspath(path), self.text(), 0o644, trust=directories.NONE)


def is_ours(content: str) -> bool:
    return content.startswith("# HELP netpath_")


def _labels(labels: Labels) -> str:
    shown = ",".join(f'{key}="{value.translate(_ESCAPED)}"' for key, value in labels.items())
    return f"{{{shown}}}" if shown else ""
