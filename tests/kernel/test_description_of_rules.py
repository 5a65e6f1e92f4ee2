"""Networks that somebody made by hand: how rules of nftables and iptables that translate are described."""

from __future__ import annotations

import typing as t

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.hand_made_network import BRIDGE, looked, member
from tests.support.shell import script
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

IP4 = BRIDGE.replace("ip address add fd00:22:33::1/64 dev br0 nodad", "") + "\n".join(
    line for line in member("a", 2).splitlines() if "fd00" not in line
)
CLEAR = "nft flush ruleset; iptables-legacy -t nat -F; iptables-legacy -t nat -X"
POST = "iptables -t nat -A POSTROUTING"
NAT = "nft 'add table inet own; add chain inet own post { type nat hook postrouting priority 100; }'; "
PRE = "nft 'add table ip own; add chain ip own pre { type nat hook prerouting priority -100; }'; "
RULE = "nft add rule inet own post"
DNAT = "iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.22.33"
OWN = "iptables -t nat -A own"
TWICE = f"{POST} -s 10.22.33.0/24 -o %s -j MASQUERADE"
PORTS = f"{POST} -s 10.22.33.0/24 -p %s -j MASQUERADE --to-ports 2000-3000"
CALLED = f"iptables -t nat -N own; {POST} -s 10.22.33.0/24 -j own"
SET = """nft 'add set inet own pods { type ipv4_addr; flags interval; elements = { 10.22.33.0/24 }; }'
nft add chain inet own leave; nft add rule inet own post ip saddr @pods jump leave"""
LEAVE = "nft add rule inet own leave"
HIDDEN = "nft add rule ip nat POSTROUTING fib saddr type local accept"
# (rules, options that describe them, words of notes)
RULES: list[tuple[str, Options, list[str]]] = [
    ("true", {"nat": "none"}, []),
    (f"{POST} -s 10.22.33.0/24 -j MASQUERADE", {}, []),
    (f"{POST} -s 10.22.0.0/16 ! -o br0 -j MASQUERADE", {}, []),
    (f"{POST} -o uplink0 -j MASQUERADE --random-fully", {"nat": {"random_fully": True}, "uplink": "uplink0"}, []),
    (f"{POST} -s 10.99.0.0/16 -j MASQUERADE", {"nat": "none"}, []),
    (f"{TWICE % 'uplink0'}; {TWICE % 'uplink1'}", {"uplink": ["uplink0", "uplink1"]}, []),
    (f"{PORTS % 'tcp'}; {PORTS % 'udp'}; {POST} -j MASQUERADE", {"nat": {"ports": "2000-3000"}}, []),
    (f"{POST.replace('iptables', 'iptables-legacy')} -s 10.22.33.0/24 -j MASQUERADE", {}, []),
    (f"{POST} -s 10.22.33.0/24 ! -d 10.22.33.0/24 -j MASQUERADE", {}, []),
    (f"{POST} -s 10.22.33.0/24 ! -d 10.0.0.0/8 -j MASQUERADE", {"nat": {"exclude": ["10.0.0.0/8"]}}, []),
    (f"{POST} -d 10.0.0.0/8 -j RETURN; {POST} -j MASQUERADE", {"nat": {"exclude": ["10.0.0.0/8"]}}, []),
    (f"{POST} -s 10.22.33.0/24 -j ACCEPT; {POST} -j MASQUERADE", {"nat": "none"}, []),
    (
        f"{CALLED}; {OWN} -d 10.7.0.0/16 -j RETURN; {OWN} -o uplink0 -j MASQUERADE; {OWN} -j RETURN",
        {"nat": {"exclude": ["10.7.0.0/16"]}, "uplink": "uplink0"},
        [],
    ),
    (
        f"{POST} -s 10.22.33.0/24 -j SNAT --to-source 198.18.5.1-198.18.5.9",
        {"nat": {"mode": "snat", "to_source": ["198.18.5.1-198.18.5.9"]}},
        [],
    ),
    (f"{POST} -s 10.22.33.0/24 -j MASQUERADE; {HIDDEN}", {"nat": "none"}, ["MASQUERADE of iptables"]),
    (f"{POST} -s 10.22.33.0/24 -p tcp -j MASQUERADE", {"nat": "none"}, ["for tcp alone"]),
    (f"{POST} -s 10.22.33.2/32 -j MASQUERADE", {"nat": "none"}, ["for a part of 10.22.33.0/24"]),
    (f"{POST} -s 10.22.33.0/24 -m mark --mark 7 -j MASQUERADE", {"nat": "none"}, ["--mark 0x7"]),
    (f"{POST} -s 10.22.33.0/24 -d 10.9.0.0/16 -j MASQUERADE", {"nat": "none"}, ["for some destinations alone"]),
    (NAT + RULE + " ip saddr 10.22.33.0/24 ip daddr != 10.22.33.0/24 masquerade", {}, []),
    (NAT + RULE + " 'ip saddr { 10.22.33.0/24, 10.9.0.0/16 } oif uplink0 masquerade'", {"uplink": "uplink0"}, []),
    (NAT + RULE + " masquerade fully-random", {"nat": {"random_fully": True}}, []),
    (
        f"{NAT} {SET}; {LEAVE} ip daddr 10.8.0.0/16 return; {LEAVE} snat ip to 198.18.5.1",
        {"nat": {"mode": "snat", "to_source": ["198.18.5.1"], "exclude": ["10.8.0.0/16"]}},
        [],
    ),
    (f"{CALLED}; {OWN} -m mark ! --mark 4/4 -j RETURN; {OWN} -j MASQUERADE", {"nat": "none"}, ["--mark 0x4/0x4"]),
    (NAT + RULE + " 'meta mark & 4 != 4' return; " + RULE + " masquerade", {"nat": "none"}, ["meta mark"]),
    (
        f"{NAT} nft add chain inet own leave; {RULE} 'oifname vmap {{ uplink0 : jump leave }}'; {LEAVE} masquerade",
        {"uplink": "uplink0"},
        [],
    ),
    (NAT + RULE + " ip saddr 10.22.33.0/24 meta mark 7 masquerade", {"nat": "none"}, ["meta mark"]),
    (
        f"{DNAT}.2:80; {DNAT.replace('tcp --dport 8080', 'udp --dport 30000:30100')}.2",
        {
            "nat": "none",
            "publish": [{"port": 8080, "to": "a:80"}, {"port": "30000-30100", "to": "a", "protocol": "udp"}],
        },
        [],
    ),
    (
        PRE + "nft add rule ip own pre iifname uplink0 'tcp dport { 81, 82 }' dnat to 10.22.33.9",
        {"nat": "none", "publish": [{"port": "81-82", "to": "10.22.33.9"}]},
        ["for what comes in by uplink0 alone"],
    ),
    (
        PRE + "nft add rule ip own pre ip saddr 10.9.9.9 tcp dport 80 dnat to 10.22.33.2",
        {"nat": "none"},
        ["for some clients alone"],
    ),
    (
        PRE + "nft add rule ip own pre dnat to tcp dport map '{ 80 : 10.22.33.2 }'",
        {"nat": "none"},
        [],
    ),
]


@pytest.fixture(scope="module")
def by_hand() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        script(world.nodes[0], IP4)
        yield world.nodes[0]


@pytest.mark.parametrize(("rules", "options", "words"), RULES, ids=range(len(RULES)))
def test_rules_of_others(by_hand: Node, rules: str, options: Options, words: list[str]) -> None:
    script(by_hand, f"{CLEAR}; {rules}")
    found = looked(by_hand)
    hairpin = {"hairpin": False} if any("a" in str(one["to"]) for one in options.get("publish", [])) else {}
    plain = {"name": "br0", "bridge": "br0", "subnets": ["10.22.33.0/24"], "namespaces": ["a"]}
    assert found["egress_networks"] == [{**plain, **options, **hairpin}]
    assert len(found["notes"]) == len(words)
    for note, word in zip(found["notes"], words):
        assert word in note["seen"]
        assert note["about"] == "bridge br0"
        assert note["reason"]
