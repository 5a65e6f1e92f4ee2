"""The module conntrack on a real kernel: values set and put back, flows that go, and what is refused."""

from __future__ import annotations

import shutil
import typing as t

import pytest
import yaml

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import Node, World
from tests.support.run_module import Options, done, predicted, refused, run

_MISSING = next((f"the program {name} is missing" for name in ("nft", "conntrack") if not shutil.which(name)), None)
_OBSTACLE = privilege.obstacle() or _MISSING
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

UDP = "net.netfilter.nf_conntrack_udp_timeout"
TIMEOUTS: Options = {"timeouts": {"udp": 20, "tcp_established": 86400}, "network": "pods"}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0, internet=False) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node(uplink=False) as made:
        yield made


def value(node: Node, key: str = UDP) -> str:
    return node.run(["cat", "/proc/sys/" + key.replace(".", "/")]).stdout.strip()


def test_timeouts_are_set_and_put_back(node: Node) -> None:
    before = settled(node)
    was = value(node)
    expected = [
        "note that pods needs net.netfilter.nf_conntrack_udp_timeout = 20",
        "note that pods needs net.netfilter.nf_conntrack_tcp_timeout_established = 86400",
        f"set {UDP} to 20 (was {was})",
    ]
    assert [line for line in predicted(node, "conntrack", TIMEOUTS) if line in expected] == expected
    assert difference(before, settled(node)) == ""
    result = run(node, "conntrack", TIMEOUTS)
    assert (result["changed"], result["actions"][0]) == (True, expected[0])
    assert result["actions"][-1] == "write /etc/sysctl.d/90-netpath-egress.conf"
    title = f"setting {UDP}"
    assert [yaml.safe_load(result["diff"][side])[title]["value"] for side in ("before", "after")] == [was, "20"]
    assert value(node) == "20"
    assert (
        "-net/netfilter/nf_conntrack_udp_timeout = 20"
        in node.run(["cat", "/etc/sysctl.d/90-netpath-egress.conf"]).stdout.splitlines()
    )
    assert done(node, "conntrack", TIMEOUTS) == []
    # Somebody resets it, and the next run puts it right.
    node.run(["sh", "-c", "echo 33 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout"])
    assert done(node, "conntrack", TIMEOUTS) == [f"set {UDP} to 20 (was 33)"]
    assert f"set {UDP} to {was} (was 20)" in done(node, "conntrack", {"network": "pods", "state": "restored"})
    assert done(node, "conntrack", {"network": "pods", "state": "restored"}) == []
    assert difference(before, settled(node)) == ""


def test_values_of_connection_tracking_alone_are_restored(node: Node) -> None:
    done(node, "conntrack", TIMEOUTS)
    done(node, "sysctl_forward", {"ipv4": True, "network": "pods"})
    restored = done(node, "conntrack", {"network": "pods", "state": "restored"})
    assert not any("ip_forward" in line for line in restored)
    assert value(node, "net.ipv4.ip_forward") == "1"
    # Ending all that a network needs takes those of connection tracking along.
    done(node, "conntrack", TIMEOUTS)
    done(node, "sysctl_forward", {"network": "pods", "state": "restored"})
    assert (value(node, "net.ipv4.ip_forward"), value(node)) != ("1", "20")
    assert value(node) != "20"


def test_value_that_another_network_needs(node: Node) -> None:
    done(node, "conntrack", TIMEOUTS)
    result = refused(node, "conntrack", {"timeouts": {"udp": 25}, "network": "lab"})
    assert (result["asked"], result["found"]) == (f"set {UDP} to 25 for lab", "pods needs 20")
    done(node, "conntrack", {"timeouts": {"udp": 20}, "network": "lab"})
    done(node, "conntrack", {"network": "pods", "state": "restored"})
    assert value(node) == "20"
    done(node, "conntrack", {"network": "lab", "state": "restored"})
    assert value(node) != "20"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("options", "asked", "found", "advice"),
    [
        ({"max": 7}, "set net.netfilter.nf_conntrack_max to 7", "it can only be read here, and is", "on the machine"),
        ({"buckets": 1}, "set net.netfilter.nf_conntrack_buckets to", "it can only be read here, and is", "machine"),
        (
            {"timeouts": {"udp": 20, "carrier_pigeon": 5}},
            "set net.netfilter.nf_conntrack_carrier_timeout_pigeon to 5",
            "this host has no such setting",
            "nf_conntrack_udp_timeout_stream",
        ),
    ],
)
def test_what_this_host_cannot_set(
    node: Node, options: Options, asked: str, found: str, advice: str, check: bool
) -> None:
    before = settled(node)
    result = run(node, "conntrack", {"timeouts": {"udp": 20}, **options}, check=check)
    assert result["failed"]
    assert result["asked"].startswith(asked)
    assert result["found"].startswith(found)
    assert advice in result["advice"]
    assert "rolled_back" not in result
    assert difference(before, settled(node)) == ""


def test_value_that_is_there_needs_no_setting(node: Node) -> None:
    most = int(value(node, "net.netfilter.nf_conntrack_max"))
    actions = done(node, "conntrack", {"max": most})
    assert not any(line.startswith("set ") for line in actions)
    assert done(node, "conntrack", {"max": most}) == []


FLOWS = {
    "a": ("10.0.0.2", "192.0.2.1", "udp", 1001),
    "b": ("10.0.0.3", "192.0.2.1", "udp", 1002),
    "c": ("10.0.0.2", "192.0.2.9", "udp", 1003),
    "d": ("10.0.0.2", "192.0.2.1", "tcp", 1004),
    "e": ("fd00::2", "2001:db8::1", "udp", 1005),
    "f": ("172.16.0.2", "192.0.2.1", "udp", 1006),
}


def fill(node: Node) -> None:
    for source, destination, protocol, port in FLOWS.values():
        state = ["--state", "ESTABLISHED"] if protocol == "tcp" else []
        ends = ["-s", source, "-d", destination, "-p", protocol, "--sport", str(port), "--dport", "53"]
        node.run(["conntrack", "-I", *ends, "-t", "600", *state])


def left(node: Node) -> str:
    lists = "".join(node.run(["conntrack", "-L", "-f", family]).stdout for family in ("ipv4", "ipv6"))
    return "".join(name for name, (*_rest, port) in FLOWS.items() if f"sport={port} " in lists)


@pytest.mark.parametrize(
    ("flush", "line", "stay"),
    [
        ({"source": "10.0.0.2"}, "delete 3 tracked connections from 10.0.0.2/32", "bef"),
        ({"source": "10.0.0.0/8", "protocol": "udp"}, "delete 3 udp tracked connections from 10.0.0.0/8", "def"),
        ({"destination": "192.0.2.1"}, "delete 4 tracked connections to 192.0.2.1/32", "ce"),
        ({"source": "fd00::/16"}, "delete 1 tracked connection from fd00::/16", "abcdf"),
        ({"protocol": "17"}, "delete 5 udp tracked connections", "d"),
        (
            {"source": "10.0.0.2", "destination": "192.0.2.9"},
            "delete 1 tracked connection from 10.0.0.2/32 to 192.0.2.9/32",
            "abdef",
        ),
        ({"source": "10.9.0.0/16"}, "", "abcdef"),
    ],
)
def test_flows_that_fit_go_and_no_others(node: Node, flush: Options, line: str, stay: str) -> None:
    fill(node)
    assert left(node) == "abcdef"
    expected = [line] if line else []
    assert predicted(node, "conntrack", {"flush": flush}) == expected
    assert left(node) == "abcdef"
    assert done(node, "conntrack", {"flush": flush}) == expected
    assert left(node) == stay
    assert done(node, "conntrack", {"flush": flush}) == []


def test_flows_in_a_namespace_and_with_values(node: Node) -> None:
    node.run(["ip", "netns", "add", "blue"])
    fill(node)
    request = {"netns": "blue", "timeouts": {"udp": 20}, "flush": {"protocol": "udp"}}
    assert done(node, "conntrack", request)[-1].endswith("in namespace blue")
    assert left(node) == "abcdef"
    assert node.namespace_run("blue", ["sysctl", "-n", UDP]).stdout.strip() == "20"
    assert value(node) != "20"
    assert done(node, "conntrack", request) == []
