"""Good input about rules, flows and settings: the facts that each module's options stand for."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Choice,
    Claim,
    Fact,
    Flows,
    Ruleset,
    Sender,
    Setting,
    Want,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import (
    CLAMP_BACKENDS,
    FORWARD_BACKENDS,
    GUARD_BACKENDS,
    NAT_BACKENDS,
    PUBLISH_BACKENDS,
    NatRules,
    WallRules,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.conntrack import rounded

from tests.support.spec_questions import Host, Options, want

Case = tuple[str, Options, Want]
FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"


def present(*facts: Fact) -> Want:
    return Want(facts)


def translated(ruleset: Ruleset) -> Want:
    """Rules in nftables, and in nothing else."""
    others = [Ruleset(ruleset.netns, ruleset.name, backend=other, flush=False) for other in NAT_BACKENDS[1:]]
    others += [
        Ruleset(ruleset.netns, ruleset.name, None, other, "publish", ruleset.flush) for other in PUBLISH_BACKENDS
    ]
    others += [Ruleset(ruleset.netns, ruleset.name, None, other, "guard", flush=False) for other in GUARD_BACKENDS]
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
            "out_interface": ["up1", "up0", "up1"],
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
                    ("up0", "up1"),
                    "",
                    ("198.51.100.1-198.51.100.9", "2001:db8::7"),
                    (1024, 65535),
                    True,
                ),
            )
        ),
    ),
    "a family without sources": (
        "nat_masquerade",
        {"name": "a", "sources": ["10.0.0.0/24"], "exclude": ["fd00::/8", "10.0.0.0/8"]},
        translated(Ruleset("", "a", NatRules(("10.0.0.0/24",), ("10.0.0.0/8",)))),
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
                *(Ruleset("", "pods", None, backend, "guard", flush=False) for backend in GUARD_BACKENDS),
            )
        ),
    ),
}
NO_WAY = Want(
    absent=(
        *(Ruleset("", "pods", None, backend, "forward") for backend in FORWARD_BACKENDS),
        *(Ruleset("", "pods", None, backend, "mss") for backend in CLAMP_BACKENDS),
        Ruleset("", "pods", None, "nftables", "wall"),
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
    "absent with its ports": (
        "forward_accept",
        {"name": "pods", "state": "absent", "former_ports": ["np-a"]},
        Want(absent=(*NO_WAY.absent, Sender("", "np-a"))),
    ),
    "what the bridge exchanges": (
        "forward_accept",
        {
            "name": "pods",
            "bridge": "br0",
            "sources": ["10.0.0.0/25", "10.0.0.128/25", "fd00::/64"],
            "inbound": "open",
            "peers": ["web", "apps"],
            "isolated": True,
            "spoof_protection": True,
        },
        Want(
            (
                Ruleset(
                    "",
                    "pods",
                    WallRules("br0", ("10.0.0.0/24", "fd00::/64"), ("apps", "web"), True, True, open=True),
                    "nftables",
                    "wall",
                ),
            ),
            NO_WAY.absent[:-1],
        ),
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
        for table in (TRACKING, TRANSLATION, FORWARDED, SETTINGS)
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


@pytest.mark.parametrize(("uplink", "told"), [(None, 1), (["eth9"], 0)])
def test_family_without_a_default_route_is_told(uplink: list[str] | None, told: int) -> None:
    class Isolated(Host):
        def default_uplinks(self, _netns: str) -> dict[int, list[list[str]]]:
            return {4: [["uplink0"]]}

    options = {"name": "pods", "bridge": "br0", "sources": ["10.0.0.0/24", "fd00::/64"], "uplink": uplink}
    choices = want("forward_accept", options, host=Isolated()).choices
    reason = "no default route leads IPv6 out of this host; name the way as uplink"
    assert choices == (Choice("pods", "forward", "", reason),) * told
