"""What is not ours stays as it is: while networks are built, when one of several goes, and with the last one gone."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.kernel.building import ask, build, build_at_once, refusal, unreachable_from
from tests.kernel.settling import settled
from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

Options = dict[str, t.Any]
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", {"name": "c2", "dns": {"servers": ["198.51.100.80"], "search": ["lab"]}}],
}
# Without IPv6 nothing waits for duplicate address detection.
PODS4: Options = {**PODS, "subnets": ["10.22.33.0/24"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"], "nat": {"mode": "masquerade"}}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@contextlib.contextmanager
def new_node(world: World) -> t.Iterator[Node]:
    with world.add_node() as node:
        node.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
        yield node


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with new_node(world) as made:
        yield made


def script(node: Node, *lines: str) -> None:
    node.run(["sh", "-ec", "\n".join(lines)])


# Random foreign state: each element is lines of a script, and none depends on another.

_BOOLEANS = st.sampled_from(["0", "1"])


def _bridge(number: int) -> st.SearchStrategy[list[str]]:
    name = f"fb{number}"
    extras = [
        f"ip address add 10.50.{number}.1/24 dev {name}; ip address add 10.50.{number}.2/24 dev {name}",
        f"ip address add fd00:50:{number}::1/64 dev {name} nodad",
        f"ip link set {name} type bridge stp_state 1 forward_delay 400 ageing_time 1000",
        f"ip link set {name} mtu 1400 alias 'rack {number}'",
        f"sysctl -qw net.ipv4.conf.{name}.forwarding=1 net.ipv4.conf.{name}.rp_filter=2",
        f"sysctl -qw net.ipv6.conf.{name}.forwarding=1",
        f"ip link set {name} up",
    ]
    made = f"ip link add {name} address 02:00:00:00:01:{number:02x} type bridge; ip link set {name} addrgenmode none"
    return st.lists(st.sampled_from(extras), unique=True).map(lambda chosen: [made, *chosen])


def _veth(number: int) -> st.SearchStrategy[list[str]]:
    name = f"fv{number}"
    extras = [
        f"""ip address add 10.60.{number}.1/24 dev {name}; ip link set {name} up; ip link set {name}p up
        ip route add 10.61.{number}.0/24 via 10.60.{number}.9 metric 7; ip route add 10.62.{number}.0/24 dev {name}""",
        f"sysctl -qw net.ipv4.conf.{name}.forwarding=0 net.ipv6.conf.{name}.forwarding=1",
        f"sysctl -qw net.ipv6.conf.{name}.accept_ra=2",
        f"ip link set {name} alias netpaths:pods",
    ]
    quiet = f"for end in {name} {name}p; do ip link set $end addrgenmode none; done"
    made = [f"ip link add {name} type veth peer name {name}p", quiet]
    return st.lists(st.sampled_from(extras), unique=True).map(lambda chosen: [*made, *chosen])


def _namespace(number: int) -> st.SearchStrategy[list[str]]:
    name = f"fn{number}"
    extras = [
        f"ip -n {name} link set lo up",
        f"ip netns exec {name} sysctl -qw net.ipv4.ip_forward=1",
        f"mkdir -p /etc/netns/{name}; echo nameserver 198.51.100.{number} > /etc/netns/{name}/resolv.conf",
        f"ip -n {name} link add eth0 type bridge; ip -n {name} address add 10.22.33.2/24 dev eth0",
        f"ip netns exec {name} nft 'add table inet netpath_egress; add chain inet netpath_egress own'",
    ]
    return st.lists(st.sampled_from(extras), unique=True).map(lambda chosen: [f"ip netns add {name}", *chosen])


def _table(number: int) -> st.SearchStrategy[list[str]]:
    def lines(family: str, hook: str) -> list[str]:
        table = f"{family} ft{number}"
        chain = "{ type filter hook " + hook + f" priority {number}; policy accept; }}"
        return [
            f"nft 'add table {table}; add chain {table} own {chain}'",
            f"nft 'add rule {table} own ct state established counter accept comment \"netpath:pods\"'",
            f"nft 'add set {table} some {{ type ipv4_addr; flags interval; elements = {{ 10.0.0.0/8 }}; }}'",
        ]

    return st.builds(lines, st.sampled_from(["ip", "inet"]), st.sampled_from(["forward", "postrouting", "input"]))


def _file(number: int) -> st.SearchStrategy[list[str]]:
    return st.sampled_from(
        [
            [f"echo net.ipv4.ip_forward=0 > /etc/sysctl.d/{number + 88}-own.conf"],
            [f"mkdir -p /etc/netns/own{number}; echo some > /etc/netns/own{number}/hosts"],
            [f"mkdir -p /etc/netpath; echo own > /etc/netpath/{number}"],
            [f"ip rule add from 10.70.{number}.0/24 table {number + 100}"],
            [f"ip route add blackhole 10.71.{number}.0/24 table {number + 100} proto 250"],
            [f"ip route add unreachable 10.72.{number}.0/24 metric 3"],
        ]
    )


def _switches() -> st.SearchStrategy[list[str]]:
    """Host-wide switches first: they rewrite those of each interface."""
    keys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.accept_redirects"]
    keys += ["net.ipv4.conf.default.forwarding", "net.ipv4.conf.uplink0.forwarding", "net.ipv4.conf.lo.forwarding"]
    keys += ["net.ipv6.conf.default.forwarding", "net.ipv6.conf.uplink0.forwarding", "net.ipv6.conf.uplink0.accept_ra"]
    values = st.tuples(*(st.none() | _BOOLEANS for _key in keys))
    return values.map(lambda chosen: [f"sysctl -qw {k}={v}" for k, v in zip(keys, chosen) if v is not None])


def _several(element: t.Callable[[int], st.SearchStrategy[list[str]]]) -> st.SearchStrategy[list[str]]:
    numbered: list[st.SearchStrategy[list[str]]] = [st.just([]) | element(number) for number in (1, 2)]
    return st.tuples(*numbered).map(lambda found: [line for lines in found for line in lines])


FOREIGN = st.tuples(*(_several(element) for element in (_bridge, _veth, _namespace, _table, _file)), _switches()).map(
    lambda found: [line for lines in found for line in lines]
)


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # A smaller example would take minutes to find.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(foreign=FOREIGN, one_by_one=st.booleans(), two=st.booleans())
def test_host_is_what_it_was(world: World, foreign: list[str], one_by_one: bool, two: bool) -> None:
    with new_node(world) as node:
        script(node, *foreign)
        before = settled(node)
        networks = [PODS, APPS] if two else [PODS]
        way = build if one_by_one else build_at_once
        node.call(way, networks)
        assert unreachable_from(node, "c1", "c2") == []
        assert node.call(way, networks) == []
        node.call(way, networks, absent=True)
        assert difference(before, node.snapshot()) == ""
        assert node.call(way, networks, absent=True) == []


def test_bridge_of_somebody_else_is_used_and_left_as_it_was(node: Node) -> None:
    script(
        node,
        "ip link add br0 type bridge stp_state 0 forward_delay 400",
        "ip link add own0 type veth peer name own1; ip link set own0 master br0",
        "for link in br0 own0 own1; do ip link set $link addrgenmode none; ip link set $link mtu 1450 up; done",
        "ip address add 10.99.0.1/24 dev br0; ip route add 10.98.0.0/24 via 10.99.0.9",
        "sysctl -qw net.ipv4.conf.br0.forwarding=0 net.ipv4.conf.br0.rp_filter=2 net.ipv6.conf.br0.accept_ra=0",
    )
    before = settled(node)
    node.call(build, [PODS])
    assert unreachable_from(node, "c1", "c2") == []
    assert node.call(build, [PODS]) == []
    node.call(build, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


def test_address_that_somebody_added_later_stays_on_their_bridge(node: Node) -> None:
    """Also where the kernel made it a secondary address of ours."""
    script(node, "ip link add br0 type bridge; ip link set br0 up")
    node.call(build, [PODS4])
    script(node, "ip address add 10.22.33.200/24 dev br0; ip address add 10.99.0.1/24 dev br0")
    node.call(build, [PODS4], absent=True)
    addresses = node.run(["ip", "-4", "-o", "address", "show", "dev", "br0"]).stdout
    assert "10.22.33.1/" not in addresses
    assert "10.22.33.200/24" in addresses
    assert "10.99.0.1/24" in addresses


@pytest.mark.parametrize(
    ("made", "module", "request_", "words"),
    [
        ("ip link add br0 type bridge", "linux_bridge", {"name": "br0"}, "link br0"),
        ("ip link add v0 type veth peer name v1", "veth", {"name": "v0"}, "link v0"),
        ("ip netns add own", "netns", {"name": "own"}, "namespace own"),
        ("ip netns add own; ip -n own link set lo alias netpaths", "netns", {"name": "own"}, "namespace own"),
        ("ip route add 10.9.0.0/16 via 198.18.0.1", "ns_route", {"dest": "10.9.0.0/16"}, "route 10.9.0.0/16"),
        ("true", "ns_route", {"dest": "default"}, "default"),
    ],
)
def test_what_somebody_else_made_is_not_removed(
    node: Node, made: str, module: str, request_: Options, words: str
) -> None:
    script(node, made)
    before = settled(node)
    refused = refusal(node, ask, module, {**request_, "state": "absent"})
    assert (refused.kind, words in refused.asked, "mark" in refused.found) == ("ConflictError", True, True)
    assert refused.advice
    assert difference(before, node.snapshot()) == ""


def test_name_that_another_kind_of_link_has(node: Node) -> None:
    script(node, "ip link add br0 type veth peer name v1")
    before = settled(node)
    for way in (build, build_at_once):
        refused = refusal(node, way, [{**PODS, "namespaces": []}])
        assert (refused.asked, "veth" in refused.found) == ("make bridge br0", True)
    assert difference(before, node.snapshot()) == ""


@pytest.mark.parametrize("way", [build, build_at_once])
def test_removing_one_network_leaves_the_other(node: Node, way: t.Callable[..., list[str]]) -> None:
    before = settled(node)
    node.call(way, [APPS])
    alone = settled(node)
    node.call(way, [PODS, APPS])
    node.call(way, [{**PODS, "state": "absent"}, APPS])
    assert unreachable_from(node, "a1", families=["ipv4"]) == []
    # IPv6 forwarding went with the one network that asked for it.
    assert difference(alone, settled(node)) == ""
    node.call(way, [PODS])
    node.call(way, [APPS], absent=True)
    assert unreachable_from(node, "c1", "c2") == []
    node.call(way, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("way", [build, build_at_once])
def test_network_under_a_new_name(node: Node, way: t.Callable[..., list[str]]) -> None:
    """Forwarding is needed all the time, and is never switched off in between."""
    before = settled(node)
    node.call(way, [APPS])
    later = {**APPS, "name": "later", "subnets": ["10.45.0.0/24"], "namespaces": ["l1"]}
    actions = node.call(way, [{**APPS, "state": "absent"}, later])
    assert [action for action in actions if action.startswith("set net.ipv4.ip_forward")] == []
    assert unreachable_from(node, "l1", families=["ipv4"]) == []
    node.call(way, [later], absent=True)
    assert difference(before, settled(node)) == ""


def test_namespace_that_left_the_list_is_removed(node: Node) -> None:
    node.call(build, [{**PODS4, "namespaces": ["c1"]}])
    right = settled(node)
    node.call(build, [PODS4])
    script(node, "ip netns add own")
    node.call(build, [{**PODS4, "namespaces": ["c1"]}])
    script(node, "ip netns del own")
    assert difference(right, settled(node)) == ""


def test_namespace_of_somebody_else_is_connected_and_left_as_it_was(node: Node) -> None:
    script(
        node, "ip netns add c1; ip netns exec c1 sysctl -qw net.ipv4.conf.all.rp_filter=2", "ip -n c1 link set lo up"
    )
    before = settled(node)
    node.call(build, [PODS4])
    assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []
    node.call(build, [PODS4], absent=True)
    assert difference(before, settled(node)) == ""


def test_files_of_others_in_the_folder_of_a_namespace_stay(node: Node) -> None:
    script(node, "mkdir -p /etc/netns/c1 /etc/netns/c2; echo nameserver 198.51.100.53 > /etc/netns/c2/resolv.conf")
    before = settled(node)
    node.call(build, [PODS4])
    assert "198.51.100.80" in node.run(["cat", "/etc/netns/c2/resolv.conf"]).stdout
    script(node, "echo nameserver 198.51.100.54 > /etc/netns/c1/resolv.conf")
    node.call(build, [PODS4], absent=True)
    assert node.run(["cat", "/etc/netns/c1/resolv.conf"]).stdout == "nameserver 198.51.100.54\n"
    script(node, "rm /etc/netns/c1/resolv.conf")
    assert difference(before, settled(node)) == ""


def test_address_of_a_namespace_that_goes_is_free_at_once(node: Node) -> None:
    """In one transaction, although the old one is kept until nothing can fail any more."""
    node.call(build_at_once, [{**PODS, "namespaces": ["c1"]}])
    actions = node.call(build_at_once, [{**PODS, "namespaces": ["c9"]}])
    assert {"delete namespace c1", "add address fd00:22:33::2/64 to eth0 in namespace c9"} <= set(actions)
    assert unreachable_from(node, "c9") == []
