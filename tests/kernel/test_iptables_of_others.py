"""What others do in iptables: chains they call, rules they put before ours, tables that iptables cannot read."""

from __future__ import annotations

import json
import shutil
import typing as t

import pytest

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import Node, World
from tests.support.building import build_at_once, refusal, unreachable_from
from tests.support.run_module import run
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-nft-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24"], "namespaces": ["c1"]}
BY_IPTABLES: Options = {**PODS, "firewall": "iptables"}
FORWARD_RULE = '-A FORWARD -m comment --comment "netpath:pods" -j netpath-pods'
DOCKER_RULE = FORWARD_RULE.replace("FORWARD", "DOCKER-USER")
CREATED = "create accept in FORWARD for pods in iptables-nft"
REPLACED = "replace accept in FORWARD for pods in iptables-nft"
# A rule that iptables cannot list, and its way out.
NATIVE = "add rule ip nat POSTROUTING ct state invalid counter drop"
TAKE_OUT = (
    "handle=$(nft -a list chain ip nat POSTROUTING | sed -n 's/.*invalid.*handle //p'); "
    'nft delete rule ip nat POSTROUTING handle "$handle"'
)
LONG = "a-network-whose-name-is-so-long-"


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def iptables(node: Node, *commands: str) -> None:
    for command in commands:
        node.run(["iptables-nft", *command.split()])


def rules(node: Node, table: str = "filter") -> list[str]:
    return node.run(["iptables-nft", "-t", table, "-S"]).stdout.splitlines()


def through(node: Node) -> bool:
    return unreachable_from(node, "c1", families=["ipv4"]) == []


@pytest.mark.parametrize(
    "away",
    [
        "ip route del default",
        "ip route replace unreachable default",
        "ip route add 64.0.0.0/2 via 198.18.0.1; ip route del default",
    ],
)
def test_network_is_built_where_no_default_route_leads_out(node: Node, away: str) -> None:
    iptables(node, "-P FORWARD DROP")
    node.run(["sh", "-ec", away])
    before = settled(node)
    result = run(node, "egress_path", {"networks": [PODS]})
    assert CREATED in result["actions"]
    told = {choice["backend"]: choice["reason"] for choice in result["backends"] if choice["purpose"] == "forward"}
    assert told["iptables-nft"].startswith("the policy of FORWARD is DROP")
    assert told[""] == "no default route leads IPv4 out of this host; name the way as uplink"
    assert "name the way as uplink" in str(result["warnings"])
    assert node.call(build_at_once, [PODS]) == []
    node.call(build_at_once, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


def test_uplink_that_comes_later_is_let_through(node: Node) -> None:
    iptables(node, "-P FORWARD DROP")
    node.run(["ip", "route", "del", "default"])
    node.call(build_at_once, [PODS])
    node.run(["ip", "route", "add", "default", "via", "198.18.0.1"])
    assert REPLACED in node.call(build_at_once, [PODS])
    assert through(node)


def test_exclude_of_a_family_without_a_source(node: Node) -> None:
    for backend in ("iptables", "nftables"):
        network = {**PODS, "firewall": backend, "nat": {"exclude": ["10.0.0.0/8", "fd00::/8"]}}
        assert any("source NAT pods" in action for action in node.call(build_at_once, [network]))
        assert node.call(build_at_once, [network]) == []


def test_accept_follows_what_calls_the_chain_of_docker(node: Node) -> None:
    iptables(node, "-P FORWARD DROP", "-N DOCKER-USER", "-A FORWARD -j DOCKER-USER")
    node.call(build_at_once, [PODS])
    assert DOCKER_RULE in rules(node)
    iptables(node, "-F FORWARD")
    assert node.call(build_at_once, [PODS]) == [REPLACED]
    assert FORWARD_RULE in rules(node)
    assert DOCKER_RULE not in rules(node)
    assert through(node)
    iptables(node, "-I FORWARD -j DOCKER-USER")
    assert node.call(build_at_once, [PODS]) == [REPLACED]
    assert DOCKER_RULE in rules(node)
    assert FORWARD_RULE not in rules(node)
    assert node.call(build_at_once, [PODS]) == []


@pytest.mark.parametrize(
    "drop",
    [
        ["-N LOGDROP", "-A LOGDROP -j LOG", "-A LOGDROP -j DROP", "-A FORWARD -j LOGDROP"],
        ["-N LOGDROP", "-A LOGDROP -j REJECT", "-A FORWARD -g LOGDROP"],
        ["-A FORWARD -j REJECT", "-A FORWARD -i lo -j ACCEPT"],
    ],
)
def test_rules_that_drop_everything_are_seen(node: Node, drop: list[str]) -> None:
    iptables(node, *drop)
    assert CREATED in node.call(build_at_once, [PODS])
    assert through(node)
    assert node.call(build_at_once, [PODS]) == []


def test_chains_that_drop_under_a_condition_are_none_of_them(node: Node) -> None:
    iptables(node, "-N OWN", "-A OWN -i lo -j DROP", "-A OWN -j RETURN", "-A OWN -j DROP", "-A FORWARD -j OWN")
    assert CREATED not in node.call(build_at_once, [PODS])
    assert through(node)


@pytest.mark.parametrize("before", [["-I FORWARD -j REJECT"], ["-N OWN", "-A OWN -j DROP", "-I FORWARD -j OWN"]])
def test_accept_goes_before_what_was_put_before_it(node: Node, before: list[str]) -> None:
    iptables(node, "-P FORWARD DROP", "-A FORWARD -i lo -j ACCEPT")
    node.call(build_at_once, [PODS])
    others = [rule for rule in rules(node) if "netpath" not in rule]
    iptables(node, *before)
    assert node.call(build_at_once, [PODS]) == [REPLACED]
    assert through(node)
    assert node.call(build_at_once, [PODS]) == []
    assert [rule for rule in rules(node) if rule in others] == others


@pytest.mark.parametrize("verdict", ["drop", "counter drop", "log drop", "counter reject with icmpx admin-prohibited"])
def test_every_drop_of_somebody_elses_chain_in_nftables_is_named(node: Node, verdict: str) -> None:
    node.run(["nft", "add table inet mine; add chain inet mine own { type filter hook forward priority 0; }"])
    node.run(["nft", f"add rule inet mine own {verdict}; add rule inet mine own iifname lo accept"])
    result = run(node, "forward_accept", {"name": "pods", "bridge": "br0", "sources": ["10.22.33.0/24"]})
    assert "inet mine own" in json.dumps(result["warnings"])


def test_table_that_is_switched_off_drops_nothing(node: Node) -> None:
    node.run(["nft", "add table inet mine { flags dormant; }"])
    node.run(["nft", "add chain inet mine own { type filter hook forward priority 0; policy drop; }"])
    request = {"name": "pods", "bridge": "br0", "sources": ["10.22.33.0/24"]}
    assert "backends" not in run(node, "forward_accept", request)


def test_table_that_iptables_cannot_read_is_not_written(node: Node) -> None:
    node.run(["nft", "add table ip nat; add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }"])
    node.run(["nft", NATIVE])
    before = settled(node)
    error = refusal(node, build_at_once, [BY_IPTABLES])
    assert (error.kind, error.found) == (
        "UnsupportedError",
        "iptables cannot read table nat of IPv4: rules of nft in it",
    )
    assert difference(before, settled(node)) == ""
    node.call(build_at_once, [PODS])
    assert through(node)


@pytest.mark.parametrize("name", ["pods", LONG])
def test_rules_in_a_table_that_became_unreadable_are_not_given_up(node: Node, name: str) -> None:
    before = settled(node)
    network = {**BY_IPTABLES, "name": name}
    node.call(build_at_once, [network])
    node.run(["nft", NATIVE])
    for absent in (False, True):
        error = refusal(node, build_at_once, [network], absent=absent)
        assert "cannot read table nat of IPv4: rules of nft in it beside ours" in error.found
    assert through(node)
    node.run(["sh", "-ec", TAKE_OUT])
    node.call(build_at_once, [network], absent=True)
    assert difference(before, settled(node)) == ""


def test_filter_that_iptables_cannot_read_is_named(node: Node) -> None:
    node.run(["nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; }"])
    node.run(["nft", "add rule ip filter FORWARD ct state invalid counter drop"])
    node.run(["nft", "add chain ip filter FORWARD { policy drop; }"])
    result = run(node, "egress_path", {"networks": [PODS]})
    (choice,) = (choice for choice in result["backends"] if choice["purpose"] == "forward")
    assert choice["backend"] == ""
    assert "ip filter FORWARD" in json.dumps(result["warnings"])
    assert node.call(build_at_once, [PODS]) == []


@pytest.mark.parametrize("backend", ["iptables", "auto"])
def test_bridge_whose_name_means_others_to_iptables(node: Node, backend: str) -> None:
    iptables(node, "-P FORWARD DROP")
    before = settled(node)
    error = refusal(node, build_at_once, [{**PODS, "bridge": "b+", "firewall": backend}])
    assert (error.kind, error.found) == (
        "UnsupportedError",
        "'b+' ends in '+', and so stands for all names that begin like it",
    )
    assert difference(before, settled(node)) == ""


def test_rule_of_somebody_elses_that_calls_our_chain_stays(node: Node) -> None:
    iptables(node, "-P FORWARD DROP")
    before = settled(node)
    node.call(build_at_once, [PODS])
    iptables(node, "-N admin", "-A admin -i eth9 -j netpath-pods", "-A FORWARD -j admin")
    assert node.call(build_at_once, [PODS]) == []
    iptables(node, "-F netpath-pods")
    assert node.call(build_at_once, [PODS]) == [REPLACED]
    assert "-A admin -i eth9 -j netpath-pods" in rules(node)
    error = refusal(node, build_at_once, [PODS], absent=True)
    assert error.kind == "ConflictError"
    assert "-A admin -i eth9 -j netpath-pods" in error.found
    assert through(node)
    iptables(node, "-D FORWARD -j admin", "-F admin", "-X admin")
    node.call(build_at_once, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


def test_networks_whose_chains_would_be_one(node: Node) -> None:
    """The second name is what is left of the first one's, with its hash."""
    names = ("a" * 32, "aaaaaaaaaaaaa-3ba3f5")
    networks = [
        {**BY_IPTABLES, "name": name, "bridge": f"br{i}", "subnets": [f"10.22.{i}.0/24"], "namespaces": []}
        for i, name in enumerate(names)
    ]
    assert "it is that of aaaa" in refusal(node, build_at_once, networks).found
    node.call(build_at_once, networks[:1])
    assert "it is that of aaaa" in refusal(node, build_at_once, networks[1:]).found
