"""What is not ours stays as it is: while networks are built, when one of several goes, and with the last one gone."""

from __future__ import annotations

import re
import subprocess
import typing as t

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import Snapshot, difference
from tests.lab.syscalls import CLONE_NEWNS, setns
from tests.lab.world import World
from tests.support import foreign_state
from tests.support.building import ask, build, build_at_once, refusal, unreachable_from
from tests.support.quick_nodes import APPS, PODS, PODS4, new_node
from tests.support.scope import NIGHTLY
from tests.support.shell import script

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

Options = dict[str, t.Any]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with new_node(world) as made:
        yield made


def chosen(node: Node, network: Options, choices: Options) -> Options:
    """A network that is built as chosen."""
    names = [entry if isinstance(entry, dict) else {"name": entry} for entry in network["namespaces"]]
    families = {":" in subnet for subnet in network["subnets"]}
    own = [address for address in (node.address, node.address6) if (":" in address) in families]
    targets = {name["name"] for name in names}
    return {
        **network,
        "firewall": choices["firewall"],
        "nat": {"mode": "snat", "to_source": own} if choices["nat"] == "snat" else choices["nat"],
        "publish": [entry for entry in choices["publish"] if entry["to"].partition(":")[0] in targets],
        "mss_clamp": choices["mss_clamp"],
        "namespaces": [{**name, "bandwidth": choices["bandwidth"]} for name in names],
    }


@settings(
    max_examples=8 if NIGHTLY else 4,
    suppress_health_check=list(HealthCheck),
    # A smaller example would take minutes to find.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    objects=foreign_state.OBJECTS,
    rules=foreign_state.RULES,
    later=foreign_state.LATER,
    pods=foreign_state.CHOICES,
    apps=st.none() | foreign_state.CHOICES,
    one_by_one=st.booleans(),
)
def test_host_is_what_it_was(
    world: World,
    objects: list[str],
    rules: list[str],
    later: list[str],
    pods: Options,
    apps: Options | None,
    one_by_one: bool,
) -> None:
    with new_node(world) as node:
        script(node, *objects, *rules)
        before = settled(node)
        networks = [chosen(node, PODS, pods), *([chosen(node, APPS, apps)] if apps else [])]
        way = build if one_by_one else build_at_once
        node.call(way, networks)
        assert pods["nat"] == "none" or unreachable_from(node, "c1", "c2") == []
        assert node.call(way, networks) == []
        script(node, *later)
        node.call(way, networks, absent=True)
        after = node.snapshot()
        if later:
            before.update(rules_alone(world, objects, [*rules, *later]))
            before, after = in_order(before), in_order(after)
        assert difference(without_empty_tables(before), without_empty_tables(after)) == ""
        assert node.call(way, networks, absent=True) == []


def rules_alone(world: World, objects: list[str], rules: list[str]) -> Snapshot:
    """The rules of a host on which nothing else ever was."""
    with new_node(world) as node:
        script(node, *(line for line in objects if line.startswith("nft ")), *rules)
        return {title: text for title, text in node.snapshot().items() if title.startswith(RULES_OF)}


RULES_OF = ("nftables", "iptables", "ip6tables")


def in_order(snapshot: Snapshot) -> Snapshot:
    """With the tables of nftables, and what is in each, in the order of their names; rules stay in theirs."""
    tables = [table.partition("\n") for table in re.split("^}\n?", snapshot["nftables"], flags=re.MULTILINE)]
    ordered = sorted((title, *sorted(body.strip("\n").split("\n\n"))) for title, _newline, body in tables)
    return {**snapshot, "nftables": "\n".join(line for table in ordered for line in table)}


def without_empty_tables(snapshot: Snapshot) -> Snapshot:
    """Without tables of iptables-legacy that hold nothing: the kernel keeps one, once it was in use."""
    said = {
        title: re.sub(r"^([*].*|:\S+ ACCEPT|COMMIT)$", "", text, flags=re.MULTILINE) for title, text in snapshot.items()
    }
    empty = {title for title, text in said.items() if "legacy" in title and not text.strip()}
    return {title: text for title, text in snapshot.items() if title not in empty}


@pytest.mark.smoke
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


@pytest.mark.smoke
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


def test_run_that_does_not_see_the_namespaces(world: World) -> None:
    """From a mount namespace that is older than they are: to make them there would end them everywhere else."""
    with new_node(world) as node:
        node.run(["sh", "-ec", "ip netns add first; ip netns del first"])
        apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo apart; exec cat"]
        with node.popen(apart, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "apart\n"
            node.call(build_at_once, [PODS4])
            before = settled(node)

            def build_apart() -> list[str]:
                with open(f"/proc/{process.pid}/ns/mnt", "rb") as mounts:
                    setns(mounts.fileno(), CLONE_NEWNS)
                return build_at_once([PODS4])

            told = refusal(node, build_apart)
            assert (told.kind, told.asked) == ("ConflictError", "make namespace c1")
            assert "sees other mounts than this run" in told.found
            assert difference(before, settled(node)) == ""
            assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []
            process.communicate("")


HANDED: Options = {
    "name": "kd",
    "bridge": "kd-br0",
    "subnets": ["10.244.50.0/24"],
    "namespaces": [{"name": f"kd-{n}", "addresses": [f"10.244.50.{n}/24"]} for n in (2, 3)],
}
# Its marks are on the host, where a tenant writes none.
_HAND_OVER = """
ip link add kd-br0 type bridge; ip address add 10.244.50.1/24 dev kd-br0; ip link set kd-br0 up
for n in 2 3; do
    ip link add blue-$n type veth peer name eth0 netns kd-$n
    ip link set blue-$n master kd-br0 up
    ip -n kd-$n address add 10.244.50.$n/24 dev eth0; ip -n kd-$n link set eth0 up
    ip -n kd-$n route add default via 10.244.50.1
    ip link set blue-$n alias netpath:kd
done
ip link set kd-br0 alias netpath:kd
"""


@pytest.mark.parametrize("removed_by_hand", [False, True])
def test_network_that_was_handed_over_goes_without_a_trace(node: Node, removed_by_hand: bool) -> None:
    """Whether or not somebody removed the links ahead of the teardown."""
    node.run(["sh", "-ec", "for n in 2 3; do ip netns add kd-$n; ip -n kd-$n link set lo up; done"])
    before = node.snapshot()
    node.run(["sh", "-ec", _HAND_OVER])
    ports = [node.run(["cat", f"/sys/class/net/blue-{n}/ifindex"]).stdout for n in (2, 3)]
    node.call(build_at_once, [HANDED])
    assert [node.run(["cat", f"/sys/class/net/np-kd-{n}/ifindex"]).stdout for n in (2, 3)] == ports
    node.namespace_run("kd-2", ["ping", "-n", "-q", "-c", "1", "-w", "5", "198.51.100.80"])
    if removed_by_hand:
        node.run(["sh", "-ec", "ip link del np-kd-2; ip link del np-kd-3; ip link del kd-br0"])
    node.call(build_at_once, [HANDED], absent=True)
    assert difference(before, node.snapshot()) == ""


def test_ledger_forgets_namespaces_that_are_gone(node: Node) -> None:
    before = node.snapshot()
    node.run(["sh", "-ec", "for n in 2 3; do ip netns add kd-$n; done"])
    node.run(["sh", "-ec", _HAND_OVER])
    node.call(build_at_once, [HANDED])
    node.run(["sh", "-ec", "ip netns del kd-2; ip netns del kd-3; ip link del kd-br0"])
    node.call(build_at_once, [HANDED], absent=True)
    assert difference(before, settled(node)) == ""
