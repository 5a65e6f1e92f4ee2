"""The lab's own promises: packets flow, nothing leaks, and the machine stays as it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege, probe, snapshot
from tests.lab.node import CommandFailed
from tests.lab.settling import await_links, changing_links
from tests.lab.syscalls import CLONE_NEWNET, setns
from tests.lab.world import LabError, Node, World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "198.51.100.80"
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h
PUBLIC6 = "2001:db8:51::80"
PRIVATE = "10.22.33.2"
PRIVATE6 = "fd00:22:33::2"


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=2) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.mark.parametrize("target", [PUBLIC, "203.0.113.80", PUBLIC6])
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp", "dns"])
def test_internet_sees_the_node(world: World, node: Node, protocol: str, target: str) -> None:
    own = node.address6 if ":" in target else node.address
    reply = node.call(probe.probe, protocol, target)
    assert reply.client == (None if protocol == "icmp" else own)
    seen = [(entry.protocol, entry.server) for entry in world.internet.seen() if entry.client == own]
    assert seen == [(protocol, target)]


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
@pytest.mark.parametrize(("source", "target"), [(PRIVATE, PUBLIC), (PRIVATE6, PUBLIC6)])
def test_private_source_is_seen_and_gets_no_reply(
    world: World, node: Node, protocol: str, source: str, target: str
) -> None:
    node.run(["ip", "address", "add", source, "dev", "uplink0", *(["nodad"] if ":" in source else [])])
    ask = probe.udp if protocol == "udp" else probe.icmp
    before = len(world.internet.seen())
    with pytest.raises(TimeoutError):
        node.call(ask, target, source=source, timeout=0.3)
    assert [(entry.protocol, entry.client) for entry in world.internet.seen()[before:]] == [(protocol, source)]


def test_private_source_gets_no_connection(node: Node) -> None:
    node.run(["ip", "address", "add", PRIVATE, "dev", "uplink0"])
    with pytest.raises(TimeoutError):
        node.call(probe.tcp, PUBLIC, source=PRIVATE, timeout=0.3)


def test_connection_stays_open_and_repeats(node: Node) -> None:
    def talk() -> list[str]:
        with socket.create_connection((PUBLIC, 7070), timeout=2) as connection, connection.makefile("rw") as stream:
            lines = [stream.readline()]
            for _turn in range(2):
                stream.write("again\n")
                stream.flush()
                lines.append(stream.readline())
            return lines

    lines = node.call(talk)
    assert len(set(lines)) == 1
    assert json.loads(lines[0])["client"] == node.address


@pytest.mark.parametrize("over_tcp", [False, True])
def test_names(node: Node, over_tcp: bool) -> None:
    def ask(name: str, kind: str) -> tuple[int, tuple[str, ...]]:
        answer = node.call(probe.dns, PUBLIC, name, kind=kind, over_tcp=over_tcp)
        return answer.code, answer.addresses

    assert ask("whoami.lab", "A") == (0, (node.address,))
    assert ask("whoami.lab", "AAAA") == (0, ())
    assert ask("Internet.Lab.", "A") == (0, (PUBLIC, "203.0.113.80"))
    assert ask("internet.lab", "AAAA") == (0, (PUBLIC6,))
    assert ask("nobody.lab", "A") == (3, ())


@pytest.mark.parametrize(("target", "largest"), [(PUBLIC, 1472), (PUBLIC6, 1452)])
def test_echo_with_dont_fragment_measures_the_path(node: Node, target: str, largest: int) -> None:
    node.call(probe.icmp, target, size=largest, dont_fragment=True)
    with pytest.raises(OSError, match="too long"):
        node.call(probe.icmp, target, size=largest + 1, dont_fragment=True)
    node.call(probe.icmp, target, size=3000)


def test_probe_is_a_program_for_named_namespaces(node: Node) -> None:
    program = str(ROOT / "tests" / "lab" / "probe.py")
    told = node.run([sys.executable, program, "--json", "--family", "6"])
    assert json.loads(told.stdout)["client"] == node.address6
    node.run(["ip", "netns", "add", "blue"])
    failed = node.namespace_run("blue", [sys.executable, program], check=False)
    assert (failed.returncode, "unreachable" in failed.stdout) == (1, True)
    assert node.run([sys.executable, program, "--family", "5"], check=False).returncode == 3


def test_nodes_reach_each_other(world: World) -> None:
    for address in (world.nodes[1].address, world.nodes[1].address6):
        world.nodes[0].call(probe.icmp, address)


def test_node_starts_as_a_fresh_host(node: Node) -> None:
    def look() -> dict[str, t.Any]:
        return {
            "hostname": socket.gethostname(),
            "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii").strip(),
            "devices": sorted(entry.name for entry in Path("/sys/class/net").iterdir()),
            "absent": [path for path in ("/etc/netns", "/etc/netpath", "/var/lib/netpath") if Path(path).exists()],
            "drop-ins": list(Path("/etc/sysctl.d").iterdir()),
        }

    assert node.call(look) == {
        "hostname": node.name,
        "forwarding": "0",
        "devices": ["lo", "uplink0"],
        "absent": [],
        "drop-ins": [],
    }


def test_bare_node_has_its_loopback_alone() -> None:
    with World(nodes=0, internet=False) as bare, bare.add_node(uplink=False) as node:
        assert [link["ifname"] for link in json.loads(node.run(["ip", "-j", "link"]).stdout)] == ["lo"]
        with pytest.raises(LabError, match="no internet"):
            bare.internet.seen()


def test_snapshot_shows_changes_alone(node: Node) -> None:
    before = node.snapshot()
    node.call(probe.tcp, PUBLIC)
    assert snapshot.difference(before, node.snapshot()) == ""


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("echo 1 > /proc/sys/net/ipv4/ip_forward", "+net/ipv4/ip_forward = 1"),
        ("ip link add br0 type bridge", '"ifname": "br0"'),
        ("ip route add blackhole 10.9.0.0/16 table 77", '"table": "77"'),
        ("ip rule add from 10.9.0.0/16 table 77", '"src": "10.9.0.0"'),
        ("nft add table inet some", "+table inet some {"),
        ("ip netns add blue", "+blue"),
        ("mkdir -p /etc/netns/blue && echo nameserver ::1 > /etc/netns/blue/resolv.conf", "nameserver ::1"),
        ("echo 1 > /etc/sysctl.d/90-x.conf", "90-x.conf: '1\\n'"),
        ("mkdir -p /var/lib/netpath/state", "/var/lib/netpath/state"),
        ("mkdir -p /run/netns && touch /run/netns/stale", "+not a namespace"),
    ],
)
def test_snapshot_shows_a_change(node: Node, change: str, shown: str) -> None:
    before = node.snapshot()
    node.run(["sh", "-ec", change])
    assert shown in snapshot.difference(before, node.snapshot())


def test_snapshot_looks_into_named_namespaces(node: Node) -> None:
    node.run(["ip", "netns", "add", "blue"])
    before = node.snapshot()
    node.namespace_run("blue", ["ip", "link", "set", "lo", "up"])
    assert '"UP"' in snapshot.difference(before, node.snapshot())


def test_address_of_a_link_without_carrier_is_not_awaited(node: Node) -> None:
    """Its duplicate address detection begins with the carrier."""
    node.run(["sh", "-ec", "ip link add br9 up type bridge; ip address add fd00:9::1/64 dev br9"])
    assert "tentative" in node.run(["ip", "address", "show", "br9"]).stdout
    node.call(await_links)
    assert node.call(changing_links) == []


def test_call_returns_what_the_function_returns(node: Node) -> None:
    assert node.call(lambda *args, **kwargs: (args, kwargs, os.getpid()), 1, two=2)[:2] == ((1,), {"two": 2})
    assert node.call(lambda: bytes(1 << 20)) == bytes(1 << 20)
    assert node.call(os.getcwd) == str(Path.cwd())


def test_call_raises_what_the_function_raises(node: Node) -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "gone", "/x")

    with pytest.raises(FileNotFoundError, match="gone") as caught:
        node.call(fail)
    assert "in fail" in str(caught.value.__cause__)


def test_call_raises_what_cannot_be_pickled(node: Node) -> None:
    class OddError(Exception):
        pass

    def fail() -> None:
        raise OddError("strange")

    with pytest.raises(RuntimeError, match="OddError: strange"):
        node.call(fail)


def test_call_reports_a_child_that_dies(node: Node) -> None:
    with pytest.raises(ChildProcessError, match="without a result"):
        node.call(os._exit, 1)


def test_failed_command_tells_its_output(node: Node) -> None:
    with pytest.raises(CommandFailed, match="no such thing"):
        node.run(["sh", "-c", "echo no such thing >&2; exit 1"])


def test_closing_a_node_ends_its_processes(world: World) -> None:
    node = world.add_node()
    node.run(["ip", "netns", "add", "blue"])
    started = node.popen(["ip", "netns", "exec", "blue", "sleep", "1000"])
    orphan = int(node.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).stdout)
    node.close()
    assert started.wait(timeout=20) == -signal.SIGKILL
    assert _ended(orphan)
    assert node not in world.nodes
    with pytest.raises(LabError, match="closed"):
        node.run(["true"])


def test_machine_stays_as_it_was() -> None:
    def observe() -> tuple[t.Any, ...]:
        return (
            snapshot.collect(namespaces=False),
            Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
            sorted(os.listdir("/run/netns")) if Path("/run/netns").is_dir() else None,
            [Path(path).exists() for path in ("/etc/netns", "/etc/netpath")],
            socket.gethostname(),
        )

    before = observe()
    with World(nodes=1) as made:
        made.nodes[0].run(["ip", "netns", "add", "blue"])
        made.nodes[0].run(["sh", "-ec", "mkdir /etc/netns /etc/netpath; echo 1 > /proc/sys/net/ipv4/ip_forward"])
        during = observe()
    assert during == before
    assert observe() == before


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_world_ends_with_its_creator(ending: signal.Signals) -> None:
    program = """
import os, signal, time
from tests.lab.world import World
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
with World(nodes=1) as world:
    node = world.nodes[0]
    orphan = node.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).stdout.strip()
    child = os.fork()  # a fork of the creator must not keep the world
    if child == 0:
        time.sleep(3)
        os._exit(0)
    print(world.segment.pid, world.internet.pid, node.pid, world.internet._service.pid, orphan, flush=True)
    time.sleep(1000)
"""
    creator = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with creator:
        assert creator.stdout is not None
        pids = [int(pid) for pid in creator.stdout.readline().split()]
        assert len(pids) == 5
        namespace = _cookie(f"/proc/{pids[2]}/ns/net")
        creator.send_signal(ending)
        try:
            creator.wait(timeout=10)
        except subprocess.TimeoutExpired:
            creator.kill()
            raise
        assert [pid for pid in pids if not _ended(pid)] == []
    assert namespace
    assert namespace not in _namespaces_in_use()


def _ended(pid: int, patience: float = 20.0) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            # A zombie holds nothing any more.
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def _namespaces_in_use() -> set[int]:
    return {_cookie(f"{process}/ns/net") for process in Path("/proc").glob("[0-9]*")}


def _cookie(path: str) -> int:
    """A number that no other network namespace ever has, unlike an inode; 0 where it is gone or may not be asked."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.ExitStack() as left, contextlib.suppress(OSError):
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            left.callback(os.close, there)
            setns(there, CLONE_NEWNET)
            left.callback(setns, home, CLONE_NEWNET)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
                return int.from_bytes(asked.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        return 0
    finally:
        os.close(home)
