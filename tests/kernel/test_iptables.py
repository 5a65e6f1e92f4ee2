"""Rules in iptables, in both flavours: what is written reads back, others' rules stay, and packets come through."""

from __future__ import annotations

import json
import shutil
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import KernelError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import iptables
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import ForwardRules, NatRules, Rules

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import Node, World
from tests.support.building import build, build_at_once, unreachable_from
from tests.support.run_module import done, run
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-legacy-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

FLAVOURS = iptables.FLAVOURS
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1"],
}
NAT = [
    NatRules(("10.22.33.0/24",)),
    NatRules(("fd00:22:33::/64",), random_fully=True),
    NatRules(("10.22.33.0/24", "10.22.35.7/32", "fd00:22:33::/64"), not_out_interface="br0", ports=(1024, 65535)),
    NatRules(
        ("10.22.33.0/24", "fd00:22:33::/64"),
        ("10.0.0.0/8", "192.168.0.0/16", "fd01::/16"),
        out_interfaces=("uplink0", "uplink1"),
        to_source=("198.51.100.1-198.51.100.9", "2001:db8::1-2001:db8::9"),
        ports=(1024, 65535),
        random_fully=True,
    ),
    NatRules(("10.22.33.0/24",), ("10.22.33.0/24", "224.0.0.0/4"), to_source=("198.51.100.1", ""), ports=(7, 7)),
    NatRules(("fd00:22:33::/64",), to_source=("", "2001:db8::1"), ports=(7, 7)),
]
FORWARD = [
    ForwardRules("br0", ("uplink0",), ("10.22.33.0/24",)),
    ForwardRules("br0", ("uplink0", "uplink1"), ("10.22.33.0/24", "10.44.0.0/16", "fd00:22:33::/64")),
]
LONG = "a-network-whose-name-is-so-long-"


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def write(flavour: str, changes: iptables.Changes) -> None:
    with Namespaces() as namespaces:
        iptables.write(namespaces, HOST, flavour, changes)


def read(flavour: str) -> dict[iptables.Key, Rules | None]:
    with Namespaces() as namespaces:
        return iptables.read(namespaces, HOST, flavour, iptables.TABLES)


def saved(node: Node, flavour: str) -> list[str]:
    """All rules and chains of a flavour in both families, without counters."""
    kind = flavour.partition("-")[2]
    lines = []
    for family, program in (("ip", "iptables"), ("ip6", "ip6tables")):
        for table in ("filter", "nat"):
            if kind == "legacy" and table not in node.run(["cat", f"/proc/net/{family}_tables_names"]).stdout:
                continue
            output = node.run([f"{program}-{kind}-save", "-t", table]).stdout
            lines += [f"{program} {line.split(' [')[0]}" for line in output.splitlines() if not line.startswith("#")]
    return lines


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_is_written_reads_back_and_goes(node: Node, flavour: str) -> None:
    for number, rules in enumerate([*NAT, *FORWARD]):
        key = ("nat" if isinstance(rules, NatRules) else "forward", LONG if number % 2 else "pods")
        node.call(write, flavour, [(key, rules)])
        assert node.call(read, flavour) == {key: rules}
        node.call(write, flavour, [(key, rules)])
        assert node.call(read, flavour) == {key: rules}
        node.call(write, flavour, [(key, None)])
        assert node.call(read, flavour) == {}
        assert [line for line in saved(node, flavour) if "netpath" in line] == []


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_edited_rules_are_seen_and_replaced(node: Node, flavour: str) -> None:
    program = flavour
    key, rules = ("nat", "pods"), NAT[2]
    for edit in (
        "-t nat -D netpath-pods 1",
        "-t nat -F netpath-pods",
        "-t nat -I netpath-pods -j RETURN",
        "-t nat -F POSTROUTING",
        "-t nat -A POSTROUTING -m comment --comment netpath:pods -j netpath-pods",
    ):
        node.call(write, flavour, [(key, rules)])
        node.run([program, *edit.split()])
        assert node.call(read, flavour).get(key) is None
        node.call(write, flavour, [(key, rules)])
        assert node.call(read, flavour) == {key: rules}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_rules_of_others_stay(node: Node, flavour: str) -> None:
    for program in (flavour, flavour.replace("ip", "ip6", 1)):
        for words in (
            "-t nat -A POSTROUTING -o lo -m comment --comment netpaths:a -j MASQUERADE",
            "-N mine",
            "-A mine -j DROP",
            "-A FORWARD -i lo -j mine",
            "-P FORWARD DROP",
        ):
            node.run([program, *words.split()])
        node.run([program, "-A", "FORWARD", "-m", "comment", "--comment", 'a "b" c', "-j", "ACCEPT"])
    before = saved(node, flavour)
    changes: list[tuple[iptables.Key, Rules | None]] = [(("nat", "pods"), NAT[3]), (("forward", "pods"), FORWARD[1])]
    node.call(write, flavour, changes)
    assert set(before) < set(saved(node, flavour))
    node.call(write, flavour, [(("nat", LONG), NAT[2]), (("nat", "pods"), None)])
    node.call(write, flavour, [(("nat", LONG), None), (("forward", "pods"), None)])
    assert saved(node, flavour) == before


def test_second_family_that_fails_takes_the_first_back(node: Node) -> None:
    key = ("nat", "pods")
    node.call(write, "iptables-nft", [(key, NAT[0])])
    before = saved(node, "iptables-nft")
    wrong = NatRules(("10.22.34.0/24", "fd00:22:33::/64"), to_source=("198.51.100.1", "2001:db8::none"))
    with pytest.raises((KernelError, RuntimeError)):
        node.call(write, "iptables-nft", [(key, wrong)])
    assert saved(node, "iptables-nft") == before


@pytest.mark.parametrize("way", [build, build_at_once])
@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("drop", ["-P FORWARD DROP", "-A FORWARD -j REJECT", "-N DOCKER-USER", "-A FORWARD -j DROP"])
def test_path_through_a_filter_that_drops(node: Node, flavour: str, drop: str, way: t.Callable[..., list[str]]) -> None:
    for program in (flavour, flavour.replace("ip", "ip6", 1)):
        node.run([program, *drop.split()])
        if "DOCKER" in drop:
            node.run([program, "-A", "FORWARD", "-j", "DOCKER-USER"])
            node.run([program, "-P", "FORWARD", "DROP"])
    before = settled(node)
    expected = f"create accept in FORWARD for pods in {flavour}"
    assert expected in node.call(way, [PODS])
    assert unreachable_from(node, "c1") == []
    assert node.call(way, [PODS]) == []
    entry = "DOCKER-USER" if "DOCKER" in drop else "FORWARD"
    assert f'iptables -A {entry} -m comment --comment "netpath:pods" -j netpath-pods' in saved(node, flavour)
    node.call(way, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize(
    "event", ["iptables-nft -F", "iptables-nft -t nat -F", "nft flush ruleset", "iptables-nft -D FORWARD 1"]
)
def test_next_run_puts_right_what_others_flushed(node: Node, event: str) -> None:
    for program in ("iptables-nft", "ip6tables-nft"):
        node.run([program, "-P", "FORWARD", "DROP"])
    networks = [{**PODS, "firewall": "iptables"}]
    node.call(build, networks)
    node.run(event.split())
    if "ruleset" in event:
        for program in ("iptables-nft", "ip6tables-nft"):
            node.run([program, "-P", "FORWARD", "DROP"])
    actions = node.call(build, networks)
    assert actions
    expected = {"source NAT", "accept in FORWARD for"}
    if "ruleset" in event:
        # The guard, and what namespaces may send and whom they reach, are in tables of nftables whatever accepts.
        assert any(action.startswith("restrict what np-c1 sends") for action in actions)
        actions = [action for action in actions if not action.startswith("restrict")]
        expected |= {"forwarding limits of", "guard of"}
    assert {action.split(" pods")[0].split(" ", 1)[1] for action in actions} <= expected
    assert unreachable_from(node, "c1") == []
    assert node.call(build, networks) == []


def test_back_end_changes_and_flows_go_on(node: Node) -> None:
    kinds = {"nftables": "", "iptables": " in iptables-nft"}
    node.call(build, [PODS])
    for new, old in (("iptables", "nftables"), ("nftables", "iptables")):
        actions = node.call(build, [{**PODS, "firewall": new}])
        created, deleted = (action for action in actions if "source NAT" in action)
        assert created.startswith(f"create source NAT pods{kinds[new]} for")
        assert deleted == f"delete source NAT pods{kinds[old]}"
        assert unreachable_from(node, "c1") == []
        assert node.call(build, [{**PODS, "firewall": new}]) == []


def test_filter_that_needs_no_accept_any_more_gets_rid_of_it(node: Node) -> None:
    node.run(["iptables-nft", "-P", "FORWARD", "DROP"])
    node.call(build, [PODS])
    node.run(["iptables-nft", "-P", "FORWARD", "ACCEPT"])
    assert node.call(build, [PODS]) == ["delete accept in FORWARD for pods in iptables-nft"]
    assert unreachable_from(node, "c1") == []


def test_chain_of_somebody_elses_in_nftables_is_named(node: Node) -> None:
    node.run(
        ["nft", "add table inet mine; add chain inet mine own { type filter hook forward priority 0; policy drop; }"]
    )
    request = {"name": "pods", "bridge": "br0", "sources": ["10.22.33.0/24"]}
    result = run(node, "forward_accept", request)
    assert [choice["backend"] for choice in result["backends"]] == [""]
    assert "inet mine own" in json.dumps(result["warnings"])
    node.run(["nft", "add rule inet mine own iifname br0 accept"])
    assert "backends" not in run(node, "forward_accept", request)


def test_both_flavours_drop(node: Node) -> None:
    for flavour in FLAVOURS:
        node.run([flavour, "-P", "FORWARD", "DROP"])
    assert done(node, "forward_accept", {"name": "pods", "bridge": "br0", "sources": ["10.22.33.0/24"]}) == [
        "create accept in FORWARD for pods in iptables-nft",
        "create accept in FORWARD for pods in iptables-legacy",
    ]
