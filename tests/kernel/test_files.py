"""Files of the engine where another user may change a directory on the way, where pipes wait, and where writes die."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import files, lock, sysctl_files
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import metrics, networks

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, refusal
from tests.support.run_module import done, run
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "subnets": ["10.22.33.0/24"],
    "namespaces": [{"name": "c1", "dns": {"servers": ["198.51.100.80"]}}],
}
OTHER = 1234  # a user of the host
METRICS = Path(metrics.PATH).parent
LINE = audit.Line("watch", "pods", [], {}, {})


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        yield world.nodes[0]


def told(function: t.Callable[..., object], *arguments: t.Any) -> str:
    """Why it was refused, within 20 seconds; "" where it was done."""
    signal.alarm(20)
    try:
        function(*arguments)
    except EgressError as error:
        return str(error)
    finally:
        signal.alarm(0)
    return ""


def shell(node: Node, script: str) -> str:
    return node.run(["sh", "-ec", script]).stdout


def write_metrics() -> None:
    metrics.Metrics().write(metrics.PATH)


def swapped(node: Node) -> str:
    """As Debian's package leaves it, and then the user of node_exporter makes a link of the directory."""
    shell(node, f"mkdir -p /etc/victim {METRICS}; chown -R {OTHER} {METRICS.parent}; rmdir {METRICS}")
    shell(node, f"ln -s /etc/victim {METRICS}; chown -h {OTHER} {METRICS}")
    return shell(node, "find /etc/victim")


def test_metrics_stay_in_the_directory_of_another_user(node: Node) -> None:
    victim = swapped(node)
    assert "is a symbolic link, which others than root could replace" in node.call(told, write_metrics)
    assert shell(node, "find /etc/victim") == victim
    shell(node, f"rm {METRICS}; mkdir {METRICS}; chown {OTHER} {METRICS}")
    assert node.call(told, write_metrics) == ""
    assert os.listdir(f"/proc/{node.pid}/root{METRICS}") == [Path(metrics.PATH).name]


def test_metrics_are_not_deleted_through_a_link(node: Node) -> None:
    swapped(node)
    shell(node, f"echo '# HELP netpath_x' > /etc/victim/{Path(metrics.PATH).name}")
    assert "which others than root could replace" in node.call(told, files.delete, metrics.PATH)
    # It stands in nobody's way either.
    asked = {"networks": [PODS], "path": "/usr/local/sbin/netpath-egress"}
    done(node, "egress_program", asked)
    done(node, "egress_program", {**asked, "state": "absent"})
    assert shell(node, "ls /etc/victim").split() == [Path(metrics.PATH).name]


def test_audit_stays_where_a_group_may_write_to_var_log(node: Node) -> None:
    """As on Ubuntu."""
    shell(node, "mkdir /etc/victim; chgrp 4 /var/log; chmod 0775 /var/log; ln -s /etc/victim /var/log/netpath")
    assert "could replace" in node.call(told, audit.write, LINE)
    assert shell(node, "ls /etc/victim") == ""
    shell(node, f"rm /var/log/netpath; mkdir /var/log/netpath; chown {OTHER} /var/log/netpath")
    assert "others than root may write there, in /var/log/netpath" in node.call(told, audit.write, LINE)
    shell(node, "chown 0 /var/log/netpath")
    assert node.call(told, audit.write, LINE) == ""
    assert len(shell(node, f"cat {audit.PATH}").splitlines()) == 1


@pytest.mark.parametrize("place", ["/var/lib", "/etc/netns", "/etc/sysctl.d"])
@pytest.mark.parametrize("how", [f"chown {OTHER}", "chmod o+w", f"chmod 1777 {{0}}; chown {OTHER}"])
def test_every_directory_on_the_way_is_roots(node: Node, place: str, how: str) -> None:
    """A sticky one as well, where its owner is another user: whoever owns it may replace all that is in it."""
    shell(node, f"mkdir -p {place}; {how.format(place)} {place}")
    before = settled(node)
    assert f"others than root may write there, in {place}" in refusal(node, build_at_once, [PODS]).text
    assert difference(before, settled(node)) == ""


def test_link_of_root_is_followed(node: Node) -> None:
    """As /usr/local/sbin leads to bin on some systems."""
    shell(node, "mkdir /etc/elsewhere; ln -s ../../etc/elsewhere /var/lib/netpath")
    node.call(build_at_once, [PODS])
    assert shell(node, "ls /etc/elsewhere").split() == ["ledger.json"]
    node.call(build_at_once, [PODS], absent=True)


def test_link_that_leads_nowhere_makes_no_directory(node: Node) -> None:
    shell(node, "ln -s /etc/nowhere /var/lib/netpath")
    assert "is a symbolic link that leads nowhere" in refusal(node, build_at_once, [PODS]).text
    assert not node.call(os.path.exists, "/etc/nowhere")


def test_pipe_in_place_of_the_audit(node: Node) -> None:
    shell(node, f"mkdir /var/log/netpath; mkfifo {audit.PATH}")
    assert "it is not a plain file" in node.call(told, audit.write, LINE)


def test_pipe_among_the_settings(node: Node) -> None:
    shell(node, "mkfifo /etc/sysctl.d/99-x.conf; echo net.ipv4.ip_forward=1 > /etc/sysctl.d/98-x.conf")

    def persisted() -> dict[str, str]:
        signal.alarm(20)
        return sysctl_files.persisted(["net/ipv4/ip_forward"])

    assert node.call(persisted) == {"net/ipv4/ip_forward": "1"}


def test_pipe_among_the_networks(node: Node) -> None:
    shell(node, "mkdir -p /etc/netpath/networks.d; mkfifo /etc/netpath/networks.d/pods.json")
    assert "it is not a plain file" in node.call(told, networks.installed)
    assert [one.damaged for one in node.call(networks.stored)] == [True]


@pytest.mark.parametrize("path", [lock.PATH, audit.PATH])
def test_hard_link_keeps_its_content(node: Node, path: str) -> None:
    folder = Path(path).parent
    shell(node, f"mkdir -p {folder}; echo precious > {folder}/victim; ln {folder}/victim {path}")

    def write() -> None:
        build_at_once([PODS])
        audit.write(LINE)

    assert "it has another name elsewhere (a hard link)" in node.call(told, write)
    assert shell(node, f"cat {folder}/victim") == "precious\n"


PLACES = ("/var/lib/netpath", "/etc/netpath/networks.d", "/etc/sysctl.d", "/run/netpath", "/etc/netns/gone")


def test_what_killed_writes_left_is_swept(node: Node) -> None:
    before = settled(node)
    left = [f"{place}/.netpath-{'0' * 16}" for place in PLACES]
    shell(node, "".join(f"mkdir -p {os.path.dirname(path)}; echo half > {path};" for path in left))
    node.call(build_at_once, [PODS])
    assert [path for path in left if node.call(os.path.lexists, path)] == []
    node.call(build_at_once, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


def test_what_another_process_is_writing_is_not_swept(node: Node) -> None:
    path = f"/var/lib/netpath/.netpath-{'0' * 16}"

    def build_meanwhile() -> bool:
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            build_at_once([PODS])
            return os.path.exists(path)

    assert node.call(build_meanwhile)


def synced(function: t.Callable[[], None]) -> list[str]:
    """The paths that are brought to the disk, in order."""
    found = []
    real = os.fsync

    def noting(fd: t.Any) -> None:
        found.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    os.fsync = noting
    function()
    return found


def test_new_and_deleted_files_are_on_disk_with_their_folders(node: Node) -> None:
    def write() -> None:
        files.write("/etc/netpath/networks.d/x.json", "{}")

    def delete() -> None:
        files.delete("/etc/netpath/networks.d/x.json")

    new = node.call(synced, write)
    assert new[:2] == ["/etc", "/etc/netpath"]
    assert new[2].startswith("/etc/netpath/networks.d/.netpath-")
    assert new[3:] == ["/etc/netpath/networks.d"]
    assert node.call(synced, delete) == ["/etc/netpath", "/etc"]
    shell(node, "echo > /etc/sysctl.d/x.conf")
    assert node.call(synced, lambda: files.delete("/etc/sysctl.d/x.conf")) == ["/etc/sysctl.d"]


def test_audit_is_bounded(node: Node) -> None:
    """Whoever brings a network out of order again and again fills no disk, and no line is lost before its time."""

    def write_many() -> None:
        audit.LARGEST, audit.KEPT = 2000, 3
        for number in range(60):
            audit.write(audit.Line("watch", str(number), [], {}, {}))

    node.call(write_many)
    names = shell(node, "ls /var/log/netpath").split()
    assert names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"]
    lines = shell(node, "cd /var/log/netpath; cat audit.jsonl.3 audit.jsonl.2 audit.jsonl.1 audit.jsonl").splitlines()
    numbers = [int(json.loads(line)["network"]) for line in lines]
    assert numbers == list(range(60 - len(numbers), 60))
    assert all(int(size) <= 2000 for size in shell(node, "stat -c %s /var/log/netpath/*").split())


def test_no_line_of_the_audit_is_lost_to_another_process(node: Node) -> None:
    def write_at_once() -> None:
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                for number in range(50):
                    files.append(audit.PATH, f"{child} {number}\n".encode(), 0o640, 100, 200)
                os._exit(0)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4

    node.call(write_at_once)
    lines = shell(node, "cat /var/log/netpath/*").splitlines()
    assert sorted(lines) == sorted(f"{child} {number}" for child in range(4) for number in range(50))


def test_name_of_a_process_steers_no_terminal(node: Node) -> None:
    """Root in a namespace gives its processes any name."""
    node.call(build_at_once, [PODS])
    name = r"\033]0;PWN\007\033[2J"
    script = f"printf '{name}' > /proc/self/comm; echo there; read line"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with node.popen(["ip", "netns", "exec", "c1", "bash", "-c", script], **pipes) as process:
        assert process.stdout is not None
        assert "there" in str(process.stdout.readline())
        refused = run(node, "netns", {"name": "c1", "state": "absent"})
        process.communicate("\n")
    assert "processes live in it" in refused["msg"], refused
    for text in (refused["msg"], refused["found"]):
        assert text.isprintable(), text
        assert r"\x1b]0;PWN" in text


def test_name_of_a_link_steers_no_terminal(node: Node) -> None:
    """Nor its alias, nor what a diagnosis says of either."""
    odd = "\x1b]0;P\x07"
    node.call(build_at_once, [PODS])
    node.run(["ip", "-n", "c1", "link", "set", "eth0", "down"])
    node.run(["ip", "-n", "c1", "link", "set", "eth0", "name", odd, "alias", f"netpath:pods {odd}"])
    repaired = run(node, "egress_path", {"networks": [PODS]}, check=True)
    assert repaired["actions"] or repaired["msg"]
    for text in (*repaired.get("actions", ()), repaired.get("msg", "")):
        assert text.isprintable(), text
    for one in run(node, "egress_check", {"networks": [PODS], "probe": False})["verdicts"]:
        for text in (one["summary"], one["fix"], *one["evidence"]):
            assert text.isprintable(), text


def test_directory_of_a_service_goes_with_its_last_link(node: Node) -> None:
    def linked(kind: str) -> bool:
        folder = f"/etc/systemd/system/kept.{kind}.wants"
        files.link(f"{folder}/netpath-egress-restore.service", "/etc/systemd/system/netpath-egress-restore.service")
        files.delete(f"{folder}/netpath-egress-restore.service")
        return os.path.isdir(folder)

    assert (node.call(linked, "service"), node.call(linked, "target")) == (False, True)
    node.run(["rmdir", "/etc/systemd/system/kept.target.wants"])
