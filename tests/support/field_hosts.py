"""Hosts as they are in the field, whose routing is not the main table's one default route: rows of tables of tests."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from tests.support.diagnosing import PODS, TARGETS
from tests.support.spec_questions import Options

V4: Options = {**PODS, "subnets": ["10.22.33.0/24"]}
V6: Options = {**PODS, "subnets": ["fd00:22:33::/64"]}
GUA: Options = {**PODS, "subnets": ["10.22.33.0/24", "2001:db8:1822::/64"]}
# A second link, such as that of a tunnel, that leads to the internet host as well.
SECOND = """ip link set wg0 mtu 1420 up
ip addr add 198.18.66.1/16 dev wg0; ip addr add 2001:db8:18::6601/64 dev wg0 nodad
sysctl -qw net.ipv4.conf.wg0.rp_filter=0 net.ipv4.conf.uplink0.rp_filter=0 net.ipv4.conf.all.rp_filter=0
ip route add default via 198.18.0.1 dev wg0 table 51820; ip -6 route add default via 2001:db8:18::1 dev wg0 table 51820
"""
# As wg-quick has it: all but the tunnel's own packets, and but what the main table has better routes for.
WG_QUICK = f"""{SECOND}
for family in -4 -6; do ip $family rule add pref 101 not fwmark 51820 table 51820
ip $family rule add pref 100 table main suppress_prefixlength 0; done
"""
DROP = "for tables in iptables-nft ip6tables-nft; do $tables -P FORWARD DROP; done"
OBJECTS = """sysctl -qw net.ipv4.nexthop_compat_mode=0; ip nexthop add id 11 via 198.18.0.1 dev uplink0
ip nexthop add id 12 group 11; ip nexthop add id 16 via 2001:db8:18::1 dev uplink0
"""
BY_OBJECT = f"{OBJECTS} ip route replace default nhid 11; ip -6 route del default; ip -6 route add default nhid 16"
BY_SOURCE = "ip -6 route del default; ip -6 route add default from 2001:db8:18::/64 via 2001:db8:18::1 dev uplink0"
# A tunnel that ends in the other namespace, and leads on by that one's own way.
_TUNNEL = """ip -n c1 link add tun0 type veth peer name tun0 netns c2
for name in c1 c2; do ip -n $name link set tun0 up; done
ip -n c1 addr add 10.99.0.1/24 dev tun0; ip -n c2 addr add 10.99.0.2/24 dev tun0
ip netns exec c2 sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.tun0.rp_filter=0
ip netns exec c2 nft 'table ip vpn { chain post { type nat hook postrouting priority 100; masquerade; }; }'
"""
HALVES_INSIDE = f"{_TUNNEL} for half in 0.0.0.0/1 128.0.0.0/1; do ip -n c1 route add $half via 10.99.0.2; done"
RULES_INSIDE = f"""{_TUNNEL} ip -n c1 route add default via 10.99.0.2 table 51820
ip -n c1 rule add pref 101 not fwmark 51820 table 51820; ip -n c1 rule add pref 100 table main suppress_prefixlength 0
"""


@dataclass(frozen=True)
class Host:
    """source: who reported such a one. before: what it is like before the network is built, and after that.

    inside: OWN is the node's address for the internet host. targets: of the probes. second: it has a link wg0 more.
    """

    source: str
    before: str = "true"
    network: Options = field(default_factory=lambda: PODS)
    after: str = "true"
    internet: str = ""
    targets: t.Sequence[str] = TARGETS
    second: bool = False


HEALTHY: dict[str, Host] = {
    "all by a tunnel, as wg-quick": Host("mochman/Bypass_CGNAT#33", WG_QUICK, second=True),
    "all by a tunnel, and FORWARD drops": Host("hezo-ai/hezo#600", f"{WG_QUICK}{DROP}", second=True),
    "all by another table, as Tailscale's exit node": Host(
        "tailscale/tailscale#13367",
        f"{SECOND} for family in -4 -6; do ip $family rule add pref 5270 table 51820;"
        " ip $family rule add pref 5269 table main suppress_prefixlength 0; done",
        second=True,
    ),
    "by a rule for its own sources": Host(
        "policy-routed hosts",
        f"{SECOND} ip rule add pref 70 from 10.22.33.0/24 table 51820; ip rule add pref 69 to 10.22.33.0/24 table main;"
        " ip -6 rule add pref 70 from fd00:22:33::/64 table 51820;"
        " ip -6 rule add pref 69 to fd00:22:33::/64 table main",
        {**PODS, "mtu": 1420},
        second=True,
    ),
    "next hops that are objects": Host("thom311/libnl#386", f"{BY_OBJECT}; {DROP}"),
    "groups of objects": Host(
        "FRRouting/frr#18326",
        f"{OBJECTS} ip nexthop add id 17 group 16; ip route replace default nhid 12;"
        f" ip -6 route del default; ip -6 route add default nhid 17; {DROP}",
    ),
    "IPv4 by an IPv6 next hop": Host(
        "kubernetes/kubeadm#2323", "ip -4 route replace default via inet6 2001:db8:18::1 dev uplink0"
    ),
    "halves of the internet": Host(
        "OpenVPN def1",
        "ip route add 0.0.0.0/1 via 198.18.0.1; ip route add 128.0.0.0/1 via 198.18.0.1; ip route del default",
    ),
    "IPv6 routes by source, and a network of that prefix": Host(
        "openwrt/openwrt#14954",
        "ip -6 route del default; ip -6 route add default from 2001:db8:1822::/64 via 2001:db8:18::1 dev uplink0;"
        " ip -6 route add default from 2001:db8:18::/64 via 2001:db8:18::1 dev uplink0",
        GUA,
    ),
    "SNAT to an address that is routed to the host": Host(
        "projectcalico/calico#2222",
        network={**V4, "nat": {"mode": "snat", "to_source": ["203.0.113.70"]}},
        internet="ip route replace 203.0.113.64/28 via OWN",
    ),
    "SNAT to an address by a local route": Host(
        "projectcalico/calico#5895",
        "ip route add local 203.0.113.64/28 dev lo",
        {**V4, "nat": {"mode": "snat", "to_source": ["203.0.113.70"]}},
        internet="ip route replace 203.0.113.64/28 via OWN",
    ),
    "VPN in the namespace by halves": Host("slingamn/namespaced-openvpn#18", after=HALVES_INSIDE, network=V4),
    "VPN in the namespace by rules": Host("jamesmcm/vopono#316", after=RULES_INSIDE, network=V4),
    "/32 with a gateway on the link": Host(
        "Hetzner, OVH",
        "ip addr flush dev uplink0;"
        " ip addr add OWN/32 dev uplink0; ip route replace default via 198.18.0.1 dev uplink0 onlink;"
        " ip addr add OWN6/128 dev uplink0 nodad; ip -6 route replace default via 2001:db8:18::1 dev uplink0 onlink",
    ),
    "several prefixes on the uplink": Host(
        "renumbering",
        "ip addr add 2001:db8:18:0:1::5/64 dev uplink0 nodad preferred_lft 0; ip addr add 198.18.77.7/16 dev uplink0",
    ),
    "IPv6 alone": Host(
        "IPv6-only hosts", "ip -4 route del default; ip -4 addr flush dev uplink0", V6, targets=TARGETS[1:]
    ),
    "CGNAT on the uplink": Host(
        "RFC 6598", "ip addr add 100.64.3.7/10 dev uplink0; ip route replace default via 198.18.0.1 src OWN"
    ),
    "address on the loopback, uplink without": Host(
        "BGP on the host", "ip addr add 198.18.99.7/32 dev lo; ip route replace default via 198.18.0.1 src OWN"
    ),
    "two default routes of two metrics": Host(
        "WiFi beside a cable", f"{SECOND} ip route add default via 198.18.0.1 dev wg0 metric 600", second=True
    ),
    "blackholes for what is no address of the internet": Host(
        "bogon filters",
        "for net in 192.0.2.0/24 203.0.113.0/24; do ip route add blackhole $net; done",
        V4,
        targets=TARGETS[:1],
    ),
}


@dataclass(frozen=True)
class Broken(Host):
    """What is said of its IPv4, or of IPv6 where the network has no other: code, hop, and words of the evidence."""

    code: str = ""
    hop: str = ""
    proof: str = ""
    status: str = "broken"
    fix: str = ""


BROKEN: dict[str, Broken] = {
    "answers come by a second uplink that filters strictly": Broken(
        "issue catalogue from outside",
        f"{SECOND} sysctl -qw net.ipv4.conf.wg0.rp_filter=1 net.ipv4.conf.uplink0.arp_ignore=1",
        V4,
        internet="ip route replace OWN via 198.18.66.1",
        second=True,
        code="RP_FILTER_DROP",
        hop="return_path",
        proof="rp_filter of wg0 is 1",
    ),
    "a tunnel that is dead, and FORWARD drops": Broken(
        "tailscale/tailscale#13367",
        f"{WG_QUICK}{DROP}",
        V4,
        "ip neigh flush dev wg0; ip neigh replace 198.18.0.1 dev wg0 nud permanent lladdr 02:00:00:00:00:99",
        second=True,
        code="UPSTREAM_UNREACHABLE",
        hop="upstream",
        proof="it left by wg0",
    ),
    "IPv6 default route for some sources": Broken(
        "openwrt/openwrt#14954",
        BY_SOURCE,
        V6,
        code="NO_HOST_ROUTE",
        hop="host_route",
        proof="its default route is for 2001:db8:18::/64 alone",
    ),
    "IPv6 next hop of IPv4 that is dead": Broken(
        "kubernetes/kubeadm#2323",
        "ip -4 route replace default via inet6 fe80::77 dev uplink0",
        V4,
        code="UPSTREAM_UNREACHABLE",
        hop="upstream",
        proof="fe80::77 is ",
    ),
    "a rule by which answers go elsewhere, as Tailscale's": Broken(
        "tailscale/tailscale#13367",
        f"{SECOND} ip link set wg0 mtu 1500; ip rule add pref 5270 table 51820",
        V4,
        second=True,
        code="POLICY_ROUTE_CONFLICT",
        hop="return_path",
        proof="rule 5270: from all lookup 51820 (default via 198.18.0.1 in table 51820)",
        fix="to 10.22.33.0/24 lookup main",
    ),
    "VPN in the namespace that is dead": Broken(
        "slingamn/namespaced-openvpn#18",
        network=V4,
        after=f"{HALVES_INSIDE}; ip -n c2 link set tun0 down",
        code="POLICY_ROUTE_CONFLICT",
        hop="route",
        proof="by tun0",
    ),
    "bridge without ARP": Broken(
        "containers with NOARP",
        network=V4,
        after="ip link set br0 arp off; ip -n c1 neigh flush all",
        code="NEIGHBOUR_FILTERED",
        hop="neighbour",
        proof="br0 has the flag NOARP",
        fix="arp on",
    ),
    "smaller MTU of an uplink that rules choose for it": Broken(
        "mochman/Bypass_CGNAT#33",
        f"{SECOND} ip rule add pref 70 from 10.22.33.0/24 table 51820; ip rule add pref 69 to 10.22.33.0/24 table main",
        V4,
        second=True,
        code="MTU_MISMATCH",
        hop="mtu",
        proof="and wg0 1420",
        status="degraded",
        fix="name wg0 in uplink",
    ),
    "SNAT to an address of the uplink's network that is gone": Broken(
        "catalogue",
        network={**V4, "nat": {"mode": "snat", "to_source": ["198.18.200.7"]}},
        code="SNAT_STALE_ADDRESS",
        hop="nat",
        proof="no link of the host has it",
    ),
}
