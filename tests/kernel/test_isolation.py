"""The module egress_path where one network of several cannot be built or removed: the others are, by packets."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run as engine_run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import unreachable_from
from tests.support.inhabited import inhabited
from tests.support.run_module import Options, Result, run

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

MODULE = "egress_path"
PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24", "fd00:44::/64"], "namespaces": ["a1"]}
LEDGER = "/var/lib/netpath/ledger.json"
TAKEN = "ip link add br-pods type veth peer name other"
# Another host on the bridge has the address that the namespace is to get, which is found while it is built.
DUPLICATE = """
ip link add br-pods type bridge; ip link set br-pods up; ip netns add own; ip -n own link set lo up
ip link add own0 master br-pods up type veth peer name eth0 netns own
ip -n own address add fd00:22:33::2/64 dev eth0 nodad; ip -n own link set eth0 up
until ip link show own0 | grep -q LOWER_UP; do :; done
"""


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        yield world.nodes[0]


def ask(node: Node, *networks: Options, check: bool = False, **options: t.Any) -> Result:
    return run(node, MODULE, {"networks": list(networks), **options}, check)


def statuses(result: Result) -> dict[str, str]:
    sound = [one for one in result["networks"] if one["status"] != "failed"]
    assert all(one["changed"] == (one["status"] == "changed") for one in sound)
    assert all(bool(one["error"]) == (one["status"] == "failed") for one in result["networks"])
    return {one["name"]: one["status"] for one in result["networks"]}


@pytest.mark.parametrize(("obstacle", "foreseen"), [(TAKEN, True), (DUPLICATE, False)])
def test_others_are_built(node: Node, obstacle: str, foreseen: bool) -> None:
    node.run(["sh", "-ec", obstacle])
    predicted = ask(node, PODS, APPS, check=True)
    assert bool(predicted.get("failed")) == foreseen
    built = ask(node, PODS, APPS)
    assert built["failed"]
    assert built["msg"].startswith("network pods: ")
    assert "apps" not in built["msg"]
    assert statuses(built) == {"apps": "changed", "pods": "failed"}
    assert unreachable_from(node, "a1") == []
    assert "c1" not in node.run(["ip", "netns", "list"]).stdout
    if foreseen:
        for key in ("msg", "actions", "diff", "networks"):
            assert predicted[key] == built[key]
    again = ask(node, PODS, APPS)
    assert (again["failed"], again["changed"], again["actions"]) == (True, False, [])
    assert statuses(again) == {"apps": "unchanged", "pods": "failed"}


def test_namespace_that_fails_keeps_down_no_more_than_itself(node: Node) -> None:
    node.run(["sh", "-ec", DUPLICATE])
    grown = {**PODS, "namespaces": ["c1", "c2"]}
    built = ask(node, grown, APPS)
    assert built["msg"].startswith("network pods: build namespace c1: ")
    assert "another host on the link has it" in built["msg"]
    assert built["rolled_back"]
    assert statuses(built) == {"apps": "changed", "pods": "failed"}
    assert unreachable_from(node, "a1", "c2") == []
    assert "c1" not in node.run(["ip", "netns", "list"]).stdout.split()
    node.run(["sh", "-ec", "nft flush ruleset; ip -n c2 link set eth0 down"])
    again = ask(node, grown, APPS)
    assert again["networks"][1] == {**built["networks"][1], "changed": True}
    assert unreachable_from(node, "a1", "c2") == []
    node.run(["ip", "-n", "own", "address", "flush", "dev", "eth0"])
    assert not ask(node, grown, APPS).get("failed")
    assert unreachable_from(node, "a1", "c1", "c2") == []
    assert not ask(node, grown, APPS, state="absent").get("failed")


def spare(network: Options, *spared: str) -> list[str]:
    def wanted(observer: t.Any) -> Want:
        return path.wanted({"networks": [network], "state": "present"}, observer)

    return engine_run(wanted, spared=spared).actions


def test_namespace_that_is_left_alone_gets_what_its_port_may_send(node: Node) -> None:
    limited = {**PODS, "namespaces": ["c1", {"name": "c2", "bandwidth": "10mbit"}]}
    assert not ask(node, limited).get("failed")
    before = settled(node)
    drift = ("address add 10.9.9.9/24 dev eth0", "link set eth0 down", "route add 10.8.0.0/24 dev lo")
    change = "; ".join(f"ip -n {{0}} {one}" for one in drift)
    changes = "; ".join(change.format(name) for name in ("c1", "c2"))
    node.run(["sh", "-ec", f"nft flush ruleset; {changes}; ip link set np-c2 down; tc qdisc del dev np-c2 root"])
    actions = node.call(spare, limited, "c2")
    assert [line for line in actions if "c2" in line] == [
        line for line in actions if "restrict what np-c2 sends" in line
    ]
    assert unreachable_from(node, "c1") == []
    assert node.call(spare, limited, "c2") == []
    assert "np-c2" in node.run(["nft", "list", "set", "bridge", "netpath_egress", "ports"]).stdout
    node.run(["sh", "-ec", "for name in c1 c2; do ip -n $name route del 10.8.0.0/24; done"])
    assert not ask(node, limited).get("failed")
    assert difference(before, settled(node)) == ""


RENAMING = """
n=0; name=eth0
while true; do
    n=$((n + 1)); ip link set $name down; ip link set $name name y$n && name=y$n
    ip link show $name || name=eth0
done >/dev/null 2>&1
"""


def test_tenant_without_a_pause_keeps_no_neighbour_down(node: Node) -> None:
    grown = {**PODS, "namespaces": ["c1", "c2"]}
    assert not ask(node, grown).get("failed")
    with node.popen(["ip", "netns", "exec", "c2", "sh", "-c", RENAMING]) as tenant:
        try:
            for _turn in range(3):
                node.run(["sh", "-ec", "nft flush ruleset; ip -n c1 link set eth0 down"])
                built = ask(node, grown)
                assert statuses(built)["pods"] != "failed" or "build namespace c2: " in built["msg"], built
                assert unreachable_from(node, "c1") == []
        finally:
            tenant.kill()
    assert not ask(node, grown).get("failed")
    assert unreachable_from(node, "c1", "c2") == []


def test_what_failed_is_built_later(node: Node) -> None:
    node.run(["sh", "-ec", TAKEN])
    assert statuses(ask(node, PODS, APPS)) == {"apps": "changed", "pods": "failed"}
    node.run(["ip", "link", "delete", "br-pods"])
    built = ask(node, PODS, APPS)
    assert not built.get("failed"), built["msg"]
    assert statuses(built) == {"apps": "unchanged", "pods": "changed"}
    assert unreachable_from(node, "a1", "c1") == []
    # What both ask for is of both.
    node.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    assert statuses(ask(node, PODS, APPS)) == {"apps": "changed", "pods": "changed"}


def test_failure_at_any_place_of_many(node: Node) -> None:
    """The same state comes of it as if it had not been asked for."""
    many = [
        {"name": f"n{number}", "subnets": [f"10.60.{number}.0/24"], "namespaces": [f"x{number}"]} for number in range(6)
    ]
    node.run(["sh", "-ec", "for n in 1 4; do ip link add br-n$n type veth peer name other$n; done"])
    sound = [one for one in many if one["name"] not in ("n1", "n4")]
    assert not ask(node, *sound).get("failed")
    alone = settled(node)
    assert not ask(node, *sound, state="absent").get("failed")
    built = ask(node, *many)
    assert "network n1: " in built["msg"]
    assert "network n4: " in built["msg"]
    assert [name for name, status in statuses(built).items() if status == "failed"] == ["n1", "n4"]
    assert difference(alone, settled(node)) == ""


def test_process_stops_the_removal_of_its_network_alone(node: Node) -> None:
    before = settled(node)
    assert not ask(node, PODS, APPS).get("failed")
    with inhabited(node, "c1"):
        for check in (True, False):
            removed = ask(node, PODS, APPS, state="absent", check=check)
            assert "network pods: " in removed["msg"]
            assert "processes live in it" in removed["msg"]
            assert statuses(removed) == {"apps": "changed", "pods": "failed"}
        assert "a1" not in node.run(["ip", "netns", "list"]).stdout
        assert unreachable_from(node, "c1") == []
    assert not ask(node, PODS, APPS, state="absent").get("failed")
    assert difference(before, settled(node)) == ""


def test_namespace_that_moves_to_a_network_that_fails_stays(node: Node) -> None:
    assert not ask(node, {**PODS, "namespaces": ["c1", "c2"]}).get("failed")
    node.run(["sh", "-ec", "ip link add br-apps type veth peer name other"])
    built = ask(node, PODS, {**APPS, "namespaces": ["c2"]})
    assert statuses(built)["apps"] == "failed"
    assert "c2" in node.run(["ip", "netns", "list"]).stdout.split()


def test_reason_of_the_host_changes_nothing(node: Node) -> None:
    """A ledger of a later release, and a removal that would take the way to the host along."""
    before = settled(node)
    node.run(["sh", "-ec", f"mkdir -p /var/lib/netpath; echo '{{\"version\": 2}}' > {LEDGER}"])
    later = ask(node, PODS, APPS)
    assert "it has version 2, this release reads 1" in later["msg"]
    assert "networks" not in later
    node.run(["rm", "-r", "/var/lib/netpath"])
    assert difference(before, settled(node)) == ""
    assert not ask(node, PODS, APPS).get("failed")
    node.run(["sh", "-ec", "ip route add default via 10.22.33.2 dev br-pods metric 1"])
    built = settled(node)
    refused = ask(node, PODS, APPS, state="absent")
    assert "carries the IPv4 default route of this host" in refused["msg"]
    assert "networks" not in refused
    assert difference(built, settled(node)) == ""


def test_result_has_what_later_tasks_need(node: Node) -> None:
    """The same in check mode, and as the kernel has it; a namespace keeps its address when another one comes ahead."""
    predicted, built = ask(node, PODS, APPS, check=True), ask(node, PODS, APPS)
    assert [one.get("namespaces") for one in predicted["networks"]] == [one["namespaces"] for one in built["networks"]]
    pods = built["networks"][1]
    assert (pods["bridge"], pods["gateways"]) == ("br-pods", ["10.22.33.1", "fd00:22:33::1"])
    more = ask(node, {**PODS, "namespaces": ["b1", "c1"]}, {"name": "apps", "state": "absent"})
    apps, pods = more["networks"]
    assert "bridge" not in apps
    assert [one["name"] for one in pods["namespaces"]] == ["b1", "c1"]
    (c1,) = [one for one in pods["namespaces"] if one["name"] == "c1"]
    assert c1 == {
        "name": "c1",
        "interface": "eth0",
        "host_interface": "np-c1",
        "addresses": ["10.22.33.2/24", "fd00:22:33::2/64"],
        "gateways": ["10.22.33.1", "fd00:22:33::1"],
    }
    for one in pods["namespaces"]:
        shown = node.run(["ip", "-n", one["name"], "-o", "address", "show", "dev", one["interface"]]).stdout
        assert all(cidr in shown for cidr in one["addresses"])


def test_networks_that_are_no_longer_listed(node: Node) -> None:
    """They stay with a warning, or go with prune, whatever their bridges are called; what others made stays."""
    node.run(["sh", "-ec", "ip link add br-pods type bridge; ip netns add own"])
    before = node.snapshot()
    named = {**PODS, "bridge": "bridge0"}
    ask(node, named, APPS)
    kept = ask(node, APPS)
    assert (kept["changed"], kept["unlisted"]) == (False, ["pods"])
    assert "managed on this host and not listed: pods" in str(kept["warnings"])
    predicted, pruned = ask(node, APPS, prune=True, check=True), ask(node, APPS, prune=True)
    assert predicted["actions"] == pruned["actions"]
    assert (pruned["pruned"], statuses(pruned)) == (
        [{"name": "pods", "state": "absent"}],
        {"apps": "unchanged", "pods": "changed"},
    )
    assert unreachable_from(node, "a1") == []
    assert "pruned" not in ask(node, APPS, prune=True)
    ask(node, prune=True)
    assert difference(before, node.snapshot()) == ""
