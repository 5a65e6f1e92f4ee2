# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which chains of nftables drop probes, asked once a probe got no answer: on the host, and inside the namespace."""

from __future__ import annotations

import threading
import typing as t

from ..kernel import nft_trace
from ..kernel.namespaces import Namespaces
from ..kernel.nft_trace import Ruling, UntraceableError
from ..kernel.probes import Target
from ..kernel.trace_table import Match
from ..model import HOST
from .structure import Seen

_RESOLVING = 2.2  # seconds in which the kernel asks for a neighbour once more
_ENOUGH = 4  # paths of a link whose traces agree, after which the next ones are not traced
Send = t.Callable[[Seen, float], object]


class Tracer:
    """Traces one probe at a time; what shows a shared cause is asked once."""

    def __init__(self, namespaces: Namespaces, send: Send, patience: float, short: float) -> None:
        """send: one more probe, with the seconds to wait for an answer; patience, or short where others agree."""
        self._namespaces = namespaces
        self._send = send
        self._patience, self._short = patience, short
        self._lock = threading.Lock()
        self._rulings: dict[tuple[str, Target, bool], list[Ruling | None]] = {}
        self.untraceable = False

    def on_the_host(self, seen: Seen, back: bool) -> Ruling | None:
        """A trace costs the host more than a probe does: where those of some paths of a link agree, so do others."""
        ingress = seen.ingress.name if seen.ingress else ""
        with self._lock:
            known = self._rulings.setdefault((ingress, seen.target, back), [])
            if len(known) < _ENOUGH or len({*known[-_ENOUGH:]}) > 1:
                matches = [Match(seen.path.address, seen.target.address)]
                matches += [Match(seen.target.address)] if back else []
                patience = self._short if known else self._patience
                known.append(self._traced(lambda: self._send(seen, patience), matches, _arrivals(seen, back)))
            return known[-1]

    def of_questions(self, seen: Seen) -> Ruling | None:
        """Who drops what asks the host for its own address, or the namespace's answers to what the host asks."""
        asked = [Match(address, asks=True) for address in (seen.path.gateway, seen.path.address) if address]
        with self._lock:
            return self._traced(lambda: self._send(seen, _RESOLVING), asked, _arrivals(seen, False))

    def inside(self, seen: Seen) -> Ruling | None:
        """By a filter of the namespace's own, on the way out or back."""
        address = seen.target.address
        matches = [Match(seen.path.address, address), Match(address)]
        with self._lock:
            return self._traced(lambda: self._send(seen, self._short), matches, netns=seen.path.namespace)

    def _traced(
        self,
        send: t.Callable[[], object],
        matches: t.Sequence[Match],
        devices: t.Sequence[str] = (),
        netns: str = HOST,
    ) -> Ruling | None:
        if self.untraceable:
            return None
        try:
            return nft_trace.drops(self._namespaces, matches, send, devices, netns)
        except UntraceableError:
            self.untraceable = True
            return None


def _arrivals(seen: Seen, back: bool) -> list[str]:
    """The links by which a probe and its answer come to the host."""
    ingress = seen.ingress.name if seen.ingress else ""
    uplinks = {seen.uplink.name} if seen.uplink else set()
    ways = sorted({*uplinks, *seen.exits} - {ingress}) if back else []
    return [*([seen.host_end.name] if seen.host_end else []), *ways]
