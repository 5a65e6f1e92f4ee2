"""What drifts in a built network, and the fewest steps that repair it. The network is that of tests.support.diagnosing.

A row with the title of a row of tests.support.fault_catalogue has no script: the script is that row's.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from tests.support.building import families_of, restrictions
from tests.support.fault_catalogue import FAULTS

NAMES = ("c1", "c2")
ALL = families_of(*NAMES)
C1 = families_of("c1")
C1_IPV4, C1_IPV6 = C1
IN_C1 = "in namespace c1"
ROUTE4 = f"add route default via 10.22.33.1 dev eth0 {IN_C1}"
ROUTE6 = f"add route -6 default via fd00:22:33::1 dev eth0 {IN_C1}"
ADDRESS4 = f"add address 10.22.33.2/24 to eth0 {IN_C1}"
ADDRESS6 = f"add address fd00:22:33::2/64 to eth0 {IN_C1}"
RESTRICTED = restrictions({f"c{number - 1}": [f"10.22.33.{number}", f"fd00:22:33::{number}"] for number in (2, 3)})
# With the MTU the kernel begins IPv6 anew.
_BEGUN = "peer.ipv6_link_local none -> on, peer.ipv6 none -> on, peer.ipv6_dad none -> off"
# On the host links listen unless they are told otherwise.
_CLOSED = "peer.accept_ra on -> off, peer.accept_redirects on -> off"
NAT = "replace source NAT pods"
GUARD = "replace guard of pods"
NAT_AGAIN = "create source NAT pods for 10.22.33.0/24, fd00:22:33::/64"
# A neighbour that did not answer is asked again after a second only.
FORGET = "; ".join(["ip neigh flush all nud all", *(f"ip -n {name} neigh flush all nud all" for name in NAMES)])
TABLE = "inet netpath_egress"


@dataclass(frozen=True)
class Drift:
    """script: shell that changes something, "" for that of the row of the catalogue of faults with the same title.

    actions: the steps that repair it. broken: what no longer works until then. left: words of the lines in which the
    state afterwards differs from the one before, where it may. spoils: whether the network is of no use to other tests.
    """

    script: str
    actions: t.Sequence[str]
    broken: t.Sequence[str] = ()
    left: t.Sequence[str] = ()
    spoils: bool = False


DRIFT: dict[str, Drift] = {
    "no default route": Drift("", [ROUTE4], [C1_IPV4]),
    "no IPv6 default route": Drift("", [ROUTE6], [C1_IPV6]),
    "default route by another gateway": Drift(
        "ip -n c1 route change default via 10.22.33.3 proto 250",
        [f"replace route default via 10.22.33.1 dev eth0 {IN_C1}"],
        [C1_IPV4],
    ),
    "default route by somebody else": Drift(
        "ip -n c1 route replace default via 10.22.33.3",
        [f"replace route default via 10.22.33.1 dev eth0 {IN_C1}"],
        [C1_IPV4],
        left=["/var/lib/netpath/ledger.json"],
    ),
    "namespace end down": Drift("", ["change veth np-c1: peer.up off -> on", ADDRESS6, ROUTE4, ROUTE6], C1),
    "loopback down": Drift("", ["change namespace c1: loopback off -> on"]),
    "no addresses": Drift("ip -n c1 addr flush dev eth0 scope global", [ADDRESS4, ADDRESS6, ROUTE4], C1),
    "no address": Drift("", [ADDRESS4, ROUTE4], [C1_IPV4]),
    "no IPv6 address": Drift("ip -n c1 addr del fd00:22:33::2/64 dev eth0", [ADDRESS6], [C1_IPV6]),
    "address of another subnet": Drift(
        "",
        [f"delete address 10.22.34.2/24 from eth0 {IN_C1}", ADDRESS4, ROUTE4],
        [C1_IPV4],
    ),
    "one more address": Drift(
        "ip -n c1 addr add 10.77.0.1/24 dev eth0", [f"delete address 10.77.0.1/24 from eth0 {IN_C1}"]
    ),
    "interface under another name": Drift(
        "",
        ["change veth np-c1: peer.name x0 -> eth0", ADDRESS6, ROUTE4, ROUTE6],
        C1,
    ),
    "namespace end renamed while up": Drift(
        "ip -n c1 link set eth0 name x0", ["change veth np-c1: peer.name x0 -> eth0", ADDRESS6, ROUTE4, ROUTE6]
    ),
    "host end renamed": Drift(
        "ip link set np-c1 down; ip link set np-c1 name x0; ip link set x0 up",
        ["change veth np-c1: name x0 -> np-c1"],
    ),
    "both ends renamed": Drift(
        """ip link set np-c1 down; ip link set np-c1 name x0
        ip -n c1 link set eth0 down; ip -n c1 link set eth0 name x1""",
        [
            "change veth np-c1: name x0 -> np-c1, up off -> on, peer.name x1 -> eth0, peer.up off -> on",
            *(ADDRESS6, ROUTE4, ROUTE6),
        ],
        C1,
    ),
    "link back on the host": Drift(
        "",
        [
            f"change veth np-c1: peer.netns host -> c1, peer.name vp -> eth0, {_CLOSED}, peer.up off -> on",
            *(ADDRESS4, ADDRESS6, ROUTE4, ROUTE6),
        ],
        C1,
    ),
    "moved to another namespace": Drift(
        "ip -n c1 link set eth0 netns /run/netns/c2 name vp; ip -n c2 link set vp up",
        ["change veth np-c1: peer.netns c2 -> c1, peer.name vp -> eth0", ADDRESS4, ADDRESS6, ROUTE4, ROUTE6],
        C1,
    ),
    "host end in another namespace": Drift(
        "ip link set np-c1 netns /run/netns/c2; ip -n c2 link set np-c1 up",
        ["change veth np-c1: netns c2 -> host, master none -> br0, isolated none -> off, ipv6_link_local on -> off"],
        C1,
    ),
    "host end that would get a link-local address": Drift(
        "ip link set np-c1 addrgenmode eui64", [], left=["addr_gen_mode"]
    ),
    "host end with a link-local address": Drift(
        "ip link set np-c1 addrgenmode eui64; ip link set np-c1 down; ip link set np-c1 up",
        ["change veth np-c1: ipv6_link_local on -> off"],
        # The fault before this one leaves the mode, and this repair does not.
        left=["addr_gen_mode"],
    ),
    "host end down": Drift("", ["change veth np-c1: up off -> on"], C1),
    "bridge without the gateway": Drift("", ["add address 10.22.33.1/24 to br0"], ALL[::2]),
    "bridge without its IPv6 address": Drift(
        "ip addr del fd00:22:33::1/64 dev br0", ["add address fd00:22:33::1/64 to br0"], ALL[1::2]
    ),
    "gateway on a port as well": Drift(
        "ip addr add 10.22.33.1/24 dev np-c1", ["delete address 10.22.33.1/24 from np-c1"]
    ),
    "gateway on the ports instead of the bridge": Drift(
        "ip addr del 10.22.33.1/24 dev br0; for end in np-c1 np-c2; do ip addr add 10.22.33.1/24 dev $end; done",
        ["add address 10.22.33.1/24 to br0", *(f"delete address 10.22.33.1/24 from np-c{n}" for n in (1, 2))],
        ALL[::2],
    ),
    "port on no bridge": Drift("", ["change veth np-c1: master none -> br0, isolated none -> off"], C1),
    "host end on another bridge": Drift(
        "ip link set np-c1 master other",
        ["change veth np-c1: master other -> br0"],
        C1,
        # What a bridge without ports looks like depends on whether it ever had one.
        left=['"other"'],
    ),
    "host end isolated": Drift(
        "ip link set np-c1 type bridge_slave isolated on", ["change veth np-c1: isolated on -> off"]
    ),
    "bridge down": Drift("", ["change bridge br0: up off -> on", "add address fd00:22:33::1/64 to br0"], ALL),
    "spanning tree on": Drift("ip link set br0 type bridge stp_state 1", ["change bridge br0: stp on -> off"]),
    "forwarding off": Drift("", ["set net.ipv4.ip_forward to 1 (was 0)"], ALL[::2]),
    "forwarding off on the bridge alone": Drift(
        "",
        ["set net.ipv4.conf.br0.forwarding to 1 (was 0)"],
        ALL[::2],
        left=["/var/lib/netpath/ledger.json"],
    ),
    "forwarding off on the uplink alone": Drift(
        "sysctl -qw net.ipv4.conf.uplink0.forwarding=0",
        ["set net.ipv4.conf.uplink0.forwarding to 1 (was 0)"],
        ALL[::2],
        left=["/var/lib/netpath/ledger.json"],
    ),
    "IPv6 forwarding off": Drift("", ["set net.ipv6.conf.all.forwarding to 1 (was 0)"], ALL[1::2]),
    "forwarding until the next boot": Drift("", ["write /etc/sysctl.d/90-netpath-egress.conf"]),
    "settings file edited": Drift(
        "echo net.ipv4.ip_forward = 0 >> /etc/sysctl.d/90-netpath-egress.conf",
        ["rewrite /etc/sysctl.d/90-netpath-egress.conf"],
    ),
    "jump flushed": Drift(f"nft flush chain {TABLE} postrouting", [NAT], ALL),
    "no rule translates": Drift("", [NAT_AGAIN], ALL),
    "ruleset flushed": Drift(
        "nft flush ruleset",
        [*RESTRICTED, "create guard of pods", NAT_AGAIN, "create forwarding limits of pods"],
        ALL,
    ),
    "guard asleep": Drift("nft 'add table inet netpath_egress_guard { flags dormant; }'", [GUARD]),
    "guard flushed": Drift("nft flush chain inet netpath_egress_guard left_pods", [GUARD]),
    "guard without a source": Drift("nft flush map inet netpath_egress_guard sources4", [GUARD]),
    "guard lets an uplink through": Drift(
        "nft add element inet netpath_egress_guard bridges_out '{ \"up0\" : accept }'", [GUARD]
    ),
    "guard passed by": Drift("nft insert rule inet netpath_egress_guard left_pods accept", [GUARD]),
    "rule for other sources": Drift("", [NAT], ALL[::2]),
    "rule for an uplink that is gone": Drift(
        f"nft flush chain {TABLE} nat_pods; nft add rule {TABLE} nat_pods oifname eth9 masquerade", [NAT], ALL
    ),
    "rule to an address that is gone": Drift(
        f"nft flush chain {TABLE} nat_pods; nft add rule {TABLE} nat_pods ip saddr @src4_pods snat ip to 198.18.0.77",
        [NAT],
        ALL,
    ),
    "rule added by hand": Drift(f"nft insert rule {TABLE} nat_pods oifname other return", [NAT]),
    "translation inside the namespace instead": Drift(
        f"""nft delete table {TABLE}
        ip netns exec c1 nft 'add table ip own; add chain ip own post {{ type nat hook postrouting priority 100; }}'
        ip netns exec c1 nft add rule ip own post oifname eth0 masquerade""",
        [NAT_AGAIN],
        ALL,
        left=["own", "chain post", "hook postrouting", "masquerade", "}"],
        spoils=True,
    ),
    "MTU of the host's end": Drift(
        "",
        # The bridge goes along with its smallest port.
        ["change bridge br0: mtu 1400 -> 1500", "change veth np-c1: mtu 1400 -> 1500"],
    ),
    "MTU of the namespace end": Drift("ip -n c1 link set eth0 mtu 1400", ["change veth np-c1: peer.mtu 1400 -> 1500"]),
    # Below 1280 the kernel ends IPv6 on a link, and begins anew with its own choices when it is larger again.
    "MTU of the host end too small for IPv6": Drift(
        "ip link set np-c1 mtu 1200; ip link set br0 mtu 1200",
        [
            "change bridge br0: mtu 1200 -> 1500, ipv6 none -> on, ipv6_dad none -> off",
            "add address fd00:22:33::1/64 to br0",
            "change veth np-c1: mtu 1200 -> 1500, ipv6_link_local none -> off",
        ],
        ALL[1::2],
    ),
    "MTU of the namespace end too small for IPv6": Drift(
        "ip -n c1 link set eth0 mtu 1000",
        [f"change veth np-c1: peer.mtu 1000 -> 1500, {_BEGUN}", ADDRESS6, ROUTE6],
        [C1_IPV6],
    ),
    "MTU of the bridge": Drift("ip link set br0 mtu 1400", ["change bridge br0: mtu 1400 -> 1500"]),
    "mark of one end lost": Drift(
        "ip link set np-c1 alias 'rack 7'", ["change veth np-c1: alias rack 7 -> netpath:pods"]
    ),
    "pair deleted": Drift(
        "ip link del np-c1",
        [f"create veth np-c1 with peer eth0 {IN_C1} on bridge br0", ADDRESS4, ADDRESS6, ROUTE4, ROUTE6],
        C1,
    ),
    "bridge deleted": Drift(
        "ip link del br0",
        [
            *("create bridge br0", "add address 10.22.33.1/24 to br0", "add address fd00:22:33::1/64 to br0"),
            *(f"change veth np-c{n}: master none -> br0, isolated none -> off" for n in (1, 2)),
        ],
        ALL,
    ),
}


def script_of(title: str) -> str:
    return DRIFT[title].script or FAULTS[title].inject
