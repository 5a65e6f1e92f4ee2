# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts by identity, which also finds those of one namespace and the link at a place: a host has thousands of them."""

from __future__ import annotations

import typing as t

from ..model import Fact, Identity, Link


class Facts(dict[Identity, Fact]):
    """Changed by items and pop alone."""

    def __init__(self, facts: t.Mapping[Identity, Fact] | None = None) -> None:
        super().__init__()
        self._inside: dict[str, dict[Identity, Fact]] = {}
        self._ends: dict[tuple[str, str], dict[Identity, Link]] = {}
        for identity, fact in (facts or {}).items():
            self[identity] = fact

    def __setitem__(self, identity: Identity, fact: Fact) -> None:
        if identity in self:
            self._forget(identity)
        super().__setitem__(identity, fact)
        place = getattr(fact, "netns", None)
        if place is not None:
            self._inside.setdefault(place, {})[identity] = fact
        if isinstance(fact, Link):
            for end in (fact, fact.peer):
                if end:
                    self._ends.setdefault((end.netns, end.name), {})[identity] = end

    def __delitem__(self, identity: Identity) -> None:
        self._forget(identity)
        super().__delitem__(identity)

    def inside(self, netns: str) -> t.Mapping[Identity, Fact]:
        """Those of a namespace."""
        return self._inside.get(netns, {})

    def end(self, netns: str, name: str) -> Link | None:
        """The link at a place, which may be the other end of a pair."""
        return next(iter(self._ends.get((netns, name), {}).values()), None)

    def _forget(self, identity: Identity) -> None:
        fact = self[identity]
        self._inside.get(getattr(fact, "netns", ""), {}).pop(identity, None)
        if isinstance(fact, Link):
            for end in (fact, fact.peer):
                if end:
                    self._ends[end.netns, end.name].pop(identity, None)
