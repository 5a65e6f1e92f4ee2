"""IPv6 as networks need it: routed and translated, beside router advertisements, with duplicates and fe80::1."""

from __future__ import annotations

import json
import time
import typing as t

import pytest

from tests.lab import privilege, probe, snapshot
from tests.lab.advertisement import advertise
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import GATEWAY6, World, wire
from tests.support.building import build, build_at_once, refusal, seen_from
from tests.support.run_module import Options, done, run

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

TARGET = probe.TARGETS[6]
SUBNET = "fd00:22:33::/64"
FORWARDING = "/proc/sys/net/ipv6/conf/all/forwarding"
ACCEPT_RA = "/proc/sys/net/ipv6/conf/uplink0/accept_ra"
SYSCTL_FILE = "/etc/sysctl.d/90-netpath-egress.conf"
PREFIX = "2001:db8:18:99::"
BUILDERS = {"module by module": build, "at once": build_at_once}
both_ways = pytest.mark.parametrize("builder", list(BUILDERS.values()), ids=list(BUILDERS))
Builder = t.Callable[..., list[str]]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def network(**more: t.Any) -> Options:
    return {"name": "pods", "bridge": "br0", "subnets": [SUBNET], "namespaces": ["ns1"], **more}


def built_and_removed(node: Node, builder: Builder, asked: Options, look: t.Callable[[], None]) -> None:
    """Build a network, find nothing to do the second time, look, and remove it without a trace."""
    before = settled(node)
    assert node.call(builder, [asked])
    assert node.call(builder, [asked]) == []
    look()
    assert node.call(builder, [asked], absent=True)
    assert node.call(builder, [asked], absent=True) == []
    assert snapshot.difference(before, settled(node)) == ""


@both_ways
@pytest.mark.parametrize("gateway", ["first", ["fe80::1"]], ids=["gateway of the subnet", "gateway fe80::1"])
@pytest.mark.parametrize("nat", ["masquerade", "none"])
def test_network_of_ipv6_alone(world: World, node: Node, builder: Builder, gateway: t.Any, nat: str) -> None:
    via = ["ip", "-6", "route", "replace", SUBNET, "via", node.address6]
    world.internet.run(via if nat == "none" else ["ip", "-6", "route", "flush", "root", SUBNET])

    def look() -> None:
        own = "fd00:22:33::2" if gateway == "first" else "fd00:22:33::1"
        assert node.call(seen_from, "ns1", TARGET) == (node.address6 if nat == "masquerade" else own)
        default = json.loads(node.run(["ip", "-n", "ns1", "-6", "-j", "route", "show", "default"]).stdout)
        assert default[0]["gateway"] == ("fd00:22:33::1" if gateway == "first" else "fe80::1")
        assert node.run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "0\n"
        assert node.run(["ip", "-4", "address", "show", "br0"]).stdout == ""

    try:
        built_and_removed(node, builder, network(gateway=gateway, nat=nat), look)
    finally:
        world.internet.run(["ip", "-6", "route", "flush", "root", SUBNET])


def test_link_local_gateway_is_that_of_all_ipv6_subnets(node: Node) -> None:
    subnets = ["10.22.33.0/24", SUBNET, "fd00:22:34::/64"]
    addresses = ["10.22.33.9/24", "fd00:22:33::9/64", "fd00:22:34::9/64"]
    namespaces = ["ns1", {"name": "ns2", "addresses": addresses}]
    asked = network(subnets=subnets, gateway=["10.22.33.1", "fe80::1"], namespaces=namespaces)

    def look() -> None:
        assert node.call(seen_from, "ns2", TARGET) == node.address6
        assert node.call(seen_from, "ns2", probe.TARGETS[4]) == node.address
        for subnet in subnets[1:]:
            assert "dev br0 proto 250" in node.run(["ip", "-6", "route", "show", subnet]).stdout

    built_and_removed(node, build_at_once, asked, look)


def learned(node: Node) -> bool:
    """Whether there is a default route from an advertisement."""
    return bool(node.run(["ip", "-6", "route", "show", "default", "proto", "ra"]).stdout)


def advertised(world: World, node: Node, lifetime: int, patience: float = 10.0) -> bool:
    """Advertise, and wait until a node has taken it up."""
    world.internet.call(advertise, lifetime)
    give_up = time.monotonic() + patience
    while learned(node) != (lifetime > 0) and time.monotonic() < give_up:
        time.sleep(0.02)
    return learned(node) == (lifetime > 0)


@pytest.fixture
def advertised_node(world: World, node: Node) -> Node:
    """A node whose IPv6 default route was learned from an advertisement alone."""
    # A neighbour that says that it is no router is no gateway any more (RFC 4861, section 7.2.5).
    world.internet.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/uplink0/forwarding"])
    node.run(["ip", "-6", "route", "del", "default", "via", GATEWAY6])
    assert advertised(world, node, 600)
    return node


@both_ways
def test_learned_default_route_stays_when_forwarding_starts(
    world: World, advertised_node: Node, builder: Builder
) -> None:
    node = advertised_node
    assert node.run(["cat", FORWARDING, ACCEPT_RA]).stdout == "0\n1\n"

    def look() -> None:
        assert node.run(["cat", FORWARDING, ACCEPT_RA]).stdout == "1\n2\n"
        assert learned(node)
        assert node.call(seen_from, "ns1", TARGET) == node.address6
        # Advertisements are still heard, those that end the route as well.
        assert advertised(world, node, 0)
        assert advertised(world, node, 600)

    built_and_removed(node, builder, network(), look)
    assert node.run(["cat", FORWARDING, ACCEPT_RA]).stdout == "0\n1\n"


@both_ways
def test_route_that_a_program_learned_stays_and_is_left_to_it(node: Node, builder: Builder) -> None:
    """systemd-networkd and NetworkManager listen themselves, and switch off the kernel's own listening."""
    node.run(["sh", "-c", f"echo 0 >{ACCEPT_RA}"])
    node.run(["ip", "-6", "route", "del", "default"])
    node.run(["ip", "-6", "route", "add", "default", "via", GATEWAY6, "dev", "uplink0", "proto", "ra"])

    def look() -> None:
        assert node.run(["cat", FORWARDING, ACCEPT_RA]).stdout == "1\n0\n"
        assert learned(node)
        assert node.call(seen_from, "ns1", TARGET) == node.address6

    built_and_removed(node, builder, network(), look)


# (before the first run, between that and the next) of a host whose router is silent for a while.
SILENCES: dict[str, tuple[bool, bool]] = {
    "at the next run": (True, False),
    "at the first run": (False, False),
    "at all runs": (False, True),
}


@pytest.mark.parametrize("title", SILENCES)
def test_silence_of_the_router_does_not_end_listening(world: World, advertised_node: Node, title: str) -> None:
    """What a link listens to is not known by what it just has."""
    before, between = SILENCES[title]
    node = advertised_node
    state = settled(node)
    assert before or advertised(world, node, 0)
    node.call(build_at_once, [network()])
    assert advertised(world, node, 0)
    assert between or advertised(world, node, 600)
    assert advertised(world, node, 0)
    assert node.call(build_at_once, [network()]) == []
    assert node.run(["cat", FORWARDING, ACCEPT_RA]).stdout == "1\n2\n"
    assert "uplink0/accept_ra = 2" in node.run(["cat", SYSCTL_FILE]).stdout
    assert advertised(world, node, 600)
    assert node.call(seen_from, "ns1", TARGET) == node.address6
    node.call(build_at_once, [network()], absent=True)
    assert node.run(["cat", FORWARDING, ACCEPT_RA]).stdout == "0\n1\n"
    assert before is False or snapshot.difference(state, settled(node)) == ""


def test_other_links_of_the_host_keep_what_they_learned(world: World, node: Node) -> None:
    """A second interface has an advertised address and no default route by it."""
    wire(world.segment, node, "mgmt0", port=f"{node.name}-2")
    closed = "sysctl -qw net.ipv6.conf.mgmt0.accept_ra_defrtr=0 net.ipv6.conf.uplink0.accept_ra=0"
    node.run(["sh", "-ec", f"{closed}; ip link set mgmt0 up"])

    def addresses() -> list[t.Any]:
        listed = node.run(["ip", "-6", "-j", "address", "show", "dev", "mgmt0", "scope", "global"]).stdout
        return [item for item in json.loads(listed)[0].get("addr_info", []) if item.get("dynamic")]

    def refreshed() -> bool:
        """Whether an advertisement renews what is there."""
        world.internet.call(advertise, 0, PREFIX)
        return any(item["valid_life_time"] > 7100 for item in addresses())

    _await(refreshed)
    assert node.call(build_at_once, [network()])
    assert node.run(["cat", FORWARDING, "/proc/sys/net/ipv6/conf/mgmt0/accept_ra"]).stdout == "1\n2\n"
    (held,) = addresses()
    node.run(
        ["ip", "address", "change", f"{held['local']}/64", "dev", "mgmt0", "valid_lft", "7000", "preferred_lft", "60"]
    )
    _await(refreshed)
    node.call(build_at_once, [network()], absent=True)
    assert node.run(["cat", "/proc/sys/net/ipv6/conf/mgmt0/accept_ra"]).stdout == "1\n"


def test_host_that_routed_before_listens_as_it_did(node: Node) -> None:
    """With 1 nobody listened on a router, and nobody begins to."""
    node.run(["sh", "-ec", f"echo 1 >{FORWARDING}; ip -6 route del default"])
    node.call(build_at_once, [network()])
    assert node.run(["cat", ACCEPT_RA]).stdout == "1\n"


# What the kernel gives new links, by files of sysctl.d or its command line.
SWITCHED_OFF = {
    "by default": "net.ipv6.conf.default.disable_ipv6=1",
    "on all": "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.uplink0.disable_ipv6=0",
}


@pytest.mark.parametrize("title", SWITCHED_OFF)
def test_host_that_switches_ipv6_off(node: Node, title: str) -> None:
    """The links of a network have what it asks for; those of the host stay as they are."""
    way = f"ip address replace {node.address6}/64 dev uplink0 nodad; ip -6 route replace default via {GATEWAY6}"
    node.run(["sh", "-ec", f"sysctl -qw {SWITCHED_OFF[title]}; {way}"])
    foreseen = node.call(build_at_once, [network()], check=True)

    def look() -> None:
        assert node.call(seen_from, "ns1", TARGET) == node.address6
        node.run(["sysctl", "-qw", "net.ipv6.conf.br0.disable_ipv6=1"])
        assert "change bridge br0: ipv6 off -> on" in node.call(build_at_once, [network()])
        assert node.call(seen_from, "ns1", TARGET) == node.address6

    built_and_removed(node, build_at_once, network(), look)
    assert foreseen


def _await(true: t.Callable[[], bool], patience: float = 10.0) -> None:
    give_up = time.monotonic() + patience
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_without_keep_the_learned_route_is_lost(advertised_node: Node) -> None:
    """What accept_ra keep is for."""
    done(advertised_node, "sysctl_forward", {"ipv6": True, "accept_ra": "ignore"})
    assert not learned(advertised_node)
    assert advertised_node.run(["cat", ACCEPT_RA]).stdout == "1\n"


STRANGER = """
ip netns add stranger
ip link add name other type veth peer name eth0 netns stranger
ip link set other master br0 up
ip -n stranger address add fd00:22:33::2/64 dev eth0 nodad
ip -n stranger link set eth0 up
"""


def with_their_bridge(node: Node) -> None:
    """On a bridge of another tool may be who likes, so that addresses are checked for duplicates."""
    node.run(["sh", "-ec", "ip link add br0 type bridge stp_state 0 forward_delay 0; ip link set br0 up"])


@both_ways
def test_address_of_another_host_is_reported_and_rolled_back(node: Node, builder: Builder) -> None:
    with_their_bridge(node)
    asked = network(namespaces=[{"name": "ns1", "addresses": ["fd00:22:33::3/64"]}])
    node.call(builder, [asked])
    node.run(["sh", "-ec", STRANGER])
    before = settled(node)
    clash = network(namespaces=[*asked["namespaces"], {"name": "ns2", "addresses": ["fd00:22:33::2/64"]}])
    found = refusal(node, builder, [clash])
    assert found.kind == "ApplyError"
    assert found.asked == "verify what was built"
    told = "use fd00:22:33::2/64 on eth0 in namespace ns2: another host on the link has it. Choose another one"
    assert told in found.found
    assert found.rolled_back
    if builder is build_at_once:
        assert snapshot.difference(before, settled(node)) == ""


def test_address_that_lost_detection_is_tried_again(node: Node) -> None:
    """Detection may fail long after the run, when the link comes up again beside a newcomer."""
    with_their_bridge(node)
    asked = network(namespaces=[{"name": "ns1", "addresses": ["fd00:22:33::2/64"]}])
    node.call(build_at_once, [asked])
    node.run(["sh", "-ec", "ip -n ns1 address del fd00:22:33::2/64 dev eth0;" + STRANGER])
    node.run(["ip", "-n", "ns1", "address", "add", "fd00:22:33::2/64", "dev", "eth0"])

    def await_failure() -> None:
        give_up = time.monotonic() + 20
        while "dadfailed" not in node.run(["ip", "-n", "ns1", "address", "show", "eth0"]).stdout:
            assert time.monotonic() < give_up
            time.sleep(0.05)

    await_failure()
    line = "add address fd00:22:33::2/64 to eth0 again in namespace ns1, as another host had it"
    assert node.call(build_at_once, [asked], check=True) == [line]
    assert refusal(node, build_at_once, [asked]).rolled_back
    await_failure()
    node.run(["ip", "netns", "del", "stranger"])
    assert node.call(build_at_once, [asked]) == [line]
    assert node.call(build_at_once, [asked]) == []
    assert node.call(seen_from, "ns1", TARGET) == node.address6


@both_ways
def test_nobody_on_a_bridge_of_the_network_can_object_to_an_address(node: Node, builder: Builder) -> None:
    node.call(builder, [network()])
    node.run(["sh", "-ec", STRANGER.replace("::2/64", "::3/64")])
    grown = network(namespaces=["ns1", "ns2"])
    node.call(builder, [grown])
    assert node.call(builder, [grown]) == []
    shown = node.run(["ip", "-n", "ns2", "-6", "address", "show", "eth0"]).stdout
    assert "fd00:22:33::3/64 scope global nodad" in shown
    assert "dadfailed" not in shown


def test_bridge_checks_its_address_with_its_first_port(node: Node) -> None:
    done(node, "netns", {"name": "ns1"})
    done(node, "linux_bridge", {"name": "br0", "addresses": ["fd00:22:33::1/64"]})
    done(node, "veth", {"name": "ve1", "master": "br0", "peer": {"name": "eth0", "netns": "ns1"}})
    assert "tentative" not in node.run(["ip", "-6", "address", "show", "br0", "scope", "global"]).stdout


def test_route_by_a_link_local_gateway_needs_its_device(node: Node) -> None:
    done(node, "netns", {"name": "ns1"})
    done(node, "veth", {"name": "ve1", "peer": {"name": "eth0", "netns": "ns1"}})
    route: Options = {"netns": "ns1", "dest": "default", "gateway": "fe80::1"}
    assert "device must be given" in run(node, "ns_route", route)["msg"]
    line = "add route -6 default via fe80::1 dev eth0 in namespace ns1"
    assert done(node, "ns_route", {**route, "device": "eth0"}) == [line]
    assert done(node, "ns_route", {**route, "device": "eth0"}) == []


def test_run_with_nothing_to_do_waits_for_addresses_too(node: Node) -> None:
    """They may be those of a run that was killed while it waited."""
    with_their_bridge(node)
    node.call(build_at_once, [network()])
    again = "ip address del fd00:22:33::1/64 dev br0; ip address add fd00:22:33::1/64 dev br0"
    node.run(["sh", "-ec", again])
    assert "tentative" in node.run(["ip", "-6", "address", "show", "br0"]).stdout
    assert node.call(build_at_once, [network()]) == []
    assert "tentative" not in node.run(["ip", "-6", "address", "show", "br0"]).stdout


@pytest.mark.parametrize("where", ["br0"])
def test_ipv6_that_is_disabled_is_refused_ahead_of_any_step(node: Node, where: str) -> None:
    node.run(["sh", "-ec", f"ip link add br0 type bridge; sysctl -qw net.ipv6.conf.{where}.disable_ipv6=1"])
    if where == "default":
        node.run(["ip", "link", "del", "br0"])
    before = settled(node)
    for check in (True, False):
        result = run(node, "egress_path", {"networks": [network()]}, check=check)
        assert result["found"] == f"IPv6 is disabled on it: net.ipv6.conf.{where}.disable_ipv6 = 1"
        assert snapshot.difference(before, settled(node)) == ""


@pytest.mark.parametrize("check", [True, False])
def test_alternative_name_of_a_link_is_refused(node: Node, check: bool) -> None:
    """Rules by it match no packet, and it has no sysctls."""
    node.run(["ip", "link", "property", "add", "dev", "uplink0", "altname", "enp0s31f6"])
    before = settled(node)
    asked: dict[str, Options] = {
        "nat_masquerade": {"name": "pods", "sources": [SUBNET], "out_interface": ["enp0s31f6"]},
        "sysctl_forward": {"network": "pods", "ipv4": True, "interfaces": ["enp0s31f6"]},
    }
    for module, options in asked.items():
        result = run(node, module, options, check=check)
        assert result["found"] == "it is an alternative name of link uplink0", (module, result)
        assert result["advice"] == "Name uplink0"
    assert snapshot.difference(before, settled(node)) == ""


def test_kernel_without_ipv6_is_named(node: Node) -> None:
    """As with ipv6.disable=1, which has no such folder."""
    hidden = "mount -t tmpfs none /proc/sys/net/ipv6"
    before = settled(node)
    node.run(["sh", "-ec", hidden])
    try:
        result = run(node, "sysctl_forward", {"network": "pods", "ipv6": True})
    finally:
        node.run(["umount", "/proc/sys/net/ipv6"])
    assert "without IPv6 (ipv6.disable=1)" in result["advice"], result
    assert snapshot.difference(before, settled(node)) == ""
