"""Bridges and namespaces as they were seen, described as networks: what this machine's kernel may not have."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.nft_words import Listing
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.rule import Rule
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.seen import Member
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Vlans

from tests.support.seen_bridges import Options, bridge, link, member, told


def tagged(number: int, untagged: int, *others: int) -> Member:
    return member(number, vlans=Vlans("", f"veth{number}", untagged, others))


@pytest.mark.parametrize(
    ("own", "members", "options", "namespaces"),
    [
        (1, [tagged(2, 1), tagged(3, 1)], {"vlan_filtering": True}, ["n2", "n3"]),
        (
            10,
            [tagged(2, 10), tagged(3, 20), tagged(4, 0, 30, 40), tagged(5, 6, 7)],
            {"vlan": 10},
            [
                "n2",
                {"name": "n3", "vlan": 20},
                {"name": "n4", "trunk": [30, 40]},
                {"name": "n5", "vlan": 6, "trunk": [7]},
            ],
        ),
    ],
)
def test_vlans(own: int, members: list[Member], options: Options, namespaces: list[t.Any]) -> None:
    networks, notes = told(bridge(*members, vlans=Vlans("", "br-pods", own, ())))
    plain = {"name": "pods", "subnets": ["10.22.33.0/24"], "nat": "none"}
    assert [
        {**one, "namespaces": [dict(n) if isinstance(n, dict) else n for n in one["namespaces"]]} for one in networks
    ] == [{**plain, **options, "namespaces": namespaces}]
    assert notes == []


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["br-pods"], ["pods"]),
        (["br0", "BR_0", "br0-"], ["br0", "br-0", "br0-2"]),
        (["___"], ["net"]),
        (["{{ x }}".replace(" ", "")], ["x"]),
    ],
)
def test_names_of_networks(names: list[str], wanted: list[str]) -> None:
    made = []
    for number, name in enumerate(names):
        inside = member(2, addresses=(f"10.22.{number}.2/24",), gateways={4: f"10.22.{number}.1"})
        renamed = Member(f"ns{number}", inside.inner, inside.outer, inside.addresses, inside.gateways)
        made.append(bridge(renamed, name=name, addresses=(f"10.22.{number}.1/24",)))
    networks, notes = told(*made)
    assert [network["name"] for network in networks] == wanted
    assert notes == []
    assert [network.get("bridge", "br-" + network["name"]) for network in networks] == names


def test_networks_that_cannot_be_together_are_noted() -> None:
    other = bridge(Member("m", link(2, "eth0"), link(9, "m0"), ("10.22.33.9/24",), {4: "10.22.33.1"}), name="br1")
    networks, notes = told(bridge(member(2)), other)
    assert [network["name"] for network in networks] == ["pods"]
    (note,) = notes
    assert note.startswith("bridge br1: br1.subnets: 10.22.33.0/24 overlaps 10.22.33.0/24 of pods.subnets; choose")


def test_many_namespaces_in_no_order() -> None:
    """Each has the address that another one would be given."""
    found, notes = told(bridge(*(member(254 - number) for number in range(200))))
    assert notes == []
    assert len(found[0]["namespaces"]) == 200
    assert found[0]["namespaces"][0] == {"name": "n55", "addresses": ["10.22.33.55/24"]}


def test_bridge_that_is_the_uplink() -> None:
    assert told(bridge(member(2), routed=True)) == (
        [],
        ["bridge br-pods: the host's own default route leads to it"],
    )


def rules(*expressions: t.Any, **sets: t.Any) -> dict[str, list[Rule]]:
    """Of one chain of nftables at each hook."""
    listed: list[Options] = [
        {"metainfo": {}},
        {"table": {"family": "ip", "name": "own"}},
        {"flowtable": {"family": "ip"}},
    ]
    for hook in ("prerouting", "postrouting"):
        here = {"family": "ip", "table": "own"}
        listed.append({"chain": {**here, "name": hook, "type": "nat", "hook": hook, "prio": 100}})
        listed += [{"rule": {**here, "chain": hook, "handle": 7, "expr": expression}} for expression in expressions]
    listed += [
        {"set": {"family": "ip", "table": "own", "name": name, "elem": elements}} for name, elements in sets.items()
    ]
    return Listing(listed).hooked()


def match(left: t.Any, right: t.Any, op: str = "==") -> Options:
    return {"match": {"op": op, "left": left, "right": right}}


SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
MASQUERADE: Options = {"masquerade": None}


@pytest.mark.parametrize(
    "expression",
    [
        [{"vmap": {"key": SADDR, "data": "@missing"}}],
        [match({"&": [SADDR, 255]}, 1), MASQUERADE],
        [match(SADDR, "@missing"), MASQUERADE],
        [match(SADDR, {"prefix": {}}), MASQUERADE],
        [match(SADDR, None), MASQUERADE],
        [match({"meta": {"key": "mark"}}, 7), MASQUERADE],
        [match({"meta": {"key": "nfproto"}}, {"set": []}), MASQUERADE],
        [match({"meta": None}, 7), MASQUERADE],
        [match("mark", 7), MASQUERADE],
        [match({"ct": {"key": "state"}}, "new", "in"), MASQUERADE],
        [match({"meta": {"key": "oifname"}}, "eth*"), MASQUERADE],
        [match({"fib": {"result": "type", "flags": ["saddr"]}}, "unicast"), MASQUERADE],
        [{"limit": {"rate": 1}}, MASQUERADE],
        [{"xt": {"type": "match", "name": "mark"}}, {"xt": {"type": "target", "name": "MASQUERADE"}}],
        [{"snat": {"addr": {"map": {}}}}],
        [{"masquerade": {"flags": ["random", "persistent"]}}],
    ],
    ids=str,
)
def test_rules_of_nftables_that_have_no_place(expression: t.Any) -> None:
    (rule,) = rules(expression)["postrouting"]
    assert rule.strange
    assert rule.action
    assert "rule 7 of the chain postrouting in the table ip own of nft" in rule.text


@pytest.mark.parametrize(
    "expression",
    [
        [],
        [{"vmap": {"key": SADDR, "data": {"set": []}}}],
        [{"counter": {}}],
        ["notrack"],
        [{"drop": None}],
        [{"jump": {"target": "nowhere"}}],
        [{"xt": None}],
    ],
)
def test_rules_of_nftables_that_translate_nothing(expression: t.Any) -> None:
    assert rules(expression)["postrouting"] == []


def test_chains_that_call_each_other_end() -> None:
    assert rules([{"jump": {"target": "postrouting"}}], [MASQUERADE])["postrouting"]


def test_sets_of_nftables() -> None:
    elements = [
        {"prefix": {"addr": "10.0.0.0", "len": 8}},
        {"elem": {"val": "11.0.0.1"}},
        {"range": ["12.0.0.0", "12.0.0.3"]},
    ]
    (rule,) = rules([match(SADDR, "@own"), MASQUERADE], own=elements)["postrouting"]
    assert rule.sources == ("10.0.0.0/8", "11.0.0.1/32", "12.0.0.0/30")
    assert rule.strange == ()


def test_namespace_whose_name_is_none() -> None:
    odd = Member("a b", link(2, "eth0"), link(9, "v"), ("10.22.33.9/24",), {4: "10.22.33.1"})
    networks, notes = told(bridge(member(2), odd))
    assert [network["namespaces"] for network in networks] == [["n2"]]
    assert notes == ["namespace a b: its name: 'a b' is no namespace name"]


DUAL = {"addresses": ("10.22.33.2/24", "fd00::2/64"), "gateways": {4: "10.22.33.1", 6: "fd00::1"}}


def dual(*posted: Rule, **more: t.Any) -> tuple[list[Options], list[str]]:
    """What is told of one namespace with both families."""
    rules = {"postrouting": posted, **more.pop("rules", {})}
    return told(bridge(member(2, **DUAL), addresses=("10.22.33.1/24", "fd00::1/64")), rules=rules, **more)


def test_families_that_are_translated_differently() -> None:
    (network,), notes = dual(Rule("r", 4, "masquerade", sources=("10.22.33.0/24",)))
    assert "nat" not in network
    assert notes == ["bridge br-pods: fd00::/64 is not translated, but 10.22.33.0/24 is"]
    (network,), notes = dual(Rule("r", 4, "masquerade"), Rule("r", 6, "masquerade", out=("eth7",)))
    assert notes == ["bridge br-pods: fd00::/64 is translated in another way than the rest"]
    networks, notes = dual(Rule("r", 4, "snat", to="198.18.5.1"))
    assert networks == []
    assert notes[0] == "bridge br-pods: fd00::/64 is not translated, but 10.22.33.0/24 is"
    assert "no IPv6 address for fd00::/64" in notes[1]


def published(*rules: Rule) -> tuple[t.Any, list[str]]:
    (network,), notes = dual(rules={"prerouting": rules}, own=frozenset(["198.18.0.11"]))
    return network.get("publish"), notes


def port(number: int, to: str = "10.22.33.2", **more: t.Any) -> Rule:
    return Rule("r", 6 if ":" in to else 4, "dnat", to, **{"protocol": "tcp", "ports": ((number, number),), **more})


def test_published_in_one_family_or_in_both() -> None:
    """A namespace that is named is published in each family that it has."""
    both = port(80), port(80, "fd00::2")
    assert published(*both) == ([{"port": 80, "to": "n2"}], [])
    assert published(port(80)) == ([{"port": 80, "to": "10.22.33.2"}], [])
    assert published(port(80, "fd00::2", to_ports=(81, 81))) == ([{"port": 80, "to": "[fd00::2]:81"}], [])
    assert published(port(80), port(80)) == ([{"port": 80, "to": "10.22.33.2"}], [])


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (port(80, sources=("10.0.0.0/8",)), "for some clients alone"),
        (port(80, not_sources=("10.0.0.0/8",)), "for some clients alone"),
        (port(80, protocol="sctp"), "not for ports of TCP or UDP"),
        (port(80, ports=()), "not for ports of TCP or UDP"),
        (port(80, destinations=("198.18.0.99/32",)), "for addresses that are not the host's"),
        (port(80, not_destinations=("198.18.0.11/32",)), "for addresses that are not the host's"),
        (port(80, ports=((80, 90),), to_ports=(180, 190)), "to other ports than a range has"),
        (port(80, strange=("-m time",)), "-m time"),
        (port(80, "10.22.33.1"), "is the gateway"),
    ],
)
def test_what_is_no_published_port(rule: Rule, words: str) -> None:
    entries, notes = published(rule)
    assert entries is None
    (note,) = notes
    assert words in note


def test_port_of_one_address_is_noted() -> None:
    entries, (note,) = published(port(80, destinations=("198.18.0.11/32",)))
    assert entries == [{"port": 80, "to": "10.22.33.2"}]
    assert "for what comes in by 198.18.0.11/32 alone" in note
