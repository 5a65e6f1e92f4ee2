# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets that are sent to see where they stop, and what is looked up once one got no answer."""

from __future__ import annotations

import collections
import contextlib
import os
import stat
import threading
import typing as t
from dataclasses import dataclass, field, replace

from ..kernel import arp_questions, conntrack_entry, dns_query, listeners, neighbours, probes, sysctls
from ..kernel.conntrack_entry import Entry
from ..kernel.link_messages import get_link, parse_link
from ..kernel.namespaces import Namespaces, path_of
from ..kernel.netlink import NetlinkSocket
from ..kernel.nft_trace import Ruling
from ..kernel.probes import Target, Trace
from ..model import HOST
from ..spec.resolv_conf import resolv_conf_path
from .structure import BRIDGE_CALLS, Seen
from .traces import Tracer

PATIENCE = 1.0  # seconds for an answer
_SHORT = 0.3  # where the structure, or others before, say that there will be none
_RESOLVING = 2.5  # for an answer to what asks for a neighbour once more
_ENOUGH = 4  # paths of a link without an answer, after which the next ones are not waited for as long
UNANSWERED = ("INCOMPLETE", "FAILED")  # states of a neighbour that was asked for
UNRESOLVED = (*UNANSWERED, "NONE")
SMALL = {4: 576, 6: 1280}  # bytes that every path takes
# From which value on the host does not answer to ARP for the address of a bridge, or by the way of a packet alone.
_ARP = {"arp_ignore": 3, "arp_filter": 1}
_IFF_NOARP = 0x80
_MOST_LINKS = 8
_LARGEST_FILE = 1 << 16  # bytes of a resolver configuration
_DROPPED = ("tx_dropped", "tx_errors", "rx_dropped", "rx_errors")


@dataclass(frozen=True)
class Large:
    """A packet as large as the namespace's link takes, not to be fragmented, that got no answer.

    smaller: one of SMALL bytes got an answer. host_too: the host's own gets one. dropped: which link counted a drop.
    """

    size: int
    trace: Trace
    smaller: bool = False
    host_too: bool = False
    dropped: str = ""


@dataclass(frozen=True)
class Probing:
    """A probe from the namespace, the host's own to the same target, and what was looked up once they had failed.

    neighbour: state of the gateway in the namespace; neighbour_back: that of the namespace's address on the host;
    neighbour_out: that of the uplink's next hop; neighbour_mac and neighbour_back_mac: what the first two have.
    neighbours: the kernel's table of them where one is missing, refused since the probes began. counted: by how much
    counters of the host rose. entry: the flow's conntrack entry.
    ruling: who drops it, which the kernel cannot tell where untraceable; inside: who in the namespace does. reticent:
    settings by which the host does not answer to ARP. unheard: a question for an address of the host that strict
    rp_filter kept from being answered.
    refuses: the address on which alone somebody listens, where it was refused. silent: servers of the namespace's
    resolver without an answer, None where there is none to ask. beside: a probe to another namespace of the bridge.
    """

    target: Target
    trace: Trace
    control: Trace | None = None
    neighbour: str = ""
    neighbour_back: str = ""
    neighbour_out: str = ""
    neighbours: neighbours.Table | None = None
    strict: t.Mapping[str, str] = field(default_factory=dict)
    counted: t.Mapping[str, int] = field(default_factory=dict)
    entry: Entry | None = None
    ruling: Ruling | None = None
    untraceable: bool = False
    large: Large | None = None
    silent: tuple[str, ...] = ()
    servers: tuple[str, ...] | None = None
    inside: Ruling | None = None
    reticent: tuple[str, ...] = ()
    unheard: arp_questions.Question | None = None
    neighbour_mac: str = ""
    neighbour_back_mac: str = ""
    refuses: str = ""
    beside: Trace | None = None
    beside_address: str = ""


class Prober:
    """Sends for many paths at once; what shows a shared cause is done once."""

    def __init__(self, namespaces: Namespaces, looks: t.Sequence[Seen], sound: t.Sequence[Seen]) -> None:
        """looks: at all paths. sound: those of them that the structure does not break."""
        self.namespaces = namespaces
        self._owners, self._neighbours = _owners(looks), _owners(sound)
        self._controlling = threading.Lock()
        self._tracer = Tracer(namespaces, lambda seen, wait: self._send(seen, seen.target, wait), PATIENCE, _SHORT)
        self._controls: dict[Target, Trace] = {}
        self._unanswered: collections.Counter[tuple[int, Target]] = collections.Counter()
        self._visits = neighbours.Visits(namespaces)
        self._tables = {family: neighbours.table(family) for family in {seen.path.family for seen in looks}}

    def probe(self, seen: Seen, broken: bool) -> Probing | None:
        """None where the structure says that nothing can be sent. broken: it says that nothing comes back."""
        if seen.inside is None or seen.interface is None or not seen.target.somebody:
            return None
        first = seen.target.address if seen.out and seen.out.leads and not seen.out.gateway else seen.path.gateway
        ends = [(seen.path.namespace, seen.interface, first), (HOST, seen.ingress, seen.path.address)]
        with self._visits.to([neighbours.Place(netns, link.index, to) for netns, link, to in ends if link and to]):
            return self._probe(seen, broken)

    def _probe(self, seen: Seen, broken: bool) -> Probing:
        if broken:
            return Probing(seen.target, self._send(seen, seen.target, _SHORT))
        kind = (seen.ingress.index if seen.ingress else 0, seen.target)
        trace = self._send(seen, seen.target, _SHORT if self._unanswered[kind] >= _ENOUGH else PATIENCE)
        if not trace.answered:
            before = self._counters()
            trace = self._again(seen)
            if not trace.answered:
                self._unanswered[kind] += 1
                return self._why(seen, trace, before)
        self._unanswered[kind] = 0
        probing = Probing(seen.target, trace, **self._beside(seen))
        servers = self._servers(seen)
        silent = tuple(server for server in servers or () if not self._resolves(seen, server))
        probing = replace(probing, servers=servers, silent=silent, large=self._large(seen))
        return replace(probing, refuses=self._refuses(seen)) if trace.refused else probing

    def _send(self, seen: Seen, target: Target, patience: float = PATIENCE, **options: t.Any) -> Trace:
        return probes.send(self.namespaces, seen.path.namespace, target, patience=patience, **options)

    def _again(self, seen: Seen) -> Trace:
        """One packet may always be lost, and so may a question for a neighbour: the kernel sends one a second."""
        gateway = seen.path.gateway
        state = neighbours.state(self.namespaces, seen.path.namespace, gateway) if gateway else ""
        return self._send(seen, seen.target, _RESOLVING if state in UNRESOLVED else _SHORT)

    def _control(self, target: Target) -> Trace:
        """The host's own, once for all paths."""
        with self._controlling:
            if target not in self._controls:
                self._controls[target] = probes.send(self.namespaces, HOST, target, patience=PATIENCE)
            return self._controls[target]

    def _counters(self) -> dict[str, int]:
        return {**sysctls.counters(self.namespaces, HOST), **conntrack_entry.statistics(self.namespaces, HOST)}

    def _counted(self, before: t.Mapping[str, int]) -> dict[str, int]:
        after = self._counters()
        return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}

    def _why(self, seen: Seen, trace: Trace, before: t.Mapping[str, int]) -> Probing:
        """All that may say where it stopped."""
        path, target, open_ones = seen.path, seen.target, self.namespaces
        counted = self._counted(before)
        source = trace.source or path.address
        behind = neighbours.entry(open_ones, HOST, path.address) if path.cidr else ("", "")
        probing = Probing(
            target,
            trace,
            self._control(target),
            self._gateway(seen, trace),
            behind[0],
            self._next_hop(seen),
            strict=sysctls.read(open_ones, HOST, _strict_keys(trace)) if path.family == 4 else {},
            counted=counted,
            entry=conntrack_entry.find(
                open_ones, HOST, source, target.address, target.protocol, trace.number, target.port
            )
            if source
            else None,
            neighbour_mac=neighbours.entry(open_ones, path.namespace, path.gateway)[1] if path.gateway else "",
            neighbour_back_mac=behind[1],
        )
        if {probing.neighbour, probing.neighbour_back, probing.neighbour_out} & {*UNRESOLVED}:
            probing = replace(probing, neighbours=self._table(path.family))
        return self._culprits(seen, probing)

    def _culprits(self, seen: Seen, probing: Probing) -> Probing:
        """Who drops it where it was seen last, or what asks for a neighbour."""
        trace, tracer, end = probing.trace, self._tracer, seen.host_end
        left = trace.first("inside", seen.interface.name if seen.interface else "", outgoing=True)
        back = any(sight.back and sight.place == "host" for sight in trace.sights)
        taken = end is not None and trace.first("host", end.name, back=True, outgoing=True)
        unresolved = probing.neighbour_back if left else probing.neighbour
        if (left is None and unresolved not in UNANSWERED) or (taken and seen.path.asked):
            probing = replace(probing, inside=tracer.inside(seen))
        if unresolved in UNANSWERED:
            probing = replace(probing, ruling=tracer.of_questions(seen), reticent=self._reticent(seen))
        if probing.ruling is None and left and end and seen.path.routed:
            probing = replace(probing, ruling=tracer.on_the_host(seen, back))
        if left and not back and seen.path.family == 4:
            probing = replace(probing, unheard=self._unheard(seen))
        return replace(probing, untraceable=tracer.untraceable)

    def _reticent(self, seen: Seen) -> tuple[str, ...]:
        """Settings of links by which ARP is not answered."""
        ingress = seen.ingress
        if ingress is None or seen.path.family == 6:
            return ()
        keys = [f"net/ipv4/conf/{place}/{name}" for name in _ARP for place in ("all", ingress.name)]
        found = sysctls.read(self.namespaces, HOST, keys)
        said = [
            f"{key.replace('/', '.')} = {value}"
            for key, value in found.items()
            if int(value) >= _ARP[key.split("/")[4]]
        ]
        links = [link for link in (ingress, seen.host_end, seen.interface) if link and link.flags & _IFF_NOARP]
        return (*said, *(f"{link.name} has the flag NOARP" for link in links))

    def _unheard(self, seen: Seen) -> arp_questions.Question | None:
        """A question for an address of the host, on a link that strict rp_filter keeps from answering."""
        ways = (seen.ingress, seen.uplink)
        links = [link.name for link in seen.host.links.values() if link.up and link.name != "lo" and link not in ways]
        keys = {f"net/ipv4/conf/{name}/rp_filter": name for name in ("all", *links)}
        values = {keys[key]: int(value) for key, value in sysctls.read(self.namespaces, HOST, keys).items()}
        strict = [name for name in links if max(values.get(name, 0), values.get("all", 0)) == 1]
        if not strict:
            return None
        own = seen.host.own
        return arp_questions.heard(self.namespaces, HOST, own, strict, lambda: self._send(seen, seen.target))

    def _table(self, family: int) -> neighbours.Table:
        now = neighbours.table(family)
        return now._replace(refused=now.refused - self._tables[family].refused)

    def _gateway(self, seen: Seen, trace: Trace) -> str:
        """Its state among the neighbours of the namespace, "" without one."""
        namespace, gateway = seen.path.namespace, seen.path.gateway
        state = neighbours.state(self.namespaces, namespace, gateway) if gateway else ""
        interface = seen.interface.name if seen.interface else ""
        if state != "NONE" or trace.first("inside", interface, outgoing=True):
            return state
        # The kernel may have thrown away by now what it asked for in vain: it makes room for all namespaces.
        self._send(seen, seen.target, _SHORT)
        return neighbours.state(self.namespaces, namespace, gateway)

    def _next_hop(self, seen: Seen) -> str:
        way = seen.way
        if way is None or not way.leads:
            return ""
        return neighbours.state(self.namespaces, HOST, way.gateway or seen.target.address)

    def _large(self, seen: Seen) -> Large | None:
        """None where a packet of full size gets through, or nothing of the kind can be sent."""
        size = seen.interface.mtu if seen.interface else 0
        small = SMALL[seen.path.family]
        if seen.target.protocol != "icmp" or size <= small or size > 65535:
            return None
        trace = self._send(seen, seen.target, size=size)
        if trace.answered or any(sight.error and sight.place == "inside" for sight in trace.sights):
            return None
        before = self._drops(seen)
        smaller = self._send(seen, seen.target, size=small).answered
        again = self._send(seen, seen.target, size=size)
        if again.answered:
            return None
        after = self._drops(seen)
        dropped = next(
            (f"{count} of {link}" for (link, count), value in after.items() if value > before[link, count]), ""
        )
        host = probes.send(self.namespaces, HOST, seen.target, patience=PATIENCE, size=size)
        return Large(size, again, smaller, host.answered, dropped)

    def _drops(self, seen: Seen) -> dict[tuple[str, str], int]:
        found = {}
        ends = [(seen.path.namespace, seen.interface), (HOST, seen.host_end), (HOST, seen.bridge), (HOST, seen.uplink)]
        for netns, link in ends:
            if link is not None:
                # A socket of its own: threads that wait for answers on one socket would take each other's.
                with self.namespaces.entered(netns):
                    opened = NetlinkSocket()
                try:
                    (answer,) = opened.request([get_link(index=link.index, counters=True)])
                finally:
                    opened.close()
                counters = parse_link(answer.replies[0]).counters if answer.replies else {}
                found.update({(link.name, name): counters.get(name, 0) for name in _DROPPED})
        return found

    def _servers(self, seen: Seen) -> tuple[str, ...] | None:
        """Those of the namespace's own resolv.conf that are of the path's family; None without a file of its own."""
        path = seen.path
        place = path_of(path.namespace)
        file = _file_of_process(place) if "/" in path.namespace else resolv_conf_path(path.namespace)
        listed = _nameservers(file) if file else None
        if listed is None and not path.dns:
            return None
        chosen = listed if listed is not None else []
        if listed == [] or (path.dns and listed is None):
            return ()
        of_family = tuple(server for server in chosen if (":" in server) == (path.family == 6))
        return of_family or None

    def _resolves(self, seen: Seen, server: str) -> bool:
        return dns_query.answers(self.namespaces, seen.path.namespace, server, PATIENCE)

    def _refuses(self, seen: Seen) -> str:
        target = seen.target
        other = self._owners.get(target.address)
        if other is None or target.protocol == "icmp":
            return ""
        return listeners.on_loopback_alone(self.namespaces, other.path.namespace, target.protocol, target.port)

    def _beside(self, seen: Seen) -> dict[str, t.Any]:
        """A probe to another namespace of the bridge, where the host's rules see what stays on the bridge."""
        if not _filters_bridged(seen) or _is_isolated(seen):
            return {}
        for address, other in self._neighbours.items():
            same = other.path.bridge == seen.path.bridge and other.path.family == seen.path.family
            if same and other.path.namespace != seen.path.namespace and not _is_isolated(other):
                ends = [(seen, address), (other, seen.path.address)]
                with self._visits.to(
                    [neighbours.Place(one.path.namespace, one.interface.index, to) for one, to in ends if one.interface]
                ):
                    found = self._send(seen, Target(address), peer=other.path.namespace)
                    if found.first("peer") is not None:
                        return {"beside": found, "beside_address": address}
                    before = self._counters()
                    found = self._send(seen, Target(address), _RESOLVING, peer=other.path.namespace)
                return {"beside": found, "beside_address": address, "counted": self._counted(before)}
        return {}


def _owners(looks: t.Sequence[Seen]) -> dict[str, Seen]:
    return {seen.path.address: seen for seen in looks if seen.path.cidr and seen.inside is not None}


def _filters_bridged(seen: Seen) -> bool:
    own = "nf_call_iptables" if seen.path.family == 4 else "nf_call_ip6tables"
    option = seen.bridge.options.get(own) if seen.bridge else False
    return seen.bridge is not None and (bool(option) or seen.settings.get(BRIDGE_CALLS[seen.path.family]) == "1")


def _is_isolated(seen: Seen) -> bool:
    return bool(seen.host_end and seen.host_end.options.get("isolated"))


def _strict_keys(trace: Trace) -> list[str]:
    links = {sight.link for sight in trace.sights if sight.place == "host" and not sight.outgoing}
    return [f"net/ipv4/conf/{name}/rp_filter" for name in ("all", *sorted(links))]


def _file_of_process(place: str) -> str:
    """The resolver configuration of a process whose file system is its own, or ""."""
    root = os.path.dirname(os.path.dirname(place)) + "/root"
    try:
        ours, theirs = os.stat("/"), os.stat(root)
    except OSError:
        return ""
    own = (ours.st_dev, ours.st_ino) != (theirs.st_dev, theirs.st_ino)
    return _followed(root, "/etc/resolv.conf") if own else ""


def _followed(root: str, file: str) -> str:
    """Where links lead inside a root directory: the kernel would follow absolute ones from the host's."""
    for _link in range(_MOST_LINKS):
        if not os.path.islink(root + file):
            return root + file
        with contextlib.suppress(OSError):
            file = os.path.normpath(os.path.join(os.path.dirname(file), os.readlink(root + file)))
    return ""


def _nameservers(file: str) -> list[str] | None:
    """In their order; None where there is no such file. A container chooses what is there, such as a pipe."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            text = opened.read(_LARGEST_FILE).decode(errors="replace")
    except OSError:
        return None
    lines = [line.split() for line in text.splitlines()]
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
