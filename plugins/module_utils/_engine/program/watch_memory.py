# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks at the networks of this host keep of those before them."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t
from dataclasses import dataclass, field

from ..errors import EgressError
from ..kernel import files

MEMORY = "/var/lib/netpath/watch.json"
_FORMAT = 1
# A repair that does not last is tried again after a minute, then two, and so on.
_FIRST_PAUSE, _LONGEST_PAUSE = 60, 3600  # seconds


@dataclass(frozen=True)
class Repairs:
    """Of a network: how often it was put right, how often in a row that did not last, and when it is tried again."""

    done: int = 0
    failed: int = 0
    in_vain: int = 0
    not_before: float = 0.0  # seconds since the epoch

    def after(self, succeeded: bool, now: float) -> Repairs:
        lasted = succeeded and not self.in_vain
        pause = 0 if lasted else min(_LONGEST_PAUSE, _FIRST_PAUSE << min(max(self.in_vain - 1, 0), 16))
        return Repairs(self.done + succeeded, self.failed + (not succeeded), self.in_vain + 1, now + pause)

    def at_rest(self) -> Repairs:
        """Nothing differs, so what was done has lasted."""
        return dataclasses.replace(self, in_vain=0, not_before=0.0)


@dataclass
class Memory:
    """What a look knows of those before it."""

    networks: dict[str, Repairs] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Memory:
        """Nothing, where nothing can be read: a look needs no past."""
        try:
            data = json.loads(files.read(MEMORY) or "{}")
            if data.get("version") != _FORMAT:
                return cls()
            return cls({str(name): _repairs(fields) for name, fields in data["networks"].items()})
        except (EgressError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return cls()

    def write(self) -> None:
        told = {name: dataclasses.asdict(repairs) for name, repairs in self.networks.items()}
        files.write(MEMORY, json.dumps({"version": _FORMAT, "networks": told}) + "\n", 0o600)


def _repairs(fields: t.Mapping[str, t.Any]) -> Repairs:
    """Errors: ValueError or TypeError for what is no such thing."""
    repairs = Repairs(**fields)
    # What a file has may be of any type.
    counts: tuple[t.Any, ...] = (repairs.done, repairs.failed, repairs.in_vain)
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        raise ValueError(f"{counts} are no counts")
    # A pause that is longer than any was written before the clock was set back. No number compares as too late here.
    if not repairs.not_before <= time.time() + _LONGEST_PAUSE:
        return dataclasses.replace(repairs, not_before=0.0)
    return repairs


def is_memory(content: str) -> bool:
    return '"networks"' in content
