"""What a namespace may send: its own addresses, and nothing that a router or a server says.

Each case is sent twice: with spoof_protection, and without it, where it reaches the witness. There nothing
is translated, since the guard behind NAT drops what has a source of no network.
"""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import UPLINK, World
from tests.support import frames
from tests.support.building import build_at_once, refusal, unreachable_from
from tests.support.frames import EVERYBODY, IPV4, IPV6, LAST, TAG, advertisement, arp, ether, icmp6, option, packed, udp
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2", "c3"],
}
OPEN: Options = {**PODS, "spoof_protection": False}
UNTRANSLATED: Options = {**OPEN, "nat": "none"}
OWN, OTHER, GATEWAY = "10.22.33.3", "10.22.33.2", "10.22.33.1"
OWN6, OTHER6, GATEWAY6 = "fd00:22:33::3", "fd00:22:33::2", "fd00:22:33::1"
NODES, ROUTERS = "ff02::1", "ff02::2"
STRANGE = "02:00:5e:00:00:99"
INTERNET, INTERNET6 = probe.TARGETS[4], probe.TARGETS[6]


class Ends(t.NamedTuple):
    """MAC addresses: of c2, which sends, its neighbour c1 and the bridge; and the link-local address of c2."""

    own: str
    other: str
    bridge: str
    local: str


Frame = t.Callable[[Ends], bytes]


def _all(source: str, kind: int, body: bytes) -> bytes:
    return ether(source, EVERYBODY, kind, body)


# What leaves by the uplink where nobody refuses it.
ROUTED: dict[str, Frame] = {
    "IPv4, source of nobody": lambda m: ether(m.own, m.bridge, IPV4, udp("10.99.99.99", INTERNET)),
    "IPv4, public source": lambda m: ether(m.own, m.bridge, IPV4, udp("203.0.113.99", INTERNET)),
    "IPv4, link-local source": lambda m: ether(m.own, m.bridge, IPV4, udp("169.254.1.1", INTERNET)),
    "IPv4, source of a neighbour": lambda m: ether(m.own, m.bridge, IPV4, udp(OTHER, INTERNET)),
    "IPv6, source of nobody": lambda m: ether(m.own, m.bridge, IPV6, udp("2001:db8:dead::1", INTERNET6)),
    "IPv6, source of a neighbour": lambda m: ether(m.own, m.bridge, IPV6, udp(OTHER6, INTERNET6)),
    "IPv4, MAC of nobody": lambda m: ether(STRANGE, m.bridge, IPV4, udp(OWN, INTERNET)),
    "IPv6, MAC of nobody": lambda m: ether(STRANGE, m.bridge, IPV6, udp(OWN6, INTERNET6)),
}
# What reaches a neighbour where nobody refuses it.
BRIDGED: dict[str, Frame] = {
    "MAC of a neighbour": lambda m: _all(m.other, IPV4, udp(OWN, OTHER)),
    "ARP reply for a neighbour": lambda m: _all(m.own, frames.ARP, arp(2, m.own, OTHER, OTHER)),
    "ARP request by a neighbour": lambda m: _all(m.own, frames.ARP, arp(1, m.own, OTHER, GATEWAY)),
    "ARP for the gateway": lambda m: _all(m.own, frames.ARP, arp(2, m.own, GATEWAY, GATEWAY)),
    "ARP with another MAC inside": lambda m: _all(m.own, frames.ARP, arp(2, STRANGE, OWN, OTHER)),
    "ARP probe for a neighbour": lambda m: _all(m.own, frames.ARP, arp(1, m.own, "0.0.0.0", OTHER)),
    "advertisement of a neighbour": lambda m: _all(m.own, IPV6, advertisement(OWN6, NODES, OTHER6, option(2, m.own))),
    "advertisement without option": lambda m: _all(m.own, IPV6, advertisement(OWN6, NODES, OTHER6)),
    "advertisement of the gateway": lambda m: _all(m.own, IPV6, advertisement(m.local, NODES, GATEWAY6)),
    "advertisement with another MAC": lambda m: _all(m.own, IPV6, advertisement(OWN6, NODES, OWN6, option(2, STRANGE))),
    "advertisement with a hidden MAC": lambda m: _all(
        m.own, IPV6, advertisement(OWN6, NODES, OWN6, option(14, m.own) + option(2, STRANGE))
    ),
    "duplicate address detection for a neighbour": lambda m: _all(
        m.own, IPV6, icmp6("::", "ff02::1:ff00:2", 135, bytes(4) + packed(OTHER6))
    ),
    "router advertisement": lambda m: _all(m.own, IPV6, icmp6(m.local, NODES, 134, bytes([64, 0, 7, 8]) + bytes(8))),
    "redirect of IPv6": lambda m: _all(
        m.own, IPV6, icmp6(m.local, OTHER6, 137, bytes(4) + packed(m.local) + packed(INTERNET6))
    ),
    "redirect of IPv4": lambda m: _all(
        m.own, IPV4, frames.icmp4(OWN, OTHER, 5, packed(OWN) + udp(OTHER, INTERNET)[:28])
    ),
    "DHCP offer": lambda m: _all(m.own, IPV4, udp(OWN, "255.255.255.255", 67, 68)),
    "DHCP offer from an odd port": lambda m: _all(m.own, IPV4, udp(OWN, "255.255.255.255", 4000, 68)),
    "DHCPv6 reply": lambda m: _all(m.own, IPV6, udp(m.local, NODES, 547, 546)),
    "DHCPv6 reply from an odd port": lambda m: _all(m.own, IPV6, udp(m.local, NODES, 4000, 546)),
    "IPv6, link-local source of another": lambda m: _all(m.own, IPV6, udp("fe80::bad", NODES)),
    "IPv4 in two VLAN tags of no VLAN": lambda m: _all(
        m.own, frames.VLAN, b"\0\0\x81\0\0\0\x08\0" + udp("10.99.99.99", OTHER)
    ),
    "IPv4 in a VLAN tag of no VLAN": lambda m: _all(m.own, frames.VLAN, b"\0\0\x08\0" + udp("10.99.99.99", OTHER)),
    "neither IP nor ARP": lambda m: _all(m.own, frames.TESTING, bytes(50)),
}
# What goes through in any case.
ALLOWED: dict[str, Frame] = {
    "IPv4": lambda m: _all(m.own, IPV4, udp(OWN, OTHER)),
    "IPv6": lambda m: _all(m.own, IPV6, udp(OWN6, NODES)),
    "IPv6, link-local": lambda m: _all(m.own, IPV6, udp(m.local, NODES)),
    "ARP request": lambda m: _all(m.own, frames.ARP, arp(1, m.own, OWN, OTHER)),
    "gratuitous ARP": lambda m: _all(m.own, frames.ARP, arp(2, m.own, OWN, OWN)),
    "ARP probe for its own": lambda m: _all(m.own, frames.ARP, arp(1, m.own, "0.0.0.0", OWN)),
    "advertisement": lambda m: _all(m.own, IPV6, advertisement(OWN6, NODES, OWN6, option(2, m.own))),
    "advertisement without option": lambda m: _all(m.own, IPV6, advertisement(OWN6, NODES, OWN6)),
    "advertisement of its link-local": lambda m: _all(m.own, IPV6, advertisement(m.local, NODES, m.local)),
    "solicitation": lambda m: _all(m.own, IPV6, icmp6(OWN6, NODES, 135, bytes(4) + packed(OTHER6) + option(1, m.own))),
    "duplicate address detection": lambda m: _all(m.own, IPV6, icmp6("::", NODES, 135, bytes(4) + packed(OWN6))),
    "router solicitation": lambda m: _all(m.own, IPV6, icmp6("::", ROUTERS, 133, bytes(4))),
    "multicast listener report": lambda m: _all(m.own, IPV6, icmp6("::", "ff02::16", 143, bytes(4))),
    "DHCP discover": lambda m: _all(m.own, IPV4, udp("0.0.0.0", "255.255.255.255", 68, 67)),
    "DHCPv6 solicit": lambda m: _all(m.own, IPV6, udp(m.local, "ff02::1:2", 546, 547)),
}


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        yield world.nodes[0]


@pytest.fixture(scope="module", params=[PODS, UNTRANSLATED], ids=["protected", "open"])
def built(node: Node, request: pytest.FixtureRequest) -> t.Iterator[tuple[Node, bool, Ends]]:
    """With the network there, whether it is protected, and the addresses of its links."""
    before = settled(node)
    node.call(build_at_once, [request.param])
    _resolve_afresh(node)
    yield node, request.param is PODS, _ends(node)
    node.call(build_at_once, [request.param], absent=True)
    assert difference(before, settled(node)) == ""


def _ends(node: Node) -> Ends:
    def mac(*where: str) -> str:
        return node.run(["cat", *where]).stdout.strip()

    own, other = (
        node.namespace_run(name, ["sh", "-c", "ip -br link show eth0 | awk '{print $3}'"]).stdout.strip()
        for name in ("c2", "c1")
    )
    bridge = node.run(["sh", "-c", "ip -br link show br0 | awk '{print $3}'"]).stdout.strip()
    local = node.namespace_run("c2", ["sh", "-c", "ip -br -6 addr show eth0 | grep -o 'fe80[^/]*'"]).stdout.strip()
    return Ends(own, other, bridge, local)


def _resolve_afresh(node: Node) -> None:
    """Have the host learn from c1 and c2 where they are, whatever it was told before."""
    node.run(["ip", "neigh", "flush", "dev", "br0"])
    for namespace in ("c1", "c2"):
        for gateway in (GATEWAY, GATEWAY6):
            node.namespace_run(namespace, ["ping", "-c", "1", "-w", "20", gateway])


def _sent(node: Node, ends: Ends, frame: Frame, witness: tuple[str, str]) -> int:
    """How many of three frames a witness saw."""
    if witness[0]:
        last = ether(ends.own, EVERYBODY, IPV4, udp(OWN, OTHER, data=LAST))
    else:
        last = ether(ends.own, ends.bridge, IPV4, udp(OWN, INTERNET, data=LAST))
    (seen,) = node.call(frames.passed, "c2", [frame(ends)] * 3, last, [witness])
    return len(seen)


@pytest.mark.parametrize("case", ROUTED)
def test_what_leaves_the_host(built: tuple[Node, bool, Ends], case: str) -> None:
    node, protected, ends = built
    assert _sent(node, ends, ROUTED[case], ("", UPLINK)) == (0 if protected else 3)


@pytest.mark.parametrize("case", BRIDGED)
def test_what_reaches_a_neighbour(built: tuple[Node, bool, Ends], case: str) -> None:
    node, protected, ends = built
    assert _sent(node, ends, BRIDGED[case], ("c1", "eth0")) == (0 if protected else 3)


@pytest.mark.parametrize("case", ALLOWED)
def test_what_a_namespace_says_of_itself(built: tuple[Node, bool, Ends], case: str) -> None:
    node, _protected, ends = built
    assert _sent(node, ends, ALLOWED[case], ("c1", "eth0")) == 3


@pytest.mark.parametrize(
    ("address", "frame"),
    [
        (OTHER, BRIDGED["ARP reply for a neighbour"]),
        (OTHER6, lambda m: _all(m.own, IPV6, advertisement(OWN6, NODES, OTHER6, option(2, m.own)))),
    ],
    ids=["ARP", "neighbour discovery"],
)
def test_host_keeps_its_neighbours(built: tuple[Node, bool, Ends], address: str, frame: Frame) -> None:
    """Replies for c1 go to c1, also where somebody else says that they are for it."""
    node, protected, ends = built
    # What was just learned is not replaced (arp(7)).
    node.run(["sysctl", "-qw", "net.ipv4.neigh.br0.locktime=0"])
    _resolve_afresh(node)
    _sent(node, ends, frame, ("c1", "eth0"))
    entry = node.run(["ip", "neigh", "show", address, "dev", "br0"]).stdout
    assert (ends.other if protected else ends.own) in entry


def test_bridge_learns_no_address_of_others(built: tuple[Node, bool, Ends]) -> None:
    """Frames to groups that are never forwarded are learned from all the same."""
    node, protected, ends = built
    frame = ether(STRANGE, "01:80:c2:00:00:03", frames.TESTING, bytes(50))
    _sent(node, ends, lambda _ends: frame, ("c1", "eth0"))
    learned = STRANGE in node.run(["bridge", "fdb", "show", "br", "br0"]).stdout
    assert learned is not protected


def test_number_of_rules_does_not_depend_on_ports(node: Node) -> None:
    def count(networks: t.Sequence[Options]) -> int:
        node.call(build_at_once, networks)
        found = node.run(
            ["sh", "-c", "nft -a list table bridge netpath_egress; nft -a list table inet netpath_egress_wall"]
        ).stdout
        node.call(build_at_once, networks, absent=True)
        return sum(
            " # handle " in line and not line.lstrip().startswith(("set", "map", "chain", "table"))
            for line in found.splitlines()
        )

    few = count([{**PODS, "namespaces": ["c1"]}])
    many = [{**PODS, "namespaces": ["c1", "c2", "c3"]}]
    many += [
        {"name": f"n{i}", "subnets": [f"10.{60 + i}.0.0/24", f"fd00:{60 + i}::/64"], "prefix": f"n{i}-", "count": 2}
        for i in range(3)
    ]
    assert few > 10
    assert count(many) == few


def test_no_rule_looks_at_the_type_of_a_frame(node: Node) -> None:
    """In a frame with a VLAN tag, of priority 0 as well, that is the tag's, and each rule would let it pass."""
    node.call(build_at_once, [PODS])
    compiled = node.run(["nft", "--debug=netlink", "list", "table", "bridge", "netpath_egress"]).stdout
    node.call(build_at_once, [PODS], absent=True)
    assert "link header + 6" in compiled
    assert "2b @ link header + 12" not in compiled


def _edits() -> dict[str, str]:
    table = "bridge netpath_egress"
    return {
        "table gone": f"nft delete table {table}",
        "all rules gone": "nft flush ruleset",
        "a chain emptied": f"nft flush chain {table} from_arp",
        "a rule added": f"nft insert rule {table} prerouting accept",
        "a chain added": f"nft add chain {table} mine",
        "an address added": f'nft add element {table} from4 {{ "np-c2" . {STRANGE} . {OTHER} }}',
        "a MAC added": f'nft add element {table} macs {{ "np-c2" . {STRANGE} }}',
        "a port made a trunk": f'nft add element {table} trunks {{ "np-c2" . {STRANGE} }}',
        "addresses taken": f"nft flush set {table} from6",
        "a target added": f'nft add element {table} targets {{ "np-c2" . 0x{packed(OTHER6).hex()} }}',
        "a port let go": f'nft delete element {table} ports {{ "np-c2" }}',
        "dormant": f"nft add table {table} '{{ flags dormant; }}'",
    }


@pytest.mark.parametrize("edit", _edits())
def test_edits_are_seen_and_repaired(node: Node, edit: str) -> None:
    node.call(build_at_once, [PODS])
    ends = _ends(node)
    node.run(["sh", "-ec", _edits()[edit]])
    told = node.call(build_at_once, [PODS], check=True)
    assert any("restrict what np-c2 sends" in line for line in told)
    assert node.call(build_at_once, [PODS]) == told
    assert node.call(build_at_once, [PODS]) == []
    assert _sent(node, ends, BRIDGED["ARP reply for a neighbour"], ("c1", "eth0")) == 0
    assert unreachable_from(node, "c1", "c2") == []
    node.call(build_at_once, [PODS], absent=True)


def test_mac_that_a_namespace_gave_itself_is_put_back(node: Node) -> None:
    node.call(build_at_once, [PODS])
    ends = _ends(node)
    node.namespace_run("c2", ["ip", "link", "set", "eth0", "address", STRANGE])
    assert unreachable_from(node, "c2", broken=["c2 ipv4", "c2 ipv6"]) == ["c2 ipv4", "c2 ipv6"]
    assert any("peer.mac" in line for line in node.call(build_at_once, [PODS]))
    assert _ends(node) == ends
    assert unreachable_from(node, "c1", "c2") == []
    node.call(build_at_once, [PODS], absent=True)


def test_pair_from_before_keeps_its_mac(node: Node) -> None:
    """As of a host that had another name when the pair was made."""
    node.call(build_at_once, [OPEN])
    node.namespace_run("c2", ["ip", "link", "set", "eth0", "address", STRANGE])
    told = node.call(build_at_once, [PODS])
    assert not any("mac" in line for line in told if line.startswith("change"))
    assert f"restrict what np-c2 sends to {STRANGE} with {OWN}, {OWN6}" in told
    assert _ends(node).own == STRANGE
    # From then on it is the one that was noted, whatever the namespace says.
    node.namespace_run("c2", ["ip", "link", "set", "eth0", "address", "02:00:5e:00:00:77"])
    node.run(["nft", "flush", "ruleset"])
    node.call(build_at_once, [PODS])
    assert _ends(node).own == STRANGE
    node.call(build_at_once, [PODS], absent=True)


def test_in_place_before_the_first_link_and_gone_after_the_last(node: Node) -> None:
    built = node.call(build_at_once, [PODS])
    last = max(built.index(line) for line in built if line.startswith("restrict"))
    assert last < min(built.index(line) for line in built if line.startswith(("create veth", "create bridge")))
    removed = node.call(build_at_once, [PODS], absent=True)
    first = min(removed.index(line) for line in removed if line.startswith("lift"))
    assert first > max(
        removed.index(line) for line in removed if line.startswith(("delete namespace", "delete bridge"))
    )


def test_namespace_that_leaves_takes_its_restriction_along(node: Node) -> None:
    node.call(build_at_once, [PODS])
    told = node.call(build_at_once, [{**PODS, "namespaces": ["c1", "c3"]}])
    assert "lift the restriction of what np-c2 sends" in told
    assert "np-c2" not in node.run(["nft", "list", "table", "bridge", "netpath_egress"]).stdout
    node.call(build_at_once, [PODS], absent=True)
    assert node.run(["nft", "list", "tables"]).stdout == ""


def test_failure_puts_back_what_ports_could_send(node: Node) -> None:
    node.call(build_at_once, [OPEN])
    node.run(["ip", "link", "add", "np-c9", "type", "dummy"], check=False)
    node.run(["ip", "link", "add", "np-c9", "type", "bridge"], check=False)
    before = settled(node)
    assert "np-c9" in refusal(node, build_at_once, [{**PODS, "namespaces": ["c1", "c2", "c3", "c9"]}]).text
    assert difference(before, settled(node)) == ""
    node.run(["ip", "link", "delete", "np-c9"])
    node.call(build_at_once, [OPEN], absent=True)


def test_host_without_nft_is_refused_before_anything_changes(node: Node) -> None:
    before = settled(node)

    def without() -> list[str]:
        from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import programs

        found = programs.find
        programs.find = lambda program: None if program == "nft" else found(program)
        return build_at_once([PODS])

    refused = refusal(node, without)
    assert "the program nft is missing" in refused.text
    assert "spoof_protection: false" in refused.text
    assert difference(before, settled(node)) == ""


def test_tags_are_seen() -> None:
    """Or else nothing would ever be refused."""
    assert TAG in udp(OWN, OTHER)
    assert LAST not in udp(OWN, OTHER)
