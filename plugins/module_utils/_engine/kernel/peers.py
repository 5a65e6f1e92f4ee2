# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other ends of all veth links of several namespaces at once, in time that grows with their number alone."""

from __future__ import annotations

import typing as t

from ..model import HOST
from .link_messages import LinkReply
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
    # Nearly all pairs have an end on the host.
    namespaces.numbers(HOST, [place for place in replies if place != HOST])
    found: Ends = {}
    for (index, peer_index), ends in sorted(by_numbers.items(), key=lambda item: item[1][0][0] != HOST):
        for place, link in ends:
            # Ends name each other's number; numbers are unique in one namespace alone.
            for other, candidate in by_numbers.get((peer_index, index), ()):
                if (place, link.index) in found or (other, candidate.index) in found:
                    continue
                if place == other if link.peer_nsid is None else _leads_to(namespaces, place, link, other):
                    found[place, link.index] = (other, candidate)
                    found[other, candidate.index] = (place, link)
    return found


def _leads_to(namespaces: Namespaces, place: str, link: LinkReply, other: str) -> bool:
    return place != other and namespaces.numbers(place, [other]).get(other) == link.peer_nsid
