"""Source translation on a real kernel: what is written reads back, others' rules stay, and packets are translated."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import conntrack, nft, nftables
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules, Rules

from tests.lab import privilege, probe
from tests.lab.internet import Seen
from tests.lab.world import Node, World

_OBSTACLE = privilege.obstacle() or (None if shutil.which("nft") else "the program nft is missing")
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# In another user namespace nft has a smaller socket buffer.
_FIRST_USERS = "4294967295" in Path("/proc/self/uid_map").read_text(encoding="ascii")
# The second is what the lab raises for an exception that cannot be pickled, with the name of its class.
REFUSED = (EgressError, RuntimeError)
Change = tuple[str, t.Optional[NatRules]]

PLAIN = NatRules(("10.22.33.0/24", "fd00:22:33::/64"))
FULL = NatRules(
    ("10.22.33.0/24", "10.22.35.128/25", "fd00:22:33::/64"),
    ("192.168.0.0/16", "255.255.255.255/32", "fd01::/16"),
    ("uplink0",),
    "br0",
    ("198.51.100.1-198.51.100.9", "2001:db8::1"),
    (1024, 65535),
    random_fully=True,
)


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture(scope="module")
def bare() -> t.Iterator[Node]:
    """A node for tables alone, which each test leaves empty."""
    with World(nodes=0, internet=False) as made, made.add_node(uplink=False) as node:
        yield node


@pytest.fixture
def empty(bare: Node) -> t.Iterator[Node]:
    yield bare
    bare.run(["nft", "flush", "ruleset"])


def _write(changes: t.Sequence[Change], netns: str = HOST) -> None:
    with Namespaces() as namespaces:
        nftables.write(namespaces, netns, [(("nat", name), rules) for name, rules in changes])


def _read(netns: str = HOST) -> dict[str, Rules | None]:
    with Namespaces() as namespaces:
        return {name: rules for (_purpose, name), rules in nftables.read(namespaces, netns).items()}


def ruleset(node: Node) -> str:
    return node.run(["nft", "list", "ruleset"]).stdout


def many(count: int) -> tuple[str, ...]:
    return tuple(f"10.{i // 128}.{i % 128 * 2}.0/24" for i in range(count))


@pytest.mark.parametrize(
    "rules",
    [
        PLAIN,
        FULL,
        NatRules(("10.22.33.0/24",)),
        NatRules(("fd00:22:33::/64",), ports=(5000, 5000)),
        NatRules(("10.22.33.2/32", "fd00::1/128"), random_fully=True),
        # Intervals that touch and cannot be collapsed, and the ends of the address space.
        NatRules(("10.0.1.0/24", "10.0.2.0/24"), ("0.0.0.0/32", "255.255.255.255/32", "ffff::/16")),
        NatRules(("0.0.0.0/0", "::/0"), ("128.0.0.0/1", "8000::/1")),
        NatRules(("10.0.0.0/8",), ("fd00::/8",), out_interfaces=("up*",), not_out_interface="br-0.5"),
        NatRules(("10.0.0.0/8",), out_interfaces=("a", "b.9", "up*")),
        NatRules(("10.0.0.0/8",), to_source=("198.51.100.1", "")),
        NatRules(("10.0.0.0/8",), to_source=("198.51.100.1-198.51.100.6", "2001:db8::1-2001:db8::ffff"), ports=(1, 9)),
        NatRules(("fd00::/8",), to_source=("", "2001:db8::1"), ports=(1, 9), random_fully=True),
        NatRules(("10.0.0.0/8",), to_source=("198.51.100.0-198.51.100.255", ""), ports=(1024, 65535)),
        NatRules(many(10_000 if _FIRST_USERS else 1000)),
    ],
    ids=lambda rules: f"{rules.sources[0]}-{len(rules.sources)}",
)
def test_what_is_written_reads_back(empty: Node, rules: NatRules) -> None:
    empty.call(_write, [("pods-a", rules), ("other", PLAIN)])
    assert empty.call(_read) == {"pods-a": rules, "other": PLAIN}


@pytest.mark.parametrize("rules", [PLAIN, FULL])
def test_survives_being_saved_and_loaded_as_text(empty: Node, rules: NatRules) -> None:
    empty.call(_write, [("a", rules)])
    empty.run(["nft", "-f", "-"], input="flush ruleset\n" + ruleset(empty))
    assert empty.call(_read) == {"a": rules}


def test_replace_and_delete(empty: Node) -> None:
    assert empty.call(_read) == {}
    empty.call(_write, [("a", None)])
    assert ruleset(empty) == ""
    for rules in (PLAIN, FULL, dataclasses.replace(FULL, exclude=()), PLAIN):
        empty.call(_write, [("a", rules), ("b", FULL)])
        assert empty.call(_read) == {"a": rules, "b": FULL}
    empty.call(_write, [("a", None), ("c", PLAIN)])
    assert empty.call(_read) == {"b": FULL, "c": PLAIN}
    empty.call(_write, [("b", None), ("c", None)])
    assert ruleset(empty) == ""


def test_number_of_rules_does_not_depend_on_the_number_of_subnets(empty: Node) -> None:
    counts = set()
    for subnets in (10, 1000):
        empty.call(_write, [("a", dataclasses.replace(FULL, sources=(*many(subnets), "fd00::/64")))])
        counts.add(empty.run(["nft", "-j", "list", "ruleset"]).stdout.count('"rule"'))
    assert counts == {5}


def test_foreign_tables_stay(empty: Node) -> None:
    foreign = """
        table inet filter {
            set some { type ipv4_addr; flags interval; elements = { 10.0.0.0/8 }; }
            chain forward { type filter hook forward priority 0; policy drop; ip saddr @some counter accept; }
        }
        table ip nat {
            chain postrouting { type nat hook postrouting priority 100; oifname "eth0" masquerade comment "netpath:a"; }
        }
        table ip netpath_egress { chain nat_a { accept; }; }
        """
    empty.run(["nft", "-f", "-"], input=foreign.replace("}; }", "}\n }"))
    before = ruleset(empty)
    empty.call(_write, [("a", FULL)])
    assert ruleset(empty).startswith(before)
    empty.call(_write, [("a", PLAIN), ("b", FULL)])
    empty.call(_write, [("a", None), ("b", None)])
    assert ruleset(empty) == before


def test_foreign_parts_of_our_table_stay(empty: Node) -> None:
    empty.call(_write, [("a", FULL)])
    ours = f"inet {nft.TABLE}"
    empty.run(["sh", "-ec", f"nft add chain {ours} mine; nft add rule {ours} postrouting ip daddr 10.9.9.9 accept"])
    assert empty.call(_read) == {"a": FULL}
    empty.call(_write, [("a", None)])
    left = ruleset(empty)
    assert ("chain mine" in left, "10.9.9.9 accept" in left, "nat_a" in left, "4_a" in left) == (
        True,
        True,
        False,
        False,
    )
    empty.call(_write, [("a", FULL)])
    assert empty.call(_read) == {"a": FULL}


EDITS = {
    "rules gone": "flush chain T nat_a",
    "a rule more": "add rule T nat_a accept",
    "a rule first": "insert rule T nat_a accept",
    "jump gone": "flush chain T postrouting",
    "jump twice": 'add rule T postrouting counter jump nat_a comment "netpath:a"',
    "jump without mark": "add rule T postrouting jump nat_a",
    "mark on another rule": 'add rule T postrouting accept comment "netpath:a"',
    "used in a foreign chain": "add chain T mine; add rule T mine ip saddr @src4_a jump nat_a",
    "sources gone": "flush set T src4_a; flush set T src6_a; flush chain T nat_a",
    "a set gone": "flush chain T nat_a; delete set T exclude4_a",
    "a set of another kind": "flush chain T nat_a; delete set T src4_a; add map T src4_a { type ipv4_addr : mark; }",
    "chain gone": "flush chain T postrouting; delete chain T nat_a",
    "chain has a hook": "flush chain T postrouting; delete chain T nat_a;"
    " add chain T nat_a { type nat hook postrouting priority 5; }",
    "base chain gone": "flush chain T postrouting; delete chain T postrouting",
    "base chain of another type": "flush chain T postrouting; delete chain T postrouting;"
    " add chain T postrouting { type filter hook forward priority 0; policy drop; }; add rule T postrouting accept",
    "leftovers alone": "delete table T; add table T; add set T src4_a { type ipv4_addr; }; add chain T nat_a",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("repaired", [PLAIN, FULL, None], ids=["plain", "full", "none"])
def test_edited_by_hand(empty: Node, edit: str, repaired: NatRules | None) -> None:
    empty.call(_write, [("a", FULL)])
    text = edit.replace(" T ", f" inet {nft.TABLE} ").replace(" T;", f" inet {nft.TABLE};")
    empty.run(
        ["nft", "-f", "-"],
        input=text.replace("; ", "\n").replace("postrouting priority 5\n", "postrouting priority 5;"),
    )
    assert empty.call(_read) == {"a": None}
    empty.call(_write, [("a", repaired)])
    assert empty.call(_read) == ({"a": repaired} if repaired else {})


def test_table_that_sleeps(empty: Node) -> None:
    empty.call(_write, [("a", PLAIN)])
    empty.run(["nft", f"add table inet {nft.TABLE} {{ flags dormant; }}"])
    # nft up to 1.0.6 prints the table's flags from memory that is not theirs: at times that is no JSON.
    with contextlib.suppress(*REFUSED):
        assert empty.call(_read) == {"a": None}
        empty.call(_write, [("a", FULL)])
        assert empty.call(_read) == {"a": FULL}


def test_other_networks_survive_the_repair_of_the_base_chain(empty: Node) -> None:
    empty.call(_write, [("a", PLAIN), ("b", FULL)])
    empty.run(["nft", "-f", "-"], input=f"add chain inet {nft.TABLE} postrouting {{ policy drop; }}\n")
    assert empty.call(_read) == {"a": None, "b": None}
    empty.call(_write, [("a", FULL)])
    assert empty.call(_read) == {"a": FULL, "b": FULL}


def test_one_transaction(empty: Node) -> None:
    """Where one network cannot be written, none is."""
    empty.call(_write, [("a", PLAIN)])
    before = ruleset(empty)
    overlapping = NatRules(("10.0.0.0/8", "10.0.0.0/16"))
    with pytest.raises(REFUSED, match="nft says"):
        empty.call(_write, [("a", FULL), ("b", overlapping)])
    assert ruleset(empty) == before


def test_named_namespace(empty: Node) -> None:
    empty.run(["ip", "netns", "add", "blue"])
    try:
        empty.call(_write, [("a", PLAIN)], "blue")
        assert (empty.call(_read), empty.call(_read, "blue")) == ({}, {"a": PLAIN})
        assert "nat_a" in empty.namespace_run("blue", ["nft", "list", "ruleset"]).stdout
    finally:
        empty.run(["ip", "netns", "delete", "blue"])


def test_program_missing(empty: Node) -> None:
    folder = Path(str(shutil.which("nft"))).resolve().parent
    empty.run(["mount", "-t", "tmpfs", "none", str(folder)])
    try:
        # To know that there is nothing takes no program.
        assert empty.call(_read) == {}
        with pytest.raises(REFUSED, match=r"nft is missing.*package nftables"):
            empty.call(_write, [("pods", PLAIN)])
    finally:
        empty.run(["umount", str(folder)])


def _write_by(program: str, changes: t.Sequence[Change]) -> None:
    """With another program in place of nft."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(program).parent}:{os.environ['PATH']}")
        _write(changes)


@pytest.mark.parametrize(
    ("word", "feature"),
    [("masquerade", "nft_masq"), ("interval", "nft_set_rbtree"), ("nat", "nft_chain_nat"), ("table", "nf_tables")],
)
def test_kernel_feature_missing(empty: Node, tmp_path: Path, word: str, feature: str) -> None:
    program, real = tmp_path / "nft", shutil.which("nft")
    refusal = "Error: Could not process rule: Operation not supported"
    program.write_text(
        "#!/bin/bash\n"
        f'if [ $2 = list ]; then exec {real} "$@"; fi\n'
        "text=$(</dev/stdin)\n"
        f"if [[ $text == *'\"{word}\"'* ]]; then echo '{refusal}' >&2; exit 1; fi\n"
        f'exec {real} "$@" <<<"$text"\n'
    )
    program.chmod(0o755)
    with pytest.raises(REFUSED, match=rf"lacks .*{feature}.*Operation not supported"):
        empty.call(_write_by, str(program), [("a", PLAIN)])
    assert ruleset(empty) == ""


# Packets

INSIDE, INSIDE6 = "10.22.33.2", "fd00:22:33::2"
SERVER, SERVER6, OTHER = "198.51.100.80", "2001:db8:51::80", "203.0.113.80"
EXTRA = tuple(f"198.18.77.{i}" for i in range(1, 5))
EXTRA6 = tuple(f"2001:db8:18::77{i}" for i in range(1, 5))


GATE = f"""
ip -batch -
ip netns add inside
ip link add port0 up type veth peer name eth0 netns inside
ip address add 10.22.33.1/24 dev port0
ip address add fd00:22:33::1/64 dev port0 nodad
ip -n inside address add {INSIDE}/24 dev eth0
ip -n inside address add {INSIDE6}/64 dev eth0 nodad
ip -n inside link set eth0 up
ip -n inside route add default via 10.22.33.1
ip -n inside route add default via fd00:22:33::1
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
"""


@pytest.fixture(scope="module")
def gate(world: World) -> t.Iterator[Node]:
    """A node that forwards for its namespace "inside", and has more addresses to translate to."""
    with world.add_node() as made:
        made.run(["sh", "-ec", GATE], input="".join(f"address add {a} dev uplink0 nodad\n" for a in (*EXTRA, *EXTRA6)))
        yield made


def _probe_inside(protocol: str, target: str, patience: float) -> bool:
    with Namespaces() as namespaces, namespaces.entered("inside"):
        try:
            probe.probe(protocol, target, timeout=patience)
        except TimeoutError:
            return False
        return True


def _write_and_forget(rules: NatRules) -> None:
    """A probe may have the port or identifier of an earlier one: no flow of a source is to be left."""
    _write([("pods", rules)])
    with Namespaces() as namespaces:
        for change in ((PLAIN, None), (None, PLAIN)):
            conntrack.flush_changed(namespaces, HOST, *change)


def seen(world: World, gate: Node, rules: NatRules, protocol: str, target: str, answers: bool = True) -> Seen:
    """Whom the other side saw, under these rules. For an answer that is expected, long enough is waited."""
    gate.call(_write_and_forget, rules)
    before = len(world.internet.seen())
    answered = gate.call(_probe_inside, protocol, target, 5.0 if answers else 1.0)
    found = world.internet.seen()[before]
    assert answered is (found.client not in (INSIDE, INSIDE6))
    return found


def with_(**changes: t.Any) -> NatRules:
    return dataclasses.replace(PLAIN, **changes)


OWN, OWN6 = ("own",), ("own", *EXTRA6)  # which of its addresses the kernel takes for IPv6 is its own choice
TO_ADDRESS = (EXTRA[1], EXTRA6[1])
TO_RANGE = (f"{EXTRA[1]}-{EXTRA[2]}", f"{EXTRA6[1]}-{EXTRA6[2]}")


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("random_fully", [False, True])
@pytest.mark.parametrize("ports", [None, (20000, 20009)])
@pytest.mark.parametrize(
    ("to_source", "clients", "clients6"),
    [(("", ""), OWN, OWN6), (TO_ADDRESS, EXTRA[1:2], EXTRA6[1:2]), (TO_RANGE, EXTRA[1:3], EXTRA6[1:3])],
    ids=["masquerade", "address", "range"],
)
def test_translated(
    world: World,
    gate: Node,
    protocol: str,
    random_fully: bool,
    ports: tuple[int, int] | None,
    to_source: tuple[str, str],
    clients: tuple[str, ...],
    clients6: tuple[str, ...],
) -> None:
    rules = with_(random_fully=random_fully, ports=ports, to_source=to_source)
    for server, allowed, own in ((SERVER, clients, gate.address), (SERVER6, clients6, gate.address6)):
        found = seen(world, gate, rules, protocol, server)
        assert found.client in allowed or ("own" in allowed and found.client == own)
        assert ports is None or protocol == "icmp" or ports[0] <= found.port <= ports[1]


@pytest.mark.parametrize(
    ("rules", "translated"),
    [
        (with_(exclude=("198.51.100.0/24", "2001:db8:51::/64")), False),
        (with_(exclude=("203.0.113.0/24", "2001:db8:52::/64")), True),
        # Between sources nothing is translated.
        (with_(sources=("10.22.33.0/24", "198.51.100.0/24", "2001:db8:51::/64", "fd00:22:33::/64")), False),
        (with_(sources=("10.22.33.128/25", "fd00:22:33:1::/64")), False),
        (with_(out_interfaces=("uplink0",)), True),
        (with_(out_interfaces=("port0",)), False),
        (with_(out_interfaces=("uplink*",)), False),
        (with_(out_interfaces=("port0", "uplink0")), True),
        (with_(out_interfaces=("port0", "port1")), False),
        (with_(out_interfaces=("port0", "uplink*")), False),
        (with_(not_out_interface="uplink0"), False),
        (with_(not_out_interface="port0"), True),
        (with_(out_interfaces=("uplink0",), not_out_interface="port0"), True),
    ],
)
def test_which_packets_are_translated(world: World, gate: Node, rules: NatRules, translated: bool) -> None:
    assert (seen(world, gate, rules, "udp", SERVER, translated).client != INSIDE) is translated
    assert (seen(world, gate, rules, "udp", SERVER6, translated).client != INSIDE6) is translated
    if rules.exclude:
        assert (seen(world, gate, rules, "udp", OTHER, not translated).client == INSIDE) is translated
