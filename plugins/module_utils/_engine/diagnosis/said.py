# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several checks of probes say: neighbours without an answer, counters that rose, what conntrack has. No I/O."""

from __future__ import annotations

import typing as t

from ..kernel import limits
from ..kernel.link_messages import LinkReply
from .managed_drops import is_of_ports
from .probing import UNRESOLVED, Probing
from .structure import Seen
from .verdict import Finding

UNTRACEABLE = "this kernel cannot tell which chain drops it"


def queues(*links: LinkReply | None) -> t.Iterator[str]:
    """Those of links that have one: it may keep questions for neighbours back like anything else."""
    for link in links:
        if link is not None and link.qdisc not in ("", *limits.NONE):
            yield f"{link.name} has the queue {link.qdisc}"


def no_room(seen: Seen, probing: Probing, state: str, said: str, direction: str = "out") -> Finding | None:
    """Whether the kernel had no room for a neighbour, which is in a state that is said."""
    held = probing.neighbours
    if state not in UNRESOLVED or held is None or not held.refused:
        return None
    name = f"net.ipv{seen.path.family}.neigh.default.gc_thresh3"
    full = f"the kernel had no room for {held.refused} neighbours since the probes began: {name} is {held.limit}"
    return Finding("NEIGHBOUR_TABLE_FULL", (said, full), direction=direction, fix=f"raise {name} of the machine")


def tracked(probing: Probing) -> t.Iterator[str]:
    if probing.entry:
        seen = "one was seen" if probing.entry.answered else "none was seen"
        yield f"conntrack expects answers at {probing.entry.translated}, and {seen}"


def filtered(seen: Seen, probing: Probing, evidence: tuple[str, ...], direction: str = "out") -> Finding:
    """Nobody answered a question for a neighbour: with who keeps it from that, as far as somebody is seen to."""
    if probing.ruling and is_of_ports(probing.ruling):
        fix = "give it back the addresses of its network: it may ask from no others, unless spoof_protection is false"
        return Finding("NEIGHBOUR_FILTERED", (*evidence, str(probing.ruling)), direction=direction, fix=fix)
    if probing.ruling:
        fix = f"let ARP and neighbour discovery pass in {probing.ruling.family} {probing.ruling.table}"
        return Finding("NEIGHBOUR_FILTERED", (*evidence, str(probing.ruling)), direction=direction, fix=fix)
    if probing.reticent:
        fix = "have the host answer to ARP there: sysctl -w KEY=0, or ip link set LINK arp on"
        return Finding("NEIGHBOUR_FILTERED", (*evidence, *probing.reticent), direction=direction, fix=fix)
    ends = (seen.interface, seen.host_end)
    links = ends if direction == "out" else ends[::-1]
    return Finding("NEIGHBOUR_FILTERED", (*evidence, *queues(*links)), direction=direction)


def wrong_neighbour(seen: Seen, probing: Probing, said: str, direction: str = "out") -> Finding | None:
    """Whether the one who sends has another MAC address for the next than that has."""
    path, out = seen.path, direction == "out"
    held, link = (probing.neighbour_mac, seen.ingress) if out else (probing.neighbour_back_mac, seen.interface)
    if link is None or not held or not link.mac or held == link.mac or (out and not path.routed):
        return None
    address = path.gateway if out else path.address
    who, state = (path.shown, probing.neighbour) if out else ("the host", probing.neighbour_back)
    entry = f"{who} has {address} at {held} ({state}), and {link.name} has {link.mac}"
    sender = seen.interface if out else seen.ingress
    enter = f"ip -n {path.namespace}" if out and "/" not in path.namespace else "ip"
    fix = f"{enter} neigh del {address} dev {sender.name if sender else 'LINK'}"
    return Finding("NEIGHBOUR_WRONG", (said, entry), direction=direction, fix=fix)


def by_ipsec(probing: Probing, said: str, direction: str = "out") -> Finding | None:
    """Whether policies of IPsec took it, by the kernel's counters (proc_net(5), xfrm_stat)."""
    rose = [f"{name} rose by {count}" for name, count in probing.counted.items() if name.startswith("Xfrm")]
    if not rose:
        return None
    fix = "except the network from that policy: ip xfrm policy shows it"
    summary = "a policy of IPsec on the host drops its packets"
    return Finding("FORWARD_DROPPED", (said, *rose), "", direction, fix, "advise", summary)
