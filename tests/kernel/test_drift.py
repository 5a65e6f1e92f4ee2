"""Whatever drifted in a built network: the same run puts it right with the fewest steps, and touches nothing else."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernel.building import build, build_at_once, families_of, unreachable_from
from tests.lab import privilege
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

NAMES = ("c1", "c2", "c3")
PODS = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": list(NAMES),
}
ALL = families_of(*NAMES)
C1 = families_of("c1")
C1_IPV4, C1_IPV6 = C1
IN_C1 = "in namespace c1"
ROUTE4 = f"add route default via 10.22.33.1 dev eth0 {IN_C1}"
ROUTE6 = f"add route -6 default via fd00:22:33::1 dev eth0 {IN_C1}"
ADDRESS4 = f"add address 10.22.33.2/24 to eth0 {IN_C1}"
ADDRESS6 = f"add address fd00:22:33::2/64 to eth0 {IN_C1}"
NAT = "replace source NAT pods"
NAT_AGAIN = "create source NAT pods for 10.22.33.0/24, fd00:22:33::/64"
# A neighbour that did not answer is asked again after a second only.
FORGET = "; ".join(["ip neigh flush all nud all", *(f"ip -n {name} neigh flush all nud all" for name in NAMES)])
TABLE = "inet netpath_egress"


@dataclass(frozen=True)
class Fault:
    """A shell script that breaks something, what no longer works then, and the steps that put it right.

    HOST in the script is the PID of a process in the node's own namespace.
    left: words of the lines in which the state afterwards differs from the one before, where it may.
    spoils: whether the network is of no use to other tests then.
    """

    script: str
    actions: t.Sequence[str]
    broken: t.Sequence[str] = ()
    left: t.Sequence[str] = ()
    spoils: bool = False


# With the MTU the kernel begins IPv6 anew.
_BEGUN = "peer.ipv6_link_local none -> on, peer.ipv6 none -> on, peer.ipv6_dad none -> off"
# On the host links listen unless they are told otherwise.
_CLOSED = "peer.accept_ra on -> off, peer.accept_redirects on -> off"
FAULTS = {
    "no default route": Fault("ip -n c1 route del default", [ROUTE4], [C1_IPV4]),
    "no IPv6 default route": Fault("ip -n c1 -6 route del default", [ROUTE6], [C1_IPV6]),
    "default route by another gateway": Fault(
        "ip -n c1 route change default via 10.22.33.3 proto 250",
        [f"replace route default via 10.22.33.1 dev eth0 {IN_C1}"],
        [C1_IPV4],
    ),
    "default route by somebody else": Fault(
        "ip -n c1 route replace default via 10.22.33.3",
        [f"replace route default via 10.22.33.1 dev eth0 {IN_C1}"],
        [C1_IPV4],
        left=["/var/lib/netpath/ledger.json"],
    ),
    "namespace end down": Fault(
        "ip -n c1 link set eth0 down", ["change veth np-c1: peer.up off -> on", ADDRESS6, ROUTE4, ROUTE6], C1
    ),
    "loopback down": Fault("ip -n c1 link set lo down", ["change namespace c1: loopback off -> on"]),
    "no address": Fault("ip -n c1 addr flush dev eth0 scope global", [ADDRESS4, ADDRESS6, ROUTE4], C1),
    "no IPv4 address": Fault("ip -n c1 addr del 10.22.33.2/24 dev eth0", [ADDRESS4, ROUTE4], [C1_IPV4]),
    "no IPv6 address": Fault("ip -n c1 addr del fd00:22:33::2/64 dev eth0", [ADDRESS6], [C1_IPV6]),
    "address and gateway of another subnet": Fault(
        """ip -n c1 addr del 10.22.33.2/24 dev eth0; ip -n c1 addr add 10.22.34.2/24 dev eth0
        ip -n c1 route add default via 10.22.34.1""",
        [f"delete address 10.22.34.2/24 from eth0 {IN_C1}", ADDRESS4, ROUTE4],
        [C1_IPV4],
    ),
    "one more address": Fault(
        "ip -n c1 addr add 10.77.0.1/24 dev eth0", [f"delete address 10.77.0.1/24 from eth0 {IN_C1}"]
    ),
    "namespace end renamed": Fault(
        "ip -n c1 link set eth0 down; ip -n c1 link set eth0 name x0; ip -n c1 link set x0 up",
        ["change veth np-c1: peer.name x0 -> eth0", ADDRESS6, ROUTE4, ROUTE6],
        C1,
    ),
    "namespace end renamed while up": Fault(
        "ip -n c1 link set eth0 name x0", ["change veth np-c1: peer.name x0 -> eth0", ADDRESS6, ROUTE4, ROUTE6]
    ),
    "host end renamed": Fault(
        "ip link set np-c1 down; ip link set np-c1 name x0; ip link set x0 up",
        ["change veth np-c1: name x0 -> np-c1"],
    ),
    "both ends renamed": Fault(
        """ip link set np-c1 down; ip link set np-c1 name x0
        ip -n c1 link set eth0 down; ip -n c1 link set eth0 name x1""",
        [
            "change veth np-c1: name x0 -> np-c1, up off -> on, peer.name x1 -> eth0, peer.up off -> on",
            *(ADDRESS6, ROUTE4, ROUTE6),
        ],
        C1,
    ),
    "never moved": Fault(
        "ip -n c1 link set eth0 netns HOST name vp",
        [
            f"change veth np-c1: peer.netns host -> c1, peer.name vp -> eth0, {_CLOSED}, peer.up off -> on",
            *(ADDRESS4, ADDRESS6, ROUTE4, ROUTE6),
        ],
        C1,
    ),
    "moved to another namespace": Fault(
        "ip -n c1 link set eth0 netns /run/netns/c2 name vp; ip -n c2 link set vp up",
        ["change veth np-c1: peer.netns c2 -> c1, peer.name vp -> eth0", ADDRESS4, ADDRESS6, ROUTE4, ROUTE6],
        C1,
    ),
    "host end in another namespace": Fault(
        "ip link set np-c1 netns /run/netns/c2; ip -n c2 link set np-c1 up",
        ["change veth np-c1: netns c2 -> host, master none -> br0, isolated none -> off, ipv6_link_local on -> off"],
        C1,
    ),
    "host end that would get a link-local address": Fault(
        "ip link set np-c1 addrgenmode eui64", [], left=["addr_gen_mode"]
    ),
    "host end with a link-local address": Fault(
        "ip link set np-c1 addrgenmode eui64; ip link set np-c1 down; ip link set np-c1 up",
        ["change veth np-c1: ipv6_link_local on -> off"],
        # The fault before this one leaves the mode, and this repair does not.
        left=["addr_gen_mode"],
    ),
    "host end down": Fault("ip link set np-c1 down", ["change veth np-c1: up off -> on"], C1),
    "bridge without its IPv4 address": Fault(
        "ip addr del 10.22.33.1/24 dev br0", ["add address 10.22.33.1/24 to br0"], ALL[::2]
    ),
    "bridge without its IPv6 address": Fault(
        "ip addr del fd00:22:33::1/64 dev br0", ["add address fd00:22:33::1/64 to br0"], ALL[1::2]
    ),
    "gateway on a port as well": Fault(
        "ip addr add 10.22.33.1/24 dev np-c1", ["delete address 10.22.33.1/24 from np-c1"]
    ),
    "gateway on the ports instead of the bridge": Fault(
        "ip addr del 10.22.33.1/24 dev br0; for end in np-c1 np-c2; do ip addr add 10.22.33.1/24 dev $end; done",
        ["add address 10.22.33.1/24 to br0", *(f"delete address 10.22.33.1/24 from np-c{n}" for n in (1, 2))],
        ALL[::2],
    ),
    "host end on no bridge": Fault(
        "ip link set np-c1 nomaster", ["change veth np-c1: master none -> br0, isolated none -> off"], C1
    ),
    "host end on another bridge": Fault(
        "ip link set np-c1 master other",
        ["change veth np-c1: master other -> br0"],
        C1,
        # What a bridge without ports looks like depends on whether it ever had one.
        left=['"other"'],
    ),
    "host end isolated": Fault(
        "ip link set np-c1 type bridge_slave isolated on", ["change veth np-c1: isolated on -> off"]
    ),
    "bridge down": Fault(
        "ip link set br0 down", ["change bridge br0: up off -> on", "add address fd00:22:33::1/64 to br0"], ALL
    ),
    "spanning tree on": Fault("ip link set br0 type bridge stp_state 1", ["change bridge br0: stp on -> off"]),
    "forwarding off": Fault("sysctl -qw net.ipv4.ip_forward=0", ["set net.ipv4.ip_forward to 1 (was 0)"], ALL[::2]),
    "forwarding off on the bridge alone": Fault(
        "sysctl -qw net.ipv4.conf.br0.forwarding=0",
        ["set net.ipv4.conf.br0.forwarding to 1 (was 0)"],
        ALL[::2],
        left=["/var/lib/netpath/ledger.json"],
    ),
    "forwarding off on the uplink alone": Fault(
        "sysctl -qw net.ipv4.conf.uplink0.forwarding=0",
        ["set net.ipv4.conf.uplink0.forwarding to 1 (was 0)"],
        ALL[::2],
        left=["/var/lib/netpath/ledger.json"],
    ),
    "IPv6 forwarding off": Fault(
        "sysctl -qw net.ipv6.conf.all.forwarding=0", ["set net.ipv6.conf.all.forwarding to 1 (was 0)"], ALL[1::2]
    ),
    "settings not persistent": Fault(
        "rm /etc/sysctl.d/90-netpath-egress.conf", ["write /etc/sysctl.d/90-netpath-egress.conf"]
    ),
    "settings file edited": Fault(
        "echo net.ipv4.ip_forward = 0 >> /etc/sysctl.d/90-netpath-egress.conf",
        ["rewrite /etc/sysctl.d/90-netpath-egress.conf"],
    ),
    "jump flushed": Fault(f"nft flush chain {TABLE} postrouting", [NAT], ALL),
    "table deleted": Fault(f"nft delete table {TABLE}", [NAT_AGAIN], ALL),
    "ruleset flushed": Fault("nft flush ruleset", [NAT_AGAIN], ALL),
    "rule for another subnet": Fault(
        f"nft flush set {TABLE} src4_pods; nft 'add element {TABLE} src4_pods {{ 10.99.0.0/24 }}'", [NAT], ALL[::2]
    ),
    "rule for another uplink": Fault(
        f"nft flush chain {TABLE} nat_pods; nft add rule {TABLE} nat_pods oifname eth9 masquerade", [NAT], ALL
    ),
    "rule to an address that is gone": Fault(
        f"nft flush chain {TABLE} nat_pods; nft add rule {TABLE} nat_pods ip saddr @src4_pods snat ip to 198.18.0.77",
        [NAT],
        ALL,
    ),
    "rule added by hand": Fault(f"nft insert rule {TABLE} nat_pods oifname other return", [NAT]),
    "translation inside the namespace instead": Fault(
        f"""nft delete table {TABLE}
        ip netns exec c1 nft 'add table ip own; add chain ip own post {{ type nat hook postrouting priority 100; }}'
        ip netns exec c1 nft add rule ip own post oifname eth0 masquerade""",
        [NAT_AGAIN],
        ALL,
        left=["own", "chain post", "hook postrouting", "masquerade", "}"],
        spoils=True,
    ),
    "MTU of the host end": Fault(
        "ip link set np-c1 mtu 1400",
        # The bridge goes along with its smallest port.
        ["change bridge br0: mtu 1400 -> 1500", "change veth np-c1: mtu 1400 -> 1500"],
    ),
    "MTU of the namespace end": Fault("ip -n c1 link set eth0 mtu 1400", ["change veth np-c1: peer.mtu 1400 -> 1500"]),
    # Below 1280 the kernel ends IPv6 on a link, and begins anew with its own choices when it is larger again.
    "MTU of the host end too small for IPv6": Fault(
        "ip link set np-c1 mtu 1200; ip link set br0 mtu 1200",
        [
            "change bridge br0: mtu 1200 -> 1500, ipv6 none -> on, ipv6_dad none -> off",
            "add address fd00:22:33::1/64 to br0",
            "change veth np-c1: mtu 1200 -> 1500, ipv6_link_local none -> off",
        ],
        ALL[1::2],
    ),
    "MTU of the namespace end too small for IPv6": Fault(
        "ip -n c1 link set eth0 mtu 1000",
        [f"change veth np-c1: peer.mtu 1000 -> 1500, {_BEGUN}", ADDRESS6, ROUTE6],
        [C1_IPV6],
    ),
    "MTU of the bridge": Fault("ip link set br0 mtu 1400", ["change bridge br0: mtu 1400 -> 1500"]),
    "mark of one end lost": Fault(
        "ip link set np-c1 alias 'rack 7'", ["change veth np-c1: alias rack 7 -> netpath:pods"]
    ),
    "pair deleted": Fault(
        "ip link del np-c1",
        [f"create veth np-c1 with peer eth0 {IN_C1} on bridge br0", ADDRESS4, ADDRESS6, ROUTE4, ROUTE6],
        C1,
    ),
    "bridge deleted": Fault(
        "ip link del br0",
        [
            *("create bridge br0", "add address 10.22.33.1/24 to br0", "add address fd00:22:33::1/64 to br0"),
            *(f"change veth np-c{n}: master none -> br0, isolated none -> off" for n in (1, 2, 3)),
        ],
        ALL,
    ),
}


class Built:
    """The network on a node of a world, and the state that it has when nothing drifted."""

    def __init__(self, world: World) -> None:
        self.node = world.add_node()
        # Waiting for duplicate address detection each time is for other tests.
        self.node.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
        other = "ip link add other address 02:00:00:00:00:09 type bridge; ip link set other addrgenmode none up"
        self.node.run(["sh", "-ec", other])
        self.empty = self.node.snapshot()
        self.node.call(build, [PODS])
        for name in NAMES:
            settings_of = [f"net.ipv6.conf.{device}.accept_dad=0" for device in ("default", "eth0")]
            self.node.namespace_run(name, ["sysctl", "-qw", *settings_of])
        self.right = settled(self.node)

    def inject(self, fault: Fault) -> None:
        self.node.run(["sh", "-ec", fault.script.replace("HOST", str(self.node.pid))])

    def wrong(self, *but: str) -> list[str]:
        """Lines of what differs from the right state, and has none of these words."""
        lines = difference(self.right, settled(self.node)).splitlines()
        changes = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        return [line for line in changes if not any(word in line for word in but)]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


class Bench:
    """The same built network for all tests, as long as they leave it right."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._built: Built | None = None

    @contextlib.contextmanager
    def use(self, spoils: bool = False, fresh: bool = False) -> t.Iterator[Built]:
        built, self._built = (None if fresh else self._built) or Built(self._world), None
        yield built
        if spoils:
            built.node.close()
        else:
            self._built = built


@pytest.fixture(scope="module")
def bench(world: World) -> Bench:
    return Bench(world)


@pytest.mark.parametrize("title", FAULTS)
def test_fault_is_put_right(bench: Bench, title: str) -> None:
    fault = FAULTS[title]
    with bench.use(spoils=fault.spoils) as built:
        node = built.node
        built.inject(fault)
        assert unreachable_from(node, *NAMES, broken=fault.broken) == list(fault.broken)
        predicted = node.call(build_at_once, [PODS], check=True)
        assert node.call(build, [PODS]) == list(fault.actions)
        assert sorted(predicted) == sorted(fault.actions)
        node.run(["sh", "-ec", FORGET])
        assert unreachable_from(node, *NAMES) == []
        assert node.call(build_at_once, [PODS]) == []
        assert built.wrong(*fault.left) == []
        if fault.left:
            built.right = settled(node)


# Two of them may well hide or undo each other.
_MIXED = [title for title, fault in FAULTS.items() if not fault.left]


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(titles=st.lists(st.sampled_from(_MIXED), min_size=2, max_size=4, unique=True), at_once=st.booleans())
def test_faults_that_come_together_are_put_right(bench: Bench, titles: list[str], at_once: bool) -> None:
    with bench.use() as built:
        for title in titles:
            # What the one fault took away the next one may miss.
            built.inject(Fault(f"set +e; {FAULTS[title].script}; true", []))
        built.node.call(build_at_once if at_once else build, [PODS])
        assert unreachable_from(built.node, *NAMES) == []
        assert built.node.call(build, [PODS]) == []
        # A port that came back may have another number.
        assert built.wrong('"ifname": "np-c') == []


def test_teardown_after_drift_gives_the_host_back(bench: Bench) -> None:
    with bench.use(spoils=True, fresh=True) as built:
        for title in ("default route by somebody else", "forwarding off on the bridge alone", "never moved"):
            built.inject(FAULTS[title])
            built.node.call(build, [PODS])
        built.node.call(build, [PODS], absent=True)
        assert difference(built.empty, built.node.snapshot()) == ""


@pytest.mark.parametrize(
    ("script", "change"),
    [
        ("ip -n c1 link set eth0 name x0", {}),
        ("true", {"namespaces": [{"name": "c1", "addresses": ["10.22.33.77/24", "fd00:22:33::77/64"]}, "c2", "c3"]}),
    ],
    ids=["renamed", "another address"],
)
def test_routes_of_others_stay(bench: Bench, script: str, change: dict[str, t.Any]) -> None:
    """Those whose gateway can be reached afterwards."""
    with bench.use(spoils=True) as built:
        node = built.node
        built.inject(Fault(script, []))
        device = "x0" if "x0" in script else "eth0"
        node.run(["ip", "-n", "c1", "route", "add", "10.9.0.9", "dev", device])
        node.run(["ip", "-n", "c1", "route", "add", "10.78.0.0/16", "via", "10.22.33.3", "metric", "9"])
        node.run(["ip", "-n", "c1", "route", "add", "10.79.0.0/16", "via", "10.9.0.9"])
        node.run(["ip", "-n", "c1", "-6", "route", "add", "fd00:78::/64", "via", "fd00:22:33::3"])
        node.call(build, [{**PODS, **change}])
        assert unreachable_from(node, *NAMES) == []
        routes = node.run(["sh", "-c", "ip -n c1 route; ip -n c1 -6 route"]).stdout
        for words in (
            "10.9.0.9 dev eth0 scope link",
            "10.78.0.0/16 via 10.22.33.3 dev eth0 metric 9",
            "10.79.0.0/16 via 10.9.0.9 dev eth0",
            "fd00:78::/64 via fd00:22:33::3 dev eth0",
        ):
            assert words in routes
