"""What a network may choose about its translation, in each back end: whom the internet saw, by packets."""

from __future__ import annotations

import shutil
import time
import typing as t

import pytest

from tests.lab import privilege, probe
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import Node, World
from tests.support.building import build, build_at_once, refusal, seen_from
from tests.support.run_module import done, refused, run
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-nft-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1"],
}
LAB: Options = {"name": "lab", "bridge": "br1", "subnets": ["10.44.0.0/24"], "namespaces": ["l1"]}
RANGE, RANGE6 = [f"198.18.77.{i}" for i in (1, 2, 3)], [f"2001:db8:18::77{i}" for i in (1, 2, 3)]
TARGETS = (probe.TARGETS[4], probe.TARGETS[6])


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.run(["ip", "-batch", "-"], input="".join(f"address add {a} dev uplink0 nodad\n" for a in RANGE + RANGE6))
        # The node of another test had the same ones.
        world.internet.run(["ip", "neigh", "flush", "all"])
        yield made


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_range_of_each_family(node: Node, firewall: str) -> None:
    nat = {"mode": "snat", "to_source": [f"{RANGE[0]}-{RANGE[-1]}", f"{RANGE6[0]}-{RANGE6[-1]}"]}
    networks = [{**PODS, "nat": nat, "firewall": firewall}]
    node.call(build_at_once, networks)
    for target, allowed in zip(TARGETS, (RANGE, RANGE6)):
        assert node.call(seen_from, "c1", target) in allowed
    assert node.call(build, networks) == []
    # Another target: flows begin anew with it.
    fixed = [{**PODS, "nat": {**nat, "to_source": [RANGE[1], RANGE6[1]]}, "firewall": firewall}]
    node.call(build_at_once, fixed)
    assert [node.call(seen_from, "c1", target) for target in TARGETS] == [RANGE[1], RANGE6[1]]


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_private_ranges_and_the_cluster_range_are_left_alone(world: World, node: Node, firewall: str) -> None:
    """An exclusion may hold the network's own subnet, as that of the cluster does."""
    exclude = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"]
    networks = [{**PODS, "nat": {"exclude": exclude}, "firewall": firewall}]
    node.call(build_at_once, networks)
    # Which of its addresses the kernel takes for IPv6 is its own choice.
    for target, own in zip(TARGETS, ((node.address,), (node.address6, *RANGE6))):
        assert node.call(seen_from, "c1", target) in own
    before = len(world.internet.seen())
    private = {4: "192.168.7.80", 6: "fd00:80::80"}
    world.internet.run(["ip", "-batch", "-"], input="".join(f"address add {a} dev lo\n" for a in private.values()))
    try:
        for address in private.values():
            node.call(seen_from, "c1", address, 0.3)
    finally:
        for address in private.values():
            world.internet.run(["ip", "address", "del", address, "dev", "lo"])
    # Nobody listens at the private addresses, so ask for what left: the kernel of the other side saw it untranslated.
    assert world.internet.seen()[before:] == []
    tracked = "".join(node.run(["conntrack", "-L", "-f", family]).stdout for family in ("ipv4", "ipv6"))
    for source, address in (("10.22.33.2", private[4]), ("fd00:22:33::2", private[6])):
        lines = [line for line in tracked.splitlines() if f"src={source} dst={address} " in line]
        assert lines
        assert all(f"dst={source} " in line for line in lines)


@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_exclusions_of_a_family_without_sources_change_nothing(node: Node, firewall: str) -> None:
    network = {**PODS, "subnets": ["10.22.33.0/24"], "firewall": firewall}
    node.call(build_at_once, [{**network, "nat": {"exclude": ["10.0.0.0/8", "fd00::/8"]}}])
    assert node.call(seen_from, "c1", TARGETS[0]) == node.address
    assert node.call(build_at_once, [{**network, "nat": {"exclude": ["10.0.0.0/8"]}}]) == []


def test_sources_of_another_network_on_the_host(node: Node) -> None:
    node.call(build_at_once, [PODS])
    before = settled(node)
    result = refused(node, "nat_masquerade", {"name": "lab", "sources": ["10.22.0.0/16"]})
    assert result["asked"] == "translate 10.22.0.0/16 for lab"
    assert result["found"] == "it overlaps 10.22.33.0/24, which is translated for pods"
    lab = {**LAB, "subnets": ["10.22.0.0/16"]}
    assert "pods" in str(refusal(node, build_at_once, [lab]))
    assert difference(before, settled(node)) == ""
    assert done(node, "nat_masquerade", {"name": "lab", "sources": ["10.44.0.0/24"]})


@pytest.mark.parametrize("exclude", ["0.0.0.0/0", "::/0"])
def test_exclusion_that_leaves_nothing(node: Node, exclude: str) -> None:
    found = refusal(node, build_at_once, [{**PODS, "nat": {"exclude": [exclude]}}])
    assert (found.kind, found.asked) == ("SpecError", "networks[0].nat.exclude")
    assert "leaves no destination" in found.found


def test_rules_stay_as_many_as_subnets_grow(node: Node, record_property: t.Callable[[str, t.Any], None]) -> None:
    def many(count: int) -> Options:
        return {"name": "pods", "sources": [f"10.{i // 128}.{i % 128 * 2}.0/24" for i in range(count)]}

    def rules() -> int:
        return node.run(["nft", "-a", "list", "ruleset"]).stdout.count("# handle")

    counts, seconds = {}, {}
    for subnets in (9, 10, 999, 1000):
        start = time.perf_counter()
        done(node, "nat_masquerade", many(subnets))
        seconds[subnets] = round(time.perf_counter() - start, 3)
        counts[subnets] = rules()
    record_property("seconds for a run with so many subnets", str(seconds))
    assert len(set(counts.values())) == 1


def test_source_address_that_no_link_has_is_warned_of(node: Node) -> None:
    nat = {"mode": "snat", "to_source": ["198.18.99.77", RANGE6[0]]}
    built = run(node, "egress_path", {"networks": [{**PODS, "nat": nat}]})
    assert built["changed"]
    assert len(built["warnings"]) == 1
    assert "pods: no link of this host has 198.18.99.77 of to_source" in str(built["warnings"])
    node.run(["ip", "address", "add", "198.18.99.77/32", "dev", "uplink0"])
    assert "warnings" not in run(node, "egress_path", {"networks": [{**PODS, "nat": nat}]})
