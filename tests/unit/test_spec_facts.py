"""Good input: the facts that each module's options stand for."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Address,
    Assignment,
    Fact,
    File,
    Link,
    Namespace,
    Route,
    Sender,
    Setting,
    Want,
)

from tests.support.spec_questions import Options, all_of, want

Case = tuple[str, Options, Want]
FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"


def present(*facts: Fact) -> Want:
    return Want(facts)


NAMESPACES: dict[str, Case] = {
    "bare": ("netns", {"name": "ns1"}, present(Namespace("ns1", "netpath:", True))),
    "of a network": (
        "netns",
        {"name": "ns1", "network": "pods", "loopback": False},
        present(Namespace("ns1", "netpath:pods", None)),
    ),
    "attached by PID": (
        "netns",
        {"name": "a", "attach": "12"},
        present(Namespace("a", "netpath:", True, "/proc/12/ns/net")),
    ),
    "attached by path": ("netns", {"name": "a", "attach": "/x/y"}, present(Namespace("a", "netpath:", True, "/x/y"))),
    "with a resolver": (
        "netns",
        {"name": "ns1", "network": "pods", "dns": {"servers": ["2001:DB8::0:1", "192.0.2.1"], "search": ["a.b", "c"]}},
        present(
            Namespace("ns1", "netpath:pods", True),
            File(
                "/etc/netns/ns1/resolv.conf",
                "# netpath:pods\nsearch a.b c\nnameserver 2001:db8::1\nnameserver 192.0.2.1\n",
            ),
        ),
    ),
    "with sysctls": (
        "netns",
        {
            "name": "ns1",
            "sysctls": {
                "net.ipv4.ip_forward": True,
                "net/ipv4/conf/eth0.5/rp_filter": 2,
                "net.ipv4.ip_local_port_range": "1024  65000",
            },
        },
        present(
            Namespace("ns1", "netpath:", True),
            Setting("ns1", FORWARD4, "1"),
            Setting("ns1", "net/ipv4/conf/eth0.5/rp_filter", "2"),
            Setting("ns1", "net/ipv4/ip_local_port_range", "1024\t65000"),
        ),
    ),
    "absent": (
        "netns",
        {"name": "ns1", "state": "absent", "force": True},
        Want(absent=(Namespace("ns1", force=True), File("/etc/netns/ns1/resolv.conf"))),
    ),
}

LINKS: dict[str, Case] = {
    "pair": (
        "veth",
        {"name": "ve1", "peer": {"name": "eth0", "netns": "ns1"}},
        present(Link("", "ve1", "veth", "netpath:", up=True, peer=Link("ns1", "eth0", "veth", "netpath:", up=True))),
    ),
    "pair with all": (
        "veth",
        {
            "name": "ve1",
            "netns": "ns2",
            "master": "br0",
            "mtu": 1400,
            "mac": "02-00-5E-10-00-01",
            "addresses": [],
            "isolated": True,
            "hairpin": False,
            "up": False,
            "peer": {"name": "eth0", "addresses": ["10.0.0.2/24", "FD00::0:2/64"], "up": False},
            "network": "pods",
        },
        Want(
            (
                Link(
                    "ns2",
                    "ve1",
                    "veth",
                    "netpath:pods",
                    mac="02:00:5e:10:00:01",
                    mtu=1400,
                    master="br0",
                    isolated=True,
                    hairpin=False,
                    up=False,
                    peer=Link("", "eth0", "veth", "netpath:pods", mtu=1400, up=False),
                ),
                Address("", "eth0", "10.0.0.2/24"),
                Address("", "eth0", "fd00::2/64"),
            ),
            exclusive_addresses=frozenset([("ns2", "ve1"), ("", "eth0")]),
        ),
    ),
    "pair off its bridge, MTU of the peer its own": (
        "veth",
        {"name": "a", "master": "", "mtu": 1400, "peer": {"name": "b", "mtu": 1300}},
        present(
            Link(
                "",
                "a",
                "veth",
                "netpath:",
                mtu=1400,
                master="",
                up=True,
                peer=Link("", "b", "veth", "netpath:", mtu=1300, up=True),
            )
        ),
    ),
    "pair absent": (
        "veth",
        {"name": "ve1", "state": "absent"},
        Want(absent=(Link("", "ve1", "veth"), Sender("", "ve1"))),
    ),
    "pair absent, found by its peer": (
        "veth",
        {"name": "ve1", "state": "absent", "peer": {"name": "eth0", "netns": "ns1"}},
        Want(absent=(Link("", "ve1", "veth", peer=Link("ns1", "eth0", "veth")), Sender("", "ve1"))),
    ),
    "port that sends from its own addresses": (
        "veth",
        {
            "name": "ve1",
            "master": "br0",
            "spoof_protection": True,
            "network": "pods",
            "peer": {"name": "eth0", "netns": "ns1", "addresses": ["fd00::2/64", "10.0.0.10/24", "10.0.0.2/24"]},
        },
        Want(
            (
                Link(
                    "",
                    "ve1",
                    "veth",
                    "netpath:pods",
                    master="br0",
                    up=True,
                    peer=Link("ns1", "eth0", "veth", "netpath:pods", up=True),
                ),
                *(Address("ns1", "eth0", cidr) for cidr in ("fd00::2/64", "10.0.0.10/24", "10.0.0.2/24")),
                Sender("", "ve1", None, ("10.0.0.2", "10.0.0.10", "fd00::2"), any_address=False, network="pods"),
            ),
            exclusive_addresses=frozenset([("ns1", "eth0")]),
            assignments=(Assignment("ns1", "pods", "ve1", ("fd00::2/64", "10.0.0.10/24", "10.0.0.2/24")),),
        ),
    ),
    "port that sends what it likes": (
        "veth",
        {"name": "a", "master": "br0", "spoof_protection": False, "peer": {"name": "b"}},
        Want(
            (
                Link(
                    "", "a", "veth", "netpath:", master="br0", up=True, peer=Link("", "b", "veth", "netpath:", up=True)
                ),
            ),
            (Sender("", "a"),),
        ),
    ),
    "bridge": ("linux_bridge", {"name": "br0"}, present(Link("", "br0", "bridge", "netpath:", up=True))),
    "bridge with all": (
        "linux_bridge",
        {
            "name": "br0",
            "netns": "ns1",
            "addresses": ["10.0.0.1/24"],
            "exclusive_addresses": True,
            "ports": ["p1", "p2"],
            "exclusive_ports": True,
            "mtu": 9000,
            "mac": "02:00:00:00:00:01",
            "stp": True,
            "forward_delay": 2,
            "ageing_time": 0,
            "vlan_filtering": False,
            "multicast_snooping": True,
            "network": "pods",
        },
        Want(
            (
                Link(
                    "ns1",
                    "br0",
                    "bridge",
                    "netpath:pods",
                    "02:00:00:00:00:01",
                    9000,
                    stp=True,
                    forward_delay=2,
                    ageing_time=0,
                    vlan_filtering=False,
                    multicast_snooping=True,
                    up=True,
                ),
                Link("ns1", "p1", master="br0"),
                Link("ns1", "p2", master="br0"),
                Address("ns1", "br0", "10.0.0.1/24", network="pods"),
            ),
            exclusive_addresses=frozenset([("ns1", "br0")]),
            exclusive_ports=frozenset([("ns1", "br0")]),
        ),
    ),
    "bridge absent with what it was given": (
        "linux_bridge",
        {"name": "br0", "addresses": ["10.0.0.1/24"], "state": "absent"},
        Want(
            absent=(
                Link("", "br0", "bridge"),
                Address("", "br0", "10.0.0.1/24"),
                File("/etc/systemd/network/00-netpath-br0.network"),
                File("/etc/NetworkManager/conf.d/90-netpath-br0.conf"),
            )
        ),
    ),
}

ROUTES: dict[str, Case] = {
    "default": (
        "ns_route",
        {"netns": "ns1", "dest": "default", "gateway": "10.0.0.1"},
        present(Route("ns1", "0.0.0.0/0", type="unicast", gateway="10.0.0.1", protocol=250)),
    ),
    "family from the gateway, metric of the kernel": (
        "ns_route",
        {"dest": "default", "gateway": "FD00::0:1", "metric": 0},
        present(Route("", "::/0", 254, 1024, "unicast", "fd00::1", protocol=250)),
    ),
    "family given, on a device": (
        "ns_route",
        {"dest": "default", "device": "eth0", "family": "ipv6"},
        present(Route("", "::/0", 254, 1024, "unicast", "", "eth0", protocol=250)),
    ),
    "family from the source": (
        "ns_route",
        {"dest": "default", "device": "eth0", "source": "fd00::2"},
        present(Route("", "::/0", 254, 1024, "unicast", "", "eth0", "fd00::2", protocol=250)),
    ),
    "link-local gateway": (
        "ns_route",
        {"dest": "default", "gateway": "fe80::1", "device": "eth0"},
        present(Route("", "::/0", 254, 1024, "unicast", "fe80::1", "eth0", protocol=250)),
    ),
    "one address, in a table": (
        "ns_route",
        {"dest": "10.0.0.7", "device": "eth0", "table": "100", "metric": 5, "mtu": 1400, "onlink": True},
        present(Route("", "10.0.0.7/32", 100, 5, "unicast", "", "eth0", None, 1400, True, 250)),
    ),
    "blackhole": (
        "ns_route",
        {"dest": "10.0.0.0/8", "type": "blackhole", "table": "local"},
        present(Route("", "10.0.0.0/8", 255, type="blackhole", protocol=250)),
    ),
    "absent": (
        "ns_route",
        {"dest": "default", "gateway": "fd00::1", "state": "absent"},
        Want(absent=(Route("", "::/0", 254, 1024),)),
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case[0]}: {title}")
        for table in (NAMESPACES, LINKS, ROUTES)
        for title, case in table.items()
    ],
)
def test_facts(case: Case) -> None:
    module, options, expected = case
    assert want(module, options) == expected


def test_requests_that_name_one_object_become_one_fact() -> None:
    pair = {"name": "ve1", "master": "br0", "peer": {"name": "eth0"}}
    facts = all_of(("linux_bridge", {"name": "br0", "ports": ["ve1"]}), ("veth", pair)).facts
    assert [fact.identity for fact in facts] == [("link", "", "br0"), ("link", "", "ve1")]
    assert facts[1] == want("veth", pair).facts[0]
