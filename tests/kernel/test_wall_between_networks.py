"""Which networks of a host exchange packets, and who outside reaches them. Both families, by packets."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import check as diagnosis
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.probes import Target

from tests.lab import privilege, probe
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import UPLINK, World
from tests.support import frames
from tests.support.building import build_at_once, refusal, unreachable_from
from tests.support.diagnosing import PODS
from tests.support.echo_service import answered, serving, who
from tests.support.frames import IPV4, IPV6, LAST, ether, udp
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

WEB: Options = {"name": "web", "bridge": "br1", "subnets": ["10.44.0.0/24", "fd00:44::/64"], "namespaces": ["w1"]}
APPS: Options = {"name": "apps", "bridge": "br2", "subnets": ["10.55.0.0/24", "fd00:55::/64"], "namespaces": ["a1"]}
C1, C2, W1, A1 = (
    ("10.22.33.2", "fd00:22:33::2"),
    ("10.22.33.3", "fd00:22:33::3"),
    ("10.44.0.2", "fd00:44::2"),
    ("10.55.0.2", "fd00:55::2"),
)
SHORT = 0.4  # seconds after which nobody is taken to answer any more


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=1) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    """The same node, as it was before once a test has ended."""
    (found,) = world.nodes
    before = settled(found)
    yield found
    found.call(build_at_once, [PODS, WEB, APPS], absent=True)
    assert difference(before, settled(found)) == ""


@contextlib.contextmanager
def services(node: Node, **namespaces: tuple[str, str]) -> t.Iterator[None]:
    with contextlib.ExitStack() as stack:
        for namespace, addresses in namespaces.items():
            stack.enter_context(serving(node, namespace, *addresses))
        yield


def seen(node: Node, namespace: str, target: tuple[str, str], port: int = 7070) -> list[str]:
    """As whom a namespace is seen by a service, "" where there is no answer, in each family."""
    found = [node.call(who, address, port, namespace=namespace, patience=SHORT) for address in target]
    return [one[0] if answered(one) else "" for one in found]


CLOSED = ["", ""]


def test_networks_are_closed_to_each_other(node: Node) -> None:
    node.call(build_at_once, [PODS, WEB])
    with services(node, w1=W1, c1=C1):
        assert seen(node, "c1", W1) == CLOSED
        assert seen(node, "w1", C1) == CLOSED
    assert unreachable_from(node, "c1", "c2", "w1") == []


@pytest.mark.parametrize("named", ["one side", "the other side", "both", "all", "later"])
def test_peers_see_each_other_as_they_are(node: Node, named: str) -> None:
    pods, web = dict(PODS), dict(WEB)
    if named in ("one side", "both"):
        pods["peers"] = ["web"]
    if named in ("the other side", "both", "later"):
        web["peers"] = ["pods"]
    if named == "all":
        web["peers"] = ["all"]
    if named == "later":
        # A network may be named before it is there, and each is built in a run of its own.
        for network in (web, pods):
            node.call(build_at_once, [network])
    else:
        node.call(build_at_once, [pods, web, APPS])
        assert node.call(build_at_once, [pods, web, APPS]) == []
    with services(node, w1=W1, c1=C1):
        assert seen(node, "c1", W1) == list(C1)
        assert seen(node, "w1", C1) == list(W1)
    if named not in ("later", "all"):
        with services(node, a1=A1):
            assert seen(node, "c1", A1) == CLOSED
    # They are no peers any more.
    node.call(build_at_once, [{**PODS}, {**WEB}])
    with services(node, w1=W1):
        assert seen(node, "c1", W1) == CLOSED


@pytest.mark.parametrize("named", ["by the translated one", "by the other one"])
def test_translated_network_and_one_that_is_not_are_peers(node: Node, named: str) -> None:
    pods, web = {**PODS}, {**WEB, "nat": "none"}
    if named == "by the translated one":
        pods["peers"] = ["web"]
    else:
        web["peers"] = ["pods"]
    node.call(build_at_once, [pods, web])
    with services(node, w1=W1, c1=C1):
        assert seen(node, "c1", W1) == list(C1)
        assert seen(node, "w1", C1) == list(W1)
    assert node.call(build_at_once, [pods, web]) == []


def test_network_that_comes_back_is_a_peer_again(node: Node) -> None:
    node.call(build_at_once, [{**PODS, "peers": ["web"]}, WEB])
    node.call(build_at_once, [WEB], absent=True)
    node.call(build_at_once, [{**WEB, "bridge": "br7"}])
    with services(node, w1=W1):
        assert seen(node, "c1", W1) == list(C1)
    assert node.call(build_at_once, [{**PODS, "peers": ["web"]}, {**WEB, "bridge": "br7"}]) == []
    node.call(build_at_once, [{**WEB, "bridge": "br7"}], absent=True)


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_published_ports_are_reached_from_everywhere(world: World, node: Node, backend: str, isolated: bool) -> None:
    # With br_netfilter, what leads back to the bridge never leaves it, and an isolated port takes nothing from another.
    switches = [f"net.bridge.bridge-nf-call-{kind}" for kind in ("iptables", "ip6tables")]
    calls = node.run(["sysctl", "-ne", *switches]).stdout.split()
    node.run(["sysctl", "-qe", *(f"{switch}={0 if isolated else value}" for switch, value in zip(switches, calls))])
    pods = {
        **PODS,
        "isolated": isolated,
        "firewall": backend,
        "publish": [{"port": 8080, "to": "c1:7070"}],
    }
    node.call(build_at_once, [pods, WEB])
    host = (node.address, node.address6)
    with services(node, c1=C1):
        assert all(answered(world.internet.call(who, address, 8080)) for address in host)
        assert all(seen(node, "w1", host, 8080))
        # A namespace of the same network, and the namespace itself.
        assert all(seen(node, "c2", host, 8080))
        assert all(seen(node, "c1", host, 8080))
        # And nothing else of it.
        assert seen(node, "w1", C1) == CLOSED
    node.run(["sysctl", "-qe", *(f"{switch}={value}" for switch, value in zip(switches, calls))])


@pytest.mark.parametrize("isolated", [True, False])
def test_isolated_holds_by_way_of_the_gateway(node: Node, isolated: bool) -> None:
    """Datagrams one way, which need no answer (also of root, who may route by the gateway)."""
    node.call(build_at_once, [{**PODS, "isolated": isolated}])
    for family, kind in ((0, IPV4), (1, IPV6)):
        own, bridge = _macs(node)
        sent = [ether(own, bridge, kind, udp(C1[family], C2[family]))] * 5
        # The last one goes to the bridge alone, and is not awaited at c2.
        count = node.call(_arrived, sent, ether(own, bridge, IPV4, udp(C1[0], probe.TARGETS[4], data=LAST)))
        assert count == (0 if isolated else 5)


def _macs(node: Node) -> tuple[str, str]:
    own = node.namespace_run("c1", ["cat", "/sys/class/net/eth0/address"], check=False).stdout.strip()
    bridge = node.run(["sh", "-c", "ip -br link show br0 | awk '{print $3}'"]).stdout.strip()
    own = node.namespace_run("c1", ["sh", "-c", "ip -br link show eth0 | awk '{print $3}'"]).stdout.strip()
    return own, bridge


def _arrived(sent: t.Sequence[bytes], last: bytes) -> int:
    """How many were sent back to the bridge: what the port of c2 sent while all that was sent went by."""
    seen_there = frames.passed("c1", sent, last, [("", "br0"), ("", UPLINK)])
    return len(seen_there[0])


@pytest.mark.parametrize(
    ("nat", "inbound"), [("masquerade", None), ("masquerade", "open"), ("none", None), ("none", "published")]
)
def test_who_outside_begins_a_connection(world: World, node: Node, nat: str, inbound: str | None) -> None:
    asked = {**PODS, "nat": nat, **({"inbound": inbound} if inbound else {})}
    node.call(build_at_once, [asked])
    reaches = inbound == "open" or (nat == "none" and inbound is None)
    routes = [
        f"ip route add {PODS['subnets'][0]} via {node.address}",
        f"ip -6 route add {PODS['subnets'][1]} via {node.address6}",
    ]
    world.internet.run(["sh", "-ec", "; ".join(routes)])
    try:
        with services(node, c1=C1):
            found = [
                answered(world.internet.call(who, address, 7070, patience=SHORT if not reaches else 4.0))
                for address in C1
            ]
        assert found == [reaches, reaches]
        # Replies come back in any case.
        expected = list(C1) if nat == "none" else [node.address, node.address6]
        told = [node.call(who, probe.TARGETS[family], 7070, namespace="c1")[0] for family in (4, 6)]
        assert told == expected
    finally:
        world.internet.run(["sh", "-c", "; ".join(line.replace(" add ", " delete ") for line in routes)])


@pytest.mark.parametrize("kind", ["not tracked", "invalid"])
def test_what_connection_tracking_does_not_know_does_not_enter(world: World, node: Node, kind: str) -> None:
    node.call(build_at_once, [{**PODS, "nat": "none", "inbound": "published"}])
    route = f"{PODS['subnets'][0]} via {node.address}"
    world.internet.run(["ip", "route", "add", *route.split()])
    if kind == "not tracked":
        chain = "add chain ip theirs pre { type filter hook prerouting priority raw; }"
        node.run(["nft", f"add table ip theirs; {chain}; add rule ip theirs pre notrack"])
    script = f"""
import socket, struct
def checksum(data):
    total = sum(struct.unpack(f"!{{len(data) // 2}}H", data))
    return ~((total >> 16) + (total & 0xFFFF)) & 0xFFFF
source, target = (socket.inet_aton(a) for a in ("198.51.100.80", "{C1[0]}"))
for _ in range(3):
    segment = struct.pack("!HHIIBBHHH", 999, 7070, 1, 1, 5 << 4, 0x12, 1024, 0, 0)
    pseudo = source + target + struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    sender.bind(("198.51.100.80", 0))
    sender.sendto(segment, ("{C1[0]}", 0))
"""
    try:
        with services(node, c1=C1):
            world.internet.run(["python3", "-c", script])
            seen = node.run(["nft", "list", "chain", "inet", "netpath_egress_wall", "forward"]).stdout
        assert "counter packets 3 " in seen, seen
    finally:
        world.internet.run(["ip", "route", "delete", *route.split()])
        node.run(["sh", "-c", "nft delete table ip theirs 2>/dev/null || true"])


def test_link_local_destinations_are_not_forwarded(node: Node) -> None:
    node.call(build_at_once, [PODS])
    # A host with a route to its cloud's metadata, as clouds set it.
    node.run(["ip", "route", "add", "169.254.169.254/32", "via", "198.18.0.1"])
    own, bridge = _macs(node)
    last = ether(own, bridge, IPV4, udp(C1[0], probe.TARGETS[4], data=LAST))
    sent = [ether(own, bridge, IPV4, udp(C1[0], "169.254.169.254"))] * 5
    assert node.call(frames.passed, "c1", sent, last, [("", UPLINK)]) == [[]]
    node.run(["ip", "route", "delete", "169.254.169.254/32"])


@pytest.mark.parametrize(("protected", "nat"), [(True, "none"), (False, "masquerade"), (False, "none")])
def test_sources_outside_the_subnets_do_not_leave(node: Node, protected: bool, nat: str) -> None:
    """Also by a port that another tool put on the bridge. Of a translated network the guard drops them in any case."""
    node.call(build_at_once, [{**PODS, "spoof_protection": protected, "nat": nat}])
    node.run(
        [
            "sh",
            "-ec",
            """
            ip netns add vm
            ip link add tap9 master br0 up type veth peer name eth0 netns vm
            ip -n vm link set eth0 up
            """,
        ]
    )
    try:
        mac = node.namespace_run("vm", ["sh", "-c", "ip -br link show eth0 | awk '{print $3}'"]).stdout.strip()
        _own, bridge = _macs(node)
        for source, kind, target in (
            ("10.99.99.99", IPV4, probe.TARGETS[4]),
            (W1[0], IPV4, probe.TARGETS[4]),
            ("2001:db8:dead::1", IPV6, probe.TARGETS[6]),
        ):
            last = ether(mac, bridge, IPV4, udp("10.22.33.77", probe.TARGETS[4], data=LAST))
            (found,) = node.call(
                frames.passed, "vm", [ether(mac, bridge, kind, udp(source, target))] * 3, last, [("", UPLINK)]
            )
            assert len(found) == (0 if protected or nat != "none" else 3), source
    finally:
        node.run(["sh", "-c", "ip link delete tap9; ip netns delete vm"])


EDITS = {
    "table gone": "nft delete table inet netpath_egress_wall",
    "a rule added": "nft insert rule inet netpath_egress_wall forward accept",
    "a chain emptied": "nft flush chain inet netpath_egress_wall between",
    "a pair added": 'nft add element inet netpath_egress_wall pairs { "br0" . "br1" }',
    "a bridge let go": 'nft delete element inet netpath_egress_wall bridges { "br0" }',
    "open": 'nft delete element inet netpath_egress_wall closed { "br0" }',
    "sources": 'nft add element inet netpath_egress_wall sources4 { "br0" . 10.99.0.0/16 }',
    "dormant": "nft add table inet netpath_egress_wall '{ flags dormant; }'",
}


@pytest.mark.parametrize("edit", EDITS)
def test_edits_are_seen_and_repaired(node: Node, edit: str) -> None:
    networks = [PODS, {**WEB, "isolated": True}, {**APPS, "peers": ["web"], "nat": "none"}]
    node.call(build_at_once, networks)
    assert node.call(build_at_once, networks) == []
    node.run(["sh", "-ec", EDITS[edit]])
    told = node.call(build_at_once, networks, check=True)
    assert any("forwarding limits of" in line for line in told)
    assert node.call(build_at_once, networks) == told
    assert node.call(build_at_once, networks) == []
    with services(node, w1=W1):
        assert seen(node, "c1", W1) == CLOSED
        assert seen(node, "a1", W1) == list(A1)


def test_diagnosis_says_what_closes_them(node: Node) -> None:
    targets = [Target(address, "tcp", 7070) for address in W1]

    def found(peers: t.Sequence[str]) -> list[tuple[str, str, str]]:
        networks = [{**PODS, "peers": peers, "namespaces": ["c1"]}, WEB]
        node.call(build_at_once, networks)
        with services(node, w1=W1):
            verdicts = node.call(diagnosis.check, networks, targets)
        return [(one["status"], one["code"] or "", one["fix"] or "") for one in verdicts if one["namespace"] == "c1"]

    assert found(["web"]) == [("ok", "", "")] * 2
    closed = ("broken", "FORWARD_DROPPED", "name the target's network in peers, or publish the port")
    assert found([]) == [closed] * 2


def test_one_network_goes_and_the_others_stay_closed(node: Node) -> None:
    node.call(build_at_once, [PODS, WEB, APPS])
    node.call(build_at_once, [APPS], absent=True)
    assert node.call(build_at_once, [PODS, WEB]) == []
    with services(node, w1=W1):
        assert seen(node, "c1", W1) == CLOSED


def test_host_that_only_routes_tracks_no_connections(node: Node) -> None:
    node.call(build_at_once, [{**PODS, "nat": "none"}, {**WEB, "nat": "none"}])
    assert " ct " not in node.run(["nft", "list", "table", "inet", "netpath_egress_wall"]).stdout
    with services(node, w1=W1):
        assert seen(node, "c1", W1) == CLOSED


@pytest.mark.parametrize("option", [{"peers": ["pods"]}, {"peers": ["Web"]}, {"inbound": "some"}])
def test_what_is_refused(node: Node, option: Options) -> None:
    refused = refusal(node, build_at_once, [{**PODS, **option}])
    assert refused.kind == "SpecError"
    assert f"networks[0].{next(iter(option))}" in refused.text


@pytest.mark.parametrize("option", [{"peers": ["web"]}, {"inbound": "published"}, {"spoof_protection": True}])
def test_no_rules_and_rules_asked_for(node: Node, option: Options) -> None:
    refused = refusal(node, build_at_once, [{**PODS, "firewall": "none", **option}])
    assert "given with firewall none" in refused.text
