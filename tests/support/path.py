"""A whole path by single modules, which the tests build, damage and remove."""

from __future__ import annotations

import typing as t

from tests.lab.node import Node
from tests.support.run_module import Options, Request, done

NAMESPACES: Options = {
    "config": [
        {
            "name": "ns1",
            "network": "pods",
            "dns": {"servers": ["198.51.100.80"]},
            "sysctls": {"net.ipv4.conf.all.accept_redirects": 0},
        },
        {"name": "ns2", "network": "pods"},
    ]
}
BRIDGE: Options = {"name": "br0", "addresses": ["10.22.33.1/24", "fd00:22:33::1/64"], "network": "pods"}


def _pair(number: int) -> Options:
    addresses = [f"10.22.33.{number + 10}/24", f"fd00:22:33::{number + 10}/64"]
    peer = {"name": "eth0", "netns": f"ns{number}", "addresses": addresses}
    return {"name": f"ve{number}", "master": "br0", "isolated": True, "mtu": 1500, "peer": peer, "network": "pods"}


PAIRS: Options = {"config": [_pair(1), _pair(2)]}
ROUTES: Options = {
    "config": [
        {"netns": netns, "dest": "default", "gateway": gateway}
        for netns in ("ns1", "ns2")
        for gateway in ("10.22.33.1", "fd00:22:33::1")
    ]
}
FORWARDING: Options = {"ipv4": True, "ipv6": True, "network": "pods"}
NAT: Options = {"name": "pods", "sources": ["10.22.33.0/24", "fd00:22:33::/64"], "not_out_interface": "br0"}
PATH: list[Request] = [
    ("netns", NAMESPACES),
    ("linux_bridge", BRIDGE),
    ("veth", PAIRS),
    ("ns_route", ROUTES),
    ("sysctl_forward", FORWARDING),
    ("nat_masquerade", NAT),
]
LINES: dict[str, list[str]] = {
    "netns": [
        "create namespace ns1",
        "create namespace ns2",
        "set net.ipv4.conf.all.accept_redirects to 0 (was 1) in namespace ns1",
        "write /etc/netns/ns1/resolv.conf",
    ],
    "linux_bridge": ["create bridge br0", "add address 10.22.33.1/24 to br0", "add address fd00:22:33::1/64 to br0"],
    "veth": [
        "create veth ve1 with peer eth0 in namespace ns1 on bridge br0",
        "create veth ve2 with peer eth0 in namespace ns2 on bridge br0",
        "add address 10.22.33.11/24 to eth0 in namespace ns1",
        "add address fd00:22:33::11/64 to eth0 in namespace ns1",
        "add address 10.22.33.12/24 to eth0 in namespace ns2",
        "add address fd00:22:33::12/64 to eth0 in namespace ns2",
    ],
    "ns_route": [
        "add route default via 10.22.33.1 in namespace ns1",
        "add route -6 default via fd00:22:33::1 in namespace ns1",
        "add route default via 10.22.33.1 in namespace ns2",
        "add route -6 default via fd00:22:33::1 in namespace ns2",
    ],
    "sysctl_forward": [
        "note that pods needs net.ipv4.ip_forward = 1",
        "note that pods needs net.ipv6.conf.all.forwarding = 1",
        "set net.ipv4.ip_forward to 1 (was 0)",
        "set net.ipv6.conf.all.forwarding to 1 (was 0)",
        "write /etc/sysctl.d/90-netpath-egress.conf",
    ],
    "nat_masquerade": ["create source NAT pods for 10.22.33.0/24, fd00:22:33::/64"],
}


def build(node: Node) -> list[str]:
    """Bring the whole path to what it shall be, module by module. Returns all actions."""
    return [line for module, options in PATH for line in done(node, module, options)]


def gone(request: Request) -> Request:
    """The request that takes away what another one made."""
    module, options = request
    state = "restored" if module == "sysctl_forward" else "absent"
    if "config" in options:
        return module, {"config": [_without(item, state) for item in options["config"]]}
    return module, _without(options, state)


def _without(item: t.Mapping[str, t.Any], state: str) -> Options:
    return {**item, "state": state}


def remove(node: Node) -> list[str]:
    """Take the whole path away, backwards. Returns all actions."""
    return [line for request in PATH[::-1] for line in done(node, *gone(request))]
