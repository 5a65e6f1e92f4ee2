"""The program netpath-egress, built and run as a process in a node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check
from ansible_collections.netpath.egress.plugins.module_utils._engine.inventory import SECTIONS, inventory
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import VERSION, bundle

from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once, unreachable_from
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

Done = subprocess.CompletedProcess[str]
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}
TARGET, TARGET6 = probe.TARGETS[4], probe.TARGETS[6]
BOTH = ("--target", TARGET, "--target", TARGET6)
NETWORKS = "/etc/netpath/networks.d"
OK, BROKEN, DOUBTFUL, USAGE, FAILED = range(5)


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        made = world.nodes[0]
        made.call(build_at_once, [PODS])
        script(made, f"mkdir -p {NETWORKS}")
        made.run(["tee", f"{NETWORKS}/pods.json"], input=json.dumps({"version": 1, "network": PODS}))
        assert unreachable_from(made, "c1", "c2") == []
        yield made


def script(node: Node, text: str) -> None:
    node.run(["sh", "-ec", text])


@pytest.fixture
def run(node: Node, program: str) -> t.Callable[..., Done]:
    """Run the program as cron would: nearly nothing in the environment."""

    def run_it(*arguments: str, text: str | None = None, **environment: str) -> Done:
        bare = ["env", "-i", "PATH=/usr/bin:/bin", *(f"{name}={value}" for name, value in environment.items())]
        done = node.run([*bare, program, *arguments], check=False, input=text)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run_it


Run = t.Callable[..., Done]


def test_same_files_give_the_same_bytes(program: str) -> None:
    built = Path(program).read_bytes()
    assert bundle.executable(sys.executable) == built
    assert bundle.is_ours(built)
    with zipfile.ZipFile(program) as archive:
        assert archive.testzip() is None
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_known_again_unless_it_is_another_or_damaged(program: str) -> None:
    built = Path(program).read_bytes()
    assert bundle.is_same(built, sys.executable)
    assert not bundle.is_same(built, "/usr/bin/python3.99")
    place = built.index(b"import argparse")
    assert not bundle.is_same(built[:place] + b"I" + built[place + 1 :], sys.executable)
    assert not bundle.is_same(b"#!/bin/sh\n", sys.executable)


def test_it_needs_no_ansible(program: str) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import netpath_egress.program.main\n"
    code += "print([name for name in sys.modules if 'ansible' in name])"
    done = subprocess.run([sys.executable, "-I", "-c", code, program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout == f"netpath-egress {VERSION}\n"
    for arguments in (["--help"], ["check", "--help"], ["import", "--help"], ["show", "--help"], ["trace", "--help"]):
        done = run(*arguments, LC_ALL="C")
        assert (done.returncode, done.stderr) == (OK, "")
        assert done.stdout.startswith("usage: netpath-egress")


@pytest.mark.smoke
def test_healthy_paths_are_one_line(run: Run) -> None:
    done = run("check", *BOTH)
    assert (done.returncode, done.stdout) == (OK, "OK: 4 paths: c1 ipv4, c1 ipv6, c2 ipv4, c2 ipv6\n"), done
    assert run("check").returncode == OK


def test_nothing_sent_is_unknown(run: Run) -> None:
    done = run("check", "--no-probe")
    told = "UNKNOWN: 4 paths, as nobody was asked who has to answer: c1 ipv4, c1 ipv6, c2 ipv4, c2 ipv6\n"
    assert (done.returncode, done.stdout) == (DOUBTFUL, told)


def test_degraded(node: Node, run: Run) -> None:
    script(node, "ip -n c1 link set lo down")
    try:
        done = run("check", "--target", TARGET)
    finally:
        node.call(build_at_once, [PODS])
    assert done.returncode == DOUBTFUL
    assert done.stdout.startswith("DEGRADED c1 (IPv4): "), done.stdout


def test_broken(node: Node, run: Run) -> None:
    script(node, "sysctl -qw net.ipv4.ip_forward=0")
    try:
        text, data = run("check", "--target", TARGET), run("check", "--target", TARGET, "--json")
        asked = node.call(lambda: check([PODS], [_target()]))
    finally:
        script(node, "sysctl -qw net.ipv4.ip_forward=1")
    assert (text.returncode, data.returncode) == (BROKEN, BROKEN)
    lines = text.stdout.splitlines()
    assert lines[0] == "BROKEN c1 (IPv4): the host does not forward IPv4 (FORWARDING_OFF at host_forwarding)"
    assert "  x host_forwarding" in lines
    assert "  seen: net.ipv4.ip_forward = 0" in lines
    assert [line for line in lines if line.startswith("  fix (declared): ")]
    assert "\033" not in text.stdout
    codes = [(one["namespace"], one["family"], one["code"]) for one in json.loads(data.stdout)["verdicts"]]
    assert codes == [(one["namespace"], one["family"], one["code"]) for one in asked]
    assert ("c1", "ipv4", "FORWARDING_OFF") in codes


def _target() -> t.Any:
    from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets

    return targets.parsed([TARGET])[0]


@pytest.mark.parametrize("shape", [PODS, [PODS], {"version": 1, "network": PODS}], ids=["one", "list", "versioned"])
def test_networks_from_a_file_and_the_standard_input(run: Run, tmp_path: Path, shape: t.Any) -> None:
    path = tmp_path / "networks.json"
    path.write_text(json.dumps(shape), encoding="utf-8")
    for done in (run("check", "--networks", str(path)), run("check", "--networks", "-", text=json.dumps(shape))):
        assert (done.returncode, done.stdout[:12]) == (OK, "OK: 4 paths:"), done


def test_namespaces_that_nobody_described(node: Node, run: Run, program: str) -> None:
    script(node, f"mv {NETWORKS} {NETWORKS}.away; ip netns add bare; ip -n bare link add eth0 type bridge")
    script(node, "ip link add bare0 type veth peer name eth1 netns bare")
    # In a PID namespace, so that it sees no process, and sends nothing from any namespace, of others on this machine.
    alone = ["unshare", "--pid", "--fork", "--mount-proc", program]
    try:
        by_name = run("check", "--netns", "c1", *BOTH)
        everything = node.run([*alone, "check", "--all", "--json", "--target", TARGET], check=False)
        with node.popen(["ip", "netns", "exec", "c2", "sleep", "100"]) as process:
            await_sleep(process.pid)
            by_process = run("check", "--pid", str(process.pid), *BOTH)
            process.kill()
    finally:
        script(node, f"ip netns del bare; mv {NETWORKS}.away {NETWORKS}")
    assert everything.returncode == BROKEN, everything.stderr
    assert (by_name.returncode, by_name.stdout) == (OK, "OK: 2 paths: c1 ipv4, c1 ipv6\n"), by_name
    assert (by_process.returncode, by_process.stdout) == (OK, "OK: 2 paths: c2 ipv4, c2 ipv6\n"), by_process
    verdicts = {(one["namespace"], one["family"]): one["status"] for one in json.loads(everything.stdout)["verdicts"]}
    assert verdicts["c1", "ipv4"] == verdicts["c2", "ipv4"] == "ok"
    assert verdicts["bare", "ipv4"] == "broken"


def await_sleep(pid: int) -> None:
    while Path(f"/proc/{pid}/comm").read_text(encoding="ascii") != "sleep\n":
        pass


def test_without_networks(node: Node, run: Run) -> None:
    script(node, f"mv {NETWORKS} {NETWORKS}.away")
    try:
        done = run("check")
    finally:
        script(node, f"mv {NETWORKS}.away {NETWORKS}")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert NETWORKS in done.stderr
    assert "--all" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required"),
        (["chek"], "invalid choice"),
        (["check", "--probe"], "--probe"),
        (["check", "extra"], "unrecognized"),
        (["check", "--target", "nowhere"], "'nowhere' is no target"),
        (["check", "--target", "tcp://198.51.100.80"], "has no port"),
        (["check", "--target", "198.51.100.80:99999"], "port"),
        (["check", "--networks", "/nowhere"], "/nowhere: cannot be read: No such file"),
        (["check", "--networks", "/etc"], "/etc: cannot be read"),
        (["check", "--networks", "/proc/self/mem"], "/proc/self/mem: cannot be read"),
        (["check", "--networks", "/dev/zero"], "is larger than"),
        (["check", "--networks", "a", "--all"], "not allowed with"),
        (["check", "--pid", "-1"], "--pid"),
        (["check", "--pid", "0"], "is no process number"),
        (["check", "--pid", "4194303"], "4194303"),
        (["check", "--netns", "nowhere"], "nowhere"),
        (["check", "--netns", "../c1"], "is no namespace name"),
        (["show", "everything"], "there is no section 'everything'"),
        (["trace"], "TARGET"),
        (["trace", "nowhere"], "'nowhere' is no target"),
        (["trace", "--netns", "nowhere", TARGET], "there are c1, c2"),
        (["trace", "--netns", "", TARGET], "is no namespace name"),
        (["trace", "--netns", "\udcff\n", TARGET], "is no namespace name"),
        (["trace", "--pid", "x", TARGET], "is no process number"),
        (["trace", "--pid", "4194303", TARGET], "there is no process"),
        (["trace", "--wait", "nan", TARGET], "is no number of seconds"),
        (["trace", "--wait", "-1", TARGET], "is no number of seconds"),
    ],
)
def test_bad_usage(run: Run, arguments: list[str], words: str) -> None:
    done = run(*arguments, LC_ALL="C")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no JSON"),
        ("\x00\xff", "is no JSON"),
        ("[" * 100000, "is no JSON"),
        ("null", "has no network"),
        ("7", "has no network"),
        ('"pods"', "has no network"),
        ("[7]", "is not a mapping"),
        ('{"version": 2, "network": {}}', "has version 2"),
        ('{"version": true, "network": {}}', "has version True"),
        ('{"version": 1}', "has no network"),
        ('{"name": "pods"}', "subnets"),
        ('{"name": "pods", "subnets": 7}', "subnets"),
        ('{"name": "pods", "subnets": ["10.22.33.0/24"], "colour": "red"}', "unknown key"),
        ('{"name": "pods", "subnets": ["10.22.33.1/24"]}', "10.22.33.0/24"),
        ('{"name": "p\\u0000", "subnets": ["10.22.33.0/24"]}', "is no network name"),
        ('{"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": [NaN]}', "namespaces[0]"),
    ],
)
def test_bad_networks(run: Run, text: str, words: str) -> None:
    done = run("check", "--networks", "-", text=text)
    assert (done.returncode, done.stdout) == (USAGE, ""), done
    assert words in done.stderr


def test_bad_file_of_a_network(node: Node, run: Run) -> None:
    node.run(["tee", f"{NETWORKS}/zz.json"], input="{")
    try:
        done = run("check")
    finally:
        script(node, f"rm {NETWORKS}/zz.json")
    assert done.returncode == USAGE
    assert f"{NETWORKS}/zz.json: is no JSON" in done.stderr


def test_without_rights(node: Node, program: str) -> None:
    done = node.run(["setpriv", "--bounding-set=-all", "--inh-caps=-all", program, "show"], check=False)
    assert done.returncode == FAILED
    assert "lacks CAP_NET_ADMIN and CAP_SYS_ADMIN. Run it as root" in done.stderr


def test_without_pyroute2(node: Node, program: str) -> None:
    done = node.run([sys.executable, "-I", "-S", program, "check"], check=False)
    assert done.returncode == FAILED
    assert "pyroute2 is missing. Install the package python3-pyroute2, 0.7.2 or later, for" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_show(node: Node, run: Run) -> None:
    text, data = run("show"), run("show", "--json")
    assert (text.returncode, data.returncode) == (OK, OK)
    assert tuple(json.loads(data.stdout)) == SECTIONS
    assert [line for line in text.stdout.splitlines() if not line.startswith(" ") and line] == [
        f"{section}:" for section in SECTIONS
    ]
    # Processes of other worlds of this machine are in namespaces of their own.
    (line,) = [line for line in run("show", "links").stdout.splitlines() if line.split()[:2] == ["(host)", "np-c1"]]
    assert {"veth", "up", "br0", "c1/eth0", "pods"} <= set(line.split())
    told = json.loads(run("show", "--json", "forwarding", "uplinks").stdout)
    assert told["uplinks"] == node.call(inventory, ("uplinks",))["uplinks"]
    assert list(told) == ["forwarding", "uplinks"]


def test_names_with_control_characters(node: Node, run: Run) -> None:
    node.run(["ip", "link", "add", "x\x1b[31m\x07", "type", "bridge"])
    try:
        done = run("show", "links", LC_ALL="C")
    finally:
        node.run(["ip", "link", "del", "x\x1b[31m\x07"])
    assert "\x1b" not in done.stdout
    assert r"x\x1b[31m\x07" in done.stdout


def test_import(node: Node, run: Run) -> None:
    text, data = run("import"), run("import", "--json")
    assert (text.returncode, data.returncode) == (OK, OK)
    assert text.stdout.splitlines() == [
        "egress_networks:",
        "  - name: pods",
        "    bridge: br0",
        '    subnets: [10.22.33.0/24, "fd00:22:33::/64"]',
        "    namespaces: [c1, c2]",
    ]
    assert json.loads(data.stdout) == {"egress_networks": [PODS], "notes": []}
    node.run(["ip", "netns", "add", "bare"])
    try:
        noted = run("import")
    finally:
        node.run(["ip", "netns", "del", "bare"])
    assert noted.returncode == OK
    assert [line for line in noted.stdout.splitlines() if line.startswith("# namespace bare: it has no link (")]


def test_trace_shows_the_translated_source(node: Node, run: Run) -> None:
    for target, source, public in ((TARGET, "10.22.33.2", node.address), (TARGET6, "fd00:22:33::2", node.address6)):
        done = run("trace", "--netns", "c1", target)
        assert done.returncode == OK, done.stdout
        lines = done.stdout.splitlines()
        assert lines[0] == f"icmp {target} from c1"
        (changed,) = [line for line in lines if f"source changed from {source} to {public}" in line]
        assert "host uplink0" in changed
        assert "sends" in changed
        (back,) = [line for line in lines if f"destination changed from {public} to {source}" in line]
        assert " back " in back
        assert lines[-1].startswith("answered after ")
        times = [float(line.split()[0]) for line in lines[1:-1]]
        assert times == sorted(times)
        assert 0 <= times[0] <= times[-1] < 1000


def test_trace_as_json(node: Node, run: Run) -> None:
    done = run("trace", "--json", "--netns", "c1", f"tcp://{TARGET}:7070")
    told = json.loads(done.stdout)
    assert (done.returncode, told["answered"], told["target"]) == (OK, True, f"tcp {TARGET}:7070")
    links = [(sight["place"], sight["link"]) for sight in told["sights"] if not sight["back"]]
    assert links == [("inside", "eth0"), ("host", "np-c1"), ("host", "br0"), ("host", "uplink0")]
    assert {sight["source"] for sight in told["sights"] if sight["link"] == "uplink0"} == {node.address, TARGET}


def test_trace_from_the_host_and_from_a_process(node: Node, run: Run) -> None:
    assert run("trace", TARGET).returncode == OK
    with node.popen(["ip", "netns", "exec", "c1", "sleep", "100"]) as process:
        await_sleep(process.pid)
        done = run("trace", "--pid", str(process.pid), TARGET)
        process.kill()
    assert done.returncode == OK
    assert "10.22.33.2" in done.stdout


def test_trace_names_the_last_link(node: Node, run: Run) -> None:
    script(node, "sysctl -qw net.ipv4.ip_forward=0")
    try:
        text = run("trace", "--netns", "c1", "--wait", "0.3", TARGET)
        data = json.loads(run("trace", "--json", "--netns", "c1", "--wait", "0.3", TARGET).stdout)
    finally:
        script(node, "sysctl -qw net.ipv4.ip_forward=1")
    assert text.returncode == BROKEN
    last = text.stdout.splitlines()[-1]
    assert last == f"lost: no answer in 0.3 s; the packet was last received by host br0 as 10.22.33.2 > {TARGET}"
    assert (data["last"]["place"], data["last"]["link"]) == ("host", "br0")


def test_trace_shows_errors_on_the_way(node: Node, run: Run) -> None:
    script(node, "ip route add unreachable 203.0.113.0/24")
    try:
        done = run("trace", "--netns", "c1", "203.0.113.80")
    finally:
        script(node, "ip route del unreachable 203.0.113.0/24")
    assert done.returncode == BROKEN
    assert "ICMP type 3, code 1" in done.stdout
    assert "10.22.33.1 > 10.22.33.2" in done.stdout


def test_trace_that_cannot_be_sent(node: Node, run: Run) -> None:
    script(node, "ip -n c1 route del default")
    try:
        done = run("trace", "--netns", "c1", TARGET)
    finally:
        node.call(build_at_once, [PODS])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (BROKEN, "not sent: Network is unreachable")


def test_reader_that_goes_away(node: Node, program: str) -> None:
    """The exit code is still that of the verdict."""
    reader, writer = os.pipe()
    os.close(reader)
    for arguments in (["check"], ["show"], ["trace", "--netns", "c1", TARGET]):
        with node.popen([program, *arguments], stdout=writer, stderr=subprocess.PIPE) as process:
            _out, errors = process.communicate()
        assert (process.returncode, errors) == (OK, "")
    os.close(writer)


def test_interrupt_is_quiet(node: Node, program: str) -> None:
    # Who started the tests may have had the signal ignored, which is inherited.
    argv = ["env", "--default-signal=INT", program, "trace", "--netns", "c1", "--wait", "60", "198.51.100.99"]
    with node.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _out, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_on_a_terminal_only(node: Node, program: str, variables: dict[str, str], coloured: bool) -> None:
    outer, inner = os.openpty()
    environment = {"TERM": "xterm", **variables, "PATH": os.environ["PATH"]}
    with node.popen([program, "check"], stdout=inner, env=environment) as process:
        process.wait()
    os.close(inner)
    told = os.read(outer, 4096).decode()
    os.close(outer)
    assert ("\033[32mOK" in told) is coloured, told


def test_it_leaves_nothing(node: Node, run: Run) -> None:
    before = settled(node)
    run("check")
    run("show")
    run("import")
    run("trace", "--netns", "c1", TARGET)
    assert difference(before, settled(node)) == ""
