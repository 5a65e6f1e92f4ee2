"""Networks that somebody made by hand, or this collection, described as they would be written."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.allocation import allocate
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import Network, parse_networks

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, refusal, seen_from
from tests.support.generated_networks import networks
from tests.support.hand_made_network import BRIDGE, SIX, looked, member
from tests.support.shell import script
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def comparable(asked: t.Sequence[Options]) -> list[dict[str, t.Any]]:
    """What can be seen of networks, with defaults filled in and addresses chosen."""
    return sorted((_visible(network) for network in parse_networks(list(asked))), key=lambda one: one["name"])


def _visible(network: Network) -> dict[str, t.Any]:
    given = allocate(network, {})
    # Without translation no rule names the uplink.
    uplinks = network.uplinks if network.nat["mode"] != "none" else ()
    published = sorted((one.protocol, one.first, one.last, one.to, one.to_port) for one in network.publish)
    shown = {
        name: getattr(network, name)
        for name in (
            "name",
            "bridge",
            "subnets",
            "gateways",
            "mtu",
            "isolated",
            "vlans",
            "link_settings",
            "nat",
            "mss_clamp",
        )
    }
    # Without a link nobody can see what it would be like, and these are what links are like without the option.
    if not network.namespaces:
        shown["isolated"] = False
    hairpin = network.hairpin if network.namespaces and network.hairpin else None
    link_local = network.ipv6_link_local if network.namespaces else None
    shown["link_settings"] = {name: value for name, value in network.link_settings.items() if value}
    members = {
        one.name: (one.interface, sorted(given[one.name]), one.dns, one.bandwidth, one.vlans)
        for one in network.namespaces
    }
    # The kernel lists the addresses of IPv4 first.
    for name in ("subnets", "gateways"):
        shown[name] = sorted(shown[name], key=lambda text: ":" in text)
    more = {"uplinks": uplinks, "publish": published, "hairpin": hairpin, "link_local": link_local, "members": members}
    return {**shown, **more}


@pytest.mark.parametrize("seed", [0, 3, 5, 9, 10, 13, 14])
def test_what_the_collection_built_is_described_as_it_was_asked_for(node: Node, seed: int) -> None:
    asked = networks(seed)
    node.call(build_at_once, asked)
    before = settled(node)
    found = looked(node)
    assert difference(before, settled(node)) == ""
    assert comparable(found["egress_networks"]) == comparable(asked)
    assert found["notes"] == []
    assert node.call(build_at_once, found["egress_networks"]) == []


def test_what_networks_may_exchange_is_described(node: Node) -> None:
    pods: Options = {
        "name": "pods",
        "subnets": ["10.22.33.0/24"],
        "namespaces": ["c1"],
        "peers": ["web"],
        "inbound": "open",
    }
    web: Options = {"name": "web", "subnets": ["10.44.0.0/24"], "nat": "none", "inbound": "published", "isolated": True}
    open_one: Options = {"name": "lab", "subnets": ["10.55.0.0/24"], "namespaces": ["l1"], "spoof_protection": False}
    asked = [pods, web, open_one]
    node.call(build_at_once, asked)
    found = looked(node)["egress_networks"]
    keys = ("name", "peers", "inbound", "isolated", "spoof_protection")
    chosen = [{key: network[key] for key in keys if key in network} for network in found]
    expected = [{key: network[key] for key in keys if key in network} for network in asked]
    assert sorted(chosen, key=lambda one: one["name"]) == sorted(expected, key=lambda one: str(one["name"]))
    assert node.call(build_at_once, found) == []


def described(node: Node) -> Options:
    """The only network, which nothing was said beside."""
    found = looked(node)
    assert found["notes"] == []
    (network,) = found["egress_networks"]
    return dict(network)


def inside(node: Node, *names: str) -> dict[str, t.Any]:
    """Addresses and routes of namespaces, without those that the kernel makes of a MAC."""
    found: dict[str, t.Any] = {"names": sorted(node.run(["ip", "netns", "list"]).stdout.split("\n"))}
    found["names"] = [line.split()[0] for line in found["names"] if line]
    for name in names:
        links = json.loads(node.run(["ip", "-n", name, "-j", "address", "show", "up"]).stdout)
        found[name] = [
            (link["ifname"], link["mtu"], sorted(a["local"] for a in link["addr_info"] if a["scope"] == "global"))
            for link in links
        ]
        for family in ("-4", "-6"):
            routes = json.loads(node.run(["ip", "-n", name, family, "-j", "route", "show"]).stdout)
            found[f"{name} {family}"] = sorted((one["dst"], one.get("gateway", ""), one["dev"]) for one in routes)
    return found


WAYS = {
    "nftables": """
nft 'add table ip nat; add chain ip nat postrouting { type nat hook postrouting priority 100; }'
nft 'add rule ip nat postrouting ip saddr 10.22.33.0/24 oifname "uplink0" counter masquerade'
nft 'add table ip6 nat; add chain ip6 nat postrouting { type nat hook postrouting priority 100; }'
nft 'add rule ip6 nat postrouting ip6 saddr fd00:22:33::/64 oifname "uplink0" masquerade'
""",
    "iptables": f"iptables -t nat -A POSTROUTING -s 10.22.33.0/24 -o uplink0 -j MASQUERADE; {SIX}",
    "snat": """
iptables -t nat -A POSTROUTING -s 10.22.33.0/24 -o uplink0 -j SNAT --to-source 198.18.77.7
ip6tables -t nat -A POSTROUTING -s fd00:22:33::/64 -o uplink0 -j SNAT --to-source 2001:db8:18::77
""",
}
EXTRA = "ip address add 198.18.77.7/32 dev uplink0; ip address add 2001:db8:18::77/128 dev uplink0 nodad"


@pytest.mark.parametrize("way", WAYS)
def test_what_was_made_by_hand_is_built_on_another_host(way: str) -> None:
    names = ("a", "b", "c")
    with World(nodes=1) as world:
        (first,) = world.nodes
        extra = EXTRA if way == "snat" else ""
        script(first, extra + BRIDGE + member("b", 3) + member("a", 2) + member("c", 9, "net0") + WAYS[way])
        script(first, "mkdir -p /etc/netns/b; echo 'search example.org' > /etc/netns/b/resolv.conf")
        script(first, "echo 'nameserver 198.51.100.80' >> /etc/netns/b/resolv.conf")
        before = settled(first)
        network = described(first)
        assert difference(before, settled(first)) == ""
        nat = {"nat": {"mode": "snat", "to_source": ["198.18.77.7", "2001:db8:18::77"]}} if way == "snat" else {}
        assert network == {
            "name": "br0",
            "bridge": "br0",
            "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
            "uplink": "uplink0",
            **nat,
            "namespaces": [
                "a",
                {"name": "b", "dns": {"servers": ["198.51.100.80"], "search": ["example.org"]}},
                {"name": "c", "interface": "net0", "addresses": ["10.22.33.9/24", "fd00:22:33::9/64"]},
            ],
        }
        by_hand = inside(first, *names)
        assert told(first, *names) == wanted(first, way)
        # Its extra addresses are to be another host's.
        first.close()
        second = world.add_node()
        script(second, extra)
        second.call(build_at_once, [network])
        assert inside(second, *names) == by_hand
        assert told(second, *names) == wanted(second, way)
        assert comparable([described(second)]) == comparable([network])


def told(node: Node, *names: str) -> dict[str, list[str]]:
    """Whom the internet host saw from each namespace."""
    return {
        name: [node.call(seen_from, name, target) for target in ("198.51.100.80", "2001:db8:51::80")] for name in names
    }


def wanted(node: Node, way: str) -> dict[str, list[str]]:
    own = ["198.18.77.7", "2001:db8:18::77"] if way == "snat" else [node.address, node.address6]
    return dict.fromkeys(("a", "b", "c"), own)


def test_pairs_alone_are_replaced(node: Node) -> None:
    """Namespaces, with what lives in them, and the bridge stay those of whoever made them."""
    script(node, BRIDGE + member("a", 2) + member("b", 3) + WAYS["nftables"])
    network = described(node)
    refused = refusal(node, build_at_once, [network])
    assert "taken by a veth link that somebody else made" in refused.text
    with node.popen(["ip", "netns", "exec", "a", "sleep", "100"]) as process:
        script(node, "ip link del veth-a; ip link del veth-b; nft flush ruleset")
        node.call(build_at_once, [network])
        assert told(node, "a", "b") == {name: [node.address, node.address6] for name in ("a", "b")}
        assert process.poll() is None
        process.kill()
    node.call(build_at_once, [network], absent=True)
    assert inside(node)["names"] == ["a", "b"]
    assert "br0" in node.run(["ip", "-br", "link"]).stdout


ODD = """
ip netns add two
for end in a b; do ip link add two-$end type veth peer name eth-$end netns two; ip link set two-$end master br0; done
ip netns add direct; ip link add direct0 type veth peer name eth0 netns direct
ip netns add empty
ip netns add over; ip -n over link add over0 type bridge
ip tuntap add plug0 mode tap; ip link set plug0 master br0
ip link add cord0 type veth peer name cord1; ip link set cord0 master br0
ip link add br-idle type bridge; ip address add 10.77.0.1/24 dev br-idle
ip link add br-bare type bridge
ip rule add from 10.22.33.0/24 table 77; ip rule add from 10.99.0.0/16 table 78; ip rule add fwmark 7 table 79
ip -n a rule add from 10.22.33.2 table 77
ip -n a route add 10.88.0.0/16 via 10.22.33.1; ip -n a route add 10.89.0.0/16 via 10.22.33.1 table 77
ip -n a neighbour add 10.22.33.78 lladdr 02:00:00:00:00:78 dev eth0 nud permanent
mkdir -p /etc/netns/a; ln -s /etc/hosts /etc/netns/a/resolv.conf
ip -n b route add default via 10.22.33.99 metric 50; ip -n b route add default via fd00:22:33::99 metric 2000
ip -n a route change default via 10.22.33.1 src 10.22.33.2 mtu 1300
ip -n away route del default
ip -n lost route replace default via 10.22.33.99
ip netns add far; ip link add far0 type veth peer name eth0 netns far; ip link set far0 master br0
ip -n far address add 10.66.0.2/24 dev eth0
ip netns add none; ip link add none0 type veth peer name eth0 netns none; ip link set none0 master br0
ip address add 10.22.33.250/24 dev br0
sysctl -qw net.ipv4.ip_forward=0
touch /run/netns/stale
ip link add '{{x}}' type bridge; ip address add 10.78.0.1/24 dev '{{x}}'
ip netns add odd; ip link add odd0 type veth peer name eth0 netns odd; ip link set odd0 master '{{x}}'
ip -n odd address add 10.78.0.2/24 dev eth0; ip -n odd link set eth0 up; ip link set odd0 up; ip link set '{{x}}' up
ip -n odd route add default via 10.78.0.1
ip link set veth-b mtu 1400; ip -n b link set eth0 mtu 1400
tc qdisc add dev veth-b root handle 1: pfifo
# A port that joins may change the bridge's MAC, with which its neighbours go.
ip neighbour add 10.22.33.77 lladdr 02:00:00:00:00:77 dev br0 nud permanent
"""
NOTES = [
    ("namespace two", "it has 2 links: eth-a, eth-b"),
    ("namespace direct", "its pair ends at direct0, without a bridge"),
    ("namespace empty", "it has no link"),
    ("namespace over", "over0 is a bridge"),
    ("bridge br0", "its port plug0 is no pair"),
    ("bridge br0", "its port cord0 leads to cord1 of the host"),
    ("bridge br-idle", "no namespace with a name is behind it"),
    ("bridge br0", "static neighbour 10.22.33.77 at 02:00:00:00:00:77 on br0"),
    ("the host", "policy rule 32765: from 10.22.33.0/24 lookup 77"),
    ("the host", "policy rule 32763: from all fwmark 0x7 lookup 79"),
    ("namespace a", "policy rule 32765: from 10.22.33.2/32 lookup 77"),
    ("namespace a", "route to 10.88.0.0/16 via 10.22.33.1"),
    ("namespace a", "route to 10.89.0.0/16 via 10.22.33.1 in table 77"),
    ("namespace a", "default route via 10.22.33.1 src 10.22.33.2 mtu 1300"),
    ("namespace b", "route to 0.0.0.0/0 via 10.22.33.99 metric 50"),
    ("namespace b", "route to ::/0 via fd00:22:33::99 metric 2000"),
    ("namespace a", "static neighbour 10.22.33.78 at 02:00:00:00:00:78 on eth0"),
    ("namespace a", "/etc/netns/a/resolv.conf: it is a symbolic link"),
    ("namespace away", "no default route of IPv4"),
    ("namespace lost", "its default route leads to 10.22.33.99, and not to 10.22.33.1 on the bridge"),
    ("namespace far", "address 10.66.0.2/24, and none on br0 is of its subnet"),
    ("namespace none", "eth0 has no address"),
    ("bridge br0", "address 10.22.33.250"),
    ("bridge br0", "MTUs 1400, 1500 behind it"),
    ("the host", "veth-b has the queueing discipline pfifo"),
    ("the host", "it does not forward IPv4"),
]


def test_what_has_no_place_is_noted(node: Node) -> None:
    four = [member(name, number) for number, name in enumerate(("a", "b", "away", "lost"), 2)]
    script(node, BRIDGE + "".join(four) + ODD)
    before = settled(node)
    found = looked(node)
    assert difference(before, settled(node)) == ""
    notes = [(note["about"], note["seen"]) for note in found["notes"]]
    assert sorted(notes) == sorted(NOTES)
    assert all(note["reason"] for note in found["notes"])
    names = {entry["name"]: entry["namespaces"] for entry in found["egress_networks"]}
    assert names == {"br0": ["a", "b", "away"], "x": ["odd"]}
    parse_networks(found["egress_networks"])


def test_gateways_that_are_not_the_first(node: Node) -> None:
    """A link-local one on the bridge, which is that of all IPv6 subnets, and the last address of IPv4."""
    text = BRIDGE.replace("10.22.33.1/24", "10.22.33.254/24").replace("fd00:22:33::1/64", "fe80::1/64")
    pair = (
        member("a", 1)
        .replace("via 10.22.33.1", "via 10.22.33.254")
        .replace("via fd00:22:33::1", "via fe80::1 dev eth0")
    )
    script(node, f"{text}{pair} ip -6 route add fd00:22:33::/64 dev br0")
    network = described(node)
    assert network["subnets"] == ["10.22.33.0/24", "fd00:22:33::/64"]
    assert network["gateway"] == ["10.22.33.254", "fe80::1"]
    assert network["namespaces"] == ["a"]


def test_rules_of_ours_that_somebody_edited(node: Node) -> None:
    asked = {"name": "pods", "subnets": ["10.22.33.0/24"], "publish": [{"port": 80, "to": "a"}], "namespaces": ["a"]}
    node.call(build_at_once, [asked])
    for chain in ("nat_pods", "publish_pods"):
        script(node, f"nft add rule inet netpath_egress {chain} accept")
    notes = [note["seen"] for note in looked(node)["notes"]]
    assert "translation of pods is not as it was written" in notes
    assert "published ports of pods are not as they were written" in notes


@pytest.mark.parametrize("limit", ["8kbit", "1.5mbit", "2gbit", "123456bit"])
def test_bandwidth(node: Node, limit: str) -> None:
    asked = [{"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": [{"name": "a", "bandwidth": limit}]}]
    node.call(build_at_once, asked)
    assert node.call(build_at_once, [described(node)]) == []


def test_host_with_nothing(node: Node) -> None:
    assert looked(node) == {"egress_networks": [], "notes": []}
