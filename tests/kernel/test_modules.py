"""Each module on a real kernel: it builds, predicts, changes nothing twice, and takes away what it made."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from tests.lab import privilege, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import World
from tests.support.building import thread_in
from tests.support.path import BRIDGE, FORWARDING, LINES, NAMESPACES, NAT, PAIRS, PATH, build, gone, remove
from tests.support.run_module import Options, done, predicted, refused, run

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PROBE = Path(__file__).resolve().parents[1] / "lab/probe.py"


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.mark.smoke
def test_path_is_predicted_built_kept_and_removed(world: World, node: Node) -> None:
    before = settled(node)
    assert {module: predicted(node, module, options) for module, options in PATH} == LINES
    assert snapshot.difference(before, settled(node)) == ""
    for module, options in PATH:
        assert predicted(node, module, options) == LINES[module]
        assert done(node, module, options) == LINES[module]
        assert done(node, module, options) == []
    built = settled(node)
    assert {module: predicted(node, module, options) for module, options in PATH} == {module: [] for module in LINES}
    assert {module: bool(predicted(node, *gone((module, options)))) for module, options in PATH} == dict.fromkeys(
        LINES, True
    )
    assert build(node) == []
    assert snapshot.difference(built, settled(node)) == ""
    seen_before = len(world.internet.seen())
    for netns in ("ns1", "ns2"):
        for target in ("198.51.100.80", "2001:db8:51::80"):
            node.namespace_run(netns, [sys.executable, str(PROBE), "--target", target, "--protocol", "tcp"])
    assert {entry.client for entry in world.internet.seen()[seen_before:]} == {node.address, node.address6}

    for request in PATH[::-1]:
        expected = predicted(node, *gone(request))
        assert expected
        assert done(node, *gone(request)) == expected
        assert done(node, *gone(request)) == []
    assert snapshot.difference(before, settled(node)) == ""


@pytest.mark.smoke
def test_one_object_is_given_at_the_top_level_or_in_config(node: Node) -> None:
    for module, options in PATH:
        items = options.get("config", [options])
        actions = [line for item in items for line in done(node, module, item)]
        assert sorted(actions) == sorted(LINES[module])
        assert done(node, module, {"config": items}) == []


def test_many_objects_in_one_run(node: Node) -> None:
    count = 40
    netns: Options = {"config": [{"name": f"n{i}", "network": "many"} for i in range(count)]}
    pairs: Options = {
        "config": [
            {"name": f"v{i}", "master": "br0", "network": "many", "peer": {"name": "eth0", "netns": f"n{i}"}}
            for i in range(count)
        ]
    }
    assert done(node, "netns", netns) == [f"create namespace n{i}" for i in range(count)]
    done(node, "linux_bridge", {"name": "br0", "network": "many"})
    assert len(done(node, "veth", pairs)) == count
    assert done(node, "netns", netns) == done(node, "veth", pairs) == []
    assert len(done(node, *gone(("netns", netns)))) == count
    assert done(node, *gone(("veth", pairs))) == []


def changes(node: Node, module: str, options: Options) -> tuple[t.Any, t.Any]:
    """diff of a run, read as the YAML that it is."""
    result = run(node, module, options)
    assert not result.get("failed"), result["msg"]
    return tuple(yaml.safe_load(result["diff"][key]) for key in ("before", "after"))


def test_diff_shows_the_affected_objects_alone(node: Node) -> None:
    nothing, made = changes(node, "linux_bridge", BRIDGE)
    assert nothing is None
    assert list(made) == ["link br0", "address br0 10.22.33.1/24", "address br0 fd00:22:33::1/64"]
    assert made["link br0"]["alias"] == "netpath:pods"

    before, after = changes(node, "linux_bridge", {**BRIDGE, "mtu": 1400})
    assert list(before) == list(after) == ["link br0"]
    different = {key for key in after["link br0"] if before["link br0"][key] != after["link br0"][key]}
    assert different == {"mtu"}
    assert (before["link br0"]["mtu"], after["link br0"]["mtu"]) == (1500, 1400)
    assert changes(node, "linux_bridge", {**BRIDGE, "mtu": 1400}) == (None, None)

    before, after = changes(node, *gone(("linux_bridge", BRIDGE)))
    assert after is None
    assert list(before) == ["link br0"]


def test_diff_of_check_mode_is_that_of_the_run(node: Node) -> None:
    done(node, "netns", NAMESPACES)
    check = run(node, "linux_bridge", BRIDGE, check=True)
    assert check["diff"] == run(node, "linux_bridge", BRIDGE)["diff"]


def test_ends_get_stable_addresses(node: Node) -> None:
    def macs() -> list[str]:
        shown = [node.run(["cat", f"/sys/class/net/{name}/address"]).stdout for name in ("br0", "ve1", "ve2")]
        return [*shown, node.run(["ip", "-n", "ns1", "-br", "link", "show", "eth0"]).stdout.split()[2]]

    build(node)
    first = macs()
    assert len(set(first)) == len(first)
    remove(node)
    build(node)
    assert macs() == first
    done(node, *gone(("veth", PAIRS)))
    assert node.run(["cat", "/sys/class/net/br0/address"]).stdout == first[0]


@pytest.mark.parametrize("force", [False, True])
def test_namespace_with_inhabitants(node: Node, force: bool) -> None:
    done(node, "netns", {"name": "ns1"})
    with node.popen(["ip", "netns", "exec", "ns1", "cat"], stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("ready\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        result = run(node, "netns", {"name": "ns1", "state": "absent", "force": force})
        process.stdin.close()
    if force:
        assert result["actions"] == ["delete namespace ns1"]
        return
    assert result["failed"]
    assert result["asked"] == "delete namespace ns1"
    assert f"{process.pid} (cat)" in result["found"]
    assert done(node, "netns", {"name": "ns1"}) == []


def test_namespace_with_a_thread_in_it(node: Node) -> None:
    """The process itself is elsewhere, as programs are that serve several namespaces."""
    done(node, "netns", {"name": "ns1"})
    with thread_in(node, "ns1") as thread:
        told = refused(node, "netns", {"name": "ns1", "state": "absent"})
        assert f"processes live in it: {thread} (" in told["found"]


@pytest.mark.parametrize("form", ["{pid}", "/proc/{pid}/ns/net"])
def test_namespace_of_a_program_gets_a_name_and_loses_it(node: Node, form: str) -> None:
    before = settled(node)
    with node.popen(["unshare", "--net", "sh", "-c", "echo ready; exec cat"], stdin=-1, stdout=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        options: Options = {"name": "app", "attach": form.format(pid=process.pid)}
        line = f"create namespace app from /proc/{process.pid}/ns/net"
        assert predicted(node, "netns", options) == done(node, "netns", options) == [line]
        assert done(node, "netns", options) == []
        link = node.run(["ip", "-n", "app", "link", "show", "lo"]).stdout
        assert "LOOPBACK,UP" in link
        assert "netpath" not in link
        # The program lives on, whatever its namespace is called.
        assert done(node, "netns", {"name": "app", "state": "absent"}) == ["delete namespace app"]
        assert process.poll() is None
        process.stdin.close()
    assert snapshot.difference(before, settled(node)) == ""


def test_a_network_keeps_what_another_one_still_needs(node: Node) -> None:
    before = settled(node)
    done(node, "sysctl_forward", FORWARDING)
    both = settled(node)["settings"]
    lab = {**FORWARDING, "ipv6": None, "network": "lab"}
    assert done(node, "sysctl_forward", lab) == ["note that lab needs net.ipv4.ip_forward = 1"]
    assert done(node, "sysctl_forward", {"network": "lab", "state": "restored"}) == [
        "note that lab no longer needs net.ipv4.ip_forward"
    ]
    assert settled(node)["settings"] == both
    done(node, "sysctl_forward", {"network": "pods", "state": "restored"})
    assert snapshot.difference(before, settled(node)) == ""


def test_settings_come_back_exactly(node: Node) -> None:
    """Forwarding rewrites the switch of each interface; one that had a value of its own gets that back."""
    node.run(
        [
            "sh",
            "-ec",
            "echo 1 >/proc/sys/net/ipv4/conf/uplink0/forwarding; echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter",
        ]
    )
    before = settled(node)
    options: Options = {**FORWARDING, "rp_filter": 2, "interfaces": ["uplink0"]}
    done(node, "sysctl_forward", options)
    assert done(node, "sysctl_forward", options) == []
    assert settled(node)["settings"] != before["settings"]
    done(node, *gone(("sysctl_forward", options)))
    assert snapshot.difference(before, settled(node)) == ""


def test_translation_of_two_networks_is_independent(node: Node) -> None:
    before = settled(node)
    done(node, "nat_masquerade", NAT)
    alone = settled(node)
    snat: Options = {
        "name": "lab",
        "sources": ["10.44.0.0/24"],
        "exclude": ["10.0.0.0/8"],
        "mode": "snat",
        "to_source": ["198.51.100.7"],
        "ports": "1024-65535",
        "random_fully": True,
    }
    assert predicted(node, "nat_masquerade", snat) == done(node, "nat_masquerade", snat)
    assert done(node, "nat_masquerade", {"config": [NAT, snat]}) == []
    assert done(node, "nat_masquerade", {**snat, "ports": "2048-4095"}) == ["replace source NAT lab"]
    assert done(node, *gone(("nat_masquerade", snat))) == ["delete source NAT lab"]
    assert snapshot.difference(alone, settled(node)) == ""
    done(node, *gone(("nat_masquerade", NAT)))
    assert snapshot.difference(before, settled(node)) == ""
