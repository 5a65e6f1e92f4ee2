# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which network a namespace belongs to: by its handle, the ledger and host ends of pairs, never by what is in it."""

from __future__ import annotations

import typing as t

from ..ledger import Ledger
from ..model import HOST, MARK, is_ours
from .handle_marks import END
from .links import Links
from .namespaces import Namespaces


def marks_of(namespaces: Namespaces, links: Links, names: t.Collection[str], ledger: Ledger) -> dict[str, str]:
    """{namespace: mark} of those that the modules made. links: those of the look that this is part of."""
    attached = {identity[1] for identity in ledger.originals if identity[0] == "namespace"}
    names = [name for name in names if name not in attached]
    handles = namespaces.handle_marks(names)
    if handles is None:
        # The pair's end on the host says it in their place.
        return {**_by_host_ends(namespaces, links, names), **_assigned(names, ledger)}
    marks = {name: text[: -len(END)] for name, text in handles.items() if text.endswith(END)}
    # Release 1.0.0 wrote no network there.
    earlier = [name for name in handles if name not in marks]
    if earlier:
        known = _assigned(earlier, ledger)
        unknown = [name for name in earlier if name not in known]
        ends = _by_host_ends(namespaces, links, unknown) if unknown else {}
        # One that was made for no network may have a pair that was made for one.
        marks.update({name: MARK if _is_of_none(links, name) else ends.get(name, MARK) for name in unknown})
        marks.update(known)
    return marks


def _assigned(names: t.Iterable[str], ledger: Ledger) -> dict[str, str]:
    return {name: f"{MARK}{ledger.assignments[name].network}" for name in names if name in ledger.assignments}


def _by_host_ends(namespaces: Namespaces, links: Links, names: t.Sequence[str]) -> dict[str, str]:
    numbers = {number: name for name, number in namespaces.numbers(HOST, names).items()}
    found: dict[str, str] = {}
    for link in links.all(HOST) if numbers else ():
        name = numbers.get(-1 if link.peer_nsid is None else link.peer_nsid)
        if name is not None and link.alias and is_ours(link.alias) and link.alias != MARK:
            found[name] = link.alias
    return found


def _is_of_none(links: Links, name: str) -> bool:
    loopback = links.get(name, index=1)
    return loopback is not None and loopback.alias == MARK
