"""Source translation without a kernel: what is written, how listings are read, and which flows are stale."""

from __future__ import annotations

import copy
import dataclasses
import ipaddress
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import UnsupportedError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import nftables, stale_flows
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules, Rules
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.values import collapsed
from hypothesis import given
from hypothesis import strategies as st

NAME = "pods-a"
PLAIN = NatRules(("10.22.33.0/24", "fd00:22:33::/64"))
FULL = NatRules(
    ("10.22.33.0/24", "fd00:22:33::/64"),
    ("192.168.0.0/16", "fd01::/16"),
    ("uplink0",),
    "br0",
    ("198.51.100.0-198.51.100.255", "2001:db8::1"),
    (1024, 65535),
    random_fully=True,
)

Json = dict[str, t.Any]


def listing(commands: t.Sequence[Json]) -> list[Json]:
    """What nft would list after the commands of a transaction on an empty table."""
    objects = copy.deepcopy([command["add"] for command in commands])
    for handle, item in enumerate(objects):
        for body in item.values():
            body["handle"] = handle
    return objects


def written(*changes: tuple[str, NatRules | None]) -> list[Json]:
    return listing(nftables.transaction(nftables.Table(), [(("nat", name), rules) for name, rules in changes]))


def read(objects: t.Sequence[Json]) -> dict[str, Rules | None]:
    table = nftables.listed(objects)
    assert {purpose for purpose, _name in table.owners()} <= {"nat"}
    return {name: nftables.parsed(table, (purpose, name)) for purpose, name in table.owners()}


addresses4 = st.ip_addresses(v=4)
addresses6 = st.ip_addresses(v=6)


@st.composite
def networks(draw: t.Callable[..., t.Any], least: int = 0) -> tuple[str, ...]:
    drawn = draw(
        st.lists(
            st.tuples(addresses4, st.integers(0, 32)) | st.tuples(addresses6, st.integers(0, 128)),
            min_size=least,
            max_size=6,
        )
    )
    return collapsed(ipaddress.ip_network(pair, strict=False) for pair in drawn)


def targets(addresses: st.SearchStrategy[t.Any]) -> st.SearchStrategy[str]:
    pairs = st.tuples(addresses, addresses).map(sorted)
    return st.just("") | pairs.map(lambda pair: "-".join(dict.fromkeys(map(str, pair))))


interfaces = st.text("ab0.*-@'", max_size=15).filter(lambda name: not name.startswith("@"))
nat_rules = st.builds(
    NatRules,
    networks(least=1),
    networks(),
    st.sets(interfaces.filter(bool), max_size=3).map(lambda names: tuple(sorted(names))),
    interfaces,
    st.tuples(targets(addresses4), targets(addresses6)),
    st.none() | st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: (min(pair), max(pair))),
    st.booleans(),
)


@given(nat_rules)
def test_what_is_written_reads_back(rules: NatRules) -> None:
    assert read(written((NAME, rules), ("other", PLAIN))) == {NAME: rules, "other": PLAIN}


def dialect(objects: t.Sequence[Json]) -> list[Json]:
    """The same as another version of nft lists it."""
    objects = [{"metainfo": {"version": "1.1.3"}}, *copy.deepcopy(objects)]
    for item in objects:
        for body in item.values():
            if body.get("flags"):
                body["flags"] = body["flags"][0]
            for expression in body.get("expr", []):
                change_statement(expression)
            if body.get("name") == "exclude4_pods_a":
                body["elem"] = [
                    {"range": ["192.168.0.0", "192.168.127.255"]},
                    {"prefix": {"addr": "192.168.128.0", "len": 17}},
                ]
    return objects


def change_statement(expression: Json) -> None:
    if "counter" in expression:
        expression["counter"] = {"packets": 7, "bytes": 700}
    match = expression.get("match", {})
    if match.get("left") == {"meta": {"key": "l4proto"}}:
        match["right"] = {"set": ["udp", "tcp", 33, "sctp"]}
    snat = expression.get("snat")
    if snat:
        snat["flags"] = "fully-random"
        if snat["family"] == "ip":
            snat["addr"] = {"prefix": {"addr": "198.51.100.0", "len": 24}}


def test_listings_of_other_versions_read_the_same() -> None:
    objects = written((NAME, FULL))
    assert dialect(objects)[1:] != objects
    assert read(dialect(objects)) == {NAME: FULL}


def test_range_that_nft_0_9_8_lists_as_a_prefix() -> None:
    rules = dataclasses.replace(PLAIN, to_source=("198.51.100.1-198.51.100.6", "2001:db8::1"))
    objects = written((NAME, rules))
    part(objects, "rule")["expr"][-1]["snat"]["addr"] = {"prefix": {"addr": "198.51.100.1", "len": 29}}
    assert read(objects) == {NAME: rules}


def test_number_of_rules_does_not_depend_on_the_number_of_subnets() -> None:
    def count(subnets: int) -> int:
        sources = tuple(f"10.{i // 128}.{i % 128 * 2}.0/24" for i in range(subnets))
        return sum("rule" in item for item in written((NAME, NatRules(sources, sources[:1]))))

    assert count(10) == count(1000) == 2


def part(objects: t.Sequence[Json], kind: str, name: str = "") -> Json:
    return next(item[kind] for item in objects if kind in item and name in (item[kind].get("name"), ""))


EDITS: dict[str, t.Callable[[list[Json]], object]] = {
    "a rule is missing": lambda o: o.remove({"rule": part(o, "rule")}),
    "a rule twice": lambda o: o.append({"rule": {**part(o, "rule"), "handle": 99}}),
    "no comment": lambda o: part(o, "rule").pop("comment"),
    "a foreign rule in the chain": lambda o: o.append(
        {"rule": {"chain": "nat_pods_a", "handle": 99, "expr": [{"accept": None}]}}
    ),
    "our mark on a foreign rule": lambda o: o.append(
        {"rule": {"chain": "postrouting", "handle": 99, "comment": "netpath:pods-a", "expr": [{"accept": None}]}}
    ),
    "no counter": lambda o: part(o, "rule")["expr"].remove({"counter": None}),
    "another port": lambda o: part(o, "rule")["expr"][-1]["snat"].update(port=5),
    "a statement too many": lambda o: part(o, "rule")["expr"].insert(0, {"log": None}),
    "a wildcard": lambda o: part(o, "rule")["expr"][0]["match"].update(right="up*"),
    "an odd statement": lambda o: part(o, "rule")["expr"].append({"a": 1, "b": 2}),
    "a map instead of an address": lambda o: part(o, "rule")["expr"][-1]["snat"].update(addr={"map": {}}),
    "a set is missing": lambda o: o.remove({"set": part(o, "set", "exclude4_pods_a")}),
    "a set of another type": lambda o: part(o, "set", "src4_pods_a").update(type="ether_addr"),
    "a set with a timeout": lambda o: part(o, "set", "src4_pods_a").update(flags=["interval", "timeout"]),
    "elements with a counter": lambda o: part(o, "set", "src4_pods_a").update(elem=[{"elem": {"val": "10.0.0.1"}}]),
    "chain is a base chain": lambda o: part(o, "chain", "nat_pods_a").update(hook="forward"),
    "chain is missing": lambda o: o.remove({"chain": part(o, "chain", "nat_pods_a")}),
    "base chain has another priority": lambda o: part(o, "chain", "postrouting").update(prio=0),
    "base chain is missing": lambda o: o.remove({"chain": part(o, "chain", "postrouting")}),
    "jump is missing": lambda o: o.pop(),
    "jump twice": lambda o: o.append({"rule": {**o[-1]["rule"], "handle": 99}}),
    "table sleeps": lambda o: part(o, "table").update(flags=["dormant"]),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edited_by_hand_is_unreadable(edit: t.Callable[[list[Json]], object]) -> None:
    objects = written((NAME, FULL))
    edit(objects)
    assert read(objects) == {NAME: None}


def test_elements_changed_by_hand_read_as_they_are() -> None:
    objects = written((NAME, PLAIN))
    part(objects, "set", "src4_pods_a")["elem"].append("10.99.0.1")
    assert read(objects) == {NAME: NatRules(("10.22.33.0/24", "10.99.0.1/32", "fd00:22:33::/64"))}


def test_table_goes_with_the_last_network() -> None:
    delete = [{"delete": {"table": {"family": "inet", "name": "netpath_egress"}}}]
    table = nftables.listed(written((NAME, FULL), ("other", PLAIN)))
    assert nftables.transaction(table, [(("nat", NAME), None), (("nat", "other"), None)]) == delete
    assert nftables.transaction(table, [(("nat", NAME), None)]) != delete
    assert nftables.transaction(nftables.Table(), [(("nat", NAME), None)]) == []


@pytest.mark.parametrize(
    "foreign",
    [
        {"chain": {"name": "mine"}},
        {"set": {"name": "mine"}},
        {"map": {"name": "src4_Mine"}},
        {"counter": {"name": "mine"}},
        {"rule": {"chain": "postrouting", "handle": 99, "expr": [{"accept": None}]}},
    ],
)
def test_foreign_parts_keep_the_table(foreign: Json) -> None:
    table = nftables.listed([*written((NAME, FULL)), foreign])
    commands = nftables.transaction(table, [(("nat", NAME), None)])
    deleted = [kind for command in commands for kind in command.get("delete", {})]
    # The base chain goes when no rule is left in it.
    chains = 1 if "rule" in foreign else 2
    assert (deleted.count("table"), deleted.count("chain"), deleted.count("set")) == (0, chains, 4)
    assert deleted.count("rule") == 5


def test_interface_name_that_nft_cannot_express() -> None:
    rules = dataclasses.replace(PLAIN, out_interfaces=("@up",))
    with pytest.raises(UnsupportedError, match="'@'"):
        nftables.write(t.cast("t.Any", None), "", [(("nat", "a"), rules)])


# Flows


UP = "uplink0"
MASQUERADE = NatRules(("10.0.0.0/16", "fd00::/16"))
TO_A = dataclasses.replace(MASQUERADE, to_source=("203.0.113.1", "2001:db8::1"))
TO_RANGE = dataclasses.replace(MASQUERADE, to_source=("203.0.113.1-203.0.113.9", "2001:db8::1-2001:db8::9"))
TO_C = dataclasses.replace(MASQUERADE, to_source=("203.0.113.200", "2001:db8::200"))
PORTS = dataclasses.replace(MASQUERADE, ports=(40000, 50000))
SOURCES = dataclasses.replace(MASQUERADE, sources=("10.1.0.0/16",))
EXCLUDE = dataclasses.replace(MASQUERADE, exclude=("198.51.100.0/24", "2001:db8:51::/64"))
OUT = dataclasses.replace(MASQUERADE, out_interfaces=(UP,))
NOT_OUT = dataclasses.replace(MASQUERADE, not_out_interface="br0")
RANDOM = dataclasses.replace(MASQUERADE, random_fully=True)

A, B = "203.0.113.1", "203.0.113.77"


@pytest.mark.parametrize(
    ("old", "new", "translated", "stale"),
    [
        # Rules come: what left untranslated goes; a translation that is there is another rule's.
        (None, MASQUERADE, None, True),
        (None, MASQUERADE, B, False),
        (None, TO_A, B, False),
        (None, EXCLUDE, None, False),
        (None, SOURCES, None, False),
        # Rules go: what they translated goes.
        (MASQUERADE, None, B, True),
        (MASQUERADE, None, None, False),
        (MASQUERADE, EXCLUDE, B, True),
        (MASQUERADE, EXCLUDE, None, False),
        (EXCLUDE, MASQUERADE, None, True),
        (EXCLUDE, MASQUERADE, B, False),
        (EXCLUDE, None, B, False),
        (MASQUERADE, SOURCES, B, True),
        (SOURCES, MASQUERADE, None, True),
        (SOURCES, None, B, False),
        # Another target: what could as well come from the new rules stays.
        (MASQUERADE, MASQUERADE, B, False),
        (MASQUERADE, TO_A, B, True),
        (MASQUERADE, TO_A, A, False),
        (TO_A, MASQUERADE, A, True),
        (TO_A, TO_RANGE, A, False),
        (TO_RANGE, TO_A, "203.0.113.5", True),
        (TO_RANGE, TO_A, A, False),
        (TO_RANGE, TO_C, "203.0.113.5", True),
        (TO_A, TO_C, None, False),
        # The flow's port is 30000.
        (MASQUERADE, PORTS, B, True),
        (PORTS, MASQUERADE, B, False),
        (None, PORTS, None, True),
        # How a port was chosen does not matter to a flow that has one.
        (MASQUERADE, RANDOM, B, False),
        # By which interface a flow leaves is not known.
        (MASQUERADE, OUT, B, True),
        (MASQUERADE, OUT, None, True),
        (OUT, NOT_OUT, B, True),
        (OUT, None, B, True),
        (OUT, None, None, False),
        (OUT, OUT, None, False),
        (None, None, B, False),
    ],
)
@pytest.mark.parametrize("version", [4, 6])
def test_stale(old: NatRules | None, new: NatRules | None, translated: str | None, stale: bool, version: int) -> None:
    found = flow(version, "10.0.0.2", "198.51.100.80", translated)
    assert verdict(found, old, new, version) is stale


V6 = {
    "10.0.0.2": "fd00::2",
    "10.0.0.3": "fd00::3",
    "198.51.100.80": "2001:db8:51::80",
    "224.0.0.251": "ff02::fb",
    A: "2001:db8::1",
    B: "2001:db8::77",
    "203.0.113.5": "2001:db8::5",
}


def flow(version: int, source: str, destination: str, translated: str | None, protocol: int = 17) -> stale_flows.Flow:
    def packed(address: str) -> bytes:
        return ipaddress.ip_address(address if version == 4 else V6[address]).packed

    return stale_flows.Flow(
        packed(source), packed(destination), protocol, packed(translated) if translated else None, 30000
    )


def verdict(found: stale_flows.Flow, old: NatRules | None, new: NatRules | None, version: int) -> bool:
    return stale_flows.is_stale(found, stale_flows.Translation(old, version), stale_flows.Translation(new, version))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("source", "destination"),
    [("10.0.0.2", "10.0.0.3"), ("198.51.100.80", "10.0.0.2"), ("198.51.100.80", A), ("10.0.0.2", "224.0.0.251")],
)
def test_flows_that_rules_are_not_for(source: str, destination: str, version: int) -> None:
    for old, new in ((None, MASQUERADE), (MASQUERADE, None), (MASQUERADE, TO_A), (OUT, MASQUERADE)):
        assert not verdict(flow(version, source, destination, None), old, new, version)


def test_ports_are_for_protocols_that_have_some() -> None:
    assert not verdict(flow(4, "10.0.0.2", "198.51.100.80", B, protocol=1), MASQUERADE, PORTS, 4)


@given(networks(), addresses4, addresses6)
def test_lookup(found: tuple[str, ...], address4: t.Any, address6: t.Any) -> None:
    for version, address in ((4, address4), (6, address6)):
        expected = any(address in ipaddress.ip_network(network) for network in found)
        assert (address.packed in stale_flows.Networks(found, version)) is expected
