# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes of a run."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass, field

from .model import Choice


@dataclass(frozen=True)
class Result:
    """What a run did, or in check mode would do. difference: before and after as YAML of the affected objects.

    choices: what rules were written for, and why. unconfirmed: the token to confirm it by, and for which actions.
    networks: those for which something was done.
    left: actions that were not taken, as they may cut the way to this host.
    spared: namespaces that were left as they are, with their networks.
    """

    changed: bool = False
    actions: list[str] = field(default_factory=list)
    difference: t.Callable[[], dict[str, str]] = dict
    choices: t.Sequence[Choice] = ()
    unconfirmed: tuple[str, list[str]] | None = None
    networks: frozenset[str] = frozenset()
    left: t.Sequence[str] = ()
    spared: t.Mapping[str, t.Collection[str]] = field(default_factory=dict)

    @functools.cached_property
    def diff(self) -> dict[str, str]:
        """It takes a while for a thousand objects, and not everybody asks for it."""
        return self.difference()
