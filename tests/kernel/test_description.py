"""Networks that somebody made by hand, or this collection, described as they would be written."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.description import description
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.allocation import allocate
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import Network, parse_networks

from tests.kernel.building import build_at_once
from tests.kernel.generated import networks
from tests.kernel.settling import settled
from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.unit.asking import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def comparable(asked: t.Sequence[Options]) -> list[dict[str, t.Any]]:
    """What can be seen of networks, with defaults filled in and addresses chosen."""
    return sorted((_visible(network) for network in parse_networks(list(asked))), key=lambda one: one["name"])


def _visible(network: Network) -> dict[str, t.Any]:
    given = allocate(network, {})
    # Without translation no rule names the uplink.
    uplinks = network.uplinks if network.nat["mode"] != "none" else ()
    published = sorted((one.protocol, one.first, one.last, one.to, one.to_port) for one in network.publish)
    shown = {
        name: getattr(network, name)
        for name in (
            "name",
            "bridge",
            "subnets",
            "gateways",
            "mtu",
            "isolated",
            "vlans",
            "link_settings",
            "nat",
            "mss_clamp",
        )
    }
    # The port that an entry names has it anyway.
    hairpin = network.hairpin if not (network.hairpin is False and not published) else None
    # Without a link nobody can see which addresses it would have.
    link_local = network.ipv6_link_local if network.namespaces else None
    members = {
        one.name: (one.interface, sorted(given[one.name]), one.dns, one.bandwidth, one.vlans)
        for one in network.namespaces
    }
    # The kernel lists the addresses of IPv4 first.
    for name in ("subnets", "gateways"):
        shown[name] = sorted(shown[name], key=lambda text: ":" in text)
    more = {"uplinks": uplinks, "publish": published, "hairpin": hairpin, "link_local": link_local, "members": members}
    return {**shown, **more}


def looked(node: Node) -> dict[str, t.Any]:
    return node.call(description)


@pytest.mark.parametrize("seed", range(6))
def test_what_the_collection_built_is_described_as_it_was_asked_for(node: Node, seed: int) -> None:
    asked = networks(seed)
    node.call(build_at_once, asked)
    before = settled(node)
    found = looked(node)
    assert difference(before, settled(node)) == ""
    assert comparable(found["egress_networks"]) == comparable(asked)
    assert found["notes"] == []
    assert node.call(build_at_once, found["egress_networks"]) == []
