"""The wall towards tenants: what root in a namespace advertises changes nothing on the host or in other namespaces."""

from __future__ import annotations

import functools
import json
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import ledger as ledgers
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import files
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.ledger_file import read_ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Claim
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.sysctl_file import SYSCTL_FILE

from tests.lab import privilege, probe, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import GATEWAY6, World
from tests.support import tenant
from tests.support.building import build, build_at_once, seen_from, unreachable_from
from tests.support.run_module import Options, done, run

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

FOUR, SIX = "10.22.33.0/24", "fd00:22:33::/64"
SUBNETS = {"IPv4 alone": [FOUR], "both families": [FOUR, SIX]}
both_kinds = pytest.mark.parametrize("subnets", list(SUBNETS.values()), ids=list(SUBNETS))
both_ways = pytest.mark.parametrize("builder", [build, build_at_once], ids=["module by module", "at once"])
BRIDGE_RA = "net/ipv6/conf/br-pods/accept_ra"
CLOSED = {"ipv6/accept_ra": "0", "ipv6/autoconf": "0", "ipv6/accept_redirects": "0", "ipv4/accept_redirects": "0"}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def network(subnets: list[str], *namespaces: t.Any, **more: t.Any) -> Options:
    """Without spoof_protection, so that advertisements reach the links, which must not listen to them."""
    chosen = list(namespaces or ("c0", "c1"))
    return {"name": "pods", "subnets": subnets, "namespaces": chosen, "spoof_protection": False, **more}


OTHER: Options = {"name": "six", "subnets": ["fd00:44::/64"], "namespaces": ["d0"]}


def default_of(node: Node) -> list[t.Any]:
    """The host's default routes of IPv6."""
    return t.cast("list[t.Any]", json.loads(node.run(["ip", "-6", "-j", "route", "show", "default"]).stdout))


def open_bridge(node: Node, forwarding: bool = False) -> None:
    """A network's bridge as release 1.0.0 made it, which a tenant has told that it is a router."""
    listening = ["disable_ipv6=0", "accept_ra=2" if forwarding else "accept_ra=1", "autoconf=1", "accept_redirects=1"]
    node.run(["sysctl", "-qw", *(f"net.ipv6.conf.br-pods.{setting}" for setting in listening)])
    tenant.advertise(node, "c0")
    tenant.await_learned(node, "br-pods")


@both_ways
@both_kinds
def test_links_are_made_closed_and_stay_so(node: Node, builder: t.Callable[..., list[str]], subnets: list[str]) -> None:
    asked = [network(subnets, "c0", {"name": "c1", "accept_ra": True})]
    node.call(builder, asked)
    without = {**CLOSED, "ipv6/disable_ipv6": "0"}
    assert tenant.switches(node, "br-pods") == {**CLOSED, "ipv6/disable_ipv6": "0" if SIX in subnets else "1"}
    assert tenant.switches(node, "np-c0") == without
    assert tenant.switches(node, "np-c1") == without
    assert tenant.switches(node, "eth0", "c0") == without
    assert tenant.switches(node, "eth0", "c1") == {**without, "ipv6/accept_ra": "1", "ipv6/autoconf": "1"}
    # The larger of both counts.
    assert node.namespace_run("c0", ["sysctl", "-n", "net.ipv4.conf.all.accept_redirects"]).stdout == "0\n"
    assert node.call(builder, asked) == []
    for link, namespace in (("br-pods", ""), ("np-c0", ""), ("eth0", "c0")):
        keys = [
            f"ipv6.conf.{link}.accept_ra",
            f"ipv6.conf.{link}.accept_redirects",
            f"ipv4.conf.{link}.accept_redirects",
        ]
        opened = ["sysctl", "-qw", *(f"net.{key}=1" for key in keys)]
        node.namespace_run(namespace, opened) if namespace else node.run(opened)
    both = "accept_ra on -> off, accept_redirects on -> off"
    expected = [
        f"change bridge br-pods: {both}",
        f"change veth np-c0: {both}, peer.accept_ra on -> off, peer.accept_redirects on -> off",
    ]
    assert node.call(builder, asked, check=True) == expected
    assert node.call(builder, asked) == expected
    assert node.call(builder, asked) == []
    assert tenant.switches(node, "eth0", "c0") == without


@both_kinds
def test_host_learns_nothing(node: Node, subnets: list[str]) -> None:
    asked = [network(subnets)]
    node.call(build_at_once, asked)
    before = default_of(node)
    tenant.advertise(node, "c0")
    assert tenant.learned(node, "br-pods") == []
    assert default_of(node) == before
    found = node.run(["ip", "-6", "-j", "route", "get", "2001:db8:100::80"]).stdout
    assert json.loads(found)[0]["gateway"] == GATEWAY6
    # The next network with IPv6 takes the bridge for no uplink.
    actions = node.call(build_at_once, [*asked, OTHER])
    assert not [line for line in actions if "br-pods" in line]
    assert "br-pods/accept_ra" not in node.run(["cat", SYSCTL_FILE]).stdout


@both_kinds
def test_neighbours_keep_their_way_out(node: Node, subnets: list[str]) -> None:
    asked = [network(subnets, "victim", "rogue")]
    node.call(build_at_once, asked)
    before = node.run(["ip", "-n", "victim", "-6", "route"]).stdout
    for preference in (tenant.MEDIUM, tenant.HIGH):
        tenant.advertise(node, "rogue", preference)
        assert tenant.learned(node, "eth0", "victim") == []
        assert node.run(["ip", "-n", "victim", "-6", "route"]).stdout == before
    assert unreachable_from(node, "victim", families=["ipv4", "ipv6"] if SIX in subnets else ["ipv4"]) == []
    # The tenant's own address is no more of the network's than what it advertised.
    assert node.call(build_at_once, asked) == []


def test_flood_of_advertisements_stops_no_build(node: Node) -> None:
    node.call(build_at_once, [network([SIX], "rogue")])
    with tenant.flooding(node, "rogue"):
        for count in range(1, 4):
            names = [f"c{number}" for number in range(count)]
            assert node.call(build_at_once, [network([SIX], "rogue", *names)])
            assert node.call(build_at_once, [network([SIX], "rogue", *names)]) == []
    assert unreachable_from(node, "c0", families=["ipv6"]) == []


def test_learned_route_of_the_same_metric_is_another_route(node: Node) -> None:
    """Where a namespace is to listen, a learned default route has the metric of the network's."""
    asked = [network([SIX], {"name": "c0", "accept_ra": True}, "rogue")]
    node.call(build_at_once, asked)
    tenant.become_router(node, "rogue")
    tenant.advertise(node, "rogue", tenant.MEDIUM)
    tenant.await_learned(node, "eth0", "c0")
    assert node.call(build_at_once, asked) == []
    node.run(["ip", "-n", "c0", "-6", "route", "del", "default", "via", "fd00:22:33::1"])
    with tenant.flooding(node, "rogue"):
        line = "add route -6 default via fd00:22:33::1 dev eth0 in namespace c0"
        assert node.call(build_at_once, asked) == [line]
        assert node.call(build_at_once, asked) == []
    assert len(tenant.learned(node, "eth0", "c0")) == 3


def test_what_a_namespace_learned_goes(node: Node) -> None:
    """As of release 1.0.0, where each end listened."""
    asked = [network([FOUR, SIX], "victim", "rogue")]
    node.call(build_at_once, asked)
    listening = [f"net.ipv6.conf.eth0.{setting}" for setting in ("accept_ra=1", "autoconf=1")]
    node.namespace_run("victim", ["sysctl", "-qw", *listening])
    tenant.advertise(node, "rogue")
    tenant.await_learned(node, "eth0", "victim")
    with tenant.flooding(node, "rogue"):
        expected = [
            "change veth np-victim: peer.accept_ra on -> off",
            "delete what eth0 in namespace victim learned from router advertisements",
        ]
        assert node.call(build_at_once, asked) == expected
        assert node.call(build_at_once, asked) == []
    assert tenant.learned(node, "eth0", "victim") == []
    assert node.call(seen_from, "victim", probe.TARGETS[6]) == node.address6


def claim_as_release_1_0_0() -> None:
    """In the ledger and the file of sysctls, what it noted for a bridge that it took for an uplink."""
    claimed = read_ledger().claimed(Claim("six", "", BRIDGE_RA, "2", True))
    files.write(ledgers.PATH, claimed.to_json(), 0o600)
    files.write(SYSCTL_FILE, (files.read(SYSCTL_FILE) or "") + f"-{BRIDGE_RA} = 2\n", 0o644)


@both_kinds
@pytest.mark.parametrize("again", [["pods"], ["pods", "six"]], ids=["one network", "both"])
def test_host_that_an_earlier_release_left_listening_is_repaired(
    node: Node, subnets: list[str], again: list[str]
) -> None:
    networks = {"pods": network(subnets), "six": OTHER}
    node.call(build_at_once, list(networks.values()))
    before = default_of(node)
    node.call(claim_as_release_1_0_0)
    open_bridge(node, forwarding=True)
    assert default_of(node) != before
    asked = [networks[name] for name in again]
    expected = node.call(build_at_once, asked, check=True)
    assert "note that six no longer needs net.ipv6.conf.br-pods.accept_ra" in expected
    assert f"rewrite {SYSCTL_FILE}" in expected
    assert node.call(build_at_once, asked) == expected
    assert node.call(build_at_once, list(networks.values())) == []
    assert default_of(node) == before
    assert tenant.learned(node, "br-pods") == []
    assert node.run(["sysctl", "-n", "net.ipv6.conf.br-pods.accept_ra"]).stdout == "0\n"
    assert "br-pods/accept_ra" not in node.run(["cat", SYSCTL_FILE]).stdout
    assert not [claim for claim in node.call(read_ledger).claims.values() if claim.key == BRIDGE_RA]


@both_kinds
def test_learned_default_route_vetoes_no_teardown(node: Node, subnets: list[str]) -> None:
    asked = [network(subnets)]
    before = settled(node)
    node.call(build_at_once, asked)
    open_bridge(node, forwarding=SIX in subnets)
    node.run(["ip", "-n", "c0", "address", "del", f"{tenant.ROGUE}/64", "dev", "eth0"])
    assert node.call(build_at_once, asked, absent=True)
    assert node.call(build_at_once, asked, absent=True) == []
    assert snapshot.difference(before, settled(node)) == ""


def test_learned_route_by_a_bridge_is_no_uplink(node: Node) -> None:
    """Nor decides it what is translated, and by which interfaces replies come."""
    asked = [network([FOUR])]
    node.call(build_at_once, asked)
    open_bridge(node)
    actions = node.call(build_at_once, [OTHER])
    assert actions
    assert not [line for line in actions if "br-pods" in line]
    rules = node.run(["nft", "list", "ruleset"]).stdout
    node.call(build_at_once, [*asked, OTHER])
    assert node.run(["nft", "list", "ruleset"]).stdout == rules


def test_end_on_the_host_cannot_be_told_to_listen(node: Node) -> None:
    done(node, "netns", {"name": "ns1"})
    pair: Options = {"name": "ve1", "accept_ra": True, "peer": {"name": "eth0", "netns": "ns1"}}
    assert "accept_ra: on for an end on the host" in run(node, "veth", pair)["msg"]


def test_pair_of_a_module_is_closed_unless_it_is_to_listen(node: Node) -> None:
    make = functools.partial(done, node, "veth")
    done(node, "netns", {"name": "ns1"})
    make({"name": "ve1", "peer": {"name": "eth0", "netns": "ns1"}})
    assert tenant.switches(node, "ve1")["ipv6/accept_ra"] == "0"
    assert tenant.switches(node, "eth0", "ns1")["ipv6/accept_ra"] == "0"
    line = "change veth ve1: peer.accept_ra off -> on"
    assert make({"name": "ve1", "peer": {"name": "eth0", "netns": "ns1", "accept_ra": True}}) == [line]
    assert tenant.switches(node, "eth0", "ns1")["ipv6/accept_ra"] == "1"
    assert make({"name": "ve1", "peer": {"name": "eth0", "netns": "ns1", "accept_ra": True}}) == []


def test_interface_of_the_host_goes_on_listening(node: Node) -> None:
    """A bridge that another tool made learns what it likes, also with namespaces on it."""
    made = "ip link add br-pods type bridge; ip link set br-pods up; sysctl -qw net.ipv6.conf.br-pods.accept_ra=1"
    node.run(["sh", "-ec", made])
    node.call(build_at_once, [network([FOUR])])
    found = tenant.switches(node, "br-pods")
    assert (found["ipv6/accept_ra"], found["ipv6/disable_ipv6"]) == ("1", "0")
    assert tenant.switches(node, "np-c0")["ipv6/accept_ra"] == "0"
