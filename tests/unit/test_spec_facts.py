"""Good input: the facts that each module's options stand for."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    CLAMP_BACKENDS,
    FORWARD_BACKENDS,
    NAT_BACKENDS,
    PUBLISH_BACKENDS,
    Address,
    Choice,
    Claim,
    Fact,
    File,
    Flows,
    Link,
    Namespace,
    NatRules,
    Route,
    Ruleset,
    Setting,
    Want,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.conntrack import rounded

from tests.unit.asking import Host, Options, all_of, want

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
    "pair absent": ("veth", {"name": "ve1", "state": "absent"}, Want(absent=(Link("", "ve1", "veth"),))),
    "pair absent, found by its peer": (
        "veth",
        {"name": "ve1", "state": "absent", "peer": {"name": "eth0", "netns": "ns1"}},
        Want(absent=(Link("", "ve1", "veth", peer=Link("ns1", "eth0", "veth")),)),
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


def translated(ruleset: Ruleset) -> Want:
    """Rules in nftables, and in nothing else."""
    others = [Ruleset(ruleset.netns, ruleset.name, backend=other, flush=False) for other in NAT_BACKENDS[1:]]
    others += [
        Ruleset(ruleset.netns, ruleset.name, None, other, "publish", ruleset.flush) for other in PUBLISH_BACKENDS
    ]
    return Want((ruleset,), tuple(others), choices=(Choice(ruleset.name, "nat", "nftables", "chosen"),))


TRACKING: dict[str, Case] = {
    "values": (
        "conntrack",
        {"max": 1000, "buckets": 513, "timeouts": {"tcp_established": 60, "udp": "20", "udp_stream": 30}},
        Want(
            tuple(
                fact
                for name, value in {
                    "max": "1000",
                    "buckets": str(rounded(513)),
                    "tcp_timeout_established": "60",
                    "udp_timeout": "20",
                    "udp_timeout_stream": "30",
                }.items()
                for claim in [Claim("", "", f"net/netfilter/nf_conntrack_{name}", value, True)]
                for fact in (claim, claim.setting)
            )
        ),
    ),
    "flush": (
        "conntrack",
        {"flush": {"source": "10.0.0.0/8", "destination": "192.0.2.1", "protocol": "17"}, "netns": "ns1"},
        Want(absent=(Flows("ns1", "10.0.0.0/8", "192.0.2.1/32", "udp"),)),
    ),
    "restored": (
        "conntrack",
        {"network": "pods", "max": 7, "state": "restored"},
        Want(released=frozenset([("pods", "", "net/netfilter/")])),
    ),
}
TRANSLATION: dict[str, Case] = {
    "masquerade": (
        "nat_masquerade",
        {"name": "pods", "sources": ["fd00::/64", "10.0.1.0/24", "10.0.0.0/24", "10.0.0.7"]},
        translated(Ruleset("", "pods", NatRules(("10.0.0.0/23", "fd00::/64")))),
    ),
    "snat": (
        "nat_masquerade",
        {
            "name": "pods",
            "netns": "ns1",
            "sources": ["10.0.0.0/24", "fd00::/64"],
            "exclude": ["10.0.0.0/8"],
            "out_interface": "up0",
            "not_out_interface": "br0",
            "mode": "snat",
            "to_source": ["2001:DB8::0:7", "198.51.100.1 - 198.51.100.9"],
            "ports": "1024-65535",
            "random_fully": True,
        },
        translated(
            Ruleset(
                "ns1",
                "pods",
                NatRules(
                    ("10.0.0.0/24", "fd00::/64"),
                    ("10.0.0.0/8",),
                    "up0",
                    "br0",
                    ("198.51.100.1-198.51.100.9", "2001:db8::7"),
                    (1024, 65535),
                    True,
                ),
            )
        ),
    ),
    "a range of one": (
        "nat_masquerade",
        {
            "name": "a",
            "sources": ["10.0.0.7"],
            "mode": "snat",
            "to_source": ["198.51.100.1-198.51.100.1"],
            "ports": "7",
        },
        translated(Ruleset("", "a", NatRules(("10.0.0.7/32",), to_source=("198.51.100.1", ""), ports=(7, 7)))),
    ),
    "absent": (
        "nat_masquerade",
        {"name": "pods", "state": "absent"},
        Want(
            absent=(
                *(Ruleset("", "pods", backend=backend) for backend in NAT_BACKENDS),
                *(Ruleset("", "pods", None, backend, "publish") for backend in PUBLISH_BACKENDS),
            )
        ),
    ),
}
NO_WAY = Want(
    absent=(
        *(Ruleset("", "pods", None, backend, "forward") for backend in FORWARD_BACKENDS),
        *(Ruleset("", "pods", None, backend, "mss") for backend in CLAMP_BACKENDS),
    )
)
FORWARDED: dict[str, Case] = {
    "nothing filters": (
        "forward_accept",
        {"name": "pods", "bridge": "br0", "sources": ["10.0.0.0/24"]},
        NO_WAY,
    ),
    "absent": (
        "forward_accept",
        {"name": "pods", "state": "absent"},
        NO_WAY,
    ),
}


def claims(user: str, netns: str, persist: bool, **settings: str) -> Want:
    """Each setting as claimed and wanted, in order; "__" in a name stands for a slash."""
    facts: list[Fact] = []
    for name, value in settings.items():
        claim = Claim(user, netns, name.replace("__", "/"), value, persist)
        facts += [claim, claim.setting]
    return Want(tuple(facts))


SETTINGS: dict[str, Case] = {
    "ipv4": ("sysctl_forward", {"ipv4": True}, claims("", "", True, net__ipv4__ip_forward="1")),
    "of a network, in a namespace": (
        "sysctl_forward",
        {"ipv4": False, "network": "pods", "netns": "ns1"},
        claims("pods", "ns1", False, net__ipv4__ip_forward="0"),
    ),
    "not persistent": (
        "sysctl_forward",
        {"ipv6": True, "persist": False},
        claims("", "", False, net__ipv6__conf__all__forwarding="1"),
    ),
    "interfaces": (
        "sysctl_forward",
        {"ipv4": True, "rp_filter": 2, "interfaces": ["br0"]},
        claims(
            "",
            "",
            True,
            net__ipv4__ip_forward="1",
            net__ipv4__conf__br0__forwarding="1",
            net__ipv4__conf__br0__rp_filter="2",
        ),
    ),
    "rp_filter": (
        "sysctl_forward",
        {"rp_filter": 0},
        claims("", "", True, net__ipv4__conf__all__rp_filter="0", net__ipv4__conf__default__rp_filter="0"),
    ),
    "bridged packets": (
        "sysctl_forward",
        {"bridge_nf_call": False},
        Want(
            tuple(
                fact
                for family in ("iptables", "ip6tables")
                for claim in [Claim("", "", f"net/bridge/bridge-nf-call-{family}", "0", True)]
                for fact in (claim, claim.setting)
            )
        ),
    ),
    "restored": (
        "sysctl_forward",
        {"network": "pods", "ipv4": True, "state": "restored"},
        Want(released=frozenset([("pods", "", "")])),
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case[0]}: {title}")
        for table in (NAMESPACES, LINKS, ROUTES, TRACKING, TRANSLATION, FORWARDED, SETTINGS)
        for title, case in table.items()
    ],
)
def test_facts(case: Case) -> None:
    module, options, expected = case
    assert want(module, options) == expected


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"ipv6": True}, "net/ipv6/conf/up0/accept_ra"),
        ({"ipv6": True, "accept_ra": "ignore"}, FORWARD6),
        ({"ipv6": False}, FORWARD6),
        ({"ipv4": True}, FORWARD4),
    ],
)
def test_router_advertisements_are_kept_before_forwarding_begins(options: Options, first: str) -> None:
    facts = want("sysctl_forward", options, host=Host("up0")).facts
    assert isinstance(facts[1], Setting)
    assert facts[1].key == first
    assert (facts[1].value == "2") == first.endswith("accept_ra")


def test_requests_that_name_one_object_become_one_fact() -> None:
    pair = {"name": "ve1", "master": "br0", "peer": {"name": "eth0"}}
    facts = all_of(("linux_bridge", {"name": "br0", "ports": ["ve1"]}), ("veth", pair)).facts
    assert [fact.identity for fact in facts] == [("link", "", "br0"), ("link", "", "ve1")]
    assert facts[1] == want("veth", pair).facts[0]
