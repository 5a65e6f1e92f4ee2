"""Ways to break a path that is built: rows of the catalogue of failures, and others.

Each breaks the path of c1 in the network pods, which a node of the world has with c2 beside it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from tests.lab import probe

BOTH = ("ipv4", "ipv6")
# A process in a namespace of its own, in the variable holder.
_HOLDER = (
    "unshare -n sleep 300 >/dev/null 2>&1 & holder=$!; echo $holder >/run/holder;"
    ' while [ "$(readlink /proc/$holder/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do :; done;'
)
# The pair goes some time after its namespace, if nobody takes it away.
GONE = "ip netns del c1; ip link del np-c1 2>/dev/null || true"
# The next run may give back what the failure wrote in place of the file.
_NO_RESOLVER = "rm /etc/netns/c1/resolv.conf"
_RESOLVED = {"namespaces": [{"name": "c1", "dns": {"servers": ["198.51.100.80"]}}, "c2"]}


@dataclass(frozen=True)
class Fault:
    """row: of the catalogue, 0 for one beyond it. A script that breaks c1's path, what is said about it, and the script
    that puts it right, "" for the next run.

    families: in which it shows. status: of the verdict; statuses: of one family alone. network: more options of it.
    wrong: those with which it is built in place of a script. before and after: scripts around all of it. targets: of
    the probes. proof: words of the evidence.
    """

    row: int
    inject: str
    code: str
    fix: str = ""
    families: t.Sequence[str] = BOTH
    status: str = "broken"
    network: t.Mapping[str, t.Any] = field(default_factory=dict)
    hop: str = ""
    before: str = "true"
    after: str = "true"
    wrong: t.Mapping[str, t.Any] = field(default_factory=dict)
    targets: t.Sequence[str] = tuple(probe.TARGETS.values())
    statuses: t.Mapping[str, str] = field(default_factory=dict)
    proof: str = ""


# A queue that takes nothing takes no question for a neighbour either: all along the path know each other until it ends.
_NEIGHBOURS = """
for to in 198.51.100.80 2001:db8:51::80; do ip netns exec c1 ping -n -q -c 1 -w 9 $to >/dev/null; done
for gateway in 10.22.33.1 fd00:22:33::1; do ip -n c1 neigh change $gateway dev eth0 nud STATE; done
for address in 10.22.33.2 fd00:22:33::2; do ip neigh change $address dev br0 nud STATE; done
for gateway in 198.18.0.1 2001:db8:18::1; do ip neigh change $gateway dev uplink0 nud STATE; done
"""
_KNOWN, _ASKED = _NEIGHBOURS.replace("STATE", "permanent"), _NEIGHBOURS.replace("STATE", "stale")
# Answers of the gateway itself go another way than to its bridge.
_FROM_THE_GATEWAY = "ip rule add pref 20 from 10.22.33.1 table 88; ip route add default via 198.18.0.1 table 88"
# The namespaces ask, and do not learn from what the host asks them.
_NOT_ASKED = """for name in c1 c2; do
mac=$(ip -n $name -o link show dev eth0 | sed 's/.*link.ether \\([^ ]*\\).*/\\1/')
address=$(ip -n $name -4 -o addr show dev eth0 | awk '{sub("/.*", "", $4); print $4}')
ip neigh replace $address lladdr $mac dev br0 nud permanent; ip -n $name -4 neigh flush all; done"""
_ASKS_AGAIN = "for address in 10.22.33.2 10.22.33.3; do ip neigh change $address dev br0 nud stale; done"
FAULTS: dict[str, Fault] = {
    "no default route": Fault(1, "ip -n c1 route del default", "NO_DEFAULT_ROUTE", families=["ipv4"]),
    "no IPv6 default route": Fault(
        41, "ip -n c1 -6 route del default", "V6_ADDRESS_UNUSABLE", families=["ipv6"], hop="route"
    ),
    "namespace end down": Fault(2, "ip -n c1 link set eth0 down", "LINK_DOWN"),
    "loopback down": Fault(3, "ip -n c1 link set lo down", "LOOPBACK_DOWN", status="degraded"),
    "no address": Fault(4, "ip -n c1 -4 addr flush dev eth0", "NO_ADDRESS", families=["ipv4"]),
    "namespace is not there": Fault(0, GONE, "NAMESPACE_MISSING"),
    "host end down": Fault(10, "ip link set np-c1 down", "HOST_LINK_DOWN"),
    "port on no bridge": Fault(19, "ip link set np-c1 nomaster", "PORT_NOT_ON_BRIDGE"),
    "port on another bridge": Fault(
        20,
        "ip link add br9 type bridge; ip link set br9 up; ip link set np-c1 master br9",
        "PORT_ON_WRONG_BRIDGE",
        "ip link del br9",
    ),
    "bridge down": Fault(21, "ip link set br0 down", "BRIDGE_DOWN"),
    "bridge without the gateway": Fault(
        17, "ip addr del 10.22.33.1/24 dev br0", "BRIDGE_NO_GATEWAY", families=["ipv4"]
    ),
    "spoof protection gone": Fault(
        0, "nft delete table bridge netpath_egress", "PROTECTION_MISSING", status="degraded"
    ),
    "wall edited": Fault(
        0, "nft flush chain inet netpath_egress_wall between", "PROTECTION_MISSING", status="degraded"
    ),
    "guard gone": Fault(0, "nft delete table inet netpath_egress_guard", "PROTECTION_MISSING", status="degraded"),
    "forwarding off": Fault(27, "sysctl -qw net.ipv4.ip_forward=0", "FORWARDING_OFF", families=["ipv4"]),
    "IPv6 forwarding off": Fault(
        42, "sysctl -qw net.ipv6.conf.all.forwarding=0", "V6_FORWARDING_OFF", families=["ipv6"]
    ),
    "no rule translates": Fault(31, "nft delete table inet netpath_egress", "NAT_MISSING"),
    "forward drops": Fault(
        29,
        "nft 'add table inet eg; add chain inet eg forward { type filter hook forward priority 0; policy drop; }'",
        "FORWARD_DROPPED",
        "nft delete table inet eg",
    ),
    "address of another subnet": Fault(
        5,
        "ip -n c1 -4 addr flush dev eth0; ip -n c1 addr add 10.22.34.2/24 dev eth0;"
        "ip -n c1 route add default via 10.22.34.1",
        "WRONG_SUBNET",
        families=["ipv4"],
    ),
    "interface under another name": Fault(
        6,
        "ip -n c1 link set eth0 down; ip -n c1 link set eth0 name x0; ip -n c1 link set x0 up",
        "WRONG_INTERFACE_NAME",
    ),
    "policy rule": Fault(
        7,
        "ip rule add from 10.22.33.0/24 table 77; ip route add blackhole default table 77",
        "POLICY_ROUTE_CONFLICT",
        "ip rule del from 10.22.33.0/24 table 77; ip route flush table 77",
        families=["ipv4"],
    ),
    "ARP filtered": Fault(
        8,
        "nft 'add table bridge eg; add chain bridge eg in { type filter hook input priority 0; };"
        " add rule bridge eg in ether type arp counter drop'; ip -n c1 neigh flush all; ip neigh flush all",
        "NEIGHBOUR_FILTERED",
        "nft delete table bridge eg",
        families=["ipv4"],
    ),
    "neighbour discovery filtered": Fault(
        43,
        "nft 'add table bridge eg; add chain bridge eg in { type filter hook input priority 0; };"
        " add rule bridge eg in icmpv6 type nd-neighbor-solicit counter drop'; ip -n c1 -6 neigh flush all",
        "NEIGHBOUR_FILTERED",
        "nft delete table bridge eg",
        families=["ipv6"],
    ),
    "link back on the host": Fault(9, "ip -n c1 link set eth0 netns $$ name vp", "LINK_NOT_MOVED"),
    "handle that is no namespace": Fault(
        12,
        f"{GONE}; touch /run/netns/c1",
        "STALE_HANDLE",
        "rm /run/netns/c1",
    ),
    "translation in the namespace alone": Fault(
        15,
        "nft delete table inet netpath_egress; ip netns exec c1 nft 'add table inet eg;"
        " add chain inet eg post { type nat hook postrouting priority 100; }; add rule inet eg post masquerade'",
        "NAT_WRONG_NAMESPACE",
        "ip netns exec c1 nft delete table inet eg",
    ),
    "gateway on a port": Fault(
        18,
        "ip addr del 10.22.33.1/24 dev br0; ip addr add 10.22.33.1/24 dev np-c1",
        "GATEWAY_ON_PORT",
        "ip addr del 10.22.33.1/24 dev np-c1",
        families=["ipv4"],
    ),
    "subnet on another link": Fault(
        22,
        "ip link add d0 type bridge; ip link set d0 up; ip addr add 10.22.33.250/24 dev d0",
        "DUPLICATE_SUBNET_ROUTE",
        "ip link del d0",
        families=["ipv4"],
        status="degraded",
    ),
    "port that listens": Fault(
        23,
        "ip link set br0 type bridge stp_state 1 forward_delay 3000; ip link set np-c1 nomaster;"
        " ip link set np-c1 master br0",
        "PORT_NOT_FORWARDING",
        "ip link set br0 type bridge stp_state 0 forward_delay 200;"
        " ip link set np-c1 nomaster; ip link set np-c1 master br0",
    ),
    "MTU of the uplink": Fault(
        25, "ip link set uplink0 mtu 1400", "MTU_MISMATCH", "ip link set uplink0 mtu 1500", status="degraded"
    ),
    "host without a route": Fault(
        30, "ip route del default", "NO_HOST_ROUTE", "ip route add default via 198.18.0.1", families=["ipv4"]
    ),
    "host without an IPv6 route": Fault(
        30, "ip -6 route del default", "NO_HOST_ROUTE", "ip -6 route add default via 2001:db8:18::1", families=["ipv6"]
    ),
    "rule for other sources": Fault(
        32,
        "nft flush set inet netpath_egress src4_pods; nft add element inet netpath_egress src4_pods { 10.99.0.0/24 }",
        "NAT_WRONG_SOURCE",
        families=["ipv4"],
    ),
    "rules emptied": Fault(31, "nft flush chain inet netpath_egress nat_pods", "NAT_MISSING"),
    "IPv6 off in the namespace": Fault(
        41,
        "ip netns exec c1 sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
        "V6_ADDRESS_UNUSABLE",
        "ip netns exec c1 sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0",
        families=["ipv6"],
    ),
    "forwarding off on the bridge alone": Fault(
        27, "sysctl -qw net.ipv4.conf.br0.forwarding=0", "FORWARDING_OFF", families=["ipv4"]
    ),
    "rule that drops ahead of ours": Fault(
        29,
        "iptables-nft -I FORWARD -i br0 -j DROP",
        "FORWARD_DROPPED",
        "iptables-nft -D FORWARD -i br0 -j DROP",
        ["ipv4"],
    ),
    "answers dropped": Fault(
        29,
        "iptables-nft -I FORWARD -o br0 -j DROP",
        "FORWARD_DROPPED",
        "iptables-nft -D FORWARD -o br0 -j DROP",
        ["ipv4"],
    ),
    "port by which answers do not reach the namespace": Fault(
        0,
        "nft 'add table bridge eg; add chain bridge eg out { type filter hook output priority 0; };"
        " add rule bridge eg out ip saddr 198.51.100.80 drop'",
        "FORWARD_DROPPED",
        "nft delete table bridge eg",
        families=["ipv4"],
        hop="bridge",
    ),
    "nobody answers upstream": Fault(
        0,
        "nft 'add table inet eg; add chain inet eg in { type filter hook prerouting priority -300; };"
        " add rule inet eg in iifname uplink0 ip saddr 198.51.100.80 drop'",
        "FORWARD_DROPPED",
        "nft delete table inet eg",
        families=["ipv4"],
    ),
    "other end with a process alone": Fault(
        11,
        f"{_HOLDER} ip -n c1 link set eth0 netns $holder",
        "DANGLING_VETH",
        "kill $(cat /run/holder)",
    ),
    "name gone, process there": Fault(
        13,
        "ip netns exec c1 sleep 300 >/dev/null 2>&1 & echo $! >/run/holder;"
        ' while [ "$(readlink /proc/$!/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do :; done; ip netns del c1',
        "LEAKED_NAMESPACE",
        "kill $(cat /run/holder)",
    ),
    "uplink on a bridge": Fault(
        14,
        "ip link add br9 type bridge; ip link set br9 up; ip link set uplink0 master br9",
        "DEVICE_BUSY",
        "ip link set uplink0 nomaster; ip link del br9",
        # A bridge takes the address of its only port, and the host takes what comes to that.
        status="degraded",
    ),
    "host end taken by a macvlan": Fault(
        14,
        "ip link set np-c1 nomaster; ip link add mv0 link np-c1 type macvlan; ip link set mv0 up",
        "DEVICE_BUSY",
        "ip link del mv0",
        hop="bridge_port",
    ),
    "service on the loopback alone": Fault(
        16,
        "ip netns exec c2 python3 -c \"import socket,time; s=socket.create_server(('127.0.0.1', 8000));"
        " open('/run/listens', 'w'); time.sleep(300)\" >/dev/null 2>&1 & echo $! >/run/holder;"
        " until [ -e /run/listens ]; do :; done",
        "LISTENER_LOCAL_ONLY",
        "kill $(cat /run/holder); rm /run/listens",
        ["ipv4"],
        status="degraded",
        hop="upstream",
        targets=["tcp://10.22.33.3:8000", probe.TARGETS[6]],
    ),
    "bridged packets dropped": Fault(
        24,
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables-nft -I FORWARD -i br0 -o br0 -j DROP",
        "BRIDGE_NF_DROPS",
        "iptables-nft -D FORWARD -i br0 -o br0 -j DROP",
        ["ipv4"],
        status="degraded",
    ),
    "MTU of the namespace's end": Fault(25, "ip -n c1 link set eth0 mtu 1300", "MTU_MISMATCH", status="degraded"),
    "MTU of the host's end": Fault(25, "ip link set np-c1 mtu 1400", "MTU_MISMATCH", status="degraded"),
    "nobody is told of large packets": Fault(
        26,
        "ip link set uplink0 mtu 1400; iptables-nft -I OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP;"
        " ip6tables-nft -I OUTPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP",
        "PMTU_BLACKHOLE",
        "ip link set uplink0 mtu 1500; iptables-nft -D OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP;"
        " ip6tables-nft -D OUTPUT -p icmpv6 --icmpv6-type packet-too-big -j DROP",
        status="degraded",
    ),
    "forwarding until the next boot": Fault(
        28, "rm /etc/sysctl.d/90-netpath-egress.conf", "NOT_PERSISTENT", status="degraded"
    ),
    "rule for another uplink": Fault(
        33,
        "true",
        "NAT_WRONG_INTERFACE",
        "ip link del other0",
        before="ip link add other0 type bridge; ip link set other0 up",
        wrong={"uplink": ["other0"]},
    ),
    "fixed source address gone": Fault(
        34,
        "ip addr del 198.18.0.77/32 dev uplink0",
        "SNAT_STALE_ADDRESS",
        "ip addr add 198.18.0.77/32 dev uplink0",
        ["ipv4"],
        network={"nat": {"mode": "snat", "to_source": ["198.18.0.77", "2001:db8:18::7777"]}},
        before="ip addr add 198.18.0.77/32 dev uplink0; ip addr add 2001:db8:18::7777/128 dev uplink0 nodad",
        after="ip addr del 198.18.0.77/32 dev uplink0; ip addr del 2001:db8:18::7777/128 dev uplink0",
        # The next hop remembers for a while where the address was.
        status="degraded",
    ),
    "neighbours translated": Fault(
        35,
        # Ahead of the forwarding limits, which keep a neighbour's source from rules at srcnat and later.
        "sysctl -qw net.bridge.bridge-nf-call-iptables=1; nft 'add table ip eg;"
        " add chain ip eg post { type nat hook postrouting priority 90; };"
        " add rule ip eg post ip saddr 10.22.33.0/24 masquerade'",
        "EAST_WEST_NATED",
        "nft delete table ip eg",
        ["ipv4"],
        status="degraded",
    ),
    "IPv6 address that another one has": Fault(
        41,
        # Whoever is to lose an address has to ask whether another one has it.
        "ip netns exec c1 sysctl -qw net.ipv6.conf.eth0.accept_dad=1;"
        " address=$(ip -n c1 -6 -o addr show dev eth0 scope global | awk '{print $4}');"
        " ip -n c2 addr add ${address%/*}/128 dev eth0 nodad; ip -n c1 addr del $address dev eth0;"
        " ip -n c1 addr add $address dev eth0; ip -n c1 route add default via fd00:22:33::1 2>/dev/null || true;"
        " until ip -n c1 -6 addr show dev eth0 | grep -q dadfailed; do :; done; echo ${address%/*}/128 >/run/taken",
        "V6_ADDRESS_UNUSABLE",
        "ip -n c2 addr del $(cat /run/taken) dev eth0; ip -n c1 -6 addr flush dev eth0 scope global;"
        " ip netns exec c1 sysctl -qw net.ipv6.conf.eth0.accept_dad=0; ip -6 neigh flush dev br0",
        ["ipv6"],
        # With it nobody defends the address of another one.
        network={"spoof_protection": False},
    ),
    "IPv6 dropped": Fault(
        43,
        "ip6tables-nft -I FORWARD -i br0 -j DROP",
        "FORWARD_DROPPED",
        "ip6tables-nft -D FORWARD -i br0 -j DROP",
        ["ipv6"],
    ),
    "resolver that does not answer": Fault(
        44,
        "echo nameserver 198.51.100.99 >/etc/netns/c1/resolv.conf",
        "DNS_UNREACHABLE",
        families=["ipv4"],
        status="degraded",
        network=_RESOLVED,
        after=_NO_RESOLVER,
    ),
    "no resolver": Fault(
        44,
        ": >/etc/netns/c1/resolv.conf",
        "DNS_UNREACHABLE",
        status="degraded",
        network=_RESOLVED,
        after=_NO_RESOLVER,
    ),
    "queue of the uplink that takes nothing": Fault(
        0,
        f"{_KNOWN} tc qdisc add dev uplink0 root pfifo limit 0",
        "UNEXPLAINED_DROP",
        f"tc qdisc del dev uplink0 root; {_ASKED}",
        hop="uplink",
    ),
    "queue of the host's end that takes nothing": Fault(
        0,
        f"{_KNOWN} tc qdisc add dev np-c1 root pfifo limit 0",
        "UNEXPLAINED_DROP",
        f"tc qdisc del dev np-c1 root; {_ASKED}",
        hop="bridge",
    ),
    "queue of the namespace that takes nothing": Fault(
        0,
        f"{_KNOWN} tc -n c1 qdisc add dev eth0 root pfifo limit 0",
        "UNEXPLAINED_DROP",
        f"tc -n c1 qdisc del dev eth0 root; {_ASKED}",
        hop="link",
    ),
    "hop limit that is spent": Fault(
        0,
        "nft 'add table ip eg; add chain ip eg pre { type filter hook prerouting priority -150; };"
        " add rule ip eg pre iifname br0 ip ttl set 1'",
        "UNEXPLAINED_DROP",
        "nft delete table ip eg",
        ["ipv4"],
        hop="host_forwarding",
    ),
    "raw table that drops": Fault(
        0,
        "iptables-nft -t raw -A PREROUTING -i br0 -j DROP;"
        " ip6tables-nft -t raw -A PREROUTING -i br0 -d 2001:db8::/32 -j DROP",
        "FORWARD_DROPPED",
        "iptables-nft -t raw -D PREROUTING -i br0 -j DROP;"
        " ip6tables-nft -t raw -D PREROUTING -i br0 -d 2001:db8::/32 -j DROP",
    ),
    "wrong neighbour in the namespace": Fault(
        0,
        "ip -n c1 neigh replace 10.22.33.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
        "NEIGHBOUR_WRONG",
        "ip -n c1 neigh del 10.22.33.1 dev eth0",
        ["ipv4"],
    ),
    "wrong neighbour on the host": Fault(
        0,
        "ip neigh replace 10.22.33.2 lladdr 02:00:00:00:00:99 dev br0 nud permanent",
        "NEIGHBOUR_WRONG",
        "ip neigh del 10.22.33.2 dev br0",
        ["ipv4"],
    ),
    "route back that leads elsewhere": Fault(
        0,
        "ip rule add to 10.22.33.2 table 78; ip route add default via 198.18.0.1 table 78",
        "POLICY_ROUTE_CONFLICT",
        "ip rule del to 10.22.33.2 table 78; ip route flush table 78",
        ["ipv4"],
        hop="return_path",
    ),
    **{
        f"netdev {hook} of {link}, {words}": Fault(
            0,
            f"nft 'table netdev eg {{ chain c {{ type filter hook {hook} device {link} priority 0;"
            f" ip {end} 198.51.100.80 counter drop; }}; }}'",
            "FORWARD_DROPPED",
            "nft delete table netdev eg",
            ["ipv4"],
            hop=hop,
            proof="netdev eg c drops it",
        )
        for hook, link, words, end, hop in (
            ("ingress", "np-c1", "on the way out", "daddr", "bridge_port"),
            ("egress", "uplink0", "on the way out", "daddr", "uplink"),
            ("ingress", "uplink0", "answers", "saddr", "uplink"),
            ("egress", "np-c1", "answers", "saddr", "bridge_port"),
        )
    },
    **{
        f"filter in the namespace, {hook}": Fault(
            0,
            "ip netns exec c1 nft 'table inet kill { chain c"
            f" {{ type filter hook {hook} priority 0; ip {end} 198.51.100.80 drop; }}; }}'",
            "NAMESPACE_FILTERED",
            "ip netns exec c1 nft delete table inet kill",
            ["ipv4"],
            proof="inet kill c drops it",
        )
        for hook, end in (("output", "daddr"), ("input", "saddr"))
    },
    "neighbour discovery dropped by INPUT": Fault(
        0,
        "ip6tables-nft -A INPUT -i br0 -j DROP; ip -n c1 -6 neigh flush all; ip -6 neigh flush all",
        "NEIGHBOUR_FILTERED",
        "ip6tables-nft -D INPUT -i br0 -j DROP",
        ["ipv6"],
        proof="ip6 filter INPUT drops it",
    ),
    "ARP dropped by a table of arp": Fault(
        0,
        f"nft 'table arp eg {{ chain c {{ type filter hook input priority 0; iifname br0 drop; }}; }}'; {_NOT_ASKED}",
        "NEIGHBOUR_FILTERED",
        f"nft delete table arp eg; {_ASKS_AGAIN}",
        ["ipv4"],
        proof="arp eg c drops it",
    ),
    **{
        f"no answers to ARP: {proof}": Fault(
            0,
            f"{script}; {_NOT_ASKED}",
            "NEIGHBOUR_FILTERED",
            f"{fix}; {_ASKS_AGAIN}",
            ["ipv4"],
            proof=proof,
        )
        for proof, script, fix in (
            (
                "net.ipv4.conf.br0.arp_ignore = 8",
                "sysctl -qw net.ipv4.conf.br0.arp_ignore=8",
                "sysctl -qw net.ipv4.conf.br0.arp_ignore=0",
            ),
            (
                "net.ipv4.conf.br0.arp_filter = 1",
                f"sysctl -qw net.ipv4.conf.br0.arp_filter=1; {_FROM_THE_GATEWAY}",
                "sysctl -qw net.ipv4.conf.br0.arp_filter=0; ip rule del pref 20; ip route flush table 88",
            ),
        )
    },
    "policy of IPsec": Fault(
        0,
        "ip xfrm policy add src 0.0.0.0/0 dst 198.51.100.0/24 dir out action block",
        "FORWARD_DROPPED",
        "ip xfrm policy flush",
        ["ipv4"],
        proof="Xfrm",
    ),
    "answers in a zone of their own": Fault(
        0,
        "nft 'table ip eg { chain c { type filter hook prerouting priority -300; iifname uplink0 ct zone set 7; }; }'",
        "UNEXPLAINED_DROP",
        "nft delete table ip eg; conntrack -F -w 7 2>/dev/null || true",
        ["ipv4"],
        hop="conntrack",
        proof="a zone of its own",
    ),
    "rule in the namespace that leads nowhere": Fault(
        0,
        "ip -n c1 rule add pref 10 to 198.51.100.0/24 prohibit",
        "POLICY_ROUTE_CONFLICT",
        "ip -n c1 rule del pref 10",
        ["ipv4"],
        hop="route",
        proof="10: from all to 198.51.100.0/24 prohibit",
    ),
    "blackhole on the host": Fault(
        30,
        "ip route add blackhole 198.51.100.80",
        "NO_HOST_ROUTE",
        "ip route del blackhole 198.51.100.80",
        ["ipv4"],
        proof="blackhole",
    ),
}
