"""Healthy networks of every kind raise no finding, and checking them changes nothing."""

from __future__ import annotations

import random
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check

from tests.lab import privilege, probe
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import Node, World, wire
from tests.support.building import build_at_once
from tests.support.scope import NIGHTLY
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

_HOSTS, _NETWORKS = 10 if NIGHTLY else 5, 10
TARGETS = list(probe.TARGETS.values())
# What Docker leaves in FORWARD and in POSTROUTING, with a bridge of its own.
_DOCKER = """
ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up
for tables in iptables-nft ip6tables-nft; do
  $tables -P FORWARD DROP; $tables -N DOCKER-USER; $tables -N DOCKER
  $tables -A FORWARD -j DOCKER-USER; $tables -A FORWARD -o docker0 -j DOCKER
  $tables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT; $tables -A DOCKER-USER -j RETURN
done
iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
"""


def _network(drawn: random.Random, number: int) -> Options:
    subnets = [f"10.{60 + number}.0.0/24", f"fd00:60:{number}::/64"]
    chosen = drawn.choice([subnets, subnets, subnets[:1], subnets[1:]])
    network: Options = {
        "name": f"net{number}",
        "subnets": chosen,
        "prefix": f"n{number}-",
        "count": drawn.randint(1, 3),
    }
    kinds: list[Options] = [
        {},
        {"isolated": True},
        {"mtu": 1400},
        {"nat": {"mode": "none"}},
        {"nat": {"random_fully": True, "ports": "20000-30000"}},
        {"nat": {"exclude": ["10.0.0.0/8", "fd00::/8"]}},
        {"firewall": "iptables"},
        {"uplink": ["uplink0"]},
        {"mss_clamp": True},
        {"hairpin": True},
    ]
    for _choice in range(drawn.randint(0, 2)):
        network.update(drawn.choice(kinds))
    return network


def checked(networks: list[Options], asked: t.Sequence[str], probing: bool = True) -> list[t.Any]:
    return check(networks, targets.parsed(asked), probing)


def undescribed(names: t.Sequence[str], asked: t.Sequence[str]) -> list[t.Any]:
    """As the kernel has them. By name: a look at all processes would find namespaces of others on this machine."""
    return check([], targets.parsed(asked), names=names)


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


def _routed_back(world: World, node: Node) -> None:
    """The internet has routes to all networks: those that are not translated are known there."""
    for number in range(_NETWORKS):
        world.internet.run(["ip", "route", "replace", f"10.{60 + number}.0.0/24", "via", node.address])
        world.internet.run(["ip", "route", "replace", f"fd00:60:{number}::/64", "via", node.address6])


@pytest.mark.parametrize("seed", range(_HOSTS))
def test_healthy_networks_raise_nothing(world: World, seed: int) -> None:
    drawn = random.Random(seed)
    networks = [_network(drawn, number) for number in range(_NETWORKS)]
    with world.add_node() as node:
        node.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
        if seed % 3 == 1:
            node.run(["sh", "-ec", _DOCKER])
        if seed % 3 == 2:
            wire(world.segment, node, "uplink1", port=f"{node.name}-2")
            node.run(
                ["sh", "-ec", "ip link set uplink1 up; ip route add default via 198.18.0.1 dev uplink0 metric 900"]
            )
        _routed_back(world, node)
        node.call(build_at_once, networks)
        before = settled(node)
        found = node.call(checked, networks, TARGETS)
        assert {(one["namespace"], one["family"]) for one in found if one["status"] != "ok"} == set(), [
            one for one in found if one["status"] != "ok"
        ]
        assert [one["findings"] for one in found if one["findings"]] == []
        assert difference(before, settled(node)) == ""
        gateways = node.call(checked, networks, [])
        assert [one["findings"] for one in gateways if one["findings"]] == []
        structure = node.call(checked, networks, TARGETS, False)
        assert {(one["status"], one["code"]) for one in structure} == {("unknown", None)}
        as_they_are = node.call(undescribed, sorted({one["namespace"] for one in found}), TARGETS)
        assert len(as_they_are) == len(found)
        assert [one for one in as_they_are if one["status"] != "ok"] == []
