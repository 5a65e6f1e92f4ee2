# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts: the one vocabulary that specification, observation, plan and ledger share.

A fact has an identity and fields. A wanted fact leaves a field None where it does not care.
A namespace is written as "" (the one the engine runs in), a name below /run/netns, or a path
such as /proc/123/ns/net. Addresses and destinations are canonical strings ("10.0.0.1/24").
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import typing as t
from dataclasses import dataclass, field

from .rules import Rules

HOST = ""
MARK = "netpath:"
FILE_MARK = f"# {MARK}"  # begins each file of ours
ROUTE_PROTOCOL = 250
# The kernel keeps the burst of a limit as a time. In this unit, in bytes, it comes back as it was asked for.
BURST_UNIT = 4096
# Of the networks that are built at boot.
NETWORK_FILES = "/etc/netpath/networks.d"
MAIN_TABLE = 254
# Of IANA; /etc/protocols may be missing.
IP_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "icmpv6": 58, "sctp": 132, "udplite": 136}
DEFAULT_DESTINATION = {4: "0.0.0.0/0", 6: "::/0"}

Identity = tuple[str, ...]

# Fields with this metadata are never compared: they inform the plan or instruct the kernel layer.
ASIDE: t.Final = {"aside": True}


def named(identity: Identity) -> str:
    """An identity in words, for messages."""
    return " ".join(word for word in identity if word)


def is_ours(alias: str | None) -> bool:
    """Whether an interface alias or a rule comment is our mark."""
    return alias is not None and alias.startswith(MARK)


@dataclass(frozen=True)
class Namespace:
    """A name below /run/netns. alias is the mark of its handle, which no process inside can write.

    accept_redirects: whether its links may take IPv4 routes from redirects (net/ipv4/conf/all/accept_redirects).
    """

    name: str
    alias: str | None = None
    loopback: bool | None = None
    attach: str | None = field(default=None, metadata=ASIDE)
    force: bool = field(default=False, metadata=ASIDE)
    accept_redirects: bool | None = None

    @property
    def identity(self) -> Identity:
        return ("namespace", self.name)


@dataclass(frozen=True)
class Link:
    """A network interface; of a veth pair the end that names the pair, with the other end in peer.

    master "" means enslaved to nothing. forward_delay and ageing_time are in seconds.
    published: hairpin mode is on for a port of the host that leads here, and for that alone; False ends that.
    link_local_learning: a bridge learns the sources of frames to 01-80-C2-00-00-0X (no_linklocal_learn of ip-link(8) is
    off), most of which no filter sees.
    ipv6, accept_ra, accept_redirects, ipv6_dad: disable_ipv6 is off; the link learns from router advertisements
    (accept_ra, autoconf), takes routes from redirects, checks new addresses for duplicates (accept_dad): ip-sysctl in
    the kernel's documentation. A managed link is made with accept_ra and accept_redirects off unless they are on here.
    """

    netns: str
    name: str
    kind: str | None = None
    alias: str | None = None
    mac: str | None = None
    mtu: int | None = None
    master: str | None = None
    isolated: bool | None = None
    hairpin: bool | None = None
    stp: bool | None = None
    forward_delay: int | None = None
    ageing_time: int | None = None
    vlan_filtering: bool | None = None
    multicast_snooping: bool | None = None
    link_local_learning: bool | None = None
    nf_call_iptables: bool | None = None
    nf_call_ip6tables: bool | None = None
    ipv6_link_local: bool | None = None
    ipv6: bool | None = None
    accept_ra: bool | None = None
    accept_redirects: bool | None = None
    ipv6_dad: bool | None = None
    up: bool | None = None
    peer: Link | None = None
    index: int | None = field(default=None, metadata=ASIDE)
    qdisc: str | None = field(default=None, metadata=ASIDE)
    published: bool | None = field(default=None, metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("link", self.netns, self.name)


def is_closed_by_itself(link: Link) -> bool:
    """Whether a link accepts neither advertisements nor redirects unless that is asked for.

    Pairs, and what networks have. A bridge of no network may be that by which the host itself goes out.
    """
    marks = [end.alias for end in (link, link.peer) if end and is_ours(end.alias)]
    return any(link.kind == "veth" or alias != MARK for alias in marks)


@dataclass(frozen=True)
class Address:
    """An address on a link, with its prefix length.

    duplicate: duplicate address detection found another host that has it, so that it is there but unusable.
    intruding: a tenant took the gateway's for a link of its own.
    tentative: that has not ended yet. dad: of a wanted one, whether there is to be any; without it nobody on the link
    can object.
    unrouted: there is no route to its network, which the kernel makes with an address, and a gateway that is wanted is
    there. network: for which it is wanted, so that one on somebody else's link goes with the network.
    peer: the other side's, where the address has one; to the kernel it is another address than the same without.
    """

    netns: str
    link: str
    cidr: str
    duplicate: bool = False
    unrouted: bool = False
    secondary: bool = field(default=False, metadata=ASIDE)
    network: str = field(default="", metadata=ASIDE)
    tentative: bool = field(default=False, metadata=ASIDE)
    intruding: bool = field(default=False, metadata=ASIDE)
    dad: bool = field(default=True, metadata=ASIDE)
    peer: str = field(default="", metadata=ASIDE)
    broadcast: str = field(default="", metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("address", self.netns, self.link, self.shown)

    @property
    def shown(self) -> str:
        """As ip-address(8) has it."""
        address, length = self.cidr.split("/") if self.peer else (self.cidr, "")
        return f"{address} peer {self.peer}/{length}" if self.peer else self.cidr

    @property
    def subnet(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """To which the kernel makes a route."""
        return ipaddress.ip_interface(f"{self.peer}/{self.cidr.split('/')[1]}" if self.peer else self.cidr).network


@dataclass(frozen=True)
class Limit:
    """What a link may send: rate in bit/s, burst and queue in bytes.

    foreign: the kind of a queueing discipline that somebody else chose, "" for one of ours, and for that of a tenant,
    whose kind is in discipline.
    """

    netns: str
    link: str
    rate: int | None = None
    burst: int | None = None
    queue: int | None = None
    foreign: str = field(default="", metadata=ASIDE)
    discipline: str = field(default="", metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("limit", self.netns, self.link)


@dataclass(frozen=True)
class Vlans:
    """VLANs of a bridge's port, or of the bridge itself: that of frames without a tag, 0 for none, and the others."""

    netns: str
    link: str
    untagged: int | None = None
    tagged: tuple[int, ...] | None = None

    @property
    def identity(self) -> Identity:
        return ("vlans", self.netns, self.link)


@dataclass(frozen=True)
class Route:
    """A route. destination is a canonical CIDR (0.0.0.0/0 and ::/0 for the default).

    network: for which it is wanted, so that it goes with the network's subnet.
    """

    netns: str
    destination: str
    table: int = MAIN_TABLE
    metric: int = 0
    type: str | None = None
    gateway: str | None = None
    device: str | None = None
    source: str | None = None
    mtu: int | None = None
    onlink: bool | None = None
    protocol: int | None = None
    network: str = field(default="", metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("route", self.netns, str(self.table), self.destination, str(self.metric))


@dataclass(frozen=True)
class Setting:
    """A sysctl, by its path below /proc/sys (net/ipv4/ip_forward)."""

    netns: str
    key: str
    value: str | None = None

    @property
    def identity(self) -> Identity:
        return ("setting", self.netns, self.key)


@dataclass(frozen=True)
class Ruleset:
    """What a packet filter holds for one network. rules None means unreadable: edited by hand.

    purpose: "nat", "publish", "forward", "mss", "guard" or "wall". backend: one of the purpose's.
    """

    netns: str
    name: str
    rules: Rules | None = None
    backend: str = "nftables"
    purpose: str = "nat"
    flush: bool = field(default=True, metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("ruleset", self.netns, self.purpose, self.name, self.backend)


@dataclass(frozen=True)
class File:
    """A file with its whole content as text. mode: permission bits, None for those of a new file."""

    path: str
    content: str | None = None
    mode: int | None = field(default=None, metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("file", self.path)


@dataclass(frozen=True)
class Claim:
    """A network's need of a sysctl value. Kept in the ledger; the setting goes back when the last claim goes."""

    user: str
    netns: str
    key: str
    value: str | None = None
    persist: bool | None = None

    @property
    def identity(self) -> Identity:
        return ("claim", self.user, self.netns, self.key)

    @property
    def setting(self) -> Setting:
        return Setting(self.netns, self.key, self.value)


@dataclass(frozen=True)
class Flows:
    """Tracked connections that fit a description, "" for any; wanted only as absent. count: how many there are."""

    netns: str
    source: str = ""
    destination: str = ""
    protocol: str = ""
    count: int | None = None

    @property
    def identity(self) -> Identity:
        return ("flows", self.netns, self.source, self.destination, self.protocol)

    @property
    def protocol_number(self) -> int | None:
        return None if not self.protocol else IP_PROTOCOLS.get(self.protocol) or int(self.protocol)


@dataclass(frozen=True)
class Sender:
    """What a port of a bridge may send: frames from this MAC address, and packets from these addresses.

    any_address: the MAC address alone is checked, since a trunk carries addresses that nobody listed.
    sound: the rules that look the addresses up are as they were written. mac None is resolved before anything is read.
    """

    netns: str
    link: str
    mac: str | None = None
    addresses: tuple[str, ...] | None = None
    any_address: bool | None = None
    sound: bool = True
    network: str = field(default="", metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("sender", self.netns, self.link)


@dataclass(frozen=True)
class Learned:
    """What a link has from router advertisements: addresses with a lifetime, and routes. Wanted only as absent."""

    netns: str
    link: str

    @property
    def identity(self) -> Identity:
        return ("learned", self.netns, self.link)


@dataclass(frozen=True)
class Misled:
    """Routes in a managed namespace by which a wanted gateway is none to the kernel: to it as a broadcast, multicast,
    anycast or local address. Wanted only as absent.
    """

    netns: str
    gateway: str

    @property
    def identity(self) -> Identity:
        return ("misled", self.netns, self.gateway)


@dataclass(frozen=True)
class Occupied:
    """A name in a managed namespace that a link there has, by index, which needs it not. Wanted only as absent.

    alternative: it is one of the link's alternative names (ip-link(8), property).
    """

    netns: str
    name: str
    index: int = field(default=0, metadata=ASIDE)
    kind: str = field(default="", metadata=ASIDE)
    alternative: bool = field(default=False, metadata=ASIDE)

    @property
    def identity(self) -> Identity:
        return ("occupied", self.netns, self.name)


@dataclass(frozen=True)
class Assignment:
    """What was assigned to a namespace: kept in the ledger, and never taken from what is in the namespace.

    link: the name of the pair's end on the host. mac: that of the other end, None where nobody chose it.
    """

    namespace: str
    network: str
    link: str
    addresses: tuple[str, ...] = ()
    mac: str | None = None


Fact = t.Union[
    Namespace,
    Link,
    Address,
    Limit,
    Vlans,
    Route,
    Setting,
    Ruleset,
    File,
    Claim,
    Flows,
    Sender,
    Learned,
    Misled,
    Occupied,
]
FACTS: dict[str, type[t.Any]] = {kind.__name__: kind for kind in t.get_args(Fact)}
AnyFact = t.TypeVar("AnyFact", bound=Fact)


@dataclass(frozen=True)
class Choice:
    """What rules of a network are written for, and why; backend "" where that is not ours to do."""

    name: str
    purpose: str
    backend: str
    reason: str


@dataclass(frozen=True)
class Want:
    """What shall be and what shall not.

    exclusive_addresses: links, as (netns, name), whose addresses are the wanted ones and no others.
    exclusive_ports: bridges, as (netns, name), whose ports are the wanted ones and no others.
    released: (user, netns, start of keys) whose claims on settings end.
    exclusive_claims: (user, netns) whose claims on forwarding and interfaces are the wanted ones and no others.
    choices: what was decided on the way here, to tell the user.
    only: namespaces, where a request is for some of a network's; the others must not lose anything by it.
    replaceable: names of namespaces that an empty file may have, which is no namespace; it gives way.
    concerned: the networks that ask for something, by its identity.
    assignments: what the ledger has to remember of namespaces.
    """

    facts: tuple[Fact, ...] = ()
    absent: tuple[Fact, ...] = ()
    exclusive_addresses: frozenset[tuple[str, str]] = frozenset()
    exclusive_ports: frozenset[tuple[str, str]] = frozenset()
    released: frozenset[tuple[str, str, str]] = frozenset()
    choices: tuple[Choice, ...] = ()
    exclusive_claims: frozenset[tuple[str, str]] = frozenset()
    only: frozenset[str] = frozenset()
    replaceable: frozenset[str] = frozenset()
    concerned: t.Mapping[Identity, frozenset[str]] = field(default_factory=dict)
    assignments: tuple[Assignment, ...] = ()

    @functools.cached_property
    def present(self) -> t.Mapping[Identity, Fact]:
        """The facts, by identity."""
        return {fact.identity: fact for fact in self.facts}

    @functools.cached_property
    def gone(self) -> t.Mapping[Identity, Fact]:
        """What shall not be, by identity."""
        return {fact.identity: fact for fact in self.absent}

    def __add__(self, other: Want) -> Want:
        return Want(
            self.facts + other.facts,
            self.absent + other.absent,
            self.exclusive_addresses | other.exclusive_addresses,
            self.exclusive_ports | other.exclusive_ports,
            self.released | other.released,
            self.choices + other.choices,
            self.exclusive_claims | other.exclusive_claims,
            self.only | other.only,
            self.replaceable | other.replaceable,
            {**self.concerned, **other.concerned},
            self.assignments + other.assignments,
        )

    @classmethod
    def of(cls, wants: t.Sequence[Want]) -> Want:
        """All that any of them wants, in their order; of thousands in less time than one by one."""

        def chained(name: str) -> tuple[t.Any, ...]:
            return tuple(item for want in wants for item in getattr(want, name))

        return cls(
            chained("facts"),
            chained("absent"),
            frozenset(chained("exclusive_addresses")),
            frozenset(chained("exclusive_ports")),
            frozenset(chained("released")),
            chained("choices"),
            frozenset(chained("exclusive_claims")),
            frozenset(chained("only")),
            frozenset(chained("replaceable")),
            assignments=chained("assignments"),
        )


@functools.cache
def _compared_fields(kind: type[t.Any]) -> list[str]:
    return [item.name for item in dataclasses.fields(kind) if not item.metadata.get("aside")]


def compared_fields(fact: Fact | type[Fact]) -> list[str]:
    kind: t.Any = fact if isinstance(fact, type) else type(fact)
    return _compared_fields(kind)


def differences(want: Fact, have: Fact) -> dict[str, tuple[t.Any, t.Any]]:
    """Fields that want cares about and have does not meet: {field: (have, want)}; of a peer as "peer.field"."""
    found: dict[str, tuple[t.Any, t.Any]] = {}
    for name in compared_fields(want):
        wanted, there = getattr(want, name), getattr(have, name)
        if wanted is None or wanted == there:
            continue
        if isinstance(wanted, Link) and isinstance(there, Link):
            found.update({f"{name}.{key}": value for key, value in differences(wanted, there).items()})
        else:
            found[name] = (there, wanted)
    return found


def merged(have: AnyFact, want: AnyFact) -> AnyFact:
    """have, with every field that want cares about."""
    changes: dict[str, t.Any] = {}
    for item in dataclasses.fields(want):
        wanted, there = getattr(want, item.name), getattr(have, item.name)
        if wanted is None:
            continue
        changes[item.name] = merged(there, wanted) if isinstance(wanted, Link) and isinstance(there, Link) else wanted
    return dataclasses.replace(have, **changes)
