"""Rules of others that translate, in the words of iptables-save and nft, described as options of a network."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.iptables_words import rules
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.nft_words import Listing
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.iptables import listed

from tests.support.seen_bridges import bridge, member, told
from tests.support.spec_questions import Options

BASES = [":PREROUTING ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]"]
POST = "POSTROUTING -s 10.22.33.0/24"
CALL = f"{POST} -j own"
MASQUERADE = "-j MASQUERADE"
MARKED = "own -m mark ! --mark 0x4000/0x4000 -j RETURN"
NONE = {"nat": "none"}
PORT = "PREROUTING -p tcp -m tcp --dport"
DNAT = "-j DNAT --to-destination 10.22.33"
EARLIER = "an earlier rule is about some of its ports"
# (rules of iptables, options, words of notes)
IPTABLES: list[tuple[list[str], Options, list[str]]] = [
    ([CALL, MARKED, f"own {MASQUERADE} --random-fully"], NONE, ["--random-fully: --mark 0x4000/0x4000"]),
    ([CALL, MARKED, "own -j ACCEPT", f"{POST} {MASQUERADE}"], {}, ["own -j ACCEPT: --mark 0x4000/0x4000"]),
    ([CALL, "own -m mark --mark 7 -j RETURN", f"own {MASQUERADE}"], {}, ["-j RETURN: --mark 7"]),
    ([CALL, "own -m mark --mark 7 -j RETURN", f"{POST} {MASQUERADE}"], {}, []),
    ([CALL, "own -m mark --mark 7 -j ACCEPT", f"{POST} {MASQUERADE}"], {}, ["-j ACCEPT: --mark 7"]),
    ([f"{POST} -o eth1 -j ACCEPT", f"{POST} {MASQUERADE}"], {}, ["packets that keep their source"]),
    ([f"{POST} -o eth1 -j ACCEPT"], NONE, []),
    ([CALL, "own ! -o eth7 -j RETURN", f"own {MASQUERADE}"], {"uplink": "eth7"}, []),
    ([CALL, "own ! -o eth7 -j RETURN", f"own -o eth7 {MASQUERADE}"], {"uplink": "eth7"}, []),
    ([CALL, "own ! -o eth7 -j RETURN", f"own -o eth1 {MASQUERADE}"], NONE, []),
    ([CALL, "own ! -o br-pods -j RETURN", f"own {MASQUERADE}"], NONE, []),
    ([CALL, "own ! -d 10.9.0.0/16 -j RETURN", f"own {MASQUERADE}"], NONE, ["for some destinations alone"]),
    ([f"{POST} -m addrtype --dst-type LOCAL -j RETURN", f"{POST} {MASQUERADE}"], {}, []),
    (
        [f"{POST} -o eth7 -j SNAT --to-source 198.18.5.1", f"{POST} {MASQUERADE}"],
        {"nat": {"mode": "snat", "to_source": ["198.18.5.1"]}, "uplink": "eth7"},
        ["-j MASQUERADE: another translation"],
    ),
    (
        [f"{POST} -o eth7 {MASQUERADE}", f"{POST} -o eth1 -j SNAT --to-source 198.18.5.1"],
        {"uplink": "eth7"},
        ["--to-source 198.18.5.1: another translation"],
    ),
    ([f"{POST} -o eth7 {MASQUERADE}", f"{POST} -o eth7 -j SNAT --to-source 198.18.5.1"], {"uplink": "eth7"}, []),
    ([f"{POST} -o eth7 {MASQUERADE}", f"{POST} {MASQUERADE}"], {}, []),
    ([CALL, "own -d 10.7.0.0/16 -j RETURN", f"{POST} {MASQUERADE}"], {}, []),
    (
        [CALL, "own -d 10.7.0.0/16 -j RETURN", f"own {MASQUERADE}", f"{POST} {MASQUERADE}"],
        {"nat": {"exclude": ["10.7.0.0/16"]}},
        ["another translation, behind the first"],
    ),
    ([CALL, "own -d 10.7.0.0/16 -j ACCEPT", f"{POST} {MASQUERADE}"], {"nat": {"exclude": ["10.7.0.0/16"]}}, []),
    ([CALL, "own -s 10.22.33.0/24 -j RETURN", "own -j ACCEPT", f"{POST} {MASQUERADE}"], {}, []),
    ([CALL, "own -p udp -j RETURN", "own -j ACCEPT", f"{POST} {MASQUERADE}"], NONE, ["own -p udp -j RETURN"]),
    ([f"{POST} -g own", "own -d 10.7.0.0/16 -j RETURN", f"{POST} {MASQUERADE}"], NONE, []),
    (
        [f"{POST} -o eth7 -j own", "own -d 10.7.0.0/16 -j RETURN", f"own {MASQUERADE}"],
        {"uplink": "eth7", "nat": {"exclude": ["10.7.0.0/16"]}},
        [],
    ),
    ([f"{POST} -p tcp {MASQUERADE} --to-ports 2000-3000"], NONE, ["for tcp alone"]),
    (
        [f"{PORT} 85 {DNAT}.3", f"{PORT} 80:90 {DNAT}.2"],
        {
            "publish": [
                {"port": "80-84", "to": "n2"},
                {"port": 85, "to": "10.22.33.3"},
                {"port": "86-90", "to": "n2"},
            ],
            **NONE,
        },
        [f"--dport 80:90 {DNAT}.2: {EARLIER}"],
    ),
    (
        [f"{PORT} 80 -d 198.18.0.11 {DNAT}.2", f"{PORT} 80 {DNAT}.3"],
        {"publish": [{"port": 80, "to": "n2"}], **NONE},
        ["for what comes in by 198.18.0.11/32 alone", f"{DNAT}.3: {EARLIER}"],
    ),
    ([f"{PORT} 80 -j ACCEPT", f"{PORT} 80 {DNAT}.2"], NONE, [f"{DNAT}.2: {EARLIER}"]),
    ([f"{PORT} 80 -j REDIRECT --to-ports 8", f"{PORT} 80 {DNAT}.2"], NONE, [f"{DNAT}.2: {EARLIER}"]),
    ([f"{PORT} 80 -j DNAT --to-destination 10.9.9.9", f"{PORT} 80 {DNAT}.2"], NONE, [f"{DNAT}.2: {EARLIER}"]),
    ([f"{PORT} 80 -i br-pods -j ACCEPT", f"{PORT} 80 {DNAT}.2"], {"publish": [{"port": 80, "to": "n2"}], **NONE}, []),
    ([f"{PORT} 81 -j ACCEPT", f"{PORT} 80 {DNAT}.2"], {"publish": [{"port": 80, "to": "n2"}], **NONE}, []),
    (
        [f"{PORT} 80 -m mark --mark 7 -j ACCEPT", f"{PORT} 80 {DNAT}.2"],
        {"publish": [{"port": 80, "to": "n2"}], **NONE},
        [f"{DNAT}.2: {EARLIER}"],
    ),
    (
        ["PREROUTING -j own", "own -p tcp -m tcp --dport 80 -j RETURN", f"{PORT} 80 {DNAT}.2"],
        {"publish": [{"port": 80, "to": "n2"}], **NONE},
        [],
    ),
]


def check(found: t.Mapping[str, t.Any], options: Options, words: list[str]) -> None:
    (network,), notes = told(bridge(member(2)), rules=found, own=frozenset(["198.18.0.11"]))
    plain = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["n2"]}
    published = {"hairpin": False} if any(one["to"] == "n2" for one in options.get("publish", [])) else {}
    assert network == {**plain, **options, **published}
    assert len(notes) == len(words), notes
    for note, word in zip(notes, words):
        assert word in note


@pytest.mark.parametrize(("lines", "options", "words"), IPTABLES, ids=range(len(IPTABLES)))
def test_rules_of_iptables(lines: list[str], options: Options, words: list[str]) -> None:
    table = listed("\n".join([*BASES, ":own - [0:0]", *(f"-A {line}" for line in lines)]))
    check(rules(table, 4, "iptables", "iptables-nft"), options, words)


OUT = {"meta": {"key": "oifname"}}
MARK = {"&": [{"meta": {"key": "mark"}}, 16384]}
PLACE = {"family": "inet", "table": "own"}
LEAVE = [[{"masquerade": None}]]
BY_UPLINK = [["lo", {"accept": None}], ["eth7", {"jump": {"target": "leave"}}]]


def match(left: t.Any, right: t.Any, op: str = "==") -> Options:
    return {"match": {"op": op, "left": left, "right": right}}


def vmap(key: Options, data: t.Any) -> Options:
    return {"vmap": {"key": key, "data": data}}


# (rules of the base chain, of the chain leave, options, words of notes)
NFT: list[tuple[list[t.Any], list[t.Any], Options, list[str]]] = [
    ([[match(MARK, 16384, "!="), {"return": None}], *LEAVE], [], NONE, ["meta mark"]),
    ([[vmap(OUT, {"set": BY_UPLINK})]], LEAVE, {"uplink": "eth7"}, []),
    ([[vmap(OUT, "@ways")]], LEAVE, {"uplink": "eth7"}, []),
    ([[vmap(OUT, "@missing")], *LEAVE], [], {}, ["a map of verdicts"]),
    ([[vmap(OUT, {"set": [["eth7", {"continue": None}]]}), *LEAVE[0]]], [], {"uplink": "eth7"}, []),
    ([[vmap(MARK, {"set": [[7, {"return": None}]]})], *LEAVE], [], {}, ["meta mark"]),
    ([[match(OUT, "eth7"), {"goto": {"target": "leave"}}], *LEAVE], LEAVE, {}, []),
    ([[{"goto": {"target": "leave"}}], *LEAVE], [], NONE, []),
]


def ruleset(first: list[t.Any], called: list[t.Any], later: list[t.Any]) -> dict[str, t.Any]:
    found: list[Options] = [
        {"map": {**PLACE, "name": "ways", "elem": [[{"elem": {"val": k}}, v] for k, v in BY_UPLINK]}}
    ]
    for name, priority in (("first", 90), ("later", 100)):
        found.append({"chain": {**PLACE, "name": name, "type": "nat", "hook": "postrouting", "prio": priority}})
    chains = {"first": first, "leave": called, "later": later}
    listed = [(name, number, one) for name, rules in chains.items() for number, one in enumerate(rules)]
    found += [{"rule": {**PLACE, "chain": name, "handle": number, "expr": one}} for name, number, one in listed]
    return Listing(found).hooked()


@pytest.mark.parametrize(("first", "called", "options", "words"), NFT, ids=range(len(NFT)))
def test_rules_of_nftables(first: list[t.Any], called: list[t.Any], options: Options, words: list[str]) -> None:
    check(ruleset(first, called, []), options, words)


def test_accept_ends_one_base_chain() -> None:
    check(ruleset([[{"accept": None}], *LEAVE], [], LEAVE), {}, [])
    check(ruleset([[{"accept": None}], *LEAVE], [], []), NONE, [])
