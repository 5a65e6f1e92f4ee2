"""Ports of a host that lead into namespaces: who reaches what, and whom the service saw, by packets."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import iptables, rulesets
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST, Ruleset
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import Publication, PublishRules, Rules

from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import Node, World
from tests.support.building import build, build_at_once, refusal, unreachable_from
from tests.support.echo_service import answered, serving, who
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-legacy-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

BACKENDS = ("nftables", *iptables.FLAVOURS)
C1, C2 = ("10.22.33.2", "fd00:22:33::2"), ("10.22.33.3", "fd00:22:33::3")
FILTERS = ("INPUT", "FORWARD", "OUTPUT")
GATEWAY = ("10.22.33.1", "fd00:22:33::1")
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
    "publish": [
        {"port": 8080, "to": "c1:7070"},
        {"port": 8080, "protocol": "udp", "to": "c1:7070"},
        {"port": "7070-7071", "to": "c2"},
    ],
}
LAB: Options = {"name": "lab", "bridge": "br1", "subnets": ["10.44.0.0/24", "fd00:44::/64"], "namespaces": ["l1"]}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@contextlib.contextmanager
def services(node: Node) -> t.Iterator[None]:
    with serving(node, "c1", *C1), serving(node, "c2", *C2):
        yield


def prefer(node: Node, backend: str) -> str:
    """Have a node use a back end, and return what a network must ask for."""
    if backend == "iptables-legacy":
        # The flavour that is in use is the one that is taken.
        for program in ("iptables-legacy", "ip6tables-legacy"):
            node.run([program, "-t", "nat", "-A", "POSTROUTING", "-o", "lo", "-j", "RETURN"])
    for program in ("iptables-legacy", "ip6tables-legacy") if backend == "iptables-legacy" else ():
        # The kernel keeps a table, once it is in use.
        for table, chains in (("nat", ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")), ("filter", FILTERS)):
            for chain in chains:
                node.run([program, "-t", table, "-P", chain, "ACCEPT"])
    return "nftables" if backend == "nftables" else "iptables"


def seen_by_services(world: World, node: Node, family: int) -> dict[str, tuple[str, str]]:
    """(client, server) as the services saw them, by who asked."""
    address = (node.address, node.address6)[family]
    return {
        "outside tcp": world.internet.call(who, address, 8080),
        "outside udp": world.internet.call(who, address, 8080, "udp"),
        "outside range": world.internet.call(who, address, 7070),
        "host": node.call(who, address, 8080),
        "host udp": node.call(who, address, 8080, "udp"),
        "hairpin": node.call(who, address, 8080, "tcp", "c2"),
        "hairpin udp": node.call(who, address, 8080, "udp", "c2"),
        "hairpin to itself": node.call(who, address, 8080, "tcp", "c1"),
        "hairpin at the gateway": node.call(who, GATEWAY[family], 8080, "tcp", "c2"),
        "another network": node.call(who, address, 8080, "tcp", "l1"),
    }


@pytest.mark.parametrize("drop", [False, True], ids=["", "FORWARD drops"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_who_reaches_a_published_port(world: World, node: Node, backend: str, drop: bool) -> None:
    firewall = prefer(node, backend)
    if drop:
        for program in ("iptables-nft", "ip6tables-nft"):
            node.run([program, "-P", "FORWARD", "DROP"])
    before = settled(node)
    networks = [{**PODS, "firewall": firewall}, {**LAB, "firewall": firewall}]
    actions = node.call(build_at_once, networks)
    where = "" if backend == "nftables" else f" in {backend}"
    text = "tcp 7070-7071 to 10.22.33.3, tcp 8080 to 10.22.33.2:7070, udp 8080 to 10.22.33.2:7070"
    assert any(line.startswith(f"create published ports of pods{where}: {text}, tcp 7070") for line in actions)
    assert node.call(build, networks) == []
    with services(node):
        for family in (0, 1):
            outside = ("198.18.0.1", "2001:db8:18::1")[family]
            own = (node.address, node.address6)[family]
            bridge = GATEWAY[family]
            assert seen_by_services(world, node, family) == {
                "outside tcp": (outside, C1[family]),
                "outside udp": (outside, C1[family]),
                "outside range": (outside, C2[family]),
                "host": (own, C1[family]),
                "host udp": (own, C1[family]),
                "hairpin": (bridge, C1[family]),
                "hairpin udp": (bridge, C1[family]),
                "hairpin to itself": (bridge, C1[family]),
                "hairpin at the gateway": (bridge, C1[family]),
                "another network": (bridge, C1[family]),
            }
            # What the namespaces say to each other directly, and to the world, stays as it was.
            assert node.call(who, C1[family], 7070, "tcp", "c2") == (C2[family], C1[family])
            refused = world.internet.call(who, own, 8081, "tcp", "", 0.3)
            assert not answered(refused)
        assert unreachable_from(node, "c1", "c2", "l1") == []
    node.call(build_at_once, networks, absent=True)
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_flows_follow_a_published_port(world: World, node: Node, backend: str, family: int) -> None:
    """A flow that went to the old place goes to the new one; one that began before the port was published, too."""
    firewall = prefer(node, backend)
    address = (node.address, node.address6)[family]
    node.call(build_at_once, [{**PODS, "publish": [], "firewall": firewall}])
    with services(node):
        for to, expected in (("", None), ("c1:7070", C1), ("c2:7070", C2), ("", None), ("c2:7070", C2)):
            publish = [{"port": 8080, "protocol": "udp", "to": to}] if to else []
            node.call(build_at_once, [{**PODS, "publish": publish, "firewall": firewall}])
            assert world.internet.call(same_flow, address) == (expected[family] if expected else None)


def same_flow(target: str) -> str | None:
    """The server that answers a datagram from port 5555, always the same flow."""
    with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("", 5555))
        opened.settimeout(0.5)
        for _attempt in range(3):
            with contextlib.suppress(OSError):
                opened.sendto(b"who\n", (target, 8080))
                return str(json.loads(opened.recv(1000))["server"])
    return None


def test_other_flows_go_on(world: World, node: Node) -> None:
    node.call(build_at_once, [PODS])
    with services(node):
        assert answered(world.internet.call(who, node.address, 8080, "udp"))
        assert answered(world.internet.call(who, node.address, 7070))
        changed = {**PODS, "publish": [PODS["publish"][2], {"port": 8080, "protocol": "udp", "to": "c2:7070"}]}
        actions = ["replace published ports of pods", "change veth np-c1: hairpin on -> off"]
        assert node.call(build_at_once, [changed]) == actions
        left = node.run(["conntrack", "-L"]).stdout
        assert "dport=7070" in left
        assert "dport=8080" not in left


RULES = [
    PublishRules((Publication("tcp", 8080, 8080, "10.22.33.2", 80),), ("10.22.33.0/24",)),
    PublishRules(
        (
            Publication("tcp", 22, 22, "10.22.33.2", 22),
            Publication("tcp", 8080, 8080, "10.22.33.2", 80),
            Publication("udp", 30000, 30100, "10.22.33.3", 30000),
            Publication("tcp", 443, 443, "fd00:22:33::2", 8443),
            Publication("udp", 53, 54, "fd00:22:33::2", 53),
        ),
        ("10.22.33.0/24", "10.44.0.0/16", "fd00:22:33::/64"),
    ),
]


def _write(backend: str, name: str, rules: Rules | None) -> None:
    with Namespaces() as namespaces:
        rulesets.write(namespaces, HOST, backend, [(Ruleset(HOST, name, rules, backend, "publish"), rules)])


def _read(backend: str) -> dict[tuple[str, str], Rules | None]:
    with Namespaces() as namespaces:
        return rulesets.read(namespaces, HOST, backend, ["publish"])


def _state(node: Node) -> str:
    commands = [f"{family}-{kind}-save" for family in ("iptables", "ip6tables") for kind in ("nft", "legacy")]
    return "".join(node.run([command]).stdout for command in commands) + node.run(["nft", "list", "ruleset"]).stdout


@pytest.mark.parametrize("rules", RULES, ids=["one", "many"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_written_reads_back_and_goes(node: Node, backend: str, rules: PublishRules) -> None:
    for name in ("pods", "a-network-whose-name-is-so-long-"):
        node.call(_write, backend, name, rules)
        assert node.call(_read, backend) == {("publish", name): rules}
        node.call(_write, backend, name, rules)
        assert node.call(_read, backend) == {("publish", name): rules}
        node.call(_write, backend, name, None)
        assert node.call(_read, backend) == {}
        assert "netpath" not in _state(node)


NFT_EDITS = (
    "flush chain inet netpath_egress publish_pods",
    "flush chain inet netpath_egress hairpin_pods",
    "flush chain inet netpath_egress prerouting",
    "flush chain inet netpath_egress output",
    "delete element inet netpath_egress to4_pods { tcp . 22 }",
    "add rule inet netpath_egress publish_pods accept",
    'add rule inet netpath_egress prerouting accept comment "netpath:pods"',
    "add rule inet netpath_egress output jump publish_pods",
    "flush map inet netpath_egress port6_pods",
)
IPTABLES_EDITS = (
    "-t nat -F netpath-IN-pods",
    "-t nat -D netpath-HP-pods 1",
    "-t nat -F PREROUTING",
    "-t nat -F OUTPUT",
    "-t nat -A PREROUTING -m comment --comment netpath:pods -j netpath-IN-pods",
    "-t nat -A OUTPUT -m comment --comment netpath:pods -j RETURN",
)


@pytest.mark.parametrize(
    ("backend", "edit"),
    [("nftables", f"nft {edit}") for edit in NFT_EDITS]
    + [(flavour, f"{flavour} {edit}") for flavour in iptables.FLAVOURS for edit in IPTABLES_EDITS],
)
def test_edited_rules_are_seen_and_replaced(node: Node, backend: str, edit: str) -> None:
    key = ("publish", "pods")
    node.call(_write, backend, "pods", RULES[1])
    if edit.startswith("nft "):
        node.run(["nft", edit[4:]])
    else:
        node.run(edit.split())
    assert node.call(_read, backend).get(key) != RULES[1]
    node.call(_write, backend, "pods", RULES[1])
    assert node.call(_read, backend) == {key: RULES[1]}


def test_back_end_changes(world: World, node: Node) -> None:
    node.call(build_at_once, [PODS])
    with services(node):
        for firewall, old, new in (("iptables", "", " in iptables-nft"), ("nftables", " in iptables-nft", "")):
            actions = node.call(build_at_once, [{**PODS, "firewall": firewall}])
            assert [line.partition(":")[0] for line in actions if "published" in line] == [
                f"create published ports of pods{new}",
                f"delete published ports of pods{old}",
            ]
            assert answered(world.internet.call(who, node.address, 8080))
            assert node.call(build_at_once, [{**PODS, "firewall": firewall}]) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_family_of_two(world: World, node: Node, backend: str) -> None:
    """An address, or a namespace that has only one: the other family's subnet has no part in it."""
    network = {**PODS, "firewall": prefer(node, backend)}
    c1 = {"name": "c1", "addresses": [f"{C1[0]}/24"]}
    ports = [{"port": 8080, "to": "c1:7070"}, {"port": 8081, "to": f"{C1[0]}:7070"}]
    networks = [{**network, "namespaces": [c1, "c2"], "publish": ports}]
    before = settled(node)
    node.call(build_at_once, networks)
    assert node.call(build_at_once, networks) == []
    with serving(node, "c1", C1[0]):
        for port in (8080, 8081):
            assert answered(world.internet.call(who, node.address, port))
    node.call(build_at_once, [{**network, "publish": [{"port": 8080, "to": f"[{C1[1]}]:7070"}]}])
    node.call(build_at_once, [PODS], absent=True)
    assert difference(before, settled(node)) == ""


def _hairpin(node: Node, *names: str) -> list[str]:
    return [node.run(["cat", f"/sys/class/net/np-{name}/brport/hairpin_mode"]).stdout.strip() for name in names]


@pytest.mark.parametrize("way", [build, build_at_once])
def test_hairpin_mode_that_is_asked_for_has_the_last_word(node: Node, way: t.Callable[..., list[str]]) -> None:
    before = settled(node)
    node.call(way, [PODS])
    assert _hairpin(node, "c1") == ["1"]
    unwanted = [{**PODS, "hairpin": False}]
    assert "change veth np-c1: hairpin on -> off" in node.call(way, unwanted)
    assert node.call(way, unwanted) == []
    assert _hairpin(node, "c1") == ["0"]
    node.call(way, unwanted, absent=True)
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize("way", [build, build_at_once])
def test_hairpin_mode_goes_with_the_published_port(node: Node, way: t.Callable[..., list[str]]) -> None:
    before = settled(node)
    networks = [{**PODS, "subnets": ["10.22.33.0/24"], "publish": []}]
    published = [{**networks[0], "publish": PODS["publish"]}]
    node.call(way, networks)
    node.run(["ip", "link", "set", "np-c2", "type", "bridge_slave", "hairpin", "on"])
    without = settled(node)
    node.call(way, published)
    assert node.call(way, published) == []
    assert _hairpin(node, "c1", "c2") == ["1", "1"]
    assert "change veth np-c1: hairpin on -> off" in node.call(way, networks)
    assert difference(without, settled(node)) == ""
    assert node.call(way, networks) == []
    # What is asked for by name stays.
    node.call(way, published)
    node.call(way, [{**published[0], "hairpin": True}])
    node.call(way, networks)
    assert _hairpin(node, "c1", "c2") == ["1", "1"]
    node.call(way, published)
    node.run(["ip", "netns", "del", "c1"])
    node.call(way, networks, absent=True)
    assert difference(before, settled(node)) == ""


def test_ports_without_source_translation(world: World, node: Node) -> None:
    networks = [{**PODS, "nat": "none"}]
    actions = node.call(build_at_once, networks)
    assert [line for line in actions if "source NAT" in line] == []
    with services(node):
        assert world.internet.call(who, node.address, 8080) == ("198.18.0.1", C1[0])
        assert node.call(who, node.address, 8080, "tcp", "c2") == (GATEWAY[0], C1[0])
    assert node.call(build, networks) == []


@pytest.mark.parametrize("way", [build, build_at_once])
def test_port_of_another_network(node: Node, way: t.Callable[..., list[str]]) -> None:
    node.call(way, [PODS])
    lab = {**LAB, "publish": [{"port": 8080, "protocol": "udp", "to": "l1"}]}
    before = settled(node)
    refused = refusal(node, build_at_once, [lab])
    assert (refused.kind, refused.rolled_back) == ("ConflictError", None)
    assert refused.asked == "publish udp 8080 (IPv4) for lab"
    assert refused.found == "pods publishes it already"
    both = refusal(node, build_at_once, [PODS, lab])
    assert "lab" in both.asked + both.found
    assert "pods" in both.asked + both.found
    assert difference(before, settled(node)) == ""
    # It is free once the other network lets it go in the same run.
    assert node.call(build_at_once, [{**PODS, "publish": []}, lab])


@pytest.mark.parametrize(
    ("listener", "taken"),
    [("0.0.0.0", True), ("::", True), ("10.22.33.1", True), ("127.0.0.1", False), ("::1", False)],
)
def test_port_that_a_program_listens_on(node: Node, listener: str, taken: bool) -> None:
    node.call(build_at_once, [{**PODS, "publish": []}])
    script = (
        "import socket,sys;s=socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET);"
        "s.bind((sys.argv[1],8080));s.listen();print('ready',flush=True);sys.stdin.read()"
    )
    argv = ["python3", "-c", script, listener]
    with node.popen(argv, stdin=-1, stdout=-1) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "ready\n"
        if taken:
            before = settled(node)
            refused = refusal(node, build_at_once, [PODS])
            assert (refused.kind, refused.rolled_back) == ("ConflictError", None)
            assert refused.asked.startswith("publish tcp 8080 (IPv")
            assert refused.found == f"python3 (PID {program.pid}) listens there, on {listener}"
            assert difference(before, settled(node)) == ""
        else:
            assert node.call(build_at_once, [PODS])
        program.stdin.close()
    # One that comes later is shadowed, which is for the other program to see: the run goes on.
    node.call(build_at_once, [PODS])
    with node.popen(argv, stdin=-1, stdout=-1) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        assert program.stdout.readline() == "ready\n"
        assert node.call(build_at_once, [PODS]) == []
        program.stdin.close()


def test_number_of_rules_does_not_depend_on_the_number_of_ports(node: Node) -> None:
    def count(ports: str) -> int:
        node.call(build_at_once, [{**PODS, "publish": [{"port": ports, "to": "c1"}]}])
        return node.run(["nft", "-a", "list", "table", "inet", "netpath_egress"]).stdout.count("handle")

    assert count("30000") == count("30000-31999")
