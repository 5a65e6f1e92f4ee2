# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which a path is known to break: its code, the hop where it shows, and who may put it right."""

from __future__ import annotations

from dataclasses import dataclass

# In the order in which a packet passes them.
HOPS = (
    "namespace",
    "loopback",
    "link",
    "address",
    "route",
    "neighbour",
    "bridge_port",
    "bridge",
    "mtu",
    "policy",
    "host_forwarding",
    "forward_policy",
    "host_route",
    "nat",
    "conntrack",
    "uplink",
    "upstream",
    "return_path",
    "dns",
)
# Who repairs: auto (objects of ours), declared (host settings that are asked for), confirm (asked for by name),
# advise (told, never done).
TIERS = ("auto", "declared", "confirm", "advise")


@dataclass(frozen=True)
class Entry:
    """One way to break. summary has no subject: that is the namespace. degraded: packets may pass all the same."""

    hop: str
    tier: str
    summary: str
    fix: str
    degraded: bool = False


ROLE = "run the role egress"

CODES: dict[str, Entry] = {
    "NAMESPACE_MISSING": Entry("namespace", "auto", "there is no such namespace", ROLE),
    "STALE_HANDLE": Entry("namespace", "confirm", "its handle is no namespace", "remove the handle, and " + ROLE),
    "LEAKED_NAMESPACE": Entry(
        "namespace", "confirm", "its name is gone, and processes still hold it", "end the processes, and " + ROLE
    ),
    "LOOPBACK_DOWN": Entry("loopback", "auto", "its loopback is down", "ip -n {namespace} link set lo up", True),
    "LINK_MISSING": Entry("link", "auto", "it has no link to the bridge", ROLE),
    "LINK_NOT_MOVED": Entry("link", "auto", "both ends of its pair are on the host", ROLE),
    "DANGLING_VETH": Entry(
        "link",
        "confirm",
        "the other end of its pair is in a namespace without a name",
        "delete the pair, and " + ROLE,
    ),
    "WRONG_INTERFACE_NAME": Entry("link", "auto", "its interface has another name", ROLE),
    "LINK_DOWN": Entry("link", "auto", "its interface is down", ROLE + ", which also puts back the routes"),
    "NO_ADDRESS": Entry("address", "auto", "its interface has no address", ROLE),
    "WRONG_SUBNET": Entry("address", "auto", "its address or gateway is of another subnet", ROLE),
    "V6_ADDRESS_UNUSABLE": Entry("address", "auto", "it has no usable IPv6 address", ROLE),
    "NO_DEFAULT_ROUTE": Entry("route", "auto", "it has no default route", ROLE),
    "NEIGHBOUR_FILTERED": Entry(
        "neighbour", "advise", "nobody answers for the gateway's address", "let ARP and neighbour discovery pass"
    ),
    "NEIGHBOUR_WRONG": Entry(
        "neighbour",
        "advise",
        "a neighbour entry has a MAC address that no link there has",
        "delete the entry: ip neigh del ADDRESS dev LINK",
    ),
    "NEIGHBOUR_TABLE_FULL": Entry(
        "neighbour",
        "advise",
        "the kernel has no room for more neighbours",
        "raise gc_thresh3 of its table, in the machine's own namespace",
    ),
    "NAMESPACE_FILTERED": Entry(
        "link",
        "advise",
        "a filter inside the namespace drops its packets",
        "let them pass in that filter: ip netns exec {namespace} nft list ruleset",
    ),
    "HOST_LINK_DOWN": Entry("bridge_port", "auto", "the host's end of its pair is down", ROLE),
    "PORT_NOT_ON_BRIDGE": Entry("bridge_port", "auto", "the host's end of its pair is on no bridge", ROLE),
    "PORT_ON_WRONG_BRIDGE": Entry("bridge_port", "auto", "the host's end of its pair is on another bridge", ROLE),
    "PORT_NOT_FORWARDING": Entry(
        "bridge_port", "auto", "its port does not forward", "wait for spanning tree, or switch it off"
    ),
    "GATEWAY_ON_PORT": Entry("bridge_port", "auto", "the gateway's address is on a port of the bridge", ROLE),
    "BRIDGE_MISSING": Entry("bridge", "auto", "its bridge is not there", ROLE),
    "BRIDGE_DOWN": Entry("bridge", "auto", "its bridge is down", ROLE),
    "BRIDGE_NO_GATEWAY": Entry("bridge", "auto", "the bridge lacks the gateway's address", ROLE),
    "DUPLICATE_SUBNET_ROUTE": Entry(
        "bridge", "auto", "another link of the host has the same subnet", "keep the subnet on the bridge alone"
    ),
    "DRIFT": Entry(
        "bridge",
        "advise",
        "its network is not as it is asked for",
        "run the role egress, or netpath-egress apply",
        True,
    ),
    "PMTU_BLACKHOLE": Entry(
        "mtu",
        "confirm",
        "large packets are lost on the way, and nobody tells the sender",
        "let ICMP unreachable through, or set mss_clamp",
        True,
    ),
    "MTU_MISMATCH": Entry("mtu", "auto", "a link further along takes smaller packets", ROLE, True),
    "PROTECTION_MISSING": Entry(
        "policy", "auto", "rules that hold it to its own addresses and peers are missing", ROLE, degraded=True
    ),
    "FORWARDING_OFF": Entry("host_forwarding", "declared", "the host does not forward IPv4", ROLE),
    "V6_FORWARDING_OFF": Entry("host_forwarding", "declared", "the host does not forward IPv6", ROLE),
    "NOT_PERSISTENT": Entry("host_forwarding", "declared", "forwarding is on until the next boot alone", ROLE, True),
    "FORWARD_DROPPED": Entry("forward_policy", "declared", "the host's firewall drops what is forwarded", ROLE),
    "BRIDGE_NF_DROPS": Entry(
        "forward_policy",
        "confirm",
        "the host's firewall drops what stays on the bridge",
        "let the network through to itself in that firewall",
        True,
    ),
    "NO_HOST_ROUTE": Entry("host_route", "advise", "the host has no route to the target", "restore the host's route"),
    "POLICY_ROUTE_CONFLICT": Entry(
        "host_route", "advise", "a policy rule of the host leads its packets elsewhere", "remove the rule"
    ),
    "NAT_MISSING": Entry("nat", "auto", "its packets leave the host untranslated", ROLE),
    "NAT_WRONG_NAMESPACE": Entry(
        "nat", "auto", "packets are translated inside the namespace", "remove that rule; the host translates"
    ),
    "NAT_WRONG_SOURCE": Entry("nat", "auto", "the rule that translates is for other sources", ROLE),
    "NAT_WRONG_INTERFACE": Entry("nat", "auto", "the rule that translates is for another uplink", ROLE),
    "SNAT_STALE_ADDRESS": Entry(
        "nat",
        "auto",
        "its packets get a source address that the host does not have",
        "masquerade, or correct to_source",
    ),
    "EAST_WEST_NATED": Entry(
        "nat",
        "auto",
        "a rule of the host translates what stays on the bridge",
        "scope that rule to an uplink or to other destinations",
        True,
    ),
    "CONNTRACK_FULL": Entry(
        "conntrack", "declared", "the host's table of connections is full", "raise max by the module conntrack"
    ),
    "PORTS_EXHAUSTED": Entry(
        "conntrack",
        "declared",
        "the host has no port left for its packets",
        "give nat more ports, or more addresses in to_source",
    ),
    "DEVICE_BUSY": Entry("uplink", "advise", "a link of its way belongs to somebody else", "give the network its own"),
    "UPLINK_DOWN": Entry("uplink", "advise", "the host's uplink is down", "restore the uplink"),
    "UPSTREAM_UNREACHABLE": Entry(
        "upstream", "advise", "it left the host as it should, and nothing answers", "not this host's: look upstream"
    ),
    "NO_RETURN_ROUTE": Entry(
        "upstream", "advise", "it leaves untranslated by design, and nothing comes back", "add a route upstream, or NAT"
    ),
    "RP_FILTER_DROP": Entry(
        "return_path", "confirm", "replies come by another link, and rp_filter drops them", "rp_filter 2 on that link"
    ),
    "LISTENER_LOCAL_ONLY": Entry(
        "namespace",
        "advise",
        "a service of it listens on a loopback address alone",
        "bind the service to all addresses",
        True,
    ),
    "DNS_UNREACHABLE": Entry("dns", "declared", "its resolver does not answer", "give it a resolver that does", True),
    "UNEXPLAINED_DROP": Entry("upstream", "advise", "it stops, and nothing says why", "look at the hop after the last"),
}
