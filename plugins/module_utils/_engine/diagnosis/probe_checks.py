# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What probes tell: the last link that saw one without an answer, and what is known of the next. No I/O."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from ..kernel.arp_questions import Question
from ..kernel.link_messages import LinkReply
from ..kernel.probes import DNS_PORT, Sight
from ..rules import NatRules
from . import structural_checks
from .host_checks import led_elsewhere
from .managed_drops import dropped, has_rules, is_untranslated, untracked
from .probing import SMALL, UNANSWERED, UNRESOLVED, Probing
from .said import UNTRACEABLE, by_ipsec, filtered, no_room, tracked, wrong_neighbour
from .structure import BRIDGE_CALLS, Seen
from .verdict import Finding
from .way_back_checks import lost_on_the_way_back

_FULL = 0.95  # of the table of connections
# By the family of the chain that drops it.
_ON_THE_WAY_IN, _ON_THE_WAY_OUT = {"netdev": "bridge_port", "bridge": "bridge"}, {"netdev": "uplink"}
_REFUSED = ("drop", "insert_failed")  # counters of /proc/net/stat/nf_conntrack


def notes(seen: Seen, probing: Probing) -> dict[str, tuple[str, ...]]:
    """For each hop, which packet was seen there."""
    found: dict[str, tuple[str, ...]] = {}
    for hop, (place, link) in _way(seen).items():
        said = []
        for back in (False, True):
            sight = probing.trace.first(place, link, back)
            if sight:
                said.append(f"{link} saw {'an answer' if back else 'the packet'} from {sight.source}")
        if said:
            found[hop] = tuple(said)
    if "count" in seen.table:
        found["conntrack"] = (f"{seen.table['count']} connections of {seen.table['max']} are tracked",)
    return found


def _way(seen: Seen) -> dict[str, tuple[str, str]]:
    links = {
        "link": ("inside", seen.interface),
        "bridge_port": ("host", seen.host_end),
        "bridge": ("host", seen.bridge),
        "uplink": ("host", seen.uplink),
    }
    return {hop: (place, link.name) for hop, (place, link) in links.items() if link}


def findings(seen: Seen, probing: Probing) -> list[Finding]:
    """Why there was no answer, or what is wrong although there was one."""
    trace = probing.trace
    if trace.answered:
        return [found for check in (_large, _resolver, _listener, _beside) for found in check(seen, probing)]
    asked = f"{probing.target} from {seen.path.shown}: no answer" + (f" ({trace.error})" if trace.error else "")
    if _nobody_need_answer(seen, probing):
        return []
    for check in (_never_left, _lost_on_the_bridge, _lost_on_the_host, _lost_outside, lost_on_the_way_back):
        found = check(seen, probing)
        if found:
            return [replace(found, evidence=(asked, *found.evidence))]
    return [Finding("UNEXPLAINED_DROP", (asked,))]


def weighed(known: t.Sequence[Finding], told: t.Sequence[Finding], probing: Probing) -> list[Finding]:
    """What is known, beside what a packet told: a loss at its hop bears a presumption out."""
    stopped = set() if probing.trace.answered else {finding.place for finding in told}
    told_too = {(finding.code, finding.place, finding.summary) for finding in told}
    return [
        replace(finding, presumed=False, summary="") if finding.presumed and finding.place in stopped else finding
        for finding in known
        if not finding.presumed or (finding.code, finding.place, finding.summary) not in told_too
    ]


def passes(seen: Seen, probing: Probing) -> bool:
    """Whether the host's filters let it through: it left, or the guard behind them dropped it."""
    return probing.trace.answered or is_untranslated(probing.ruling) or _leaves(seen, probing) is not None


def _leaves(seen: Seen, probing: Probing) -> Sight | None:
    """Where it left the host."""
    exit_link = _exit(seen, probing)
    return probing.trace.first("host", exit_link.name, outgoing=True) if exit_link else None


def _nobody_need_answer(seen: Seen, probing: Probing) -> bool:
    """Whether it left as it should to one who may take it in silence, and the host's own got no answer either.

    So may anybody with datagrams, and a gateway that nobody named and that answers as a neighbour.
    """
    target, sight = probing.target, _leaves(seen, probing)
    datagram = target.protocol == "udp" and target.port != DNS_PORT
    gateway = not target.named and probing.neighbour_out not in (*UNRESOLVED, "")
    if sight is None or not (datagram or gateway):
        return False
    untranslated = _is_inside(seen, sight.source) and not seen.path.translates(target.address)
    back = any(one.back and one.place == "host" for one in probing.trace.sights)
    heard = probing.control is not None and probing.control.answered
    return (untranslated or _is_hosts(seen, sight.source)) and not back and not heard


def _is_inside(seen: Seen, address: str) -> bool:
    return address == seen.path.address or (seen.inside is not None and address in seen.inside.own)


def _exit(seen: Seen, probing: Probing) -> LinkReply | None:
    """The uplink by which it left; of several next hops any may be chosen."""
    ingress = seen.ingress.name if seen.ingress else ""
    for sight in probing.trace.sights:
        if sight.place == "host" and sight.outgoing and not sight.back and sight.link in seen.exits - {ingress}:
            return seen.host.links.get(sight.link)
    return seen.uplink


def _never_left(seen: Seen, probing: Probing) -> Finding | None:
    interface = seen.interface.name if seen.interface else ""
    if probing.trace.first("inside", interface, outgoing=True):
        return None
    diverted = structural_checks.diverted(seen)
    if diverted:
        return replace(diverted, presumed=False)
    said = f"{seen.path.gateway} is {probing.neighbour} among the neighbours of {seen.path.shown}"
    silent = no_room(seen, probing, probing.neighbour, said)
    if silent is None and probing.neighbour in UNANSWERED:
        sound = "the link, the bridge and its address are as they should be"
        silent = filtered(seen, probing, (said,) if probing.ruling or probing.reticent else (said, sound))
    if silent is None and probing.inside:
        return Finding("NAMESPACE_FILTERED", (f"{interface} never sent it", str(probing.inside)))
    return silent or Finding("UNEXPLAINED_DROP", (f"{interface} never sent it",), hop="link")


def _lost_on_the_bridge(seen: Seen, probing: Probing) -> Finding | None:
    end, bridge, trace = seen.host_end, seen.bridge, probing.trace
    if end is not None and not trace.first("host", end.name):
        interface = seen.interface.name if seen.interface else ""
        return Finding("UNEXPLAINED_DROP", (f"it left {interface}, and {end.name} did not see it",), "bridge_port")
    if end is not None and bridge is not None and seen.path.routed and not trace.first("host", bridge.name):
        said = f"{end.name} saw it, and {bridge.name} did not"
        untold = [UNTRACEABLE] if probing.untraceable else []
        unexplained = Finding("UNEXPLAINED_DROP", (said, *untold), hop="bridge")
        known = wrong_neighbour(seen, probing, said) or _dropped_by_the_host(seen, probing, said, _ON_THE_WAY_IN)
        return known or unexplained
    return None


def _lost_on_the_host(seen: Seen, probing: Probing) -> Finding | None:
    uplink, ingress, trace = _exit(seen, probing), seen.ingress, probing.trace
    if uplink is None or ingress is None or not seen.path.routed:
        return None
    if trace.first("host", uplink.name, outgoing=True):
        return None
    said = f"{ingress.name} saw it, and {uplink.name} did not"
    others = [s.link for s in trace.sights if s.place == "host" and s.outgoing and not s.back]
    others = [name for name in others if name not in (ingress.name, uplink.name)]
    if others:
        return Finding("POLICY_ROUTE_CONFLICT", (said, f"it left by {others[0]}"))
    stopped = _dropped_by_the_host(seen, probing, said, _ON_THE_WAY_OUT) or by_ipsec(probing, said)
    if stopped:
        return stopped
    if probing.entry:
        return _behind_the_rules(seen, probing, said)
    errors = sorted((sight for sight in trace.sights if sight.error), key=lambda sight: not sight.rejects)
    if errors:
        code, hop = ("FORWARD_DROPPED", "") if errors[0].rejects else ("UNEXPLAINED_DROP", "host_forwarding")
        return Finding(code, (said, f"the host answered with {errors[0].error}"), hop)
    if seen.legacy:
        return Finding("FORWARD_DROPPED", (said, "iptables-legacy has rules here"))
    if probing.neighbour_out in UNRESOLVED:
        return _no_next_hop(seen, probing, said)
    if probing.counted.get("IPReversePathFilter"):
        rose = f"IPReversePathFilter rose by {probing.counted['IPReversePathFilter']}"
        return Finding("RP_FILTER_DROP", (said, rose), "host_forwarding")
    chains = UNTRACEABLE if probing.untraceable else "no chain drops it"
    return Finding("UNEXPLAINED_DROP", (said, f"the host forwards, has a route, and {chains}"), "forward_policy")


def _dropped_by_the_host(seen: Seen, probing: Probing, said: str, hops: t.Mapping[str, str]) -> Finding | None:
    """By a rule, or because the kernel had no room for its entry, or no port."""
    full = _table_full(seen, probing, said)
    if full:
        return full
    if probing.ruling:
        return dropped(seen, probing.ruling, said, hops=hops)
    refused = _refused_flows(seen, probing)
    return Finding("PORTS_EXHAUSTED", (said, *refused, *_pool(seen))) if refused else None


def _table_full(seen: Seen, probing: Probing, said: str) -> Finding | None:
    refused = _refused_flows(seen, probing)
    full = int(seen.table.get("count", "0")) >= _FULL * int(seen.table.get("max", "1"))
    return Finding("CONNTRACK_FULL", (said, *refused)) if refused and full else None


def _refused_flows(seen: Seen, probing: Probing) -> tuple[str, ...]:
    """What its counters say of connections that conntrack could not take."""
    rose = [f"{name} of conntrack rose by {probing.counted[name]}" for name in _REFUSED if name in probing.counted]
    tracked = f"{seen.table.get('count', '0')} connections of {seen.table.get('max', '1')} are tracked"
    return (tracked, ", ".join(rose)) if rose else ()


def _pool(seen: Seen) -> t.Iterator[str]:
    for backend, rules in seen.nat.items():
        if isinstance(rules, NatRules) and rules.ports:
            yield f"{backend} gives ports {rules.ports[0]} to {rules.ports[1]}"


def _behind_the_rules(seen: Seen, probing: Probing, said: str) -> Finding:
    if probing.neighbour_out in UNRESOLVED:
        return _no_next_hop(seen, probing, said)
    uplink = seen.uplink.name if seen.uplink else "the uplink"
    entry = f"its conntrack entry is there, so it passed all rules; {uplink} has the queue behind them"
    return Finding("UNEXPLAINED_DROP", (said, entry), hop="uplink")


def _no_next_hop(seen: Seen, probing: Probing, said: str) -> Finding:
    hop = (seen.way.gateway if seen.way else "") or seen.target.address
    state = f"{hop} is {probing.neighbour_out} among the neighbours of the host"
    unreachable = Finding("UPSTREAM_UNREACHABLE", (said, state), hop="upstream")
    return no_room(seen, probing, probing.neighbour_out, state) or unreachable


def _lost_outside(seen: Seen, probing: Probing) -> Finding | None:
    uplink = _exit(seen, probing)
    if any(sight.back and sight.place == "host" and not sight.error for sight in probing.trace.sights):
        return None
    if uplink is None or not seen.path.routed:
        return Finding("UPSTREAM_UNREACHABLE", ("it left the host's end, and nothing came back",))
    sight = probing.trace.first("host", uplink.name, outgoing=True)
    source = sight.source if sight else ""
    inside = _is_inside(seen, source)
    said = f"it left by {uplink.name} from {source}, and nothing came back"
    told = tracked(probing)
    if inside and seen.path.translates(probing.target.address):
        missing = Finding("NAT_MISSING", (said, f"{source} is not an address of this host", *told))
        return missing if probing.entry or not has_rules(seen) else untracked(missing)
    if not inside and not _is_hosts(seen, source):
        # The host's own packets may get it as well, so that its getting no answer proves nothing.
        return _source_of_nobody(seen, source, (said, *told, f"no link of the host has {source}"))
    control = probing.control
    if control and control.answered and _leads_elsewhere(seen):
        conflict = led_elsewhere(seen)
        return replace(conflict, evidence=(said, *told, "the host itself gets an answer", *conflict.evidence))
    if probing.unheard:
        return _unheard(probing.unheard, probing, said)
    if not (control and control.answered):
        return Finding("UPSTREAM_UNREACHABLE", (said, *told, "the host itself gets no answer either"))
    if inside:
        # Nobody said whether it is meant to be translated.
        code = "NO_RETURN_ROUTE" if seen.path.asked or not ipaddress.ip_address(source).is_private else "NAT_MISSING"
        return Finding(code, (said, *told, "the host itself gets an answer"))
    return Finding(
        "UPSTREAM_UNREACHABLE", (said, *told, "the host itself gets an answer, from the same address or another")
    )


def _unheard(question: Question, probing: Probing, said: str) -> Finding:
    """Answers are to come by another link, and strict rp_filter lets that one answer to nobody."""
    asked = f"{question.source} asks on {question.link} who has {question.address}, and is not answered"
    link = f"rp_filter of {question.link} is 1, and the route to {question.source} is by another link"
    fix = f"sysctl -w net.ipv4.conf.{question.link}.rp_filter=2"
    return Finding("RP_FILTER_DROP", (said, *tracked(probing), asked, link), direction="return", fix=fix)


def _leads_elsewhere(seen: Seen) -> bool:
    through, plainly = seen.through, seen.plainly
    if through is None or plainly is None or not (through.leads and plainly.leads):
        return False
    return (through.device, through.gateway) != (plainly.device, plainly.gateway)


def _source_of_nobody(seen: Seen, source: str, evidence: tuple[str, ...]) -> Finding:
    """By the network's own rule, or by one of somebody else's that running the role would not change."""
    rules = [rules for rules in seen.nat.values() if isinstance(rules, NatRules)]
    unknown = not seen.path.asked or (seen.nat_unseen and seen.path.nat == "snat")
    if unknown or any(_may_give(one.to_source, source) for one in rules):
        asked = _may_give(seen.path.to_source, source)
        return Finding("SNAT_STALE_ADDRESS", evidence, tier="advise" if asked else "")
    fix = f"a rule of somebody else's translates to {source} ahead of the network's: remove it, or except the network"
    return Finding("SNAT_STALE_ADDRESS", evidence, fix=fix, tier="advise")


def _may_give(to_source: t.Iterable[str], address: str) -> bool:
    """to_source: addresses and ranges, as NatRules has them."""
    wanted = ipaddress.ip_address(address)
    ranges = [[ipaddress.ip_address(end) for end in item.split("-")] for item in to_source if item]
    return any(ends[0].version == wanted.version and int(ends[0]) <= int(wanted) <= int(ends[-1]) for ends in ranges)


def _is_hosts(seen: Seen, address: str) -> bool:
    return (
        seen.host_has(address)
        or address in seen.local_addresses
        or (bool(address) and ipaddress.ip_address(address).is_link_local)
    )


def _large(seen: Seen, probing: Probing) -> t.Iterator[Finding]:
    large = probing.large
    if large is None or not large.smaller:
        return
    small = SMALL[seen.path.family]
    said = f"{probing.target} with {large.size} bytes: no answer, with {small}: an answer, and nobody says why"
    if large.dropped:
        yield Finding("MTU_MISMATCH", (said, f"{large.dropped} rose"))
    else:
        host = "the host itself gets one" if large.host_too else "the host itself gets none either"
        yield Finding("PMTU_BLACKHOLE", (said, host))


def _resolver(seen: Seen, probing: Probing) -> t.Iterator[Finding]:
    if probing.servers is None:
        return
    if not probing.servers:
        yield Finding("DNS_UNREACHABLE", (f"{seen.path.shown} has no resolver",))
    elif len(probing.silent) == len(probing.servers):
        yield Finding("DNS_UNREACHABLE", tuple(f"{server} does not answer to DNS" for server in probing.silent))


def _listener(seen: Seen, probing: Probing) -> t.Iterator[Finding]:
    if probing.refuses:
        target = f"{probing.target} refuses {seen.path.shown}"
        said = f"{target}, and who listens there does so on {probing.refuses} alone"
        yield Finding("LISTENER_LOCAL_ONLY", (said,), hop="upstream")


def _beside(seen: Seen, probing: Probing) -> t.Iterator[Finding]:
    trace, other = probing.beside, probing.beside_address
    if trace is None:
        return
    arrived = trace.first("peer")
    switch = f"{BRIDGE_CALLS[seen.path.family].replace('/', '.')} = 1"
    interface = seen.interface.name if seen.interface else ""
    # What never left, as for want of a neighbour, the firewall did not drop.
    if arrived is None and trace.first("inside", interface, outgoing=True):
        said = f"{other} on the same bridge does not get packets"
        yield _table_full(seen, probing, said) or Finding("BRIDGE_NF_DROPS", (switch, said))
    elif arrived is not None and arrived.source != seen.path.address:
        said = f"{other} on the same bridge gets packets from {arrived.source}"
        # No rule of ours does that.
        yield Finding("EAST_WEST_NATED", (switch, said), tier="advise")
