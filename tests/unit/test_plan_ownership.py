"""What is removed, in which order, what is refused, and what the ledger holds."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import EMPTY, Ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Address,
    Claim,
    Fact,
    File,
    Link,
    Namespace,
    Route,
    Setting,
    Want,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import Plan, make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.sysctl_file import (
    SYSCTL_FILE,
    sysctl_file,
)

from tests.support.planned_path import (
    BR0,
    BRIDGE,
    DEFAULT4,
    EVERYTHING,
    INNER,
    NS1,
    PAIR,
    PATH,
    THERE,
    VETH,
    change,
    there,
)
from tests.support.spec_questions import Options, all_of, found, want

FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
REDIRECTS = "net/ipv4/conf/all/accept_redirects"


def setting(key: str, value: str) -> Setting:
    return Setting("", key, value)


def absent(options: Options) -> Options:
    return {**options, "state": "absent"}


def planned(wanted: Want, facts: t.Iterable[Fact], ledger: Ledger = EMPTY) -> Plan:
    return make_plan(wanted, found(*facts, ledger=ledger))


def test_all_is_removed_backwards() -> None:
    gone = all_of(*((module, absent(options)) for module, options in PATH))
    assert planned(gone, THERE).actions == [
        "delete /etc/netns/ns1/resolv.conf",
        "delete route default via 10.0.0.1 dev eth0 in namespace ns1",
        "delete route -6 default via fd00::1 dev eth0 in namespace ns1",
        "delete veth ve1",
        "delete bridge br0",
        "delete namespace ns1",
        "delete source NAT pods",
    ]


@pytest.mark.parametrize("request_", PATH, ids=lambda request: str(request[0]))
def test_what_is_not_there_is_gone(request_: tuple[str, Options]) -> None:
    module, options = request_
    assert planned(want(module, absent(options)), []).actions == []


# (module, options, what was found, words)
REFUSED: list[tuple[str, Options, Fact, str]] = [
    ("netns", {"name": "ns1"}, change(NS1, alias=None), "remove namespace ns1"),
    ("netns", {"name": "ns1"}, change(NS1, alias="web"), "remove namespace ns1"),
    ("linux_bridge", {"name": "br0"}, change(BRIDGE, alias=None), "remove link br0"),
    ("linux_bridge", {"name": "br0"}, change(BRIDGE, alias="uplink"), "remove link br0"),
    ("veth", {"name": "ve1"}, change(PAIR, alias=None, peer=change(INNER, alias="")), "remove link ve1"),
    (
        "ns_route",
        {"netns": "ns1", "dest": "default"},
        change(DEFAULT4, protocol=4),
        "remove route default in namespace",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]}-{case[2].identity[0]}")
def test_what_does_not_carry_the_mark_is_not_removed(case: tuple[str, Options, Fact, str]) -> None:
    module, options, fact, words = case
    with pytest.raises(ConflictError, match="does not carry our mark") as caught:
        planned(want(module, absent(options)), [fact])
    assert words in str(caught.value)
    assert "Remove it yourself" in caught.value.advice


def test_resolver_of_somebody_else_stays() -> None:
    theirs = File("/etc/netns/ns1/resolv.conf", "nameserver 198.51.100.80\n")
    assert planned(want("netns", {"name": "ns1", "state": "absent"}), [NS1, theirs]).actions == ["delete namespace ns1"]


def test_what_was_there_before_is_changed_but_never_marked() -> None:
    facts = there(
        change(NS1, alias=None, loopback=False),
        change(BRIDGE, alias="theirs", up=False),
    )
    assert planned(EVERYTHING, facts).actions[:2] == [
        "change namespace ns1: loopback off -> on",
        "change bridge br0: up off -> on",
    ]


def test_pair_of_somebody_elses_is_none_of_a_network() -> None:
    """It would go with the namespace that one end is in."""
    facts = there(change(PAIR, alias=None, mtu=1400, peer=change(INNER, alias=None)))
    with pytest.raises(ConflictError, match="make veth ve1 for network pods: the name is taken by a veth"):
        planned(EVERYTHING, facts)
    unnamed = {**PATH[2][1], "network": None}
    assert planned(want("veth", unnamed), facts).actions == ["change veth ve1: mtu 1400 -> 1500"]


def test_pair_of_which_one_end_lost_the_mark_is_marked_again() -> None:
    facts = there(change(PAIR, alias=None))
    assert planned(EVERYTHING, facts).actions == ["change veth ve1: alias none -> netpath:pods"]


def test_label_stays_where_a_request_names_no_network() -> None:
    unnamed = [(module, {k: v for k, v in options.items() if k != "network"}) for module, options in PATH[1:3]]
    assert planned(all_of(*unnamed), THERE).actions == []


def test_bare_mark_gets_the_label() -> None:
    facts = there(change(BRIDGE, alias="netpath:"))
    assert planned(want("linux_bridge", BR0), facts).actions == ["change bridge br0: alias netpath: -> netpath:pods"]


def test_fields_of_a_foreign_link_are_written_down_and_come_back() -> None:
    theirs = change(BRIDGE, alias=None, mtu=9000)
    request = {"name": "br0", "mtu": 1400, "addresses": ["10.5.0.1/24"]}
    plan = planned(want("linux_bridge", request), [theirs])
    assert plan.actions == ["change bridge br0: mtu 9000 -> 1400", "add address 10.5.0.1/24 to br0"]
    assert plan.ledger.originals == {
        theirs.identity: Link("", "br0", mtu=9000),
        ("address", "", "br0", "10.5.0.1/24"): None,
    }

    changed = [change(theirs, mtu=1400), Address("", "br0", "10.5.0.1/24")]
    back = planned(want("linux_bridge", absent(request)), changed, plan.ledger)
    assert back.actions == ["delete address 10.5.0.1/24 from br0", "change bridge br0: mtu 1400 -> 9000"]
    assert back.ledger == EMPTY


def test_first_value_of_a_foreign_link_is_the_one_that_comes_back() -> None:
    theirs = change(BRIDGE, alias=None, mtu=9000)
    first = planned(want("linux_bridge", {"name": "br0", "mtu": 1400}), [theirs])
    second = planned(
        want("linux_bridge", {"name": "br0", "mtu": 1300, "stp": True}), [change(theirs, mtu=1400)], first.ledger
    )
    assert second.ledger.originals == {theirs.identity: Link("", "br0", mtu=9000)}
    third = planned(want("linux_bridge", {"name": "br0", "up": False}), [change(theirs, mtu=1300)], second.ledger)
    assert third.ledger.originals == {theirs.identity: Link("", "br0", mtu=9000, up=True)}


def test_only_the_address_that_was_added_is_taken_from_a_foreign_link() -> None:
    theirs = change(BRIDGE, alias=None)
    request = {"name": "br0", "addresses": ["10.5.0.1/24"]}
    plan = planned(want("linux_bridge", request), [theirs])
    assert plan.ledger.originals == {("address", "", "br0", "10.5.0.1/24"): None}
    back = planned(want("linux_bridge", absent(request)), [theirs, Address("", "br0", "10.5.0.1/24")], plan.ledger)
    assert back.actions == ["delete address 10.5.0.1/24 from br0"]
    assert back.ledger == EMPTY


def test_foreign_route_is_written_down_and_comes_back() -> None:
    theirs = Route("ns1", "10.9.0.0/16", 254, 0, "unicast", "10.0.0.1", "eth0", onlink=False, protocol=3)
    request = {"netns": "ns1", "dest": "10.9.0.0/16", "gateway": "10.0.0.7"}
    plan = planned(want("ns_route", request), [NS1, theirs])
    assert plan.actions == ["replace route 10.9.0.0/16 via 10.0.0.7 dev eth0 in namespace ns1"]
    assert plan.ledger.originals == {theirs.identity: theirs}
    ours = change(theirs, gateway="10.0.0.7", protocol=250)
    back = planned(want("ns_route", absent(request)), [NS1, ours], plan.ledger)
    assert back.actions == ["replace route 10.9.0.0/16 via 10.0.0.1 dev eth0 in namespace ns1"]
    assert back.ledger == EMPTY


def test_attached_namespace_gives_its_name_back() -> None:
    plan = planned(want("netns", {"name": "app", "attach": "12"}), [])
    assert plan.actions == ["create namespace app from /proc/12/ns/net"]
    assert plan.ledger.originals == {("namespace", "app"): None}
    back = planned(want("netns", {"name": "app", "state": "absent"}), [Namespace("app")], plan.ledger)
    assert back.actions == ["delete namespace app"]
    assert back.ledger == EMPTY


def test_removed_namespace_takes_its_entries_along() -> None:
    inside = Claim("pods", "ns1", FORWARD4, "1", False)
    ledger = Ledger({("setting", "ns1", FORWARD4): Setting("ns1", FORWARD4, "0")}, {inside.identity: inside})
    plan = planned(want("netns", {"name": "ns1", "state": "absent"}), [NS1], ledger)
    assert plan.actions == ["delete namespace ns1"]
    assert plan.ledger == EMPTY


def test_settings_of_a_namespace_of_ours_need_no_entry() -> None:
    plan = planned(
        want("netns", {"name": "ns1", "sysctls": {"net.ipv4.ip_forward": 1}}), [NS1, Setting("ns1", FORWARD4, "0")]
    )
    assert plan.actions == ["set net.ipv4.ip_forward to 1 (was 0) in namespace ns1"]
    assert plan.ledger == EMPTY


FORWARDING: Options = {"ipv4": True, "network": "pods", "persist": False}
FOUND = [
    setting(FORWARD4, "0"),
    setting("net/ipv4/conf/eth0/forwarding", "0"),
    setting("net/ipv4/conf/tun0/forwarding", "1"),
    setting(REDIRECTS, "1"),
]


def test_forwarding_writes_down_what_the_kernel_changes_along() -> None:
    plan = planned(want("sysctl_forward", FORWARDING), FOUND)
    assert plan.actions == ["note that pods needs net.ipv4.ip_forward = 1", "set net.ipv4.ip_forward to 1 (was 0)"]
    # What setting it back to 0 restores by itself has no entry.
    assert plan.ledger.originals == {
        ("setting", "", FORWARD4): setting(FORWARD4, "0"),
        ("setting", "", "net/ipv4/conf/tun0/forwarding"): setting("net/ipv4/conf/tun0/forwarding", "1"),
    }
    now: list[Fact] = [
        setting(FORWARD4, "1"),
        *(change(fact, value="1") for fact in FOUND[1:3]),
        setting(REDIRECTS, "0"),
    ]
    claimed: list[Fact] = [*now, *plan.ledger.claims.values()]
    assert planned(want("sysctl_forward", FORWARDING), claimed, plan.ledger).actions == []

    back = planned(want("sysctl_forward", {"network": "pods", "state": "restored"}), claimed, plan.ledger)
    assert back.actions == [
        "note that pods no longer needs net.ipv4.ip_forward",
        "set net.ipv4.ip_forward to 0 (was 1)",
        "set net.ipv4.conf.tun0.forwarding to 1 (was 0)",
    ]
    assert back.ledger == EMPTY


def test_setting_stays_while_another_network_needs_it() -> None:
    first = planned(want("sysctl_forward", FORWARDING), FOUND[:1])
    now: list[Fact] = [setting(FORWARD4, "1"), *first.ledger.claims.values()]
    second = planned(want("sysctl_forward", {**FORWARDING, "network": "lab"}), now, first.ledger)
    assert second.actions == ["note that lab needs net.ipv4.ip_forward = 1"]
    both: list[Fact] = [*now, *second.ledger.claims.values()]

    one = planned(want("sysctl_forward", {"network": "pods", "state": "restored"}), both, second.ledger)
    assert one.actions == ["note that pods no longer needs net.ipv4.ip_forward"]
    assert one.ledger.originals == first.ledger.originals
    last = planned(want("sysctl_forward", {"network": "lab", "state": "restored"}), both, one.ledger)
    assert last.actions == ["note that lab no longer needs net.ipv4.ip_forward", "set net.ipv4.ip_forward to 0 (was 1)"]
    assert last.ledger == EMPTY


def test_two_networks_that_need_different_values_are_refused() -> None:
    first = planned(want("sysctl_forward", FORWARDING), FOUND[:1])
    facts: list[Fact] = [setting(FORWARD4, "1"), *first.ledger.claims.values()]
    with pytest.raises(ConflictError, match=r"set net.ipv4.ip_forward to 0 for lab: pods needs 1"):
        planned(want("sysctl_forward", {"ipv4": False, "network": "lab"}), facts, first.ledger)


def test_persisted_settings_are_those_that_are_claimed() -> None:
    plan = planned(want("sysctl_forward", {**FORWARDING, "persist": True}), FOUND[:1])
    content = sysctl_file({FORWARD4: "1"})
    assert plan.actions[-1] == f"write {SYSCTL_FILE}"
    assert plan.steps[-1].after == File(SYSCTL_FILE, content)
    assert "net/ipv4/ip_forward = 1\n" in content

    facts: list[Fact] = [setting(FORWARD4, "1"), File(SYSCTL_FILE, content), *plan.ledger.claims.values()]
    again = planned(want("sysctl_forward", {**FORWARDING, "persist": True}), facts, plan.ledger)
    assert again.actions == []
    more = planned(want("sysctl_forward", {"ipv6": True}), [*facts, setting(FORWARD6, "0")], plan.ledger)
    assert more.actions[-1] == f"rewrite {SYSCTL_FILE}"
    edited: list[Fact] = [*facts[:1], File(SYSCTL_FILE, ""), *facts[2:]]
    mended = planned(want("sysctl_forward", {**FORWARDING, "persist": True}), edited, plan.ledger)
    assert mended.actions == [f"rewrite {SYSCTL_FILE}"]
    back = planned(want("sysctl_forward", {"network": "pods", "state": "restored"}), facts, plan.ledger)
    assert back.actions[-1] == f"delete {SYSCTL_FILE}"


def test_file_of_somebody_elses_is_not_overwritten() -> None:
    with pytest.raises(ConflictError, match="somebody else wrote the one that is there"):
        planned(want("sysctl_forward", {**FORWARDING, "persist": True}), [*FOUND[:1], File(SYSCTL_FILE, "a = 1\n")])


def test_interface_is_set_again_after_the_switch_that_rewrites_it() -> None:
    """The switch and an interface's own setting differ: the last word is the interface's."""
    facts: list[Fact] = [setting(FORWARD4, "0"), setting("net/ipv4/conf/br0/forwarding", "0")]
    wanted = want("sysctl_forward", {"ipv4": True, "interfaces": ["br0"], "persist": False})
    assert [line for line in planned(wanted, facts).actions if line.startswith("set")] == [
        "set net.ipv4.ip_forward to 1 (was 0)"
    ]


def test_pair_of_a_network_that_is_removed_leaves_the_other() -> None:
    other = Link("", "ve2", "veth", "netpath:lab", peer=Link("ns2", "eth0", "veth", "netpath:lab"))
    assert planned(want("veth", absent(VETH)), [PAIR, other]).actions == ["delete veth ve1"]
