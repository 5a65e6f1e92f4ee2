"""The wall towards tenants: which namespace is whose, and has which address, is never taken from what is in it."""

from __future__ import annotations

import json
import sys
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import ledger as ledgers
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import files
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.ledger_file import read_ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import MARK
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import applying, installation

from tests.lab import privilege, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import World
from tests.support import tenant
from tests.support.building import build, build_at_once, refusal, unreachable_from
from tests.support.echo_service import serving, who
from tests.support.run_module import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

both_ways = pytest.mark.parametrize("builder", [build, build_at_once], ids=["module by module", "at once"])
Builder = t.Callable[..., list[str]]
WEB: Options = {"name": "web", "subnets": ["10.44.0.0/24"], "namespaces": ["w1"]}
C2_GONE = ["delete namespace c2", "lift the restriction of what np-c2 sends"]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


def pods(*namespaces: t.Any, **more: t.Any) -> Options:
    """Of IPv4 alone, unless more says otherwise."""
    return {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": list(namespaces or ("c1", "c2")), **more}


def script(node: Node, lines: str) -> None:
    node.run(["sh", "-ec", lines])


def held(node: Node, *namespaces: str) -> dict[str, list[str]]:
    """The addresses of eth0 in each of the namespaces."""
    found = {}
    for name in namespaces:
        (link,) = json.loads(node.run(["ip", "-n", name, "-j", "address", "show", "dev", "eth0"]).stdout)
        addresses = [f"{item['local']}/{item['prefixlen']}" for item in link["addr_info"]]
        found[name] = [cidr for cidr in addresses if not cidr.startswith("fe80")]
    return found


def names(node: Node) -> list[str]:
    return sorted(line.split()[0] for line in node.run(["ip", "netns", "list"]).stdout.splitlines())


def forget_assignments() -> None:
    known = json.loads(files.read(ledgers.PATH) or "")
    assert known.pop("assignments")
    files.write(ledgers.PATH, json.dumps({name: known[name] for name in known if name != "sha256"}), 0o600)


def as_release_1_0_0(node: Node, *namespaces: str) -> None:
    """What that release left: no assignments in the ledger, and the bare mark beneath the mounts of handles."""
    node.call(forget_assignments)
    rewritten = "".join(f"printf %s {MARK} >/run/beneath/{name}\n" for name in namespaces)
    script(
        node,
        f"mkdir /run/beneath; mount --bind /run/netns /run/beneath\n{rewritten}umount /run/beneath; rmdir /run/beneath",
    )


TAKE = """
ip -n c1 address flush dev eth0 scope global
ip -n c1 address add 10.22.33.3/24 dev eth0
ip -n c1 route add default via 10.22.33.1
"""
PUBLISHED = [{"port": 8080, "to": "c2:7070"}]


def install(networks: list[Options]) -> list[str]:
    return installation.install(installation.Asked("/etc/netpath-egress", sys.executable, networks)).actions


def from_files() -> list[str]:
    applied = applying.build(applying.chosen(), False)
    assert not applied.failed
    return [action for result in applied.results.values() for action in result.actions]


@pytest.mark.parametrize("way", ["module by module", "at once", "files", "files, no ledger"])
def test_address_that_a_tenant_took_is_taken_back(world: World, node: Node, way: str) -> None:
    asked = [pods(publish=PUBLISHED)]
    node.call(build_at_once, asked)
    expected = {"c1": ["10.22.33.2/24"], "c2": ["10.22.33.3/24"]}
    assert held(node, "c1", "c2") == expected
    if way.startswith("files"):
        node.call(install, asked)
    if way == "files, no ledger":
        as_release_1_0_0(node, "c1", "c2")
    script(node, TAKE)
    if way.startswith("files"):
        actions = node.call(from_files)
    else:
        actions = node.call(build if way == "module by module" else build_at_once, asked)
    assert actions[:3] == [
        "delete address 10.22.33.3/24 from eth0 in namespace c1",
        "add address 10.22.33.2/24 to eth0 in namespace c1",
        "add route default via 10.22.33.1 dev eth0 in namespace c1",
    ]
    assert not [line for line in actions if "c1" not in line]
    assert held(node, "c1", "c2") == expected
    assert node.call(build_at_once, asked) == []
    assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []
    with serving(node, "c2", "10.22.33.3"):
        assert world.internet.call(who, node.address, 8080)[1] == "10.22.33.3"


def test_file_of_a_network_keeps_what_was_assigned(node: Node) -> None:
    """Also one that is written while a tenant has a neighbour's address."""
    asked = [pods()]
    node.call(build_at_once, asked)
    script(node, TAKE)
    node.call(install, asked)
    kept = json.loads(node.run(["cat", "/etc/netpath/networks.d/pods.json"]).stdout)["addresses"]
    assert kept == {"c1": ["10.22.33.2/24"], "c2": ["10.22.33.3/24"]}


def test_mac_that_a_tenant_took_is_taken_back(node: Node) -> None:
    node.call(build_at_once, [pods()])
    macs = {name: node.run(["ip", "-n", name, "-j", "link", "show", "eth0"]).stdout for name in ("c1", "c2")}
    mac1, mac2 = (json.loads(text)[0]["address"] for text in macs.values())
    script(node, f"ip -n c1 link set eth0 address {mac2}")
    line = f"change veth np-c1: peer.mac {mac2} -> {mac1}"
    assert node.call(build_at_once, [pods()]) == [line]
    assert node.call(build_at_once, [pods()]) == []
    assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []


DECOYS = {
    "a pair of its own": "ip -n c2 link set eth0 name x0; ip -n c2 link add eth0 type veth peer name y0",
    "a bridge": "ip -n c2 link set eth0 name x0; ip -n c2 link add eth0 type bridge; ip -n c2 link set eth0 up",
    "an alternative name": "ip -n c2 link set eth0 name x0; ip -n c2 link property add dev lo altname eth0",
    "in place of its end": "ip -n c2 link del eth0; ip -n c2 link add eth0 type veth peer name y0",
    "with the mark": "ip -n c2 link del eth0; ip -n c2 link add eth0 type veth peer name y0;"
    "ip -n c2 link set eth0 alias netpath:pods; ip -n c2 link set y0 alias netpath:pods",
    "its loopback": "ip -n c2 link set eth0 name x0; ip -n c2 link set lo down; ip -n c2 link set lo name eth0",
}


@pytest.mark.parametrize("decoy", list(DECOYS.values()), ids=list(DECOYS))
def test_link_with_the_name_of_the_end_stops_nothing(node: Node, decoy: str) -> None:
    node.call(build_at_once, [pods(), WEB])
    script(node, decoy)
    grown = [pods(), {**WEB, "namespaces": ["w1", "w2"]}]
    actions = node.call(build_at_once, grown, check=True)
    assert [line for line in actions if line.startswith("take the name eth0 from a ")]
    assert node.call(build_at_once, grown) == actions
    assert node.call(build_at_once, grown) == []
    assert held(node, "c1", "c2") == {"c1": ["10.22.33.2/24"], "c2": ["10.22.33.3/24"]}
    assert unreachable_from(node, "c1", "c2", "w1", "w2", families=["ipv4"]) == []
    assert "y0" not in node.run(["ip", "-br", "link"]).stdout


def test_link_of_the_host_in_place_of_the_end_is_left_alone(node: Node) -> None:
    """Nobody in the namespace can have made a pair that ends on the host."""
    node.call(build_at_once, [pods()])
    script(node, "ip -n c2 link del eth0; ip link add theirs type veth peer name eth0 netns c2")
    found = refusal(node, build_at_once, [pods()])
    assert found.asked == "make veth np-c2 with peer eth0 in namespace c2"
    assert "that somebody else made" in found.found


@both_ways
@pytest.mark.parametrize("alias", ["netpath:web", "", "netpath:", "other"])
def test_alias_of_the_loopback_decides_nothing(node: Node, builder: Builder, alias: str) -> None:
    before = settled(node)
    node.call(builder, [pods(), WEB])
    script(node, f"ip -n c2 link set lo alias '{alias}'")
    assert node.call(builder, [pods(), WEB]) == []
    # The owner of the other network runs it alone.
    assert node.call(builder, [WEB]) == []
    assert "c2" in names(node)
    assert node.call(builder, [WEB], absent=True)
    assert unreachable_from(node, "c1", "c2", families=["ipv4"]) == []
    assert node.call(builder, [pods()], absent=True)
    assert node.call(builder, [pods()], absent=True) == []
    assert snapshot.difference(before, settled(node)) == ""


@both_ways
def test_namespace_of_another_tool_that_writes_a_mark_is_none_of_the_network(node: Node, builder: Builder) -> None:
    node.call(builder, [pods()])
    script(
        node,
        "ip netns add cni-1234; ip -n cni-1234 link set lo alias netpath:pods up;"
        "ip link add cni0 type veth peer name eth0 netns cni-1234; ip -n cni-1234 link set eth0 alias netpath:pods",
    )
    process = node.popen(["ip", "netns", "exec", "cni-1234", "cat"], stdin=-1)
    try:
        assert node.call(builder, [pods()]) == []
        assert node.call(builder, [pods("c1")])
        assert node.call(builder, [pods("c1")], absent=True)
    finally:
        process.kill()
        process.communicate()
    assert names(node) == ["cni-1234"]
    assert node.run(["ip", "-n", "cni-1234", "-j", "link", "show", "eth0"]).stdout


SIX = {"subnets": ["fd00:22:33::/64"]}


def test_objection_of_a_tenant_to_an_address_stops_nothing(node: Node) -> None:
    """Also where it reaches the others on the bridge, since spoof_protection is off."""
    heard: Options = {**SIX, "spoof_protection": False}
    node.call(build_at_once, [pods("c1", "c2", **heard)])
    with tenant.objecting(node, "c2"):
        actions = node.call(build_at_once, [pods("c1", "c2", "c4", **heard), WEB])
        assert "add address fd00:22:33::4/64 to eth0 in namespace c4" in actions
        # Another subnet, so that the bridge gets an address while they object.
        both: Options = {**heard, "subnets": [*SIX["subnets"], "fd00:22:34::/64"]}
        added = ["replace forwarding limits of pods", "replace guard of pods", "replace source NAT pods"]
        added.append("add address fd00:22:34::1/64 to br-pods")
        assert node.call(build_at_once, [pods("c1", "c2", "c4", **both), WEB]) == added
        assert node.call(build_at_once, [pods("c1", "c2", "c4", **both), WEB]) == []
    assert held(node, "c4") == {"c4": ["fd00:22:33::4/64"]}
    assert unreachable_from(node, "c1", "c4", families=["ipv6"]) == []


SETTINGS = {
    "IPv6 switched off": "ip netns exec c2 sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
    "IPv6 of the end": "ip netns exec c2 sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
    "a small MTU": "ip -n c2 link set eth0 mtu 600",
    "a queueing discipline": "tc -n c2 qdisc replace dev eth0 root pfifo limit 10",
    "a queueing discipline, unlimited": "tc -n c1 qdisc replace dev eth0 root pfifo limit 1",
    "a queueing discipline with the handle of a limit": "tc -n c2 qdisc del dev eth0 root;"
    "tc -n c2 qdisc add dev eth0 root handle fa: htb default 1",
    "the gateway on its loopback": "ip -n c2 route flush table main; ip -n c2 -6 route flush table main;"
    "ip -n c2 address add 10.22.33.1/32 dev lo; ip -n c2 address add fd00:22:33::1/128 dev lo",
    "no routes": "ip -n c2 route flush table main; ip -n c2 -6 route flush table main",
    "no way to the gateway": "ip -n c2 route del 10.22.33.0/24 dev eth0;ip -n c2 -6 route del fd00:22:33::/64 dev eth0",
    "an address without a route": "ip -n c2 address flush dev eth0 scope global; for one in 10.22.33.3/24 "
    "fd00:22:33::3/64; do ip -n c2 address add $one dev eth0 noprefixroute; done",
    "addresses with a peer": "ip -n c2 address add 10.22.33.3 peer 10.22.33.1/32 dev eth0;"
    "ip -n c2 address add 10.22.33.1 peer 192.0.2.4/32 dev lo;"
    "ip -n c2 address add 10.9.9.9 peer 10.22.33.1/24 dev eth0",
    **{
        f"the gateway as {kind}": f"ip -n c2 route add {kind} 10.22.33.1 dev {device} table {table};"
        "ip -n c2 route del default"
        for kind, device, table in (
            ("broadcast", "eth0", "local"),
            ("multicast", "eth0", "main"),
            ("anycast", "eth0", "local metric 7"),
        )
    },
    "the gateway as broadcast address": "ip -n c2 address flush dev eth0 scope global;"
    "ip -n c2 address add 10.22.33.3/24 brd 10.22.33.1 dev eth0",
    "the gateway as broadcast behind a rule": "ip -n c2 route add broadcast 10.22.33.1 dev eth0 table 77;"
    "ip -n c2 route add local 10.22.33.1 dev lo table local;"
    "ip -n c2 rule add lookup 77 priority 5; ip -n c2 route del default",
    "many things": "ip -n c2 link set lo down; ip -n c2 link set eth0 down; ip -n c2 route flush table main",
}


@pytest.mark.parametrize("change", list(SETTINGS.values()), ids=list(SETTINGS))
def test_what_a_tenant_changed_is_repaired_and_stops_nothing(node: Node, change: str) -> None:
    subnets = ["10.22.33.0/24", *SIX["subnets"]]
    asked = [pods("c1", {"name": "c2", "bandwidth": "100mbit"}, subnets=subnets), WEB]
    node.call(build_at_once, asked)
    script(node, change)
    assert node.call(build_at_once, asked)
    assert node.call(build_at_once, asked) == []
    assert held(node, "c2") == {"c2": ["10.22.33.3/24", "fd00:22:33::3/64"]}
    assert unreachable_from(node, "c1", "c2") == []


MANY_NAMES = """
for number in $(seq 140); do echo link add d$number type ifb; done | ip -n c2 -batch -
for number in $(seq 490); do echo link property add dev eth0 altname alt$number; done | ip -n c2 -batch -
ip -n c2 route del default
"""


def test_link_with_more_names_than_fit_an_ordinary_datagram(node: Node) -> None:
    asked = [pods(), WEB]
    node.call(build_at_once, asked)
    script(node, MANY_NAMES)
    assert node.call(build_at_once, asked) == ["add route default via 10.22.33.1 dev eth0 in namespace c2"]
    assert {one["code"] for one in node.call(lambda: check(asked, probe=False))} == {None}


def test_rules_of_a_tenant_hide_no_gateway(node: Node) -> None:
    asked = [pods(subnets=["10.22.33.0/24", *SIX["subnets"]])]
    node.call(build_at_once, asked)
    script(node, "for six in '' -6; do ip -n c2 $six rule flush; ip -n c2 $six route flush table main; done")
    assert node.call(build_at_once, asked)
    assert node.call(build_at_once, asked) == []
    # Whose lookups fail is the tenant's choice, until it changes its mind.
    script(node, "for six in '' -6; do ip -n c2 $six rule add lookup main; done")
    assert unreachable_from(node, "c1", "c2") == []


HOLD = "import os, sys; os.open('/run/netns/c2', os.O_RDONLY); print('held', flush=True); sys.stdin.read()"


def test_namespace_that_a_process_holds_goes_with_its_pair(node: Node) -> None:
    before = settled(node)
    node.call(build_at_once, [pods()])
    with node.popen([sys.executable, "-c", HOLD], stdin=-1, stdout=-1) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            assert node.call(build_at_once, [pods("c1")]) == C2_GONE
            assert "np-c2" not in node.run(["ip", "-br", "link"]).stdout
            assert node.call(build_at_once, [pods("c1")]) == []
            assert node.call(build_at_once, [pods("c1")], absent=True)
            assert snapshot.difference(before, settled(node)) == ""
        finally:
            process.communicate("")


def test_pair_into_a_namespace_of_the_tenants_own_vetoes_no_teardown(node: Node) -> None:
    node.call(build_at_once, [pods()])
    unmarked = "ip -n c2 link set eth0 alias ''"
    with node.popen(["ip", "netns", "exec", "c2", "unshare", "--net", "cat"], stdin=-1) as process:
        try:
            script(
                node, f"{unmarked}; until ip -n c2 link add v0 type veth peer name v1 netns {process.pid}; do :; done"
            )
            assert "delete namespace c2" in node.call(build_at_once, [pods("c1")])
        finally:
            process.kill()
    assert names(node) == ["c1"]


def test_pair_of_another_tool_is_not_lost_by_a_mark_of_the_tenants(node: Node) -> None:
    node.call(build_at_once, [pods()])
    script(node, "ip link add theirs type veth peer name in0 netns c2; ip -n c2 link set in0 alias netpath:pods")
    found = refusal(node, build_at_once, [pods("c1")])
    assert (found.asked, found.rolled_back) == ("delete namespace c2", None)
    assert "pairs of somebody else's lead there and would go along: in0" in found.found


@pytest.mark.parametrize("change", ["", "ip -n c2 link set lo alias netpath:web", TAKE], ids=["none", "alias", "taken"])
def test_host_of_an_earlier_release_carries_over(node: Node, change: str) -> None:
    before = settled(node)
    # The order of the list is not that of the addresses.
    node.call(build_at_once, [pods("c2"), WEB])
    node.call(build_at_once, [pods(), WEB])
    assigned = {"c1": ["10.22.33.3/24"], "c2": ["10.22.33.2/24"]}
    if change == TAKE:
        # Two have one address, and nobody knows any more who had it first: it goes by their order.
        change, assigned = TAKE.replace("33.3/", "33.2/"), {"c1": ["10.22.33.2/24"], "c2": ["10.22.33.3/24"]}
    as_release_1_0_0(node, "c1", "c2", "w1")
    script(node, change or "true")
    assert bool(node.call(build_at_once, [pods(), WEB])) == ("address" in change)
    assert {name: list(one.addresses) for name, one in node.call(read_ledger).assignments.items()} == {
        **assigned,
        "w1": ["10.44.0.2/24"],
    }
    assert held(node, "c1", "c2") == assigned
    assert node.call(build_at_once, [pods(), WEB]) == []
    assert node.call(build_at_once, [pods("c1")]) == C2_GONE
    assert node.call(build_at_once, [pods(), WEB], absent=True)
    assert node.call(build_at_once, [pods(), WEB], absent=True) == []
    assert snapshot.difference(before, settled(node)) == ""


def test_teardown_of_a_host_of_an_earlier_release(node: Node) -> None:
    before = settled(node)
    node.call(build_at_once, [pods(), WEB])
    as_release_1_0_0(node, "c1", "c2", "w1")
    script(node, "ip -n c2 link set lo alias ''")
    assert node.call(build_at_once, [pods(), WEB], absent=True)
    assert snapshot.difference(before, settled(node)) == ""


def test_hundreds_of_addresses_of_a_tenant_are_taken_back(node: Node) -> None:
    node.call(build_at_once, [pods()])
    # As systemd has it, the others stay when the first one of a subnet goes.
    node.namespace_run("c2", ["sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1"])
    added = "".join(f"address add 10.{a}.{b}.1/32 dev eth0\n" for a in (60, 61) for b in range(150))
    added += "".join(f"address add 10.22.33.{number}/24 dev eth0\n" for number in range(100, 200))
    added += "address del 10.22.33.3/24 dev eth0\n"
    node.run(["ip", "-n", "c2", "-batch", "-"], input=added)
    assert len(node.call(build_at_once, [pods()])) >= 400
    assert node.call(build_at_once, [pods()]) == []
    assert held(node, "c1", "c2") == {"c1": ["10.22.33.2/24"], "c2": ["10.22.33.3/24"]}
