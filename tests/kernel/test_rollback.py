"""A run that fails half way leaves what was there; one that was killed is finished by the next."""

from __future__ import annotations

import functools
import itertools
import os
import random
import resource
import subprocess
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.executor import Executor
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Link
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import Snapshot, difference
from tests.lab.syscalls import CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, unshare
from tests.lab.world import World
from tests.support.building import Refusal, ask, build, build_at_once, refusal, unreachable_from
from tests.support.diagnosing import PODS
from tests.support.fault_injection import operations_of
from tests.support.kill_injection import killed_after_making_links, killed_at_operation
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

APPS: Options = {"name": "apps", "subnets": ["10.45.0.0/24"], "namespaces": ["a1"]}
MANY: Options = {"name": "many", "subnets": ["10.44.0.0/24"], "prefix": "m", "count": 20}
SOME: Options = {**MANY, "count": 10}
RESTORED = "The state before this run was restored"


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
        yield made


def script(node: Node, *lines: str) -> None:
    node.run(["sh", "-ec", "\n".join(lines)])


def read_only(path: str) -> str:
    return f"mkdir -p {path}; mount --bind {path} {path}; mount -o remount,bind,ro {path}"


def check_restored(refused: Refusal) -> None:
    assert (refused.kind, refused.rolled_back) == ("ApplyError", True), refused.text
    assert RESTORED in refused.advice
    assert refused.asked
    assert refused.found
    assert refused.text == f"{refused.asked}: {refused.found}. {refused.advice}"


@pytest.mark.smoke
def test_link_that_goes_by_itself_meanwhile(node: Node) -> None:
    """As when its namespace was removed a moment ago."""

    def delete() -> list[str]:
        with Namespaces() as namespaces:
            executor = Executor(namespaces)
            executor.run([Step(Link("", "np-c1", kind="veth", alias="netpath:pods"), None)])
            return [link.name for link in executor.links.all("")]

    assert "np-c1" not in node.call(delete)


def test_way_back_from_edited_rules(node: Node) -> None:
    """How they had been edited is not known, so that the good ones stay."""
    node.call(build_at_once, [PODS])
    table = "inet netpath_egress"
    script(
        node, f"nft flush chain {table} nat_pods; rm /etc/sysctl.d/90-netpath-egress.conf", read_only("/etc/sysctl.d")
    )
    refused = refusal(node, build_at_once, [PODS])
    assert "Read-only file system" in refused.found
    assert refused.rolled_back is False
    assert "(how they had been edited is not known)" in refused.advice
    assert unreachable_from(node, "c1", "c2") == []


# {title: (script that makes the step fail, networks, words of the error)}
FAILING: dict[str, tuple[list[str], Options, str]] = {
    "settings file cannot be written": (
        [read_only("/etc/sysctl.d")],
        PODS,
        "write /etc/sysctl.d/90-netpath-egress.conf: Read-only file system",
    ),
    "settings folder is full": (
        ["mount -t tmpfs -o size=4k tmpfs /etc/sysctl.d; head -c 4096 /dev/zero > /etc/sysctl.d/90-own.conf"],
        PODS,
        "write /etc/sysctl.d/90-netpath-egress.conf: No space left on device",
    ),
    "folder where everybody may write": (
        ["chmod 777 /etc/sysctl.d"],
        PODS,
        "others than root may write there, in /etc/sysctl.d. Make it root's alone: chown root /etc/sysctl.d",
    ),
    "address of another host on the link": (
        [
            "ip link add br0 type bridge; ip link set br0 up; ip netns add own; ip -n own link set lo up",
            "ip link add own0 master br0 up type veth peer name eth0 netns own",
            "ip -n own address add fd00:22:33::2/64 dev eth0 nodad; ip -n own link set eth0 up",
            "until ip link show own0 | grep -q LOWER_UP; do :; done",
        ],
        PODS,
        "fd00:22:33::2/64 on eth0 in namespace c1: another host on the link has it",
    ),
}


@pytest.mark.parametrize("title", FAILING)
def test_failed_build_leaves_what_was_there(node: Node, title: str) -> None:
    lines, network, words = FAILING[title]
    script(node, *lines)
    before = settled(node)
    refused = refusal(node, build_at_once, [network])
    assert words in refused.text
    assert difference(before, settled(node)) == ""
    check_restored(refused)


def test_settings_that_cannot_be_written_are_found_before_anything_changes(node: Node) -> None:
    script(node, read_only("/proc/sys"))
    refused = refusal(node, build_at_once, [PODS])
    assert (refused.kind, refused.asked) == ("UnsupportedError", "set net.ipv4.ip_forward to 1")
    assert refused.found == "it can only be read here, and is 0"


@pytest.mark.smoke
def test_failed_removal_leaves_what_was_there(node: Node) -> None:
    """All is gone but for one file when the last step fails, and comes back."""
    node.call(build_at_once, [PODS])
    script(node, "ip route add 10.98.0.0/16 via 10.22.33.9; sysctl -qw net.ipv4.conf.br0.rp_filter=1")
    before = settled(node)
    script(node, read_only("/etc/sysctl.d"))
    refused = refusal(node, build_at_once, [PODS], absent=True)
    assert refused.asked == "delete /etc/sysctl.d/90-netpath-egress.conf"
    check_restored(refused)
    script(node, "umount /etc/sysctl.d")
    assert unreachable_from(node, "c1", "c2") == []
    # What was made anew has another port number, and the kernel's values where nobody asked us for one.
    assert _changes(before, settled(node), but=('"info_slave_kind": "bridge"', "conf/br0/rp_filter")) == []
    assert node.call(build_at_once, [PODS]) == []


@pytest.mark.smoke
def test_failed_change_leaves_what_was_there(node: Node) -> None:
    """Addresses, an MTU and ports change, a stranger's route goes along, and then one port cannot be had."""
    script(
        node,
        "ip link add busy0 type veth peer name busy1; ip link add link busy0 name mv0 type macvlan",
        "ip link add br0 address 02:00:00:00:00:09 type bridge; ip link set br0 addrgenmode none up",
        "ip link add own0 up master br0 type veth peer name own1; ip link set own1 up",
        "for host in 1 2; do ip address add 10.1.0.$host/24 dev br0; done; ip route add 10.98.0.0/16 via 10.1.0.9",
    )
    before = settled(node)
    asked = {"name": "br0", "ports": ["busy1", "busy0"], "mtu": 1400, "addresses": ["10.1.0.7/24"]}
    refused = refusal(node, ask, "linux_bridge", {**asked, "exclusive_addresses": True, "exclusive_ports": True})
    assert "EBUSY" in refused.text
    assert _changes(before, settled(node), but=('"info_slave_kind": "bridge"',)) == []
    check_restored(refused)


def test_failed_rename_leaves_what_was_there(node: Node) -> None:
    """The pair gets its names back after it was renamed, and with them its addresses and routes."""
    node.call(build_at_once, [PODS])
    script(node, "ip link set np-c1 name x0; ip -n c1 link set eth0 name x1")
    before = settled(node)
    script(node, read_only("/etc/sysctl.d"))
    refused = refusal(node, build_at_once, [PODS, MANY])
    script(node, "umount /etc/sysctl.d")
    assert "\n".join(_changes(before, settled(node))) == ""
    check_restored(refused)
    assert refused.asked == "rewrite /etc/sysctl.d/90-netpath-egress.conf"


def _changes(before: Snapshot, after: Snapshot, but: t.Sequence[str] = ()) -> list[str]:
    lines = [line for line in difference(before, after).splitlines() if not line.startswith(("---", "+++", "@@"))]
    return [line for line in lines if not any(words in line for words in but)]


@pytest.mark.parametrize("cause", ["read-only", "full"])
def test_ledger_that_cannot_be_written(node: Node, cause: str) -> None:
    full = "mkdir -p /var/lib/netpath; mount -t tmpfs -o size=4k tmpfs /var/lib/netpath; cd /var/lib/netpath"
    script(node, read_only("/var/lib") if cause == "read-only" else f"{full}; head -c 4096 /dev/zero > own")
    before = settled(node)
    refused = refusal(node, build_at_once, [PODS])
    assert "/var/lib/netpath" in refused.asked
    assert refused.found in ("Read-only file system", "No space left on device")
    assert difference(before, settled(node)) == ""


def test_nft_is_missing(node: Node) -> None:
    def without_nft() -> None:
        unshare(CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        for folder in ("/usr/sbin", "/usr/local/sbin"):
            mount("tmpfs", folder, "tmpfs")
        build_at_once([PODS])

    before = settled(node)
    refused = refusal(node, without_nft)
    assert (refused.kind, refused.found) == ("UnsupportedError", "the programs nft and iptables are missing")
    assert "nftables" in refused.advice
    assert difference(before, settled(node)) == ""


def test_too_few_files_may_be_open(node: Node) -> None:
    def limited(hard: int) -> list[str]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(30, hard), hard))
        return build_at_once([MANY])

    open_now = len(os.listdir("/proc/self/fd"))
    before = settled(node)
    for hard in (open_now + 32, open_now + 45, open_now + 58):
        refused = refusal(node, limited, hard)
        assert "Too many open files" in refused.text
        assert difference(before, settled(node)) == ""
    # The soft limit alone is no obstacle.
    assert "create namespace m20" in node.call(limited, 4096)


def test_namespace_in_use_is_not_removed(node: Node) -> None:
    node.call(build_at_once, [APPS])
    with node.popen(["ip", "netns", "exec", "a1", "sleep", "100"]) as process:
        while "sleep" not in node.run(["sh", "-c", "cat /proc/$(ip netns pids a1 | head -1)/comm || true"]).stdout:
            pass
        before = settled(node)
        for way in (build, build_at_once):
            refused = refusal(node, way, [APPS], absent=True)
            assert f"{process.pid} (sleep)" in refused.found
            assert difference(before, settled(node)) == ""
        process.kill()
    node.call(build_at_once, [APPS], absent=True)


def test_name_that_somebody_takes_meanwhile(node: Node) -> None:
    """Somebody makes a link in a namespace of ours as soon as that is there."""
    before = settled(node)
    take = "until ip -n m20 link add eth0 type bridge 2> /dev/null; do :; done"
    refused = None
    for _attempt in range(30):
        with subprocess_of(node, take) as racer:
            refused = refusal_or_none(node, build_at_once, [MANY])
            racer.kill()
        if refused:
            break
        node.call(build_at_once, [MANY], absent=True)
    assert refused is not None
    assert refused.asked == "create veth np-m20 with peer eth0 in namespace m20 on bridge br-many"
    check_restored(refused)
    assert difference(before, settled(node)) == ""


def test_link_of_somebody_else_does_not_get_our_mark(node: Node) -> None:
    """Somebody makes a link of a wanted name while the run is under way."""
    take = "until ip link show np-m1 > /dev/null 2>&1; do :; done; ip link add np-m20 type bridge"
    refused = None
    for _attempt in range(30):
        with subprocess_of(node, take) as racer:
            refused = refusal_or_none(node, build_at_once, [MANY])
            racer.wait(timeout=10)
        if refused:
            break
        node.call(build_at_once, [MANY], absent=True)
    assert refused is not None
    assert "np-m20" in refused.asked
    check_restored(refused)
    links = node.run(["ip", "-o", "link", "show"]).stdout
    assert ("np-m20" in links, "np-m1" in links.replace("np-m20", ""), "netpath:" in links) == (True, False, False)


def subprocess_of(node: Node, text: str) -> subprocess.Popen[str]:
    null = subprocess.DEVNULL
    return node.popen(["sh", "-c", text], stdin=null, stdout=null, stderr=null)


def refusal_or_none(node: Node, *arguments: t.Any) -> Refusal | None:
    try:
        return refusal(node, *arguments)
    except AssertionError:
        return None


def unmarked(others: t.Collection[str] = ()) -> list[str]:
    """Links and namespaces that look like ours and do not say so. others: networks with a namespace of their name."""
    listed = subprocess.run(["ip", "-o", "link", "show"], capture_output=True, text=True, check=True).stdout
    names = os.listdir("/run/netns") if os.path.isdir("/run/netns") else []
    found = [line for line in listed.splitlines() if ("np-" in line or "br-many" in line) and "netpath:" not in line]
    for name in names:
        inside = ["ip", "-n", name, "-o", "link", "show", "lo"]
        shown = subprocess.run(inside, capture_output=True, text=True, check=False).stdout
        # A name without a namespace is what a kill between two system calls leaves.
        mark = f"netpath:{name}" if name in others else "netpath:many"
        found += [name] if shown and mark not in shown else []
    return found


@pytest.mark.parametrize("bridges", [1, 2, 3])
def test_link_is_never_without_its_mark(node: Node, bridges: int) -> None:
    """Whichever send of those that make links was the last one, and however many messages each link takes."""
    others = [{"name": f"n{n}", "subnets": [f"10.4{n}.0.0/24"], "namespaces": [f"n{n}"]} for n in range(5, 4 + bridges)]
    networks = [SOME, *others]
    for number in itertools.count():
        killed = node.call(killed_after_making_links, number, functools.partial(build_at_once, networks))
        assert node.call(unmarked, [network["name"] for network in others]) == []
        node.call(build_at_once, networks, absent=True)
        if not killed:
            break
    assert number > 1


# Of the places at which runs are killed; another one gives others.
_SEED = 20261130


def test_killed_run_is_finished_by_the_next(node: Node) -> None:
    """Wherever it was: ahead of any operation of the kernel, also between those of one step."""
    before = settled(node)
    builds, removes = (functools.partial(build_at_once, [SOME], absent=absent) for absent in (False, True))
    many = [len(node.call(operations_of, action)) for action in (builds, removes)]
    assert difference(before, settled(node)) == ""
    node.call(builds)
    right = settled(node)
    node.call(removes)
    drawn = random.Random(_SEED)
    places = [sorted(drawn.sample(range(count), 4)) for count in many]
    print("killed ahead of operations", places, "of", many)
    for building, removing in zip(*places):
        assert node.call(killed_at_operation, building, builds)
        assert node.call(unmarked) == []
        node.call(builds)
        assert difference(right, settled(node)) == ""
        assert node.call(killed_at_operation, removing, removes)
        assert node.call(unmarked) == []
        node.call(removes)
        assert difference(before, settled(node)) == ""
