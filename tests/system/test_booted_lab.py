"""The promises of the lab of booted nodes: hosts that boot and reboot, and nothing left of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from tests.lab import snapshot
from tests.lab.booted import cgroup, logs, requirements
from tests.lab.booted import lab as labs
from tests.lab.booted.lab import Lab
from tests.lab.booted.plan import ROOT, Places
from tests.lab.holder import LabError
from tests.lab.world import PUBLIC

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(900)]

NODES = {"old": "bullseye", "new": "trixie"}
PROBE = (ROOT / "tests/lab/probe.py").read_text(encoding="utf-8")
UNIQUE = str(os.getpid())


class Machine(t.NamedTuple):
    """What must be the same on the machine before, beside and after a lab."""

    network: snapshot.Snapshot
    mounts: str
    named: list[str]
    hostname: str


def machine() -> Machine:
    named = Path("/run/netns")
    return Machine(
        # Other programs may make namespaces and files meanwhile; the network is what a lab could harm.
        snapshot.collect(namespaces=False),
        Path("/proc/self/mountinfo").read_text(encoding="utf-8"),
        sorted(os.listdir(named)) if named.is_dir() else [],
        socket.gethostname(),
    )


def namespaces(lab: Lab) -> set[str]:
    """Every namespace that the lab's processes are in and this process is not."""
    pids = cgroup.processes(cgroup.path(lab.places.cgroup))
    return _namespaces_of(pids) - _namespaces_of([os.getpid()])


def _namespaces_of(pids: t.Iterable[int]) -> set[str]:
    found = set()
    for pid in pids:
        for kind in ("net", "mnt", "pid", "uts"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    return found


def _all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def assert_nothing_left(lab: Lab, known: set[str]) -> None:
    deadline = time.monotonic() + 60
    while left := known & _namespaces_of(_all_processes()):
        assert time.monotonic() < deadline, f"namespaces still in use: {left}"
        time.sleep(0.05)
    assert not lab.places.directory.exists()
    assert not cgroup.path(lab.places.cgroup).exists()
    assert str(lab.places.directory) not in Path("/proc/mounts").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def before() -> Machine:
    return machine()


@pytest.fixture(scope="module")
def lab(before: Machine) -> t.Iterator[Lab]:
    with Lab.create(f"test-{UNIQUE}", NODES) as made:
        yield made
        assert machine() == before
        known = namespaces(made)
    assert_nothing_left(made, known)
    assert machine() == before


@pytest.fixture(params=NODES)
def node(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _probe(lab: Lab, node: str, *arguments: str) -> dict[str, t.Any]:
    done = lab.ssh(node, ["python3", "-c", PROBE, "--json", *arguments])
    answer: dict[str, t.Any] = json.loads(done.stdout)
    return answer


def test_node_is_a_host_of_its_release(lab: Lab, node: str) -> None:
    assert NODES[node] in lab.ssh(node, ["cat", "/etc/os-release"]).stdout
    assert lab.ssh(node, ["hostname"]).stdout == f"{node}\n"
    assert lab.ssh(node, ["id", "-un"]).stdout == "ansible\n"
    assert lab.ssh(node, ["sudo", "-n", "id", "-un"]).stdout == "root\n"


def test_node_has_booted_without_a_failed_unit(lab: Lab, node: str) -> None:
    state = lab.ssh(node, ["systemctl", "is-system-running", "--wait"], check=False).stdout
    assert (state, lab.ssh(node, ["systemctl", "--failed", "--plain", "--no-legend"]).stdout) == ("running\n", "")


@pytest.mark.parametrize("family", ["4", "6"])
def test_internet_sees_the_node(lab: Lab, node: str, family: str) -> None:
    plan = lab.nodes[node]
    own = plan.uplink_address if family == "4" else plan.uplink_address6
    assert _probe(lab, node, "--family", family)["client"] == own
    assert own in {entry.client for entry in lab.seen()}


def test_node_resolves_names(lab: Lab, node: str) -> None:
    assert PUBLIC[0] in lab.ssh(node, ["getent", "ahostsv4", "internet.lab"]).stdout


def test_nodes_reach_each_other_by_both_networks(lab: Lab) -> None:
    other = lab.nodes["new"]
    for address in (other.address, other.uplink_address, other.uplink_address6):
        lab.ssh("old", ["sudo", "ping", "-c1", "-W5", address])


def test_settings_of_the_network_are_private(lab: Lab, node: str) -> None:
    own = Path("/proc/sys/net/ipv4/conf/default/arp_announce")
    known = own.read_text(encoding="ascii")
    other = "2" if known.strip() != "2" else "1"
    lab.ssh(node, ["sudo", "sysctl", f"net.ipv4.conf.default.arp_announce={other}"])
    assert own.read_text(encoding="ascii") == known
    refused = lab.ssh(node, ["sudo", "sysctl", "kernel.panic=77"], check=False)
    assert refused.returncode != 0
    assert lab.ssh(node, ["ls", "/sys/class/net"]).stdout.split() == ["lo", "mgmt0", "uplink0"]


def test_controller_is_alone_with_the_management_network(lab: Lab) -> None:
    command = [sys.executable, "-m", "tests.lab", "boot", "run", lab.places.name, "--"]
    address = subprocess.run(
        [*command, "ip", "-4", "-br", "address"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert "198.18.128.1/17" in address.stdout
    route = subprocess.run([*command, "ip", "route", "get", PUBLIC[0]], cwd=ROOT, capture_output=True, check=False)
    assert route.returncode != 0


def test_described_as_json(lab: Lab) -> None:
    command = [sys.executable, "-m", "tests.lab", "boot", "list", "--json", lab.places.name]
    told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)[0]
    assert [node["state"] for node in told["nodes"]] == ["running", "running"]
    assert told["supervisor"] == lab.supervisor()


def test_ansible_reaches_the_nodes(lab: Lab) -> None:
    command = ["ansible", "all", "-i", str(lab.places.inventory), "-b", "-m", "ansible.builtin.command", "-a", "id -u"]
    done = subprocess.run(command, cwd="/", capture_output=True, check=False, text=True)
    assert done.stdout.count("rc=0") == len(NODES), done.stdout + done.stderr


def test_reboot_comes_back_with_the_same_files_and_addresses(lab: Lab, node: str) -> None:
    def boot_id() -> str:
        return lab.ssh(node, ["cat", "/proc/sys/kernel/random/boot_id"]).stdout

    lab.ssh(
        node,
        ["sudo", "sh", "-ec", "echo net.ipv4.ip_forward=1 >/etc/sysctl.d/90-lab.conf; ip link add gone type bridge"],
    )
    first, boots = boot_id(), lab.status()[node].boots
    lab.ssh(node, ["sudo", "systemctl", "reboot"], check=False)
    deadline = time.monotonic() + 60
    while lab.status()[node].boots == boots:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lab.wait(node)
    assert boot_id() != first
    assert lab.ssh(node, ["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    assert lab.ssh(node, ["ls", "/sys/class/net"]).stdout.split() == ["lo", "mgmt0", "uplink0"]
    test_internet_sees_the_node(lab, node, "4")
    test_internet_sees_the_node(lab, node, "6")


def test_reboot_from_outside(lab: Lab) -> None:
    boots = lab.status()["new"].boots
    lab.reboot("new")
    assert lab.status()["new"] == ("running", boots + 1, None)


@pytest.mark.parametrize("now", [False, True])
def test_node_that_is_off_stays_off_until_it_is_started(lab: Lab, now: bool) -> None:
    lab.poweroff("new", now=now)
    assert lab.status()["new"].state == "off"
    refused = lab.ssh("new", ["true"], check=False)
    # Told by the kernel, where waiting for an answer would end with "timed out".
    assert (refused.returncode, "No route to host" in refused.stderr) == (255, True), refused.stderr
    assert lab.status()["new"].state == "off"
    assert "Reached target" in logs.journal(lab, "new")
    with pytest.raises(LabError, match="is off"):
        lab.wait("new")
    lab.start("new")
    test_internet_sees_the_node(lab, "new", "4")


def test_logs_are_kept(lab: Lab, node: str) -> None:
    folder = logs.collect(lab, [node]) / node
    assert "uplink0" in (folder / "network.log").read_text(encoding="utf-8")
    assert "OpenBSD Secure Shell" in (folder / "journal.log").read_text(encoding="utf-8")
    assert (folder / "console.log").stat().st_size > 0


def test_node_that_does_not_boot_is_reported_with_its_console(lab: Lab) -> None:
    lab.poweroff("new")
    init = lab.places.node("new") / "upper/usr/lib/systemd/systemd"
    init.parent.mkdir(parents=True)
    try:
        init.write_text("#!/bin/sh\necho no boot today\nexit 9\n", encoding="ascii")
        init.chmod(0o755)
        with pytest.raises(LabError, match=r"new is failed.*its console ends:\n(.*\n)*.*no boot today"):
            lab.start("new")
        assert lab.status()["new"].status == 9
    finally:
        init.unlink()
    lab.start("new")


def test_node_that_hangs_is_reported_with_its_console(lab: Lab) -> None:
    lab.poweroff("new")
    masked = lab.places.node("new") / "upper/etc/systemd/system/ssh.service"
    masked.parent.mkdir(parents=True, exist_ok=True)
    masked.symlink_to("/dev/null")
    try:
        lab.start("new", wait=False)
        with pytest.raises(
            LabError, match=r"does not answer SSH after 4 s; its console ends:\n(.*\n)*.*Reached target"
        ):
            lab.wait("new", timeout=4)
    finally:
        masked.unlink()
    lab.poweroff("new", now=True)
    lab.start("new")


@pytest.mark.parametrize("victim", ["supervisor", "every process"])
def test_lab_ends_with_its_supervisor(before: Machine, victim: str) -> None:
    lab = Lab.create(f"kill-{UNIQUE}", {"one": "trixie"})
    try:
        known = namespaces(lab)
        supervisor = lab.supervisor()
        assert supervisor is not None
        if victim == "supervisor":
            with os.fdopen(os.pidfd_open(supervisor), "rb", buffering=0) as ended:
                os.kill(supervisor, signal.SIGKILL)
                assert select.select([ended], [], [], 10)[0]
        else:
            cgroup.kill(cgroup.path(lab.places.cgroup))
        with pytest.raises(LabError, match="destroy it"):
            lab.status()
        command = [sys.executable, "-m", "tests.lab", "boot", "destroy", lab.places.name]
        subprocess.run(command, cwd=ROOT, check=True)
    finally:
        lab.destroy()
    assert_nothing_left(lab, known)
    assert machine() == before


def test_lab_ends_with_the_process_that_made_it(before: Machine) -> None:
    """As tests do that are killed, whose fixtures never end."""
    name = f"owned-{UNIQUE}"
    script = f"from tests.lab.booted.lab import Lab; Lab.create({name!r}, {{'one': 'trixie'}}); print('made'); input()"
    with subprocess.Popen(
        [sys.executable, "-uc", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as creator:
        assert creator.stdout
        assert creator.stdout.readline() == "made\n"
        lab = Lab(Places(name))
        try:
            known = namespaces(lab)
            supervisor = lab.supervisor()
            assert supervisor is not None
            with os.fdopen(os.pidfd_open(supervisor), "rb", buffering=0) as ended:
                creator.kill()
                assert select.select([ended], [], [], 10)[0]
        finally:
            creator.kill()
            lab.destroy()
    assert_nothing_left(lab, known)
    assert machine() == before


# What there is of a lab, step by step: it is killed as soon as that is there.
_STEPS: dict[str, t.Callable[[Places], Path]] = {
    "plan": lambda places: places.plan,
    "files": lambda places: places.inventory,
    "world": lambda places: cgroup.path(places.cgroup) / "world",
    "supervisor": lambda places: places.control,
    "node": lambda places: cgroup.path(places.cgroup) / "one",
    "console": lambda places: places.log("two") / "console.log",
}


@pytest.mark.parametrize("step", _STEPS)
def test_destroy_after_the_creator_was_killed(before: Machine, step: str) -> None:
    name = f"half-{UNIQUE}"
    places = Places(name)
    shutil.rmtree(places.logs, ignore_errors=True)  # or the console of the last lab would be taken for that of this one
    command = [
        sys.executable,
        "-m",
        "tests.lab",
        "boot",
        "create",
        name,
        "--node",
        "one=trixie",
        "--node",
        "two=trixie",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as creator:
        while not _STEPS[step](places).exists():
            assert creator.poll() is None, f"it ended ahead of {step}"
            time.sleep(0.001)
        creator.kill()
    labs.destroy(name)
    assert not places.directory.exists()
    assert not cgroup.path(places.cgroup).exists()
    assert machine() == before
    assert not labs.destroy(name)


def test_more_nodes_than_the_kernel_lets_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "room", lambda: 1)
    monkeypatch.setattr(labs, "_ROOM_TIMEOUT", 0.0)
    told: list[str] = []
    with pytest.raises(LabError, match=r"2 nodes are asked for, and this machine has room for 1.*max_user_instances"):
        Lab.create(f"crowded-{UNIQUE}", {"one": "trixie", "two": "trixie"}, tell=told.append)
    assert not Places(f"crowded-{UNIQUE}").directory.exists()


def test_a_name_is_used_once(lab: Lab) -> None:
    with pytest.raises(LabError, match="already"):
        Lab.create(lab.places.name, NODES)
    assert lab.status()["old"].state == "running"


def test_needs_real_root() -> None:
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "tests.lab", "boot", "list"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    if "unshare failed" in refused.stderr:
        pytest.skip("no user namespaces here")
    assert (refused.returncode, "use sudo" in refused.stderr) == (4, True)
