"""Every how-to, command by command, on nodes of a world: packets arrive as it says, and it undoes what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.lab import inventory, privilege, probe
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import GATEWAY, GATEWAY6, World, wire
from tests.support import howto_parser
from tests.support.building import seen_from
from tests.support.echo_service import serving, who

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# /usr/local is the machine's own, also in a node.
PROGRAM = "/etc/netpath-egress"
OWN = {4: "own", 6: "own"}
OWN4 = {4: "own"}
_DROPS = "for program in iptables-nft ip6tables-nft; do $program -P FORWARD DROP; done\n"
_NAMED_ETH0 = f"""
ip link set uplink0 down; ip link set uplink0 name eth0; ip link set eth0 up
ip address replace $own6/64 dev eth0 nodad
ip route replace default via {GATEWAY} dev eth0; ip -6 route replace default via {GATEWAY6} dev eth0
"""
_SECOND = "198.18.77.1"

Check = t.Callable[[World, Node, Path], None]


@dataclass(frozen=True)
class Instead:
    """Why a command of a page is not run here as it stands, and what is run in its place: "" for nothing."""

    why: str
    command: str = ""


@dataclass(frozen=True)
class Trial:
    """How a how-to is tried.

    host: a script that makes of a node such a host as it is written for. second: another interface on the segment.
    seen: {namespace: {family: whom the internet sees}}, "own" for the address of the node. told: what commands say.
    instead: {command of the how-to: what is done here}. elsewhere: where what needs a booted node is tried.
    """

    seen: t.Mapping[str, t.Mapping[int, str]]
    nodes: int = 1
    host: str = ""
    second: str = ""
    told: tuple[str, ...] = ()
    instead: t.Mapping[str, Instead] = field(default_factory=dict)
    elsewhere: str = ""
    check: Check | None = None


def nothing_leaks(world: World, node: Node, _directory: Path) -> None:
    """Without the VPN nothing leaves by the host's own way; a proxy on the bridge's address is reached."""
    assert "mtu 1420" in node.run(["ip", "link", "show", "br-hidden"]).stdout
    with serving(node, "", "10.40.0.1"):
        assert node.call(who, "10.40.0.1", 7070, namespace="ns1") == ("10.40.0.2", "10.40.0.1")
    node.run(["ip", "link", "set", "wg0", "down"])
    earlier = len(world.internet.seen())
    told = node.namespace_run("ns1", ["ping", "-c", "1", "-w", "1", probe.TARGETS[4]], check=False).stdout
    assert "Destination Host Unreachable" in told
    assert world.internet.seen()[earlier:] == []
    node.run(["ip", "link", "set", "wg0", "up"])
    # As wg-quick does each time that it comes up.
    commands = [
        command for section, command in howto_parser.read("vpn-or-proxy").commands if section != howto_parser.UNDO
    ]
    for command in commands:
        if command.startswith("ip r"):
            node.run(["sh", "-ec", command])
    assert node.call(who, probe.TARGETS[4], 7070, namespace="ns1")[0] == _SECOND


def cluster_sees_namespaces(world: World, node: Node, _directory: Path) -> None:
    world.internet.run(["ip", "address", "add", "10.244.1.1/32", "dev", "lo"])
    node.namespace_run("probe1", ["ping", "-c", "1", "-w", "1", "10.244.1.1"], check=False)
    asked = [entry.client for entry in world.internet.seen() if entry.server == "10.244.1.1"]
    assert asked == ["10.77.0.2"]


def other_uplink_takes_over(_world: World, node: Node, _directory: Path) -> None:
    node.run(["ip", "route", "del", "default", "dev", "eth0"])
    assert node.call(seen_from, "ns1", probe.TARGETS[4]) == _SECOND
    node.run(["ip", "route", "add", "default", "via", GATEWAY, "dev", "eth0"])


def port_is_published(world: World, node: Node, _directory: Path) -> None:
    with serving(node, "web1", "10.60.0.2"):
        assert world.internet.call(who, node.address, 8080) == (GATEWAY, "10.60.0.2")


def reports_compare(_world: World, _node: Node, directory: Path) -> None:
    for folder in ("reports", "today"):
        assert {path.name for path in (directory / folder).iterdir()} >= {"report.html", "report.json", "junit.xml"}
    first, second = (json.loads((directory / name / "report.json").read_text()) for name in ("reports", "today"))
    assert second["history"]["previous"] == first["generated"]


def metrics_name_the_code(_world: World, node: Node, _directory: Path) -> None:
    def metrics() -> str:
        node.run([PROGRAM, "watch", "--metrics", "/run/metrics.prom"], check=False)
        return node.run(["grep", "path_status", "/run/metrics.prom"]).stdout

    assert 'namespace="ns1",network="pods",family="ipv4",status="ok"' in metrics()
    node.run(["ip", "link", "set", "np-ns1", "nomaster"])
    assert 'code="PORT_NOT_ON_BRIDGE"' in metrics()


TRIALS: dict[str, Trial] = {
    "laptop-lab": Trial(
        dict.fromkeys(["red", "blue", "green"], OWN),
        told=("OK: 6 paths on 1 host\n",),
        instead={
            "sudo ip netns exec red bash": Instead(
                "there is no terminal, and whoever follows the page is root", "ip netns exec red bash </dev/null"
            ),
        },
    ),
    "fleet": Trial(dict.fromkeys(["c1", "c2", "c3"], OWN), nodes=2, told=("OK: 12 paths on 2 hosts\n",)),
    "vpn-or-proxy": Trial(
        {"ns1": {4: _SECOND}},
        second="wg0",
        host="ip link set wg0 mtu 1420",
        told=("OK: 1 path on 1 host",),
        instead={
            "ip netns exec ns1 env https_proxy=http://10.40.0.1:3128 curl https://www.example.org/": Instead(
                "the internet has no such site; nothing_leaks reaches a service on the bridge's address from ns1"
            ),
        },
        check=nothing_leaks,
    ),
    "beside-docker": Trial(
        dict.fromkeys(["ns1", "ns2"], OWN),
        host=f"{_DROPS}for program in iptables-nft ip6tables-nft; do"
        " $program -N DOCKER-USER; $program -A FORWARD -j DOCKER-USER; done",
        told=("OK: 4 paths on 1 host\n", "Chain netpath-pods (1 references)"),
        elsewhere="molecule/firewalls",
    ),
    "beside-kubernetes": Trial(
        dict.fromkeys(["probe1", "probe2"], OWN4),
        host=_DROPS,
        told=("OK: 2 paths on 1 host\n", "10.96.0.0/12"),
        check=cluster_sees_namespaces,
    ),
    "several-uplinks": Trial(
        {"ns1": OWN4},
        host=f"{_NAMED_ETH0}ip route add default via {GATEWAY} dev eth1 metric 900",
        second="eth1",
        told=("OK: 1 path on 1 host\n",),
        check=other_uplink_takes_over,
    ),
    "ipv6-only": Trial({"six1": {6: "own"}, "six2": {6: "2001:db8:61::2"}}, told=("OK: 2 paths on 1 host\n",)),
    "fixed-source": Trial(
        {"ns1": {4: "198.18.0.77"}},
        host=_NAMED_ETH0,
        told=("OK: 1 path on 1 host\n", "snat ip to 198.18.0.77"),
    ),
    "service": Trial(
        {"web1": OWN4},
        told=("OK: 1 path on 1 host\n",),
        instead={
            "ansible-playbook -i inventory.yml play.yml": Instead(
                "its unit takes systemd, which a node has not", "ansible-playbook -i inventory.yml netpath.egress.site"
            ),
            "ansible node1.example.org -i inventory.yml -b -a"
            " 'sh -c \"systemctl disable --now web1; rm /etc/systemd/system/web1.service\"'": Instead(
                "its unit takes systemd, which a node has not"
            ),
        },
        elsewhere="molecule/default",
        check=port_is_published,
    ),
    "nightly-sweep": Trial(
        dict.fromkeys(["ns1", "ns2"], OWN4),
        nodes=2,
        instead={
            command: Instead("the controller's own systemd is left alone; a booted node runs the timer")
            for command in (
                "systemctl --user enable --now sweep.timer",
                "loginctl enable-linger",
                "systemctl --user disable --now sweep.timer",
            )
        },
        elsewhere="tests/system/test_how_to_timer.py",
        check=reports_compare,
    ),
    "alerts": Trial(
        {"ns1": OWN4},
        instead={
            "ansible node1.example.org -i inventory.yml -b -a"
            " 'systemctl list-timers netpath-egress-watch.timer'": Instead("it takes systemd, which a node has not"),
            "ansible node1.example.org -i inventory.yml -b -a"
            " 'grep path_status /var/lib/prometheus/node-exporter/netpath.prom'": Instead(
                "the timer writes it; metrics_name_the_code reads what the program writes"
            ),
        },
        elsewhere="tests/system/test_persistence.py",
        check=metrics_name_the_code,
    ),
}
# Those of the page for beginners.
START: dict[str, Instead] = dict.fromkeys(
    ["git clone https://github.com/netpath/egress", "ansible-galaxy collection install --force ./egress"],
    Instead("the checkout is on the path of collections; tests/playbooks/test_installed.py installs the archive"),
)
# What only booted nodes can show, and where they do: with all commands of the page.
BOOTED = {"molecule": "tests/system/test_how_to_molecule.py"}


def test_every_how_to_is_tried() -> None:
    assert sorted([*TRIALS, *BOOTED]) == howto_parser.NAMES
    for place in [*BOOTED.values(), *(trial.elsewhere for trial in TRIALS.values())]:
        assert (howto_parser.ROOT / place).exists()


@pytest.mark.parametrize("name", [*TRIALS, howto_parser.START])
def test_every_command_is_run_or_listed(name: str) -> None:
    """And nothing is listed that the page does not have."""
    listed = START if name == howto_parser.START else TRIALS[name].instead
    commands = {command for _section, command in howto_parser.read(name).commands}
    assert {*listed} <= commands
    for command in commands:
        assert place_of(listed[command].command if command in listed else command) or command in listed
    assert [entry for entry in listed.values() if len(entry.why.split()) < 4] == []


@pytest.mark.parametrize(
    "command", ["frobnicate", "curl https://www.example.org/", "sudo ip route", "systemctl start x"]
)
def test_unknown_command_fails(command: str) -> None:
    """Nothing that a page says counts as done because the reader does not know it."""
    with pytest.raises(AssertionError, match="list what stands in for it, and why"):
        place_of(command)


def place_of(command: str) -> str:
    """Where a command of a page is run: host, controller, or "" for one that is "". Any other fails."""
    words = howto_parser.words(command)
    if words[:2] in (["ip", "route"], ["ip", "rule"], ["ip", "address"], ["ip", "netns"]):
        return "host"
    if words[:1] in (["ansible"], ["ansible-playbook"]):
        return "controller"
    assert not words, f"nothing runs {command!r}: list what stands in for it, and why"
    return ""


class Reader:
    """Somebody who does what a page says, with its hosts played by the nodes of a world."""

    def __init__(self, name: str, instead: t.Mapping[str, Instead], world: World, directory: Path) -> None:
        self.page, self.instead = howto_parser.read(name), instead
        self.world, self.directory = world, directory
        self.page.write(directory)
        lab = directory / "lab"
        lab.mkdir()
        known = inventory.write(world, lab)
        hosts = dict(zip(_hosts(directory / "inventory.yml"), _hosts(known).values()))
        # The last inventory has the last word.
        known.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        config = directory / "ansible.cfg"
        self.environment = {
            **os.environ,
            **inventory.environment(known),
            "ANSIBLE_CONFIG": str(config if config.exists() else howto_parser.ROOT / "docs/examples/ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(directory / ".ansible"),
        }

    def follow(self, undo: bool) -> str:
        """Run the commands of the section Undo, or all others, and return what they wrote."""
        chosen = [command for section, command in self.page.commands if (section == howto_parser.UNDO) == undo]
        told = []
        for command in chosen:
            status, output = self.do(command)
            assert status == 0, f"{command}\n{output}"
            told.append(output)
        return "".join(told)

    def do(self, command: str) -> tuple[int, str]:
        """Run a command on the host or the controller: its status, and what it wrote."""
        chosen = self.instead[command].command if command in self.instead else command
        where, argv = place_of(chosen), howto_parser.words(chosen)
        if where == "host":
            return (0, "".join(node.run(["sh", "-ec", chosen]).stdout for node in self.world.nodes))
        if not where:
            return (0, "")
        place = argv.index("inventory.yml") + 1
        argv[place:place] = ["-i", self.environment["LAB_INVENTORY"]]
        done = subprocess.run(
            [str(Path(sys.executable).with_name(argv[0])), *argv[1:], "-e", f"egress_program_path={PROGRAM}"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        return (done.returncode, done.stdout)


def _hosts(path: Path) -> dict[str, t.Any]:
    hosts: dict[str, t.Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["all"]["hosts"]
    return hosts


def prepared(world: World, trial: Trial) -> None:
    for node in world.nodes:
        if trial.second:
            wire(world.segment, node, trial.second, port=f"{node.name}-2")
            node.run(["sh", "-ec", f"ip link set {trial.second} up; ip address add {_SECOND}/16 dev {trial.second}"])
        node.run(["sh", "-ec", f"own6={node.address6}; {trial.host}" if trial.host else "true"])
        world.internet.run(["ip", "route", "replace", "2001:db8:61::/64", "via", node.address6])


# Ansible starts for each command of a page.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TRIALS)
def test_how_to(name: str, tmp_path: Path) -> None:
    trial = TRIALS[name]
    with World(nodes=trial.nodes) as world:
        prepared(world, trial)
        reader = Reader(name, trial.instead, world, tmp_path)
        before = [settled(node) for node in world.nodes]
        told = reader.follow(undo=False)
        assert [words for words in trial.told if words not in told] == [], told
        for node in world.nodes:
            own = {4: node.address, 6: node.address6}
            for namespace, wanted in trial.seen.items():
                seen = {family: node.call(seen_from, namespace, probe.TARGETS[family]) for family in wanted}
                assert seen == {family: own[family] if source == "own" else source for family, source in wanted.items()}
            if trial.check:
                trial.check(world, node, tmp_path)
        reader.follow(undo=True)
        for node, earlier in zip(world.nodes, before):
            assert difference(earlier, settled(node)) == ""


@pytest.mark.timeout(600)
def test_start(tmp_path: Path) -> None:
    """The page for beginners: all of it, with the fault that it makes."""
    with World(nodes=1) as world:
        (node,) = world.nodes
        before = settled(node)
        reader = Reader(howto_parser.START, START, world, tmp_path)
        done = [reader.do(command) for _section, command in reader.page.commands]
        # The diagnosis fails for what was broken.
        assert [status for status, _output in done] == [0, 0, 0, 0, 0, 0, 2, 0, 0, 0], done
        (said,) = reader.page.unnamed
        assert said in done[6][1]
        assert difference(before, settled(node)) == ""
