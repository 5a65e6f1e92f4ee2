# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other ends of all veth links of several namespaces at once, in time that grows with their number alone."""

from __future__ import annotations

import typing as t

from .link_messages import LinkReply, get_nsid, parse_nsid
from .namespaces import Namespaces

Replies = t.Mapping[str, t.Sequence[LinkReply]]
Ends = dict[tuple[str, int], tuple[str, LinkReply]]


def other_ends(namespaces: Namespaces, replies: Replies) -> Ends:
    """{(namespace, index): (namespace, link)}; an end in a namespace that is not among the replies is left out."""
    by_numbers: dict[tuple[int, int], list[tuple[str, LinkReply]]] = {}
    for place, links in replies.items():
        for link in links:
            if link.peer_index:
                by_numbers.setdefault((link.index, link.peer_index), []).append((place, link))
    nsids: dict[tuple[str, str], int] = {}

    def nsid(place: str, other: str) -> int:
        """The number that another namespace has in a namespace, -1 for none."""
        if (place, other) not in nsids:
            answer = namespaces.socket(place).request([get_nsid(namespaces.handle(other))])[0]
            nsids[place, other] = parse_nsid(answer.replies[0]) if answer.replies else -1
        return nsids[place, other]

    found: Ends = {}
    for (index, peer_index), ends in by_numbers.items():
        for place, link in ends:
            # Ends name each other's number; numbers are unique in one namespace alone.
            for other, candidate in by_numbers.get((peer_index, index), ()):
                here = place == other
                if here if link.peer_nsid is None else not here and nsid(place, other) == link.peer_nsid:
                    found[place, link.index] = (other, candidate)
    return found
