"""What cannot be done is one clear error before any change, or one after which all is as before."""

from __future__ import annotations

import ctypes
import os
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.path import BRIDGE, NAMESPACES, PAIRS, build, gone
from tests.support.run_module import Options, Result, done, refused, run, run_here
from tests.support.run_module_fresh import fresh

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

SAID = ("asked", "found", "advice")
THEIRS = "ip link add theirs type bridge; ip link add t0 type veth peer name t1; ip netns add alien"

# title: (module, options, words of the error); on a node with an uplink, a foreign bridge, pair and namespace
REFUSED: dict[str, tuple[str, Options, tuple[str, ...]]] = {
    "name too long": ("linux_bridge", {"name": "a-name-too-long-"}, ("name: 'a-name-too-long-' has 16 bytes",)),
    "name with a slash": ("netns", {"name": "a/b"}, ("name: 'a/b' is no namespace name",)),
    "one of many": ("netns", {"config": [{"name": "a"}, {"name": "b/c"}]}, ("config[1].name: 'b/c'",)),
    "twice the same": ("netns", {"config": [{"name": "a"}, {"name": "a"}]}, ("config[1]", "already in config[0]")),
    "unknown key": ("netns", {"name": "a", "nmae": "b"}, ("Unsupported parameters", "nmae")),
    "unknown key inside": (
        "netns",
        {"name": "a", "dns": {"servers": ["::1"], "serach": []}},
        ("Unsupported parameters", "dns.serach"),
    ),
    "nothing": ("netns", {}, ("one of the following is required: config, name",)),
    "both forms": ("netns", {"name": "a", "config": [{"name": "b"}]}, ("mutually exclusive",)),
    "name missing in config": ("netns", {"config": [{}]}, ("missing required arguments: name",)),
    "family mixed": (
        "ns_route",
        {"dest": "fd00::/8", "gateway": "10.0.0.1"},
        ("gateway: 10.0.0.1 is an IPv4 address",),
    ),
    "too many ports": (
        "linux_bridge",
        {"name": "br0", "ports": [f"p{i}" for i in range(1024)]},
        ("ports: 1024 ports", "1023"),
    ),
    "bridge name taken": ("linux_bridge", {"name": "t0"}, ("make bridge t0", "taken by a veth link")),
    "pair name taken": ("veth", {"name": "theirs", "peer": {"name": "x"}}, ("taken by a bridge link",)),
    "peer name taken": (
        "veth",
        {"name": "x", "peer": {"name": "t0"}},
        ("taken by a veth link that somebody else made",),
    ),
    "master is no bridge": ("veth", {"name": "x", "master": "t0", "peer": {"name": "y"}}, ("t0 is not a bridge",)),
    "master missing": ("veth", {"name": "x", "master": "br7", "peer": {"name": "y"}}, ("bridge br7 does not exist",)),
    "namespace missing": (
        "veth",
        {"name": "x", "peer": {"name": "y", "netns": "no"}},
        ("namespace no does not exist",),
    ),
    "port missing": ("linux_bridge", {"name": "br0", "ports": ["no"]}, ("link no does not exist",)),
    "device missing": ("ns_route", {"dest": "10.9.0.0/16", "device": "no"}, ("link no does not exist",)),
    "uplink enslaved": ("linux_bridge", {"name": "br0", "ports": ["uplink0"]}, ("enslave uplink0", "default route")),
    "uplink taken down": (
        "veth",
        {"name": "uplink0", "up": False, "peer": {"name": "x"}},
        ("uplink0", "default route"),
    ),
    "uplink readdressed": (
        "veth",
        {"name": "uplink0", "addresses": ["10.0.0.1/24"], "peer": {"name": "x"}},
        ("uplink0", "default route"),
    ),
    "default route replaced": (
        "ns_route",
        {"dest": "default", "gateway": "198.18.0.2"},
        ("replace the default route of this host", "198.18.0.1"),
    ),
    "foreign bridge removed": (
        "linux_bridge",
        {"name": "theirs", "state": "absent"},
        ("remove link theirs", "our mark"),
    ),
    "foreign pair removed": ("veth", {"name": "t0", "state": "absent"}, ("remove link t0", "our mark")),
    "foreign namespace removed": ("netns", {"name": "alien", "state": "absent"}, ("remove namespace alien",)),
    "foreign route removed": ("ns_route", {"dest": "default", "state": "absent"}, ("remove route default", "our mark")),
    "nothing to attach": ("netns", {"name": "a", "attach": "/proc/self/status"}, ("/proc/self/status",)),
    "route that leads nowhere": (
        "ns_route",
        {"dest": "10.9.0.0/16", "gateway": "203.0.113.9"},
        ("add route 10.9.0.0/16 via 203.0.113.9", "ENETUNREACH"),
    ),
    "sysctl that does not exist": (
        "netns",
        {"name": "c", "sysctls": {"net.ipv4.no_such_key": 1}},
        ("set net.ipv4.no_such_key to 1", "No such file"),
    ),
    "sysctl that takes no such value": (
        "netns",
        {"config": [{"name": "d"}, {"name": "e", "sysctls": {"net.ipv4.ip_forward": "yes"}}]},
        ("set net.ipv4.ip_forward to yes", "Invalid argument"),
    ),
    "MTU that a bridge has no room for": (
        "linux_bridge",
        {"name": "br0", "mtu": 68, "addresses": ["fd00::1/64"]},
        ("fd00::1/64",),
    ),
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0, internet=False) as made:
        yield made


@pytest.fixture(scope="module")
def shared(world: World) -> t.Iterator[Node]:
    """A node on which nothing is ever changed."""
    with world.add_node() as made:
        made.run(["sh", "-ec", THEIRS])
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.mark.parametrize("title", REFUSED)
def test_refused(shared: Node, title: str) -> None:
    module, options, words = REFUSED[title]
    result = refused(shared, module, options)
    for word in words:
        assert word in result["msg"]
    if "asked" in result:
        assert all(result[key] for key in SAID)
        assert result.get("rolled_back", True)


@pytest.mark.parametrize(
    ("title", "options"),
    [("overlapping range", {"addresses": ["10.22.33.254/16"]}), ("another network", {"network": "lab"})],
)
def test_bridge_is_not_taken_over(node: Node, title: str, options: Options) -> None:
    done(node, "linux_bridge", BRIDGE)
    result = refused(node, "linux_bridge", {**BRIDGE, **options})
    assert title in result["found"] or "it belongs to network pods" in result["found"]


def test_two_networks_cannot_need_different_values(node: Node) -> None:
    done(node, "sysctl_forward", {"ipv4": True, "network": "pods"})
    result = refused(node, "sysctl_forward", {"ipv4": False, "network": "lab"})
    assert result["found"] == "pods needs 1"


def test_a_bridge_option_that_the_kernel_lacks_is_an_error(node: Node) -> None:
    node.run(["ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"], check=False)
    able = node.run(["cat", "/sys/class/net/probe/bridge/vlan_filtering"], check=False).stdout.strip() == "1"
    node.run(["ip", "link", "del", "probe"], check=False)
    if able:
        assert done(node, "linux_bridge", {"name": "br0", "vlan_filtering": True}) == ["create bridge br0"]
        return
    result = refused(node, "linux_bridge", {"name": "br0", "vlan_filtering": True})
    assert "this kernel is built without bridge VLAN filtering" in result["msg"]


def test_failure_half_way_puts_everything_back(node: Node) -> None:
    """The last of several pairs cannot be made."""
    build(node)
    done(node, *gone(("veth", PAIRS)))
    pairs = [*PAIRS["config"], {"name": "ve3", "mac": "02:00:00:00:00:01", "peer": {"name": "eth1", "netns": "ns1"}}]
    node.run(["sh", "-ec", "ip netns exec ns1 sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'"])
    result = refused(node, "veth", {"config": pairs})
    assert result["rolled_back"]
    assert "fd00:22:33::11/64" in result["msg"]


def _without_capabilities(module: str, options: Options) -> Result:
    """As capset(2) does it: version 3 of the header, and three empty sets in two halves."""
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None, use_errno=True).capset(header, sets) == 0
    return run_here(module, options, check=False)


def test_without_rights(node: Node) -> None:
    before = node.snapshot()
    result = node.call(_without_capabilities, "netns", NAMESPACES)
    assert result["failed"]
    assert f"user {os.geteuid()} lacks CAP_NET_ADMIN and CAP_SYS_ADMIN" in result["msg"]
    assert "become: true" in result["advice"]
    assert node.snapshot() == before


def test_library_missing(node: Node, tmp_path: Path) -> None:
    (tmp_path / "pyroute2.py").write_text("raise ImportError('not installed')\n")
    result, _imported = fresh(node, "netns", {"name": "ns1"}, tmp_path)
    assert result["failed"]
    assert "Failed to import the required Python library (pyroute2 >= 0.7.2)" in result["msg"]
    assert result["missing"] == "pyroute2"


def test_rights_come_before_the_library(node: Node, tmp_path: Path) -> None:
    """Without them nobody could install it, and a role must not try."""
    (tmp_path / "pyroute2.py").write_text("raise ImportError('not installed')\n")
    without = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    result, _imported = fresh(node, "netns", {"name": "ns1"}, tmp_path, without=without)
    assert "lacks CAP_NET_ADMIN and CAP_SYS_ADMIN" in result["msg"]
    assert "missing" not in result


@pytest.mark.parametrize("version", ["0.5.14", "0.7.1", "0.6"])
def test_library_too_old(node: Node, tmp_path: Path, version: str) -> None:
    classes = ("ifaddrmsg", "ifinfmsg", "nsidmsg", "rtmsg")
    files = {
        "config/version": f"__version__ = {version!r}",
        **{f"netlink/rtnl/{name}": f"{name} = dict" for name in classes},
    }
    for name, text in files.items():
        file = tmp_path / "pyroute2" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "pyroute2/__init__.py").write_text(f"__version__ = {version!r}\n")
    result, _imported = fresh(node, "netns", {"name": "ns1"}, tmp_path)
    assert result["failed"]
    assert "pyroute2 >= 0.7.2" in result["msg"]
    assert f"Found is pyroute2 {version}" in result["msg"]


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("netns", {}),
        ("netns", {"name": "a/b"}),
        ("netns", {"name": "a", "nmae": "b"}),
        ("netns", {"config": [{"name": "a"}, {"name": "a"}]}),
        ("linux_bridge", {"name": "br0", "addresses": ["10.0.0.0/24"]}),
        ("veth", {"name": "ve1"}),
        ("ns_route", {"dest": "default"}),
        ("nat_masquerade", {"name": "pods"}),
        ("sysctl_forward", {}),
        ("sysctl_forward", {"ipv4": True, "interfaces": ["a/b"]}),
    ],
)
def test_wrong_arguments_end_before_the_library_is_imported(node: Node, module: str, options: Options) -> None:
    result, imported = fresh(node, module, options)
    assert result["failed"]
    assert not imported


def test_right_arguments_import_the_library(node: Node) -> None:
    result, imported = fresh(node, "netns", {"name": "ns1"})
    assert result["actions"] == ["create namespace ns1"]
    assert imported
    assert run(node, "netns", {"name": "ns1"})["actions"] == []
