# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What repairs the path of a namespace that no network describes: commands of iproute2, sysctl and iptables. Pure."""

from __future__ import annotations

import re
import shlex
import typing as t

from .catalogue import CODES
from .path import Path

_PROCESS = re.compile(r"/proc/(\d+)/ns/net")
_IPTABLES = {4: "iptables", 6: "ip6tables"}

# Of codes that are not here, the catalogue's words hold for such a namespace too. A person fills in capital words.
_COMMANDS: dict[str, str] = {
    "NAMESPACE_MISSING": "correct the name (ip netns list shows those that there are), or start what makes it",
    "STALE_HANDLE": "rm /run/netns/{name}, then start again what makes it",
    "LEAKED_NAMESPACE": "ip netns attach {name} PID, or end the processes",
    "LOOPBACK_DOWN": "{ip} link set lo up",
    "LINK_MISSING": "ip link add PEER type veth peer name eth0 netns {target}, then an address and a default route",
    "LINK_NOT_MOVED": "ip link set {interface} netns {target}, then its address and a default route",
    "DANGLING_VETH": "ip link del {host_end}, if the process at its other end does not need it",
    "WRONG_INTERFACE_NAME": "{ip} link set OLD down name {interface} && {ip} link set {interface} up, then its routes",
    "LINK_DOWN": "{ip} link set {interface} up && {ip} {family} route add default via {gateway}",
    "NAMESPACE_FILTERED": "{run} nft list ruleset shows the chain: let the packets pass there",
    "NO_ADDRESS": "{ip} address add {cidr} dev {interface}, then the default route if it went",
    "WRONG_SUBNET": "{ip} address and {ip} {family} route show both: replace the wrong one",
    "V6_ADDRESS_UNUSABLE": "{run} sysctl -w net/ipv6/conf/{interface}/disable_ipv6=0, or find who else has its address",
    "NO_DEFAULT_ROUTE": "{ip} {family} route add default via {gateway}",
    "HOST_LINK_DOWN": "ip link set {host_end} up",
    "PORT_NOT_ON_BRIDGE": "ip link set {host_end} master {bridge}",
    "PORT_ON_WRONG_BRIDGE": "ip link set {host_end} master {bridge}",
    "PORT_NOT_FORWARDING": "wait for spanning tree, or ip link set {bridge} type bridge stp_state 0",
    "GATEWAY_ON_PORT": "ip address del {gateway_cidr} dev {host_end} && ip address add {gateway_cidr} dev {bridge}",
    "BRIDGE_MISSING": "ip link add {bridge} up type bridge, then its address and its ports",
    "BRIDGE_DOWN": "ip link set {bridge} up",
    "BRIDGE_NO_GATEWAY": "ip address add {gateway_cidr} dev {bridge}",
    "DUPLICATE_SUBNET_ROUTE": "ip address del ADDRESS/PREFIX dev OTHER, or give one of the two another subnet",
    "DRIFT": "set back what is not as it was asked for",
    "PMTU_BLACKHOLE": "let ICMP type 3 code 4 and ICMPv6 type 2 pass where they are dropped",
    "MTU_MISMATCH": "{ip} link set {interface} mtu SIZE",
    "PROTECTION_MISSING": "restore the rules that restrict what it may send",
    # Where the first is on already, writing it does not change the switch of a link.
    "FORWARDING_OFF": "sysctl -w net/ipv4/ip_forward=1 net/ipv4/conf/{ingress}/forwarding=1",
    "V6_FORWARDING_OFF": "sysctl -w net/ipv6/conf/all/forwarding=1, and before it net/ipv6/conf/UPLINK/accept_ra=2 "
    "where the uplink learns its route from router advertisements",
    "NOT_PERSISTENT": "write the switch to a file below /etc/sysctl.d",
    "FORWARD_DROPPED": "{iptables} -I FORWARD -i {ingress} -j ACCEPT && {iptables} -I FORWARD -o {ingress} "
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "BRIDGE_NF_DROPS": "{iptables} -I FORWARD -i {bridge} -o {bridge} -j ACCEPT",
    "NAT_MISSING": "{iptables} -t nat -A POSTROUTING -s {subnet} ! -o {ingress} -j MASQUERADE",
    "NAT_WRONG_NAMESPACE": "{run} nft list ruleset shows that rule: delete it, as the host translates",
    "NAT_WRONG_SOURCE": "correct the sources of that rule; nft list ruleset and {iptables}-save -t nat show it",
    "NAT_WRONG_INTERFACE": "correct the interface of that rule; nft list ruleset and {iptables}-save -t nat show it",
    "SNAT_STALE_ADDRESS": "ip address add ADDRESS dev UPLINK, or correct the rule that translates to it",
    "CONNTRACK_FULL": "sysctl -w net/netfilter/nf_conntrack_max=NUMBER; conntrack -L shows who fills the table",
    "PORTS_EXHAUSTED": "end connections that are not needed (conntrack -L -d TARGET), or translate to more addresses",
    "DEVICE_BUSY": "take the link off its master, or remove the link on top of it",
    "RP_FILTER_DROP": "sysctl -w net/ipv4/conf/LINK/rp_filter=2",
}


def by_hand(path: Path, code: str) -> str:
    """A line for a person, with the names that are known of the path."""
    return _COMMANDS.get(code, CODES[code].fix).format_map(_names(path))


def _names(path: Path) -> t.Mapping[str, str]:
    process = _PROCESS.fullmatch(path.namespace)
    name = shlex.quote(path.namespace)
    enter = f"nsenter --net={path.namespace}" if process else f"ip netns exec {name}"
    prefix = path.cidr.partition("/")[2]
    return {
        "name": name,
        "target": process[1] if process else name,
        "run": enter,
        "ip": f"{enter} ip" if process else f"ip -n {name}",
        "family": f"-{path.family}",
        "iptables": _IPTABLES[path.family],
        "interface": shlex.quote(path.interface or "INTERFACE"),
        "host_end": shlex.quote(path.host_end or "PEER"),
        "bridge": shlex.quote(path.bridge or "BRIDGE"),
        "ingress": shlex.quote(path.bridge or path.host_end or "LINK"),
        "cidr": path.cidr or "ADDRESS/PREFIX",
        "subnet": path.subnet if path.cidr else "SUBNET",
        "gateway": path.gateway or "GATEWAY",
        "gateway_cidr": f"{path.gateway or 'GATEWAY'}/{prefix or 'PREFIX'}",
    }
