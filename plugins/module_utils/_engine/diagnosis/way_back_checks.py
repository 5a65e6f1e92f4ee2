# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What probes tell of answers: that they arrived, and where on their way to the namespace they were lost. No I/O."""

from __future__ import annotations

from .managed_drops import dropped
from .probing import UNANSWERED, Probing
from .said import UNTRACEABLE, by_ipsec, filtered, no_room, tracked, wrong_neighbour
from .structure import Seen
from .verdict import Finding

# By the family of the chain that drops it.
_ON_THE_BRIDGE, _AT_THE_UPLINK = {"netdev": "bridge_port", "bridge": "bridge"}, {"netdev": "uplink"}
_NOT_TRANSLATED = "its answers are not translated back"
_NOT_TAKEN = "connection tracking does not take the answer for one: a zone of its own or notrack keeps the two apart"
_TRACK_ALIKE = (
    "track answers as what they answer: see ct zone and notrack in nft list ruleset, --zone in iptables-save -t raw,"
    " and tc filter show dev UPLINK ingress"
)


def lost_on_the_way_back(seen: Seen, probing: Probing) -> Finding | None:
    trace, ingress, end = probing.trace, seen.ingress, seen.host_end
    arrived = [sight for sight in trace.sights if sight.back and sight.place == "host" and not sight.outgoing]
    if not arrived or ingress is None or end is None:
        return None
    # Of links on top of each other, that to which the kernel gave it last.
    by = arrived[-1].link
    if seen.path.routed and not trace.first("host", ingress.name, back=True):
        return _not_routed_back(seen, probing, by, ingress.name)
    if not trace.first("host", end.name, back=True, outgoing=True):
        said = f"{ingress.name} sent an answer on, and {end.name} did not get it"
        if probing.ruling:
            return dropped(seen, probing.ruling, said, "return", _ON_THE_BRIDGE)
        return Finding("UNEXPLAINED_DROP", (said,), "bridge", "return")
    said = f"{end.name} sent an answer on, and nobody took it"
    wrong = wrong_neighbour(seen, probing, said, "return")
    if probing.inside and not wrong:
        return Finding("NAMESPACE_FILTERED", (said, str(probing.inside)), direction="return")
    return wrong or Finding("UNEXPLAINED_DROP", (said,), "link", "return")


def _not_routed_back(seen: Seen, probing: Probing, by: str, ingress: str) -> Finding:
    said = f"an answer arrived by {by}, and {ingress} did not get it"
    strict = [int(value) for key, value in probing.strict.items() if key.split("/")[3] in ("all", by)]
    rose = probing.counted.get("IPReversePathFilter")
    if rose and any(strict):
        link = f"rp_filter of {by} is {max(strict)}"
        return Finding("RP_FILTER_DROP", (said, f"IPReversePathFilter rose by {rose}", link), direction="return")
    unanswered = probing.neighbour_back in UNANSWERED
    if probing.ruling and not (unanswered and probing.ruling.family in ("arp", "bridge")):
        return dropped(seen, probing.ruling, said, "return", _AT_THE_UPLINK)
    state = f"{seen.path.address} is {probing.neighbour_back} among the neighbours of the host"
    full = no_room(seen, probing, probing.neighbour_back, state, "return")
    if full:
        return full
    if unanswered:
        return filtered(seen, probing, (said, state), "return")
    secured = by_ipsec(probing, said, "return")
    if secured:
        return secured
    if seen.legacy:
        return Finding("FORWARD_DROPPED", (said, "iptables-legacy has rules here"), direction="return")
    untold = [UNTRACEABLE] if probing.untraceable else []
    if probing.entry and not probing.entry.answered:
        evidence = (said, *tracked(probing), _NOT_TAKEN, *untold)
        return Finding("UNEXPLAINED_DROP", evidence, "conntrack", "return", _TRACK_ALIKE, summary=_NOT_TRANSLATED)
    return Finding("UNEXPLAINED_DROP", (said, *tracked(probing), *untold), "return_path", "return")
