# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What probes tell: the last link that saw one without an answer, and what is known of the next. No I/O."""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import replace

from ..kernel import limits
from ..kernel.link_messages import LinkReply
from ..kernel.probes import DNS_PORT, Sight
from ..rules import NatRules
from .managed_drops import dropped, has_rules, is_untranslated, untracked
from .probing import SMALL, UNANSWERED, UNRESOLVED, Probing
from .structure import BRIDGE_CALLS, Seen
from .verdict import Finding

_FULL = 0.95  # of the table of connections
_REFUSED = ("drop", "insert_failed")  # counters of /proc/net/stat/nf_conntrack
_UNTRACEABLE = "this kernel cannot tell which chain drops it"


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
    for check in (_never_left, _lost_on_the_bridge, _lost_on_the_host, _lost_outside, _lost_on_the_way_back):
        found = check(seen, probing)
        if found:
            return [replace(found, evidence=(asked, *found.evidence))]
    return [Finding("UNEXPLAINED_DROP", (asked,))]


def weighed(known: t.Sequence[Finding], told: t.Sequence[Finding], probing: Probing) -> list[Finding]:
    """What is known, beside what a packet told: a loss at its hop bears a presumption out."""
    stopped = set() if probing.trace.answered else {finding.place for finding in told}
    return [
        replace(finding, presumed=False, summary="") if finding.presumed and finding.place in stopped else finding
        for finding in known
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
    said = f"{seen.path.gateway} is {probing.neighbour} among the neighbours of {seen.path.shown}"
    silent = _no_room(seen, probing, probing.neighbour, said)
    if silent is None and probing.neighbour in UNANSWERED:
        sound = "the link, the bridge and its address are as they should be"
        silent = Finding("NEIGHBOUR_FILTERED", (said, sound, *_queues(seen.interface, seen.host_end)))
    return silent or Finding("UNEXPLAINED_DROP", (f"{interface} never sent it",), hop="link")


def _queues(*links: LinkReply | None) -> t.Iterator[str]:
    """Those of links that have one: it may keep questions for neighbours back like anything else."""
    for link in links:
        if link is not None and link.qdisc not in ("", *limits.NONE):
            yield f"{link.name} has the queue {link.qdisc}"


def _no_room(seen: Seen, probing: Probing, state: str, said: str, direction: str = "out") -> Finding | None:
    """Whether the kernel had no room for a neighbour, which is in a state that is said."""
    held = probing.neighbours
    if state not in UNRESOLVED or held is None or not held.refused:
        return None
    name = f"net.ipv{seen.path.family}.neigh.default.gc_thresh3"
    full = f"the kernel had no room for {held.refused} neighbours since the probes began: {name} is {held.limit}"
    return Finding("NEIGHBOUR_TABLE_FULL", (said, full), direction=direction, fix=f"raise {name} of the machine")


def _lost_on_the_bridge(seen: Seen, probing: Probing) -> Finding | None:
    end, bridge, trace = seen.host_end, seen.bridge, probing.trace
    if end is not None and not trace.first("host", end.name):
        interface = seen.interface.name if seen.interface else ""
        return Finding("UNEXPLAINED_DROP", (f"it left {interface}, and {end.name} did not see it",), "bridge_port")
    if end is not None and bridge is not None and seen.path.routed and not trace.first("host", bridge.name):
        said = f"{end.name} saw it, and {bridge.name} did not"
        unexplained = Finding("UNEXPLAINED_DROP", (said, *_ignored(seen, probing)), hop="bridge")
        return _dropped_by_the_host(seen, probing, said) or unexplained
    return None


def _ignored(seen: Seen, probing: Probing) -> t.Iterator[str]:
    if probing.neighbour == "PERMANENT":
        yield f"{seen.path.shown} has a static neighbour for {seen.path.gateway}"
    if probing.untraceable:
        yield _UNTRACEABLE


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
    stopped = _dropped_by_the_host(seen, probing, said)
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
    chains = _UNTRACEABLE if probing.untraceable else "no chain drops it"
    return Finding("UNEXPLAINED_DROP", (said, f"the host forwards, has a route, and {chains}"), "forward_policy")


def _dropped_by_the_host(seen: Seen, probing: Probing, said: str) -> Finding | None:
    """By a rule, or because the kernel had no room for its entry, or no port."""
    full = _table_full(seen, probing, said)
    if full:
        return full
    if probing.ruling:
        return dropped(seen, probing.ruling, said)
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
    hop = (seen.plainly.gateway if seen.plainly else "") or seen.target.address
    state = f"{hop} is {probing.neighbour_out} among the neighbours of the host"
    unreachable = Finding("UPSTREAM_UNREACHABLE", (said, state), hop="upstream")
    return _no_room(seen, probing, probing.neighbour_out, state) or unreachable


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
    told = _tracked(probing)
    if inside and seen.path.translates(probing.target.address):
        missing = Finding("NAT_MISSING", (said, f"{source} is not an address of this host", *told))
        return missing if probing.entry or not has_rules(seen) else untracked(missing)
    if not inside and not _is_hosts(seen, source):
        # The host's own packets may get it as well, so that its getting no answer proves nothing.
        return _source_of_nobody(seen, source, (said, *told, f"no link of the host has {source}"))
    control = probing.control
    if not (control and control.answered):
        return Finding("UPSTREAM_UNREACHABLE", (said, *told, "the host itself gets no answer either"))
    if inside:
        # Nobody said whether it is meant to be translated.
        code = "NO_RETURN_ROUTE" if seen.path.asked or not ipaddress.ip_address(source).is_private else "NAT_MISSING"
        return Finding(code, (said, *told, "the host itself gets an answer"))
    return Finding(
        "UPSTREAM_UNREACHABLE", (said, *told, "the host itself gets an answer, from the same address or another")
    )


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


def _tracked(probing: Probing) -> t.Iterator[str]:
    if probing.entry:
        seen = "one was seen" if probing.entry.answered else "none was seen"
        yield f"conntrack expects answers at {probing.entry.translated}, and {seen}"


def _is_hosts(seen: Seen, address: str) -> bool:
    return seen.host_has(address) or (bool(address) and ipaddress.ip_address(address).is_link_local)


def _lost_on_the_way_back(seen: Seen, probing: Probing) -> Finding | None:
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
        return Finding("UNEXPLAINED_DROP", (said,), "bridge", "return")
    said = f"{end.name} sent an answer on, and nobody took it"
    hint = [f"the host has a static neighbour for {seen.path.address}"] if probing.neighbour_back == "PERMANENT" else []
    return Finding("UNEXPLAINED_DROP", (said, *hint), "link", "return")


def _not_routed_back(seen: Seen, probing: Probing, by: str, ingress: str) -> Finding:
    said = f"an answer arrived by {by}, and {ingress} did not get it"
    strict = [int(value) for key, value in probing.strict.items() if key.split("/")[3] in ("all", by)]
    filtered = probing.counted.get("IPReversePathFilter")
    if filtered and any(strict):
        link = f"rp_filter of {by} is {max(strict)}"
        return Finding("RP_FILTER_DROP", (said, f"IPReversePathFilter rose by {filtered}", link), direction="return")
    if probing.ruling:
        return dropped(seen, probing.ruling, said, "return")
    state = f"{seen.path.address} is {probing.neighbour_back} among the neighbours of the host"
    no_room = _no_room(seen, probing, probing.neighbour_back, state, "return")
    if no_room:
        return no_room
    if probing.neighbour_back in UNANSWERED:
        queues = _queues(seen.host_end, seen.interface)
        return Finding("NEIGHBOUR_FILTERED", (said, state, *queues), direction="return")
    if seen.legacy:
        return Finding("FORWARD_DROPPED", (said, "iptables-legacy has rules here"), direction="return")
    untold = [_UNTRACEABLE] if probing.untraceable else []
    return Finding("UNEXPLAINED_DROP", (said, *_tracked(probing), *untold), "return_path", "return")


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
