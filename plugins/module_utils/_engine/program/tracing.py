# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One packet's way, link by link, as it happens."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import SpecError
from ..kernel import features, namespaces, probes
from ..kernel.mounts import is_namespace
from ..kernel.namespaces import Namespaces
from ..kernel.probes import Sight, Target, Trace
from ..model import HOST
from ..spec import values
from .output import Output

ANSWERED, LOST = 0, 1


def place(netns: str | None, pid: int | None) -> str:
    """A namespace by its name or by a process in it, the host's without either. Errors: SpecError."""
    if pid is not None:
        found = f"/proc/{pid}/ns/net"
        if not is_namespace(found):
            raise SpecError("--pid", f"there is no process {pid}, or its namespace may not be seen")
        return found
    if netns is None:
        return HOST
    name = values.namespace_name(netns, "--netns")
    there = namespaces.names()
    if name not in there:
        raise SpecError("--netns", f"there is no namespace {name!r}", f"there are {', '.join(there) or 'none'}")
    return name


def trace(netns: str, target: Target, patience: float, output: Output, as_json: bool) -> int:
    """Send one packet and tell of each sight of it; returns the exit code. Errors: UnsupportedError without rights."""
    features.require_privilege(probing=True)
    teller = _Teller(netns, output)
    with Namespaces() as opened:
        if not as_json:
            output.line(f"{target} from {netns or 'the host'}")
        watch = None if as_json else teller.tell
        found = probes.send(opened, netns, target, patience=patience, watch=watch)
    if as_json:
        output.json(_document(netns, target, found))
    else:
        teller.end(found, patience)
    return ANSWERED if found.answered else LOST


class _Teller:
    """Remembers the addresses seen last in each direction, to tell where they change."""

    def __init__(self, netns: str, output: Output) -> None:
        self._netns = netns
        self._output = output
        self._known: dict[bool, tuple[str, str]] = {}

    def tell(self, sight: Sight) -> None:
        where = f"{self.name(sight.place)} {sight.link}"
        moved = "sends" if sight.outgoing else "receives"
        said = f"{sight.source} > {sight.destination}"
        way = "error" if sight.error else "back" if sight.back else "out"
        notes = [sight.error] if sight.error else self._changes(sight)
        line = f"{sight.at * 1000:9.3f} ms  {way:5}  {where:28} {moved:8}  {said}"
        self._output.line(line + (f"  {', '.join(notes)}" if notes else ""), "bad" if sight.error else "")

    def name(self, where: str) -> str:
        return (self._netns or "host") if where == "inside" else "host"

    def _changes(self, sight: Sight) -> list[str]:
        before = self._known.get(sight.back)
        self._known[sight.back] = now = (sight.source, sight.destination)
        ends = zip(("source", "destination"), before or now, now)
        return [f"{end} changed from {old} to {new}" for end, old, new in ends if old != new]

    def end(self, found: Trace, patience: float) -> None:
        last = _last(found)
        if found.answered:
            after = f" after {last.at * 1000:.3f} ms" if last else ""
            self._output.line(f"answered{after}", "good")
        elif last is None:
            self._output.line(f"not sent: {found.error or 'no link saw it'}", "bad")
        else:
            why = found.error or f"no answer in {patience:g} s"
            moved = "sent by" if last.outgoing else "received by"
            what = "the answer" if last.back else "the packet"
            where = f"{self.name(last.place)} {last.link}"
            addresses = f"{last.source} > {last.destination}"
            self._output.line(f"lost: {why}; {what} was last {moved} {where} as {addresses}", "bad")


def _last(found: Trace) -> Sight | None:
    """The latest sight of the packet or its answer, which may be a refusal.

    A packet that goes up through a bridge keeps its time.
    """
    seen = [sight for sight in found.sights if found.refused or not sight.error]
    return max(reversed(seen), key=lambda sight: sight.at, default=None)


def _document(netns: str, target: Target, found: Trace) -> dict[str, t.Any]:
    last = _last(found)
    return {
        "namespace": netns,
        "target": str(target),
        "answered": found.answered,
        "error": found.error,
        "sights": [dataclasses.asdict(sight) for sight in found.sights],
        "last": dataclasses.asdict(last) if last else None,
    }
