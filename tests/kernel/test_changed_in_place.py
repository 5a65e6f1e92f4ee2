"""A network that was changed is what it would be if it had been built like that, and leaves nothing behind."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support import fault_catalogue
from tests.support.building import ask, build, build_at_once
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

V4, V6, OTHER_V6 = "10.22.33.0/24", "fd00:22:33::/64", "fd00:22:44::/64"
BOTH: Options = {"name": "pods", "bridge": "br0", "subnets": [V4, V6], "namespaces": ["c1"]}
V4_ALONE = {"name": "c1", "addresses": ["10.22.33.2/24"]}
C1 = {"name": "c1", "addresses": ["10.22.33.2/24", "fd00:22:33::2/64"]}
OTHER_C1 = {"name": "c1", "addresses": ["10.22.33.2/24", "fd00:22:44::2/64"]}
LINK_LOCAL: Options = {**BOTH, "gateway": ["10.22.33.1", "fe80::1"], "namespaces": [C1]}
RESOLVED: Options = {**BOTH, "namespaces": [{"name": "c1", "dns": {"servers": ["198.51.100.80"]}}]}
LIMITED: Options = {**BOTH, "namespaces": [{"name": "c1", "bandwidth": "10mbit"}]}
CHANGES: dict[str, tuple[Options, Options]] = {
    "IPv6 is gone": (BOTH, {**BOTH, "subnets": [V4]}),
    "IPv4 is gone": (BOTH, {**BOTH, "subnets": [V6]}),
    "IPv6 by a link-local gateway is gone": (LINK_LOCAL, {**BOTH, "subnets": [V4], "namespaces": [V4_ALONE]}),
    "IPv6 of one namespace is gone": (BOTH, {**BOTH, "namespaces": [V4_ALONE]}),
    "another subnet by a link-local gateway": (
        LINK_LOCAL,
        {**LINK_LOCAL, "subnets": [V4, OTHER_V6], "namespaces": [OTHER_C1]},
    ),
    "a gateway of its own": (LINK_LOCAL, {**LINK_LOCAL, "gateway": "first"}),
    "a resolver of its own is gone": (RESOLVED, BOTH),
    "another name instead of a limit": (LIMITED, {**BOTH, "namespaces": [{"name": "c1", "interface": "net0"}]}),
}
WEB: Options = {"name": "web", "bridge": "br1", "subnets": ["10.22.44.0/24"], "namespaces": []}
WEB_C1: Options = {**WEB, "namespaces": ["c1"]}
EMPTY: Options = {**BOTH, "namespaces": []}
GONE: Options = {"name": "pods", "state": "absent"}
_THEIRS = """
ip link add br0 address 02:00:00:00:00:b0 type bridge; ip link set br0 up; ip address add 10.77.0.1/24 dev br0
ip link add p0 type veth peer name p1; ip link set p1 up; ip link set p0 up master br0
"""
# Without what the kernel makes of link-local addresses, which are other ones each time.
_PATH = """
ip route; ip -6 route | grep -v ^fe80; ip -n c1 route; ip -n c1 -6 route | grep -v ^fe80
sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding; cat /etc/sysctl.d/90-netpath-egress.conf
ip netns exec c1 cat /etc/resolv.conf
"""


Builder = t.Callable[..., list[str]]
ways = pytest.mark.parametrize("builder", [build_at_once, build], ids=["at once", "one by one"])


def path_of(node: Node) -> str:
    return node.run(["sh", "-c", _PATH]).stdout


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.mark.parametrize(
    ("builder", "bridge"),
    [(build_at_once, "true"), (build_at_once, _THEIRS), (build, "true")],
    ids=["at once", "at once, bridge of others", "one by one"],
)
@pytest.mark.parametrize(("first", "then"), CHANGES.values(), ids=CHANGES)
def test_what_was_changed_is_what_would_be_built(
    node: Node, first: Options, then: Options, bridge: str, builder: Builder
) -> None:
    node.run(["sh", "-ec", bridge])
    before = settled(node)
    node.call(builder, [then])
    wanted = path_of(node)
    node.call(builder, [then], absent=True)
    assert difference(before, settled(node)) == ""
    node.call(builder, [first])
    foreseen = node.call(builder, [then], check=True)
    assert node.call(builder, [then]) == foreseen or builder is build
    assert path_of(node) == wanted
    assert node.call(builder, [then]) == []
    node.call(builder, [GONE])
    assert difference(before, settled(node)) == ""


@ways
def test_resolver_of_somebody_else_stays(node: Node, builder: Builder) -> None:
    node.call(builder, [RESOLVED])
    node.run(["sh", "-ec", "echo nameserver 203.0.113.1 >/etc/netns/c1/resolv.conf"])
    node.call(builder, [BOTH])
    assert node.run(["cat", "/etc/netns/c1/resolv.conf"]).stdout == "nameserver 203.0.113.1\n"


@ways
@pytest.mark.parametrize("then", [GONE, EMPTY], ids=["gone", "empty"])
def test_resolver_in_a_namespace_of_somebody_else_goes(node: Node, then: Options, builder: Builder) -> None:
    node.run(["ip", "netns", "add", "c1"])
    before = settled(node)
    node.call(builder, [RESOLVED])
    node.call(builder, [then])
    node.call(builder, [GONE])
    assert difference(before, settled(node)) == ""


@ways
def test_resolver_of_a_namespace_that_somebody_took_away_goes(node: Node, builder: Builder) -> None:
    before = settled(node)
    node.call(builder, [RESOLVED])
    node.run(["ip", "netns", "del", "c1"])
    node.call(builder, [EMPTY])
    assert node.call(builder, [EMPTY]) == []
    node.call(builder, [GONE])
    assert difference(before, settled(node)) == ""


@ways
@pytest.mark.parametrize("pods", [EMPTY, GONE], ids=["empty", "gone"])
def test_resolver_goes_when_the_namespace_is_another_networks(node: Node, pods: Options, builder: Builder) -> None:
    node.call(builder, [RESOLVED, WEB])
    node.run(["sh", "-ec", fault_catalogue.GONE])  # as after a start of the host
    node.call(builder, [pods, WEB_C1])
    assert node.call(builder, [pods, WEB_C1]) == []
    node.run(["test", "!", "-e", "/etc/netns/c1"])
    # What it may send is what its new network gave it.
    allowed = node.run(["nft", "list", "set", "bridge", "netpath_egress", "from4"]).stdout
    assert [word for word in allowed.split() if word.startswith("10.")] == ["10.22.44.2"]
    node.call(builder, [GONE, WEB_C1], absent=True)
    assert node.run(["nft", "list", "tables"]).stdout == ""


# What others may have beside our files.
_BESIDE = {
    "no name of a namespace": "cp -a /etc/netns/c1 /etc/netns/c1~",
    "link to ours": "ln -s c1 /etc/netns/c9; ip netns add c9",
}


@ways
@pytest.mark.parametrize("beside", _BESIDE.values(), ids=_BESIDE)
def test_what_is_beside_resolvers_of_ours(node: Node, beside: str, builder: Builder) -> None:
    node.call(builder, [RESOLVED])
    node.run(["sh", "-ec", beside])
    assert node.call(builder, [RESOLVED]) == []
    node.call(builder, [RESOLVED], absent=True)
    node.run(["test", "!", "-e", "/etc/netns/c1"])


_HAS_GATEWAYS = f"{_THEIRS} ip addr add 10.22.33.1/24 dev br0; ip addr add fe80::1/64 dev br0 nodad"


@ways
def test_networks_on_one_bridge_keep_their_routes(node: Node, builder: Builder) -> None:
    """Whoever has the gateways on it, and whichever runs; and each takes its own along."""
    web = {**WEB_C1, "bridge": "br0", "namespaces": ["w1"]}
    node.run(["sh", "-ec", _HAS_GATEWAYS])
    before = settled(node)
    node.call(builder, [LINK_LOCAL])
    node.call(builder, [web])
    assert node.call(builder, [web]) == []
    assert node.call(builder, [LINK_LOCAL]) == []
    node.call(builder, [GONE])
    assert V6 not in node.run(["ip", "-6", "route"]).stdout
    node.call(builder, [web], absent=True)
    assert difference(before, settled(node)) == ""


@ways
@pytest.mark.parametrize("bridge", ["true", _THEIRS], ids=["ours", "of others"])
def test_route_of_a_user_on_the_bridge_stays(node: Node, bridge: str, builder: Builder) -> None:
    network = {**BOTH, "subnets": [V4]}
    node.run(["sh", "-ec", bridge])
    node.call(builder, [network])
    node.call(ask, "ns_route", {"dest": "10.99.0.0/16", "device": "br0"})
    assert node.call(builder, [network]) == []
    assert "10.99.0.0/16 dev br0" in node.run(["ip", "route"]).stdout


@ways
def test_namespace_of_somebody_else_changes_network_in_two_runs(node: Node, builder: Builder) -> None:
    node.run(["ip", "netns", "add", "c1"])
    node.call(builder, [BOTH, WEB])
    with pytest.raises(SpecError, match="link np-c1 is one of network pods; take c1 out of pods"):
        node.call(builder, [EMPTY, WEB_C1])
    node.call(builder, [EMPTY, WEB])
    node.call(builder, [EMPTY, WEB_C1])
    assert node.call(builder, [EMPTY, WEB_C1]) == []
