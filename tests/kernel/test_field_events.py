"""What happens to a host in the field: each event is survived, or put right by the next run, as packets prove.

At the end of the run stands a table of all events and what became of them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.lab import privilege, probe
from tests.lab.settling import inside
from tests.lab.world import Node, World, wire
from tests.support.building import build, build_at_once, restrictions, without_macs
from tests.support.echo_service import answered, serving, who
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle() or (
    None if shutil.which("iptables-nft-save", path="/usr/sbin:/sbin") else "the program iptables is missing"
)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
    "publish": [{"port": 8080, "to": "c1:7070"}],
}
INSIDE = ("10.22.33.2", "fd00:22:33::2")
SECOND = ("198.18.99.1", "2001:db8:18::9901")
FIRST_UPLINK, RENAMED = "uplink0", "wan0"
PORTS = "tcp 8080 to 10.22.33.2:7070, tcp 8080 to [fd00:22:33::2]:7070"
WALLED = [
    *restrictions({f"c{number - 1}": [f"10.22.33.{number}", f"fd00:22:33::{number}"] for number in (2, 3)}),
    "create forwarding limits of pods",
    "create guard of pods",
]
NAT_AGAIN = "create source NAT pods for 10.22.33.0/24, fd00:22:33::/64"
PORTS_AGAIN = f"create published ports of pods: {PORTS}"
ALL = ("ipv4", "ipv6", "flow ipv4", "flow ipv6")
NEW_ADDRESS = f"""
ip address del OWN4/16 dev UP; ip address del OWN6/64 dev UP
ip address add {SECOND[0]}/16 dev UP; ip address add {SECOND[1]}/64 dev UP nodad
ip route replace default via 198.18.0.1 dev UP; ip -6 route replace default via 2001:db8:18::1 dev UP
"""
IN_C1 = "in namespace c1"


def uplink_is(new: str, *rules: str) -> list[str]:
    """What a network notes when its uplink is another one or has another name, and what it does about its rules."""
    notes = [f"note that pods needs net.ipv{version}.conf.{new}.forwarding = 1" for version in (4, 6)]
    gone = [f"note that pods no longer needs net.ipv{version}.conf.{FIRST_UPLINK}.forwarding" for version in (4, 6)]
    return [*gone, *rules, *notes, "rewrite /etc/sysctl.d/90-netpath-egress.conf"]


@dataclass(frozen=True)
class Event:
    """A shell script in which OWN4 and OWN6 are the addresses of the uplink UP, and what the next run does about it.

    broken: what does not work until that run. second: whether packets leave with the second pair of addresses then.
    drop: whether the host's own filter drops what is forwarded. network: what is special about the network.
    """

    script: str
    actions: t.Sequence[str] = ()
    broken: t.Sequence[str] = ()
    second: bool = False
    drop: bool = False
    network: t.Mapping[str, t.Any] = field(default_factory=lambda: PODS)
    two_uplinks: bool = False


EVENTS = {
    "nft flush ruleset": Event("nft flush ruleset", [*WALLED, NAT_AGAIN, PORTS_AGAIN], ALL),
    "nft flush ruleset, rules in iptables": Event(
        "nft flush ruleset",
        [
            *WALLED,
            "create source NAT pods in iptables-nft for 10.22.33.0/24, fd00:22:33::/64",
            f"create published ports of pods in iptables-nft: {PORTS}",
            "create accept in FORWARD for pods in iptables-nft",
        ],
        ALL,
        network={**PODS, "firewall": "iptables"},
    ),
    "iptables -F": Event(
        "iptables-nft -F; ip6tables-nft -F", ["create accept in FORWARD for pods in iptables-nft"], ALL, drop=True
    ),
    "iptables -F, nothing filtered": Event("iptables-nft -F; ip6tables-nft -F"),
    "iptables -t nat -F": Event("iptables-nft -t nat -F; ip6tables-nft -t nat -F"),
    "iptables -t nat -F, rules in iptables": Event(
        "iptables-nft -t nat -F; ip6tables-nft -t nat -F",
        [
            "create source NAT pods in iptables-nft for 10.22.33.0/24, fd00:22:33::/64",
            f"create published ports of pods in iptables-nft: {PORTS}",
        ],
        ["ipv4", "ipv6"],
        network={**PODS, "firewall": "iptables"},
    ),
    "sysctl --system with forwarding off": Event(
        """echo 'net.ipv4.ip_forward = 0' > /run/reset.conf; echo 'net.ipv6.conf.all.forwarding = 0' >> /run/reset.conf
        sysctl -q -p /run/reset.conf""",
        ["set net.ipv4.ip_forward to 1 (was 0)", "set net.ipv6.conf.all.forwarding to 1 (was 0)"],
        ALL,
    ),
    "uplink renamed": Event(
        """ip link set UP down; ip link set UP name wan0; ip link set wan0 up
        ip route replace default via 198.18.0.1 dev wan0
        ip address replace OWN6/64 dev wan0 nodad; ip -6 route replace default via 2001:db8:18::1 dev wan0""",
        uplink_is(RENAMED),
    ),
    "uplink renamed, FORWARD drops": Event(
        """ip link set UP down; ip link set UP name wan0; ip link set wan0 up
        ip route replace default via 198.18.0.1 dev wan0
        ip address replace OWN6/64 dev wan0 nodad; ip -6 route replace default via 2001:db8:18::1 dev wan0""",
        uplink_is(RENAMED, "replace accept in FORWARD for pods in iptables-nft"),
        ALL,
        drop=True,
    ),
    "uplink has another address": Event(NEW_ADDRESS, second=True),
    "uplink has another MTU": Event(
        "ip link set UP mtu 1400",
        [
            "change bridge br0: mtu 1500 -> 1400",
            "change veth np-c1: mtu 1500 -> 1400, peer.mtu 1500 -> 1400",
            "change veth np-c2: mtu 1500 -> 1400, peer.mtu 1500 -> 1400",
        ],
    ),
    "default route on another uplink": Event(
        """ip route replace default via 198.18.0.1 dev uplink1
        ip -6 route replace default via 2001:db8:18::1 dev uplink1""",
        uplink_is("uplink1"),
        second=True,
        two_uplinks=True,
    ),
    "default route on another uplink, FORWARD drops": Event(
        """ip route replace default via 198.18.0.1 dev uplink1
        ip -6 route replace default via 2001:db8:18::1 dev uplink1""",
        uplink_is("uplink1", "replace accept in FORWARD for pods in iptables-nft"),
        ALL,
        second=True,
        two_uplinks=True,
        drop=True,
    ),
    "bridge deleted": Event(
        "ip link delete br0",
        [
            "create bridge br0",
            "change veth np-c1: master none -> br0, isolated none -> off, hairpin none -> on",
            "change veth np-c2: master none -> br0, isolated none -> off",
            "add address 10.22.33.1/24 to br0",
            "add address fd00:22:33::1/64 to br0",
        ],
        ALL,
    ),
    "namespace deleted": Event(
        # The kernel takes the pair away in its own time.
        "ip netns delete c1; while ip link show np-c1 > /dev/null 2>&1; do :; done",
        [
            "create namespace c1",
            "create veth np-c1 with peer eth0 in namespace c1 on bridge br0",
            f"add address 10.22.33.2/24 to eth0 {IN_C1}",
            f"add address fd00:22:33::2/64 to eth0 {IN_C1}",
            f"add route default via 10.22.33.1 dev eth0 {IN_C1}",
            f"add route -6 default via fd00:22:33::1 dev eth0 {IN_C1}",
        ],
        ALL,
    ),
    "port stolen by another bridge": Event(
        "ip link add thief type bridge; ip link set thief up; ip link set np-c1 master thief",
        ["change veth np-c1: master thief -> br0, hairpin off -> on"],
        ALL,
    ),
    "sources deleted from our table": Event(
        "nft flush set inet netpath_egress src4_pods", ["replace source NAT pods"], ["ipv4"]
    ),
    "rules deleted from our table": Event(
        "nft flush chain inet netpath_egress nat_pods; nft flush chain inet netpath_egress publish_pods",
        ["replace source NAT pods", "replace published ports of pods"],
        ["ipv4", "ipv6"],
    ),
    # The forwarding limits have a NAT chain, and translations that are known hold while there is any.
    "our table deleted": Event("nft delete table inet netpath_egress", [NAT_AGAIN, PORTS_AGAIN], ["ipv4", "ipv6"]),
    "our table deleted, no other NAT": Event(
        "nft delete table inet netpath_egress; nft delete chain inet netpath_egress_wall untranslated",
        ["replace forwarding limits of pods", NAT_AGAIN, PORTS_AGAIN],
        ALL,
    ),
}


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        # The node of another test had the same second addresses.
        world.internet.run(["ip", "neigh", "flush", "all"])
        yield made


def flow(target: str, patience: float) -> str:
    """Whom the internet sees behind one and the same flow of the calling thread's namespace."""
    give_up = time.monotonic() + patience
    with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("", 5555))
        opened.connect((target, probe.WHO_PORT))
        opened.settimeout(0.4)
        answer = ""
        while not answer and time.monotonic() < give_up:
            with contextlib.suppress(OSError):
                opened.send(b"who\n")
                answer = str(json.loads(opened.recv(1000))["client"])
        return answer


def asked(broken: t.Collection[str]) -> dict[str, str]:
    """Whom the internet saw when c1 asked it, anew and in the flow that goes on. What is broken is not waited for."""

    def patience(name: str) -> float:
        return 0.4 if name in broken else 10.0

    def anew(target: str, patience: float) -> str:
        found, _server = who(target, probe.WHO_PORT, "tcp", "c1", patience)
        return found

    def going_on(target: str, patience: float) -> str:
        with inside("c1"):
            return flow(target, patience)

    with ThreadPoolExecutor(4) as threads:
        jobs = {
            f"{kind}ipv{version}": threads.submit(ask, probe.TARGETS[version], patience(f"{kind}ipv{version}"))
            for kind, ask in (("", anew), ("flow ", going_on))
            for version in (4, 6)
        }
        return {name: job.result() for name, job in jobs.items()}


def wrong(node: Node, addresses: t.Sequence[str], broken: t.Collection[str] = ()) -> list[str]:
    """What does not come back, or comes from another address than one of these; broken is what is expected to."""
    try:
        found = node.call(asked, broken)
    except FileNotFoundError:  # the namespace itself
        return list(ALL)
    return [name for name in ALL if found.get(name) != addresses[name.endswith("6")]]


def ports_answer(world: World, node: Node, addresses: t.Sequence[str]) -> bool:
    with serving(node, "c1", *INSIDE):
        return all(answered(world.internet.call(who, address, 8080)) for address in addresses)


def give_second_uplink(world: World, node: Node) -> None:
    wire(world.segment, node, "uplink1", port=f"{node.name}-2")
    node.run(
        ["ip", "-batch", "-"],
        input=f"""
link set uplink1 up
address add {SECOND[0]}/16 dev uplink1
address add {SECOND[1]}/64 dev uplink1 nodad
""",
    )


@pytest.mark.parametrize("name", EVENTS)
def test_event(world: World, node: Node, name: str, record_property: t.Callable[[str, t.Any], None]) -> None:
    event = EVENTS[name]
    if event.drop:
        for program in ("iptables-nft", "ip6tables-nft"):
            node.run([program, "-P", "FORWARD", "DROP"])
    if event.two_uplinks:
        give_second_uplink(world, node)
    networks = [dict(event.network)]
    own = (node.address, node.address6)
    node.call(build_at_once, networks)
    assert wrong(node, own) == []
    assert ports_answer(world, node, own)

    script = event.script.replace("OWN4", own[0]).replace("OWN6", own[1]).replace("UP", FIRST_UPLINK)
    node.run(["sh", "-ec", script])
    after = SECOND if event.second else own
    broken = wrong(node, after, event.broken)
    expected = without_macs(node.call(build_at_once, networks, check=True))
    actions = without_macs(node.call(build_at_once, networks))
    outcome = "survived" if not broken else "put right"
    record_property("event of the field", (name, "\n".join(broken), "\n".join(actions), outcome))

    assert actions == expected
    assert wrong(node, after) == []
    assert ports_answer(world, node, after)
    assert node.call(build_at_once, networks) == []
    assert node.call(build, networks) == []
    assert (broken, actions) == (list(event.broken), list(event.actions))
