"""Frames by which root in a namespace attacks neighbours, other networks, the host and those outside, in one world.

All are sent in one go, to networks that are protected and closed, and to the same ones open. Of each it is known
whether it comes through there, so that nobody takes what comes through nowhere for a protection.
"""

from __future__ import annotations

import json
import struct
import sys
import typing as t

import pytest

from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.settling import inside, settled
from tests.lab.snapshot import difference
from tests.lab.world import UPLINK, World
from tests.support import frames
from tests.support.building import build_at_once, unreachable_from
from tests.support.diagnosing import PODS
from tests.support.frames import ARP, EVERYBODY, IPV4, IPV6, LAST, TAG, VLAN, behind, ether, icmp6, ip, option, udp
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

WEB: Options = {
    "name": "web",
    "bridge": "br1",
    "subnets": ["10.44.0.0/24", "fd00:44::/64"],
    "namespaces": ["w1"],
    "publish": [{"port": 8081, "protocol": "udp", "to": "w1:4001"}],
}
CLOSED = [PODS, WEB]
OPEN = [{**PODS, "spoof_protection": False, "peers": ["web"]}, {**WEB, "spoof_protection": False}]
OWN, C1, GATEWAY, W1 = "10.22.33.3", "10.22.33.2", "10.22.33.1", "10.44.0.2"
OWN6, C16, W16 = "fd00:22:33::3", "fd00:22:33::2", "fd00:44::2"
NODES, ROUTERS = "ff02::1", "ff02::2"
STRANGE = "02:00:5e:00:00:99"
INTERNET, INTERNET6 = probe.TARGETS[4], probe.TARGETS[6]
QINQ = 0x88A8
ALERT = b"\0\0\x05\x02\0\0\x01\0"  # a hop-by-hop header, by which routers look at a packet
NOWHERE = 250  # for experiments (RFC 3692)


class Ends(t.NamedTuple):
    """MAC addresses of c2, which sends, its neighbour c1 and their bridge; addresses of c2 and of the host."""

    own: str
    other: str
    bridge: str
    local: str
    host: str
    host6: str


Frame = t.Callable[[Ends, bytes], bytes]


def _all(m: Ends, kind: int, body: bytes) -> bytes:
    return ether(m.own, EVERYBODY, kind, body)


def _tagged(m: Ends, kind: int, inner: int, body: bytes, vlan: int = 5) -> bytes:
    """In VLAN 0, which has a priority alone, it is taken by links without VLANs."""
    return _all(m, kind, struct.pack("!HH", vlan, inner) + body)


def _llc(m: Ends, target: str, body: bytes) -> bytes:
    """A frame of IEEE 802.2, whose type is its length."""
    return ether(m.own, target, len(body), body)


def _routed(m: Ends, packet: bytes) -> bytes:
    return ether(m.own, m.bridge, IPV6 if packet[0] >> 4 == 6 else IPV4, packet)


def _advertisement(m: Ends) -> bytes:
    return icmp6(m.local, NODES, 134, bytes([64, 0, 7, 8]) + bytes(8))


def _offer(data: bytes) -> bytes:
    return udp(OWN, "255.255.255.255", 67, 68, data)


def _solicited(m: Ends, kind: int, about: str, mac: str) -> bytes:
    target = frames.packed(about) if about else b""
    return icmp6(m.local, NODES, kind, bytes(4) + target + option(1, mac))


def _fragment_without_the_rest(m: Ends, number: int = 58) -> bytes:
    """Its headers go on in another fragment, so that nobody can tell what it is (RFC 7112)."""
    return ip(m.local, NODES, 44, b"\x3c\0\0\x01\0\0\0\x07" + bytes([number]) + b"\0\x01\x04\0\0\0\0")


def _arp_of_ieee_802(m: Ends) -> bytes:
    """Linux takes this hardware type for Ethernet (RFC 1042)."""
    return b"\0\x06" + frames.arp(2, m.own, C1, C1)[2:]


# What reaches a neighbour where nobody refuses it, or else not even then.
BRIDGED: dict[str, tuple[Frame, bool]] = {
    "DHCP offer in a first fragment": (lambda m, d: _all(m, IPV4, frames.fragment(_offer(d))), True),
    "router advertisement in a lone fragment": (
        lambda m, _d: _all(m, IPV6, behind(_advertisement(m), 44, b"\0\0\0\0\0\0\0\x09")),
        True,
    ),
    "router advertisement behind an option": (
        lambda m, _d: _all(m, IPV6, behind(_advertisement(m), 60, b"\0\0\x01\x04\0\0\0\0")),
        True,
    ),
    "router advertisement in a fragment that hides it": (
        lambda m, _d: _all(m, IPV6, _fragment_without_the_rest(m)),
        True,
    ),
    "router advertisement with a priority": (lambda m, _d: _tagged(m, VLAN, IPV6, _advertisement(m), 0), True),
    "neighbour advertisement with a priority": (
        lambda m, _d: _tagged(m, VLAN, IPV6, frames.advertisement(OWN6, NODES, C16, option(2, m.own)), 0),
        True,
    ),
    "redirect with a priority": (
        lambda m, d: _tagged(
            m, VLAN, IPV4, frames.icmp4(OWN, C1, 5, frames.packed(OWN) + udp(C1, INTERNET, data=d)), 0
        ),
        True,
    ),
    "DHCPv6 reply in a fragment that hides it": (lambda m, _d: _all(m, IPV6, _fragment_without_the_rest(m, 17)), True),
    "router advertisement in a VLAN": (lambda m, _d: _tagged(m, VLAN, IPV6, _advertisement(m)), True),
    "DHCP offer in a VLAN": (lambda m, d: _tagged(m, VLAN, IPV4, _offer(d)), True),
    "IPv4 of nobody in a VLAN": (lambda m, d: _tagged(m, VLAN, IPV4, udp("10.99.99.99", C1, data=d)), True),
    "IPv4 of nobody in a service VLAN": (lambda m, d: _tagged(m, QINQ, IPV4, udp("10.99.99.99", C1, data=d)), True),
    "own IPv4 in two VLAN tags": (
        lambda m, d: _tagged(m, QINQ, VLAN, struct.pack("!HH", 5, IPV4) + udp(OWN, C1, data=d)),
        True,
    ),
    "IPv4 of nobody in SNAP": (
        lambda m, d: _llc(m, EVERYBODY, b"\xaa\xaa\x03\0\0\0\x08\0" + udp("10.99.99.99", C1, data=d)),
        True,
    ),
    "root of the spanning tree": (lambda m, _d: _llc(m, "01:80:c2:00:00:00", b"\x42\x42\x03" + bytes(range(35))), True),
    "root of the spanning tree of a VLAN": (
        lambda m, _d: _llc(m, "01:00:0c:cc:cc:cd", b"\xaa\xaa\x03\0\0\x0c\x01\x0b" + bytes(range(4, 46))),
        True,
    ),
    "LLDP": (lambda m, _d: ether(m.own, "01:80:c2:00:00:0e", 0x88CC, b"\x02\x07\x04" + bytes(range(40))), False),
    "LLDP to everybody": (lambda m, _d: _all(m, 0x88CC, b"\x02\x07\x05" + bytes(range(40, 0, -1))), True),
    "EAPOL": (lambda m, _d: _all(m, 0x888E, b"\x01\x01" + bytes(range(42, 2, -1))), True),
    "PPPoE": (lambda m, _d: _all(m, 0x8863, b"\x11\x09" + bytes(range(3, 43))), True),
    "MPLS": (lambda m, d: _all(m, 0x8847, b"\0\0\x11\x40" + udp(OWN, C1, data=d)), True),
    "RARP": (lambda m, _d: _all(m, 0x8035, frames.arp(4, m.own, C1, C1, m.own)), True),
    "ARP of another hardware type": (lambda m, _d: _all(m, ARP, _arp_of_ieee_802(m)), True),
    "ARP for the host's router": (lambda m, _d: _all(m, ARP, frames.arp(2, m.own, "198.18.0.1", "198.18.0.1")), True),
    "IGMP query": (lambda m, _d: _all(m, IPV4, frames.group_message(OWN, "224.0.0.1", 0x11)), True),
    "MLD query": (lambda m, _d: _all(m, IPV6, icmp6(m.local, NODES, 130, bytes(20))), True),
    "MLD query for routers": (
        lambda m, _d: _all(m, IPV6, behind(icmp6(m.local, NODES, 130, bytes(19) + b"\1"), 0, ALERT)),
        True,
    ),
    "multicast router, IPv4": (lambda m, _d: _all(m, IPV4, frames.group_message(OWN, "224.0.0.106", 0x30)), True),
    "multicast router, IPv6": (lambda m, _d: _all(m, IPV6, icmp6(m.local, "ff02::6a", 151, bytes(4))), True),
    "PIM, IPv4": (lambda m, _d: _all(m, IPV4, ip(OWN, "224.0.0.13", 103, b"\x20\0" + bytes(30))), True),
    "PIM, IPv6": (lambda m, _d: _all(m, IPV6, ip(m.local, "ff02::d", 103, b"\x20\0" + bytes(30))), True),
    "solicitation with the MAC of a neighbour": (
        lambda m, _d: _all(m, IPV6, _solicited(m, 135, "fd00:22:33::77", m.other)),
        True,
    ),
    "router solicitation with the MAC of a neighbour": (
        lambda m, _d: _all(m, IPV6, _solicited(m, 133, "", m.other)),
        True,
    ),
    "MAC of the bridge": (lambda m, d: ether(m.bridge, EVERYBODY, IPV4, udp(OWN, C1, 4002, data=d)), True),
}
# What comes to a namespace of another network, which has a published port.
TO_OTHERS: dict[str, tuple[Frame, bool]] = {
    "datagram": (lambda m, d: _routed(m, udp(OWN, W1, data=d)), True),
    "datagram of IPv6": (lambda m, d: _routed(m, udp(OWN6, W16, data=d)), True),
    "datagram to the port behind the published one": (lambda m, d: _routed(m, udp(OWN, W1, 4000, 4001, d)), True),
    "first fragment": (lambda m, d: _routed(m, frames.fragment(udp(OWN, W1, 4003, data=d + bytes(5)))), False),
    "error about a flow": (lambda m, d: _routed(m, frames.icmp4(OWN, W1, 3, bytes(4) + udp(W1, OWN, 1, 2, d))), True),
    "IP in IP": (lambda m, d: _routed(m, ip(OWN, W1, 4, udp(W1, W1, data=d))), True),
    "IPv6 in IPv4, by the host": (lambda m, d: _routed(m, ip(OWN, m.host, 41, udp(OWN6, W16, data=d))), False),
    "GRE, by the host": (lambda m, d: _routed(m, ip(OWN, m.host, 47, b"\0\0\x08\0" + udp(OWN, W1, data=d))), False),
    "VXLAN, by the host": (
        lambda m, d: _routed(m, udp(OWN, m.host, 4000, 4789, b"\x08" + bytes(7) + _all(m, IPV4, udp(OWN, W1, data=d)))),
        False,
    ),
    "strict source route by the host": (
        lambda m, d: _routed(
            m, frames.with_option(udp(OWN, GATEWAY, data=d), b"\x89\x07\x04" + frames.packed(W1) + b"\0")
        ),
        True,
    ),
    "routing header by the host": (
        lambda m, d: _routed(
            m,
            behind(udp(OWN6, m.host6, data=d), 43, b"\0\x02\0\x01\0\0\0\0" + frames.packed(W16)),
        ),
        False,
    ),
    "broadcast of the other network": (lambda m, d: _routed(m, udp(OWN, "10.44.0.255", data=d)), False),
    "broadcast to everybody": (lambda m, d: _routed(m, udp(OWN, "255.255.255.255", data=d)), False),
    "multicast": (lambda m, d: _routed(m, udp(OWN, "239.1.1.1", data=d)), False),
    "multicast of a site": (lambda m, d: _routed(m, udp(OWN6, "ff05::2", data=d)), False),
    "IPv4-mapped": (lambda m, d: _routed(m, udp(OWN6, f"::ffff:{W1}", data=d)), False),
    "6to4": (lambda m, d: _routed(m, udp(OWN6, "2002:a2c:2::1", data=d)), False),
    "NAT64": (lambda m, d: _routed(m, udp(OWN6, f"64:ff9b::{W1}", data=d)), False),
}
# What leaves by the uplink with a source that is not the host's.
OUTSIDE: dict[str, tuple[Frame, bool]] = {
    "link-local source": (lambda m, d: _routed(m, udp(m.local, INTERNET6, data=d)), False),
    "source of nobody": (lambda m, d: _routed(m, udp("0.0.0.0", INTERNET, 4001, data=d)), False),
    "error that belongs to no flow": (
        lambda m, d: _routed(m, frames.icmp4(OWN, INTERNET, 3, bytes(4) + udp(INTERNET, OWN, 7, 8, d))),
        False,
    ),
    "fragment without a first one": (
        lambda m, d: _routed(m, frames.fragment(ip(OWN, INTERNET, 17, d), 100, more=False)),
        False,
    ),
    "unknown protocol": (lambda m, d: _routed(m, ip(OWN, INTERNET, NOWHERE, d)), False),
    "unknown protocol of IPv6": (lambda m, d: _routed(m, ip(OWN6, INTERNET6, NOWHERE, d)), False),
    "recorded route": (
        lambda m, d: _routed(m, frames.with_option(udp(OWN, INTERNET, 4002, data=d), b"\x07\x07\x04" + bytes(5))),
        False,
    ),
    "loopback as source": (lambda m, d: _routed(m, udp("127.0.0.1", INTERNET, data=d)), False),
    "host as source": (lambda m, d: _routed(m, udp(m.host, INTERNET, 4009, data=d)), False),
    "to link-local, IPv4": (lambda m, d: _routed(m, udp(OWN, "169.254.0.9", data=d)), False),
    "to link-local, IPv6": (lambda m, d: _routed(m, udp(OWN6, "fe80::9", data=d)), False),
}
TABLES = {"c1": BRIDGED, "w1": TO_OTHERS, UPLINK: OUTSIDE}


class Tried(t.NamedTuple):
    """came: of each table, which of its frames came through."""

    node: Node
    open: bool
    ends: Ends
    came: dict[str, set[str]]


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        (made,) = world.nodes
        # An administrator may have allowed this, and it is then for the rules alone.
        made.run(["sysctl", "-qw", "net.ipv4.conf.all.accept_source_route=1"])
        # Else connection tracking puts together what comes in fragments.
        made.run(["sysctl", "-qe", *(f"net.bridge.bridge-nf-call-{name}=0" for name in ("iptables", "ip6tables"))])
        yield made


@pytest.fixture(scope="module", params=[CLOSED, OPEN], ids=["protected", "open"])
def tried(node: Node, request: pytest.FixtureRequest) -> t.Iterator[Tried]:
    networks = request.param
    before = settled(node)
    node.call(build_at_once, networks)
    assert unreachable_from(node, "c1", "c2", "w1") == []
    ends = _ends(node)
    came = {witness: _came(node, ends, witness, table) for witness, table in TABLES.items()}
    yield Tried(node, networks is OPEN, ends, came)
    # Nothing that they sent is left, neither in the way of others nor as drift.
    assert unreachable_from(node, "c1", "w1") == []
    assert node.call(build_at_once, networks) == []
    node.call(build_at_once, networks, absent=True)
    assert difference(before, settled(node)) == ""


def _ends(node: Node) -> Ends:
    def link(name: str, *where: str) -> t.Any:
        return json.loads(node.run(["ip", *where, "-j", "address", "show", "dev", name]).stdout)[0]

    own = link("eth0", "-n", "c2")
    (local,) = [item["local"] for item in own["addr_info"] if item["local"].startswith("fe80")]
    macs = (own["address"], link("eth0", "-n", "c1")["address"], link("br0")["address"])
    return Ends(*macs, local, node.address, node.address6)


def _came(node: Node, ends: Ends, witness: str, table: dict[str, tuple[Frame, bool]]) -> set[str]:
    marks: dict[str, bytes] = {}
    sent = []
    for number, (case, (frame, _open)) in enumerate(table.items()):
        data = TAG + b"-%03d-" % number
        sent += [frame(ends, data)] * 3
        marks[case] = data if data in sent[-1] else sent[-1][18:]
    last = {
        "c1": _all(ends, IPV4, udp(OWN, C1, data=LAST)),
        # By the port that is published.
        "w1": _routed(ends, udp(OWN, node.address, 4000, 8081, LAST)),
        UPLINK: _routed(ends, udp(OWN, INTERNET, data=LAST)),
    }[witness]
    place = ("", UPLINK) if witness == UPLINK else (witness, "eth0")
    (seen,) = node.call(frames.passed, "c2", sent, last, [place])
    if witness == UPLINK:
        own = [frames.packed(address) for address in (node.address, node.address6)]
        seen = [data for data in seen if data[26:30] not in own and data[22:38] not in own]
    return {case for case, mark in marks.items() if any(mark in data for data in seen)}


@pytest.mark.parametrize("case", BRIDGED)
def test_neighbour(tried: Tried, case: str) -> None:
    assert (case in tried.came["c1"]) == (tried.open and BRIDGED[case][1])


@pytest.mark.parametrize("case", TO_OTHERS)
def test_other_network(tried: Tried, case: str) -> None:
    assert (case in tried.came["w1"]) == (tried.open and TO_OTHERS[case][1])


@pytest.mark.parametrize("case", OUTSIDE)
def test_outside(tried: Tried, case: str) -> None:
    assert (case in tried.came[UPLINK]) == (tried.open and OUTSIDE[case][1])


def _sent(sender: str, sent: t.Sequence[bytes], last: bytes, witness: str) -> None:
    frames.passed(sender, sent, last, [(witness, "eth0")])


# What a bridge might learn from, and whether one that is open does. c1 speaks up, and so gets its own MAC address back.
LEARNED: dict[str, tuple[t.Callable[[Ends], list[bytes]], bool]] = {
    "by LLDP": (lambda _m: [ether(STRANGE, "01:80:c2:00:00:0e", 0x88CC, bytes(40))], False),
    "by EAPOL": (lambda _m: [ether(STRANGE, "01:80:c2:00:00:03", 0x888E, bytes(40))], False),
    "by a BPDU": (lambda _m: [ether(STRANGE, "01:80:c2:00:00:00", 38, bytes(38))], True),
    "from a frame to itself": (lambda _m: [ether(STRANGE, STRANGE, IPV4, udp(C1, C1))], True),
    "from thousands": (
        lambda _m: [
            ether(f"02:00:5e:01:{n >> 8:02x}:{n & 255:02x}", EVERYBODY, IPV4, udp(OWN, C1)) for n in range(300)
        ],
        True,
    ),
    "of the bridge": (lambda m: [ether(m.bridge, EVERYBODY, IPV4, udp(OWN, C1))], False),
}


@pytest.mark.parametrize("case", LEARNED)
def test_bridge_learns_no_mac(tried: Tried, case: str) -> None:
    """Else what is for a neighbour goes to the port of c2."""
    node, ends = tried.node, tried.ends
    last = _all(ends, IPV4, udp(OWN, C1, data=LAST))
    node.call(_sent, "c2", LEARNED[case][0](ends), last, "c1")
    entries = json.loads(node.run(["bridge", "-j", "fdb", "show", "br", "br0"]).stdout)
    learned = {entry["mac"]: entry["ifname"] for entry in entries if "permanent" not in entry.get("state", "")}
    strange = [mac for mac in learned if mac not in (ends.own, ends.other)]
    node.run(["bridge", "-batch", "-"], input="".join(f"fdb del {mac} dev {learned[mac]} master\n" for mac in strange))
    # Where namespaces may send from any address, what goes past all filters is not learned from either.
    assert bool(strange) == (tried.open and LEARNED[case][1])


LISTEN = """
import socket, sys
family, address = (socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET), sys.argv[1]
ear = socket.socket(family, socket.SOCK_DGRAM)
ear.bind((address, 4040))
print("ready", flush=True)
sys.stdin.read()
ear.setblocking(False)
try:
    print(ear.recv(100))
except BlockingIOError:
    print("nothing")
"""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_listens_on_the_loopback_alone_hears_nobody(tried: Tried, address: str) -> None:
    node, ends = tried.node, tried.ends
    with node.popen([sys.executable, "-c", LISTEN, address], stdin=-1, stdout=-1) as ear:
        assert ear.stdout is not None
        assert ear.stdout.readline() == "ready\n"
        own = OWN6 if ":" in address else OWN
        packets = [udp(source, address, 4000, 4040) for source in (own, address)]
        last = _all(ends, IPV4, udp(OWN, C1, data=LAST))
        node.call(_sent, "c2", [_routed(ends, packet) for packet in packets], last, "c1")
        heard, _nothing = ear.communicate("")
    assert heard == "nothing\n"


def test_error_of_a_tenant_about_the_flow_of_another_network(tried: Tried) -> None:
    """The host translates what an error is about, and so sends it on to whom that is."""
    node, ends = tried.node, tried.ends

    def begun() -> int:
        with inside("w1"):
            return probe.udp(INTERNET, timeout=10.0).port or 0

    quoted = udp(node.address, INTERNET, node.call(begun), probe.WHO_PORT)
    error = _routed(ends, frames.icmp4(OWN, node.address, 3, bytes(4) + quoted))
    last = _routed(ends, udp(OWN, node.address, 4000, 8081, LAST))
    (seen,) = node.call(frames.passed, "c2", [error] * 3, last, [("w1", "eth0")])
    assert len(seen) == (3 if tried.open else 0)
