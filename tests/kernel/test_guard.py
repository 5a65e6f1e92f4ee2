"""Nothing leaves with a source of a network: while one is built, changed, taken back and removed, and of no flow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ApplyError, EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import guard, guard_rules, programs
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST, Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import GuardRules
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab import privilege, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import World
from tests.support.building import build_at_once, refusal, unreachable_from
from tests.support.leaks import send_strays, sender, witness
from tests.support.run_module import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

SUBNETS = ["10.22.33.0/24", "fd00:22:33::/64"]
OTHER_SUBNETS = ["10.22.99.0/24", "fd00:22:99::/64"]
PROTECTED: Options = {"name": "pods", "bridge": "br7", "subnets": SUBNETS, "namespaces": ["c1"]}
# Without what else drops packets, so that the guard alone decides what leaves.
OPEN: Options = {"spoof_protection": False, "isolated": False, "inbound": "open", "peers": ["all"]}
PODS: Options = {**PROTECTED, **OPEN}
guard_alone_or_not = pytest.mark.parametrize("pods", [PODS, PROTECTED], ids=["guard alone", "all protections"])
# Keeps forwarding on, whatever becomes of the first.
OTHER: Options = {"name": "other", "subnets": ["10.44.0.0/24", "fd00:44::/64"], "namespaces": ["o1"]}
SNAT: Options = {"mode": "snat", "to_source": ["198.18.0.200", "2001:db8:18::200"]}
TABLE = f"inet {guard_rules.TABLE}"


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    """A node on which forwarding is on, with a namespace that was there before its network."""
    with world.add_node() as made:
        made.run(["ip", "netns", "add", "c1"])
        made.call(build_at_once, [OTHER])
        yield made


def refuse() -> None:
    raise EgressError("look at the host", "this is a test", "Take it back")


def taken_back(*networks: Options, state: str = "present") -> None:
    """A run that does all of it, and then takes it back."""

    def wanted(observer: t.Any) -> Want:
        return path.wanted({"networks": list(networks), "state": state}, observer)

    with pytest.raises(ApplyError, match="The state before this run was restored"):
        run(wanted, judge=refuse)


def forget_neighbours(node: Node) -> None:
    """Another bridge has another MAC, which a sender that gets no answers would not learn for a while."""
    node.run(["ip", "-n", "c1", "neigh", "flush", "dev", "eth0"])


CHANGES: dict[str, Options] = {
    "subnets": {"subnets": OTHER_SUBNETS},
    "subnets that are larger": {"subnets": ["10.22.32.0/20", "fd00:22:33::/60"]},
    "bridge": {"bridge": "br-new"},
    "bridge and subnets": {"bridge": "br-new", "subnets": OTHER_SUBNETS},
    "snat": {"nat": SNAT},
    "iptables": {"firewall": "iptables"},
    "iptables and subnets": {"firewall": "iptables", "subnets": OTHER_SUBNETS},
}


@guard_alone_or_not
def test_nothing_leaks_while_it_is_built_and_removed(world: World, node: Node, pods: Options) -> None:
    before = settled(node)
    with witness(world, node) as seen:
        for _round in range(2):
            with sender(node, "c1"):
                node.call(build_at_once, [pods])
                seen.await_more()
                node.call(build_at_once, [pods], absent=True)
            assert seen.leaked() == {}
    assert snapshot.difference(before, settled(node)) == ""


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_leaks_while_it_changes_there_and_back(world: World, node: Node, change: str) -> None:
    changed = {**PODS, **CHANGES[change]}
    node.call(build_at_once, [PODS])
    with witness(world, node) as seen:
        with sender(node, "c1"):
            for network in (changed, PODS):
                seen.await_more()
                assert node.call(build_at_once, [network]) != []
                forget_neighbours(node)
            seen.await_more()
        assert seen.leaked() == {}
    assert node.call(build_at_once, [PODS]) == []


@guard_alone_or_not
def test_nothing_leaks_while_it_is_taken_back(world: World, node: Node, pods: Options) -> None:
    with witness(world, node) as seen:
        with sender(node, "c1"):
            node.call(taken_back, pods)
            node.call(build_at_once, [pods])
            built = settled(node)
            for change in ("subnets", "bridge", "snat", "iptables"):
                seen.await_more()
                node.call(taken_back, {**pods, **CHANGES[change]})
                forget_neighbours(node)
            seen.await_more()
            node.call(taken_back, pods, state="absent")
            forget_neighbours(node)
            seen.await_more()
        assert seen.leaked() == {}
    assert snapshot.difference(built, settled(node)) == ""


@pytest.mark.parametrize("firewall", ["auto", "iptables"])
def test_packets_of_no_flow_do_not_leave(world: World, node: Node, firewall: str) -> None:
    node.call(build_at_once, [{**PODS, "firewall": firewall}])
    assert unreachable_from(node, "c1") == []
    with witness(world, node) as seen:
        send_strays(node, "c1", "10.22.33.2", "fd00:22:33::2")
        # Behind them on the wire.
        assert unreachable_from(node, "c1") == []
        assert seen.leaked() == {}
        assert dropped(node, "left_pods") >= 60


def dropped(node: Node, chain: str) -> int:
    """How many packets the guard has dropped in a chain."""
    found = re.search(r"counter packets (\d+)", node.run(["nft", "list", "chain", *TABLE.split(), chain]).stdout)
    assert found
    return int(found[1])


def test_packets_that_are_not_tracked_do_not_leave(world: World, node: Node) -> None:
    """By a rule of another tool, while they are sent."""
    node.call(build_at_once, [PODS])
    rules = "table inet theirs { chain c { type filter hook prerouting priority -300; meta l4proto udp notrack; }; }"
    with witness(world, node) as seen, sender(node, "c1"):
        seen.await_more()
        node.run(["nft", rules])
        before, give_up = dropped(node, "left_pods"), time.monotonic() + 20
        while dropped(node, "left_pods") < before + 100:
            assert time.monotonic() < give_up
        node.run(["nft", "delete table inet theirs"])
        seen.await_more()
        assert seen.leaked() == {}


@pytest.mark.parametrize(
    ("source", "bridge"), [("10.99.99.99", "br7"), ("10.44.0.2", "br7"), ("10.22.34.1", "br*"), ("10.99.0.1", "$!b")]
)
def test_sources_of_others_do_not_leave_a_bridge(world: World, node: Node, source: str, bridge: str) -> None:
    node.call(build_at_once, [{**PODS, "bridge": bridge}])
    source6 = {"10.44.0.2": "fd00:44::2"}.get(source, "fd00:dead::1")
    with witness(world, node) as seen:
        send_strays(node, "c1", source, source6)
        assert unreachable_from(node, "c1", "o1") == []
        assert seen.leaked() == {}
    assert dropped(node, "from_pods") == 60


def test_sources_of_others_do_not_leave_a_network_with_all_protections(world: World, node: Node) -> None:
    """Whichever of them drops a packet first."""
    node.call(build_at_once, [PROTECTED])
    with witness(world, node) as seen:
        send_strays(node, "c1", "10.99.99.99", "fd00:dead::1")
        send_strays(node, "c1", "10.44.0.2", "fd00:44::2")
        assert unreachable_from(node, "c1", "o1") == []
        assert seen.leaked() == {}


def test_excluded_destinations_are_reached_with_the_own_source(world: World, node: Node) -> None:
    network = {**PODS, "nat": {"mode": "masquerade", "exclude": ["198.51.100.0/24", "2001:db8:51::/48"]}}
    node.call(build_at_once, [network])
    with witness(world, node) as seen:
        send_strays(node, "c1", "10.22.33.2", "fd00:22:33::2")
        assert node.call(build_at_once, [PODS]) == ["replace guard of pods", "replace source NAT pods"]
        assert unreachable_from(node, "c1") == []
        assert seen.leaked() == {"private4": 30, "private6": 30}


def test_bridge_that_is_the_way_out(world: World, node: Node) -> None:
    """There destinations tell what leaves, and what others send by the bridge passes."""
    node.run(["sh", "-ec", _UPLINK_BRIDGE])
    pods = {**PODS, "bridge": "br-up"}
    node.call(build_at_once, [pods, OTHER])
    assert unreachable_from(node, "c1", "o1") == []
    with witness(world, node) as seen:
        send_strays(node, "c1", "10.22.33.2", "fd00:22:33::2")
        send_strays(node, "o1", "10.44.0.2", "fd00:44::2")
        assert unreachable_from(node, "c1", "o1") == []
        assert seen.leaked() == {}
    assert node.call(build_at_once, [pods, OTHER]) == []


_UPLINK_BRIDGE = """
ip link add br-up type bridge
ip link set br-up up
address=$(ip -br -4 address show uplink0 | tr -s ' ' | cut -d' ' -f3)
address6=$(ip -br -6 address show uplink0 scope global | tr -s ' ' | cut -d' ' -f3)
ip address flush dev uplink0 scope global
ip link set uplink0 master br-up
ip address add $address dev br-up
ip address add $address6 dev br-up nodad
ip route replace default via 198.18.0.1
ip -6 route replace default via 2001:db8:18::1
"""


def without_nft(folder: Path) -> None:
    """All programs but nft, so that iptables alone can hold the guard."""
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name != "nft" and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)


@pytest.mark.parametrize("flavour", ["iptables-nft", "iptables-legacy"])
def test_guard_without_nft(world: World, node: Node, tmp_path: Path, flavour: str) -> None:
    if not shutil.which(f"{flavour}-restore"):
        pytest.skip(f"{flavour} is not installed")
    without_nft(tmp_path)
    for program in ("iptables", "ip6tables"):
        (tmp_path / program).unlink(missing_ok=True)
        (tmp_path / program).symlink_to(str(shutil.which(flavour.replace("iptables", program))))
    node.call(build_at_once, [OTHER], absent=True)
    before = settled(node)

    def built(*networks: Options, absent: bool = False) -> list[str]:
        programs._path = lambda: str(tmp_path)
        return build_at_once(networks, absent=absent)

    # The tables of the other protections take nft.
    refused = refusal(node, built, PROTECTED)
    assert "the program nft is missing" in refused.text
    assert "spoof_protection: false" in refused.text
    assert snapshot.difference(before, settled(node)) == ""
    actions = node.call(built, PODS)
    assert actions[:2] == [f"create guard of pods in {flavour}", actions[1]]
    assert node.call(built, PODS) == []
    assert unreachable_from(node, "c1") == []
    with witness(world, node) as seen:
        send_strays(node, "c1", "10.22.33.2", "fd00:22:33::2")
        send_strays(node, "c1", "10.99.99.99", "fd00:dead::1")
        assert unreachable_from(node, "c1") == []
        assert seen.leaked() == {}
        with sender(node, "c1"):
            seen.await_more()
            assert node.call(built, {**PODS, "bridge": "br-new"}) != []
            forget_neighbours(node)
            seen.await_more()
            node.call(built, {**PODS, "bridge": "br-new"}, absent=True)
        assert seen.leaked() == {}
    flush = "conntrack -F" if shutil.which("conntrack") else "true"
    node.run(["sh", "-c", flush])
    if flavour == "iptables-nft":
        assert snapshot.difference(before, settled(node)) == ""


# But those of OTHER, which is there as well: 10.44.0.0/24 and fd00:44::/64.
NETWORKS = st.integers(1, 255).filter(lambda number: number not in (44, 0x44))


@st.composite
def guards(draw: st.DrawFn) -> dict[str, GuardRules]:
    """Networks that have nothing in common."""
    numbers = draw(st.lists(NETWORKS, min_size=1, max_size=4, unique=True))
    found = {}
    for number in numbers:
        sources = draw(st.sampled_from([(f"10.{number}.0.0/16",), (f"10.{number}.0.0/16", f"fd00:{number:x}::/64")]))
        exclude = draw(st.sampled_from([(), ("192.0.2.0/24",), ("192.0.2.0/24", "2001:db8::/32")]))
        shared = draw(st.booleans())
        strict = draw(st.booleans()) and not shared
        bridge = draw(st.sampled_from([f"br{number}", f"b{number}*", f"{number}!$"]))
        found[f"n-{number}"] = GuardRules((bridge,), sources, exclude, shared, strict, draw(st.booleans()))
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=guards(), second=guards())
def test_what_is_written_reads_back(node: Node, first: dict[str, GuardRules], second: dict[str, GuardRules]) -> None:
    """Whatever was there before: networks that change, go and come, beside others that stay."""
    stay = {name: rules for name, rules in first.items() if name not in second}
    gone = list(stay)[::2]

    def written() -> list[dict[str, t.Any]]:
        with Namespaces() as namespaces:
            guard.write(namespaces, HOST, list(first.items()))
            there = [{k: v for k, v in guard.read(namespaces, HOST).items() if k != "other"}]
            guard.write(namespaces, HOST, [*second.items(), *((name, None) for name in gone)])
            there.append({k: v for k, v in guard.read(namespaces, HOST).items() if k != "other"})
            guard.write(namespaces, HOST, [(name, None) for name in there[-1]])
            return [*there, guard.read(namespaces, HOST)]

    kept = {name: rules for name, rules in stay.items() if name not in gone}
    there, then, left = node.call(written)
    assert there == first
    assert then == {**kept, **second}
    assert list(left) == ["other"]


def test_number_of_rules_a_packet_meets_does_not_grow(node: Node) -> None:
    def written(count: int) -> int:
        rules = {f"n{i}": GuardRules((f"br{i}",), (f"10.{i}.0.0/16",)) for i in range(count)}
        with Namespaces() as namespaces:
            guard.write(namespaces, HOST, list(rules.items()))
        return sum(len(listed) for listed in map(base_rules, ("forward", "postrouting")))

    def base_rules(chain: str) -> list[str]:
        listed = subprocess.run(
            ["nft", "list", "chain", *TABLE.split(), chain], check=False, capture_output=True, text=True
        )
        return [line for line in listed.stdout.splitlines() if "vmap" in line]

    assert [node.call(written, count) for count in (1, 40)] == [4, 4]
