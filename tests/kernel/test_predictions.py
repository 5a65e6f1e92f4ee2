"""On generated networks: check mode on an empty host says what the run then does, and a second run does nothing."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build, build_at_once
from tests.support.scope import NIGHTLY
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

flag = st.booleans()


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@st.composite
def nat(draw: st.DrawFn, number: int, families: int) -> t.Any:
    mode = draw(st.sampled_from(["masquerade", "snat", "none"]))
    if mode == "none":
        return mode
    options: Options = {"mode": mode, "random_fully": draw(flag)}
    if mode == "snat":
        options["to_source"] = [f"198.18.9.{number}", f"2001:db8:18::9:{number}"][:families]
    if draw(flag):
        options["exclude"] = draw(st.sampled_from([["10.0.0.0/8"], ["10.0.0.0/8", "10.1.0.0/16", "192.168.0.0/16"]]))
    if draw(flag):
        options["ports"] = "1024-65535"
    return options


@st.composite
def namespaces(draw: st.DrawFn, number: int) -> list[t.Any]:
    listed: list[t.Any] = [f"n{number}-{index}" for index in range(draw(st.integers(0, 2)))]
    if draw(flag):
        listed.append({"name": f"named{number}", "interface": "up0", "addresses": [f"10.{40 + number}.0.77/24"]})
    if draw(flag):
        listed.append({"name": f"dns{number}", "dns": {"servers": ["198.51.100.80"], "search": ["lab"]}})
    if draw(flag):
        listed.append({"prefix": f"c{number}-", "count": 2})
    return listed


@st.composite
def network(draw: st.DrawFn, number: int) -> Options:
    families = draw(st.sampled_from([1, 2]))
    made: Options = {
        "name": f"net{number}",
        "subnets": [f"10.{40 + number}.0.0/24", f"fd00:{40 + number}::/64"][:families],
        "namespaces": draw(namespaces(number)),
        "nat": draw(nat(number, families)),
        "isolated": draw(flag),
    }
    for key, values in (
        ("bridge", [f"br{number}"]),
        ("mtu", [1400, "auto"]),
        ("uplink", ["uplink0", "auto"]),
        ("firewall", ["none", "nftables"]),
        ("gateway", [[f"10.{40 + number}.0.254", f"fd00:{40 + number}::fe"][:families]]),
    ):
        if draw(flag):
            made[key] = draw(st.sampled_from(values))
    if made.get("firewall") == "none":
        made["nat"] = "none"
    return made


NETWORKS = st.one_of(st.tuples(network(1)), st.tuples(network(1), network(2)))


@settings(
    max_examples=8 if NIGHTLY else 4,
    suppress_health_check=list(HealthCheck),
    # A smaller example would take minutes to find.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(networks=NETWORKS, way=st.sampled_from([build, build_at_once]))
def test_check_mode_says_what_is_then_done(
    world: World, networks: tuple[Options, ...], way: t.Callable[..., list[str]]
) -> None:
    with world.add_node() as node:
        before = settled(node)
        for absent in (False, True):
            there = settled(node)
            predicted = node.call(way, networks, absent=absent, check=True)
            assert difference(there, node.snapshot()) == ""
            assert node.call(way, networks, absent=absent) == predicted
            assert predicted
            assert node.call(way, networks, absent=absent) == []
        assert difference(before, settled(node)) == ""
