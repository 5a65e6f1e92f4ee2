"""What somebody else has where a network shall be: refused before anything changes, or used and given back."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import ask, build, build_at_once, refusal, unreachable_from
from tests.support.quick_nodes import PODS4, new_node
from tests.support.shell import script
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

WAYS = pytest.mark.parametrize("way", [build, build_at_once])
Way = t.Callable[..., list[str]]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with new_node(world) as made:
        yield made


# (commands, asked, found)
IN_THE_WAY = {
    "pair": ("ip link add np-c1 type veth peer name foo", "make veth np-c1", "a veth that somebody else made"),
    "pair into a namespace": (
        "ip netns add x; ip link add np-c1 type veth peer name eth0 netns x",
        "make veth np-c1",
        "a veth that somebody else made",
    ),
    "altname": (
        "ip link add xbr type bridge; ip link property add dev xbr altname br0",
        "use the name br0",
        "it is an alternative name of link xbr",
    ),
    "file of a namespace": (
        "mkdir -p /run/netns; echo theirs > /run/netns/c1",
        "make namespace c1",
        "/run/netns/c1 is a file that is no namespace",
    ),
    "link to a namespace": (
        "mkdir -p /run/netns; ln -s /proc/self/ns/net /run/netns/c1",
        "make namespace c1",
        "/run/netns/c1 is something else that is no namespace",
    ),
    "file of sysctls": (
        "mkdir -p /etc/sysctl.d; echo kernel.pid_max=4194304 > /etc/sysctl.d/90-netpath-egress.conf",
        "write /etc/sysctl.d/90-netpath-egress.conf",
        "somebody else wrote the one that is there",
    ),
    "folder in place of a file": (
        "mkdir -p /var/lib/netpath/ledger.json",
        "read /var/lib/netpath/ledger.json",
        "it is not a plain file",
    ),
    "link in place of a file": (
        "mkdir -p /var/lib/netpath; ln -s /dev/null /var/lib/netpath/ledger.json",
        "read /var/lib/netpath/ledger.json",
        "it is a symbolic link",
    ),
    "route": (
        "ip route add 10.22.33.0/24 via 198.18.0.1",
        "networks[0].subnets",
        "this host has a route to 10.22.33.0/24 by uplink0",
    ),
}


@pytest.mark.parametrize("title", IN_THE_WAY)
def test_what_is_in_the_way_is_named(node: Node, title: str) -> None:
    made, asked, found = IN_THE_WAY[title]
    script(node, made)
    before = settled(node)
    for check in (True, False):
        refused = refusal(node, build_at_once, [PODS4], check=check)
        assert asked in refused.asked
        assert found in refused.found
        assert refused.advice
        assert difference(before, settled(node)) == ""


def test_pair_that_carries_the_default_route_stays_where_it_is(node: Node) -> None:
    before = settled(node)
    for options in (
        {"name": "uplink0", "peer": {"name": "x0"}},
        {"name": "uplink0", "peer": {"name": "x0"}, "state": "absent"},
    ):
        assert refusal(node, ask, "veth", options).kind == "ConflictError"
        assert difference(before, settled(node)) == ""


def test_link_of_somebody_elses_is_given_back(node: Node) -> None:
    script(node, "ip link add fb type bridge; ip link set fb up; ip link add q type veth peer name q1")
    before = settled(node)
    node.call(ask, "linux_bridge", {"name": "fb", "mtu": 1400})
    gone: Options = {"name": "fb", "state": "absent"}
    assert node.call(ask, "linux_bridge", gone).actions == ["change bridge fb: mtu 1400 -> 1500"]
    node.call(ask, "linux_bridge", {"name": "br0", "ports": ["q"]})
    node.call(ask, "linux_bridge", {"name": "br0", "state": "absent"})
    assert difference(before, settled(node)) == ""


@WAYS
def test_default_route_of_somebody_elses_is_given_back(node: Node, way: Way) -> None:
    script(
        node,
        "ip netns add c1; ip link add d1 type veth peer name d0 netns c1; ip link set d1 up",
        "ip -n c1 address add 10.5.0.1/24 dev d0; ip -n c1 link set d0 up; ip -n c1 route add default via 10.5.0.2",
    )
    before = settled(node)
    node.call(way, [PODS4])
    assert unreachable_from(node, "c1", families=["ipv4"]) == []
    node.call(way, [PODS4], absent=True)
    assert difference(before, settled(node)) == ""


def test_mode_of_a_file_is_given_back(node: Node) -> None:
    script(node, "mkdir -p /etc/netns/c2; echo a > /etc/netns/c2/resolv.conf; chmod 640 /etc/netns/c2/resolv.conf")
    before = settled(node)
    node.call(build, [PODS4])
    node.call(build, [PODS4], absent=True)
    assert difference(before, settled(node)) == ""


@WAYS
def test_bridge_under_another_name(node: Node, way: Way) -> None:
    before = settled(node)
    node.call(way, [PODS4])
    actions = node.call(way, [{**PODS4, "bridge": "brx"}])
    assert "delete bridge br0" in actions
    assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []
    assert "br0" not in node.run(["cat", "/var/lib/netpath/ledger.json", "/etc/sysctl.d/90-netpath-egress.conf"]).stdout
    assert node.call(way, [{**PODS4, "bridge": "brx"}]) == []
    node.call(way, [{**PODS4, "bridge": "brx"}], absent=True)
    assert difference(before, settled(node)) == ""


def test_pair_that_came_out_of_its_namespace_goes_as_well(node: Node) -> None:
    before = settled(node)
    node.call(build, [PODS4])
    script(node, "ip -n c1 link set eth0 netns $$ name q0")
    node.call(build, [PODS4], absent=True)
    assert difference(before, settled(node)) == ""


def test_network_on_the_bridge_that_is_the_uplink(node: Node) -> None:
    script(
        node,
        "ip link add br0 type bridge; ip link set br0 up",
        "ip link set uplink0 master br0; ip address flush dev uplink0 scope global",
        f"ip address add {node.address}/16 dev br0; ip route replace default via 198.18.0.1",
    )
    before = settled(node)
    node.call(build_at_once, [PODS4])
    assert unreachable_from(node, "c1", families=["ipv4"]) == []
    node.call(build_at_once, [PODS4], absent=True)
    assert difference(before, settled(node)) == ""


def test_check_mode_sees_a_handle_that_is_gone_as_the_run_does(node: Node) -> None:
    node.call(build, [PODS4])
    with node.popen(["ip", "netns", "exec", "c1", "sleep", "60"]) as process:
        script(node, 'while [ -z "$(ip netns pids c1)" ]; do :; done; umount /run/netns/c1')
        predicted = node.call(build_at_once, [PODS4], check=True)
        assert node.call(build_at_once, [PODS4]) == predicted
        process.kill()


@WAYS
def test_network_moves_from_a_bridge_of_somebody_elses(node: Node, way: Way) -> None:
    script(
        node,
        "ip link add fb type bridge; ip link add own0 type veth peer name own1; ip link set own0 master fb",
        "for link in fb own0 own1; do ip link set $link addrgenmode none; ip link set $link mtu 1400 up; done",
        "ip address add 10.99.0.1/24 dev fb",
    )
    before = settled(node)
    theirs = {**PODS4, "bridge": "fb"}
    node.call(way, [theirs])
    node.call(ask, "linux_bridge", {"name": "fb", "addresses": ["10.98.0.1/24"]})
    actions = node.call(way, [PODS4])
    assert "delete address 10.22.33.1/24 from fb" in actions
    assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []
    assert node.call(way, [PODS4]) == []
    found = node.run(["ip", "-4", "-o", "address", "show", "dev", "fb"]).stdout
    assert ["10.22.33.1/" in found, "10.98.0.1/" in found] == [False, True]
    other = {**theirs, "subnets": ["10.22.34.0/24"]}
    node.call(way, [theirs])
    assert "delete address 10.22.33.1/24 from fb" in node.call(way, [other])
    # Also where the network goes before it was moved.
    node.call(way, [PODS4], absent=True)
    node.call(ask, "linux_bridge", {"name": "fb", "addresses": ["10.98.0.1/24"], "state": "absent"})
    assert difference(before, settled(node)) == ""


@WAYS
def test_pair_of_somebody_elses_into_a_namespace_that_shall_go(node: Node, way: Way) -> None:
    node.call(build_at_once, [PODS4])
    node.run(["ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1", "netns", "/run/netns/c2"])
    before = settled(node)
    told = refusal(node, lambda: way([PODS4], absent=True))
    assert told.asked == "delete namespace c2"
    assert told.found == "pairs of somebody else's lead there and would go along: vpn1"
    assert difference(before, settled(node)) == ""
    node.run(["ip", "link", "del", "vpn0"])
    assert "delete namespace c2" in node.call(way, [PODS4], absent=True)


@pytest.mark.parametrize("alias", ["alias", "zz"])
def test_another_name_of_our_namespace_is_no_stray(node: Node, alias: str) -> None:
    """A symbolic link that somebody made: to remove what is behind it would end the namespace."""
    node.call(build_at_once, [PODS4])
    node.run(["ln", "-s", "c1", f"/run/netns/{alias}"])
    assert node.call(build_at_once, [PODS4]) == []
    assert unreachable_from(node, "c1", families=["ipv4"]) == []
    node.call(build_at_once, [PODS4], absent=True)
    assert node.run(["readlink", f"/run/netns/{alias}"]).stdout == "c1\n"
