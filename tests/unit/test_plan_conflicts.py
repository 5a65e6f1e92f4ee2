"""What stands in the way is an error before anything is done, which says what is there and what to do."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import Ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Address,
    Fact,
    Link,
    Namespace,
    Route,
    Want,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.state import Have

from tests.support.planned_path import (
    BR0,
    BRIDGE,
    DEFAULT4,
    GATEWAY4,
    GATEWAY6,
    INNER,
    NAMESPACE,
    NS1,
    PAIR,
    ROUTE4,
    VETH,
    change,
)
from tests.support.spec_questions import Options, all_of, found, want

UPLINK = Link("", "up0", "", mtu=1500, mac="02:00:00:00:00:09", master="", up=True)
PROTECTED = {"up0": "the IPv4 default route of this host"}
HOST_DEFAULT = Route("", "0.0.0.0/0", 254, 0, "unicast", "198.18.0.1", "up0", onlink=False, protocol=16)
LEASED = Address("", "up0", "198.18.0.10/16")
UP0 = {"name": "up0", "peer": {"name": "x"}}

# title: (request, what was found, words of the error)
CONFLICTS: dict[str, tuple[Want, list[Fact], tuple[str, ...]]] = {
    "overlapping address": (
        want("linux_bridge", {**BR0, "addresses": ["10.0.0.254/16"]}),
        [BRIDGE, GATEWAY4],
        ("give br0 the address 10.0.0.254/16", "it has 10.0.0.1/24, of an overlapping range", "exclusive_addresses"),
    ),
    "bridge name taken by another kind": (
        want("linux_bridge", {"name": "ve1"}),
        [PAIR],
        ("make bridge ve1", "the name is taken by a veth link", "Choose another name"),
    ),
    "bridge name taken by a physical link": (
        want("linux_bridge", {"name": "up0"}),
        [UPLINK],
        ("taken by a physical or other link",),
    ),
    "veth name taken by a bridge": (
        want("veth", {**VETH, "name": "br0", "master": ""}),
        [NS1, BRIDGE],
        ("a bridge link",),
    ),
    "peer name taken by somebody else": (
        want("veth", VETH),
        [NS1, BRIDGE, change(INNER, kind="dummy", alias=None)],
        ("with peer eth0 in namespace ns1", "taken by a dummy link that somebody else made"),
    ),
    "peer name taken, the pair's own other end elsewhere": (
        want("veth", VETH),
        [NS1, BRIDGE, change(PAIR, peer=change(INNER, name="eth9")), change(INNER, kind="veth")],
        ("that name is taken by a veth link", "remove it"),
    ),
    "master is no bridge": (
        want("veth", {**VETH, "master": "up0"}),
        [NS1, UPLINK],
        ("make ve1 a port of up0", "up0 is not a bridge but a physical or other link"),
    ),
    "link of another network": (
        want("linux_bridge", {**BR0, "network": "lab"}),
        [BRIDGE],
        ("use br0 for network lab", "it belongs to network pods", "of its own"),
    ),
    "namespace of another network": (
        want("netns", {**NAMESPACE, "network": "lab"}),
        [NS1],
        ("ns1", "it belongs to network pods"),
    ),
    "default route of the host": (
        want("ns_route", {"dest": "default", "gateway": "198.18.0.2"}),
        [HOST_DEFAULT, UPLINK],
        ("replace the default route of this host", "via 198.18.0.1 and is not ours", "another metric or table"),
    ),
    "namespace of a pair missing": (
        want("veth", VETH),
        [BRIDGE],
        ("namespace ns1 does not exist", "netpath.egress.netns"),
    ),
    "bridge of a pair missing": (
        want("veth", VETH),
        [NS1],
        ("bridge br0 does not exist", "netpath.egress.linux_bridge"),
    ),
    "namespace of a bridge missing": (
        want("linux_bridge", {**BR0, "netns": "ns1"}),
        [],
        ("namespace ns1 does not exist",),
    ),
    "port missing": (want("linux_bridge", {"name": "br0", "ports": ["p1"]}), [BRIDGE], ("link p1 does not exist",)),
    "namespace of a route missing": (want("ns_route", ROUTE4), [], ("namespace ns1 does not exist",)),
    "device of a route missing": (
        want("ns_route", {**ROUTE4, "device": "eth0"}),
        [NS1],
        ("link eth0 in namespace ns1 does not exist", "netpath.egress.veth"),
    ),
    "namespace of rules missing": (
        want("nat_masquerade", {"name": "pods", "netns": "ns1", "sources": ["10.0.0.0/24"]}),
        [],
        ("namespace ns1 does not exist",),
    ),
    "namespace of settings missing": (want("sysctl_forward", {"ipv4": True, "netns": "ns1"}), [], ("namespace ns1",)),
}
MISSING = [title for title in CONFLICTS if title.endswith("missing")]


@pytest.mark.parametrize("title", CONFLICTS)
def test_refused(title: str) -> None:
    wanted, facts, words = CONFLICTS[title]
    with pytest.raises(ConflictError) as caught:
        make_plan(wanted, found(*facts))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.advice


def test_address_that_is_there_is_no_conflict_with_its_neighbours() -> None:
    asked = want("linux_bridge", {**BR0, "addresses": [GATEWAY4.cidr]})
    facts = [change(BRIDGE, alias=None), GATEWAY4, Address("", "br0", "10.0.0.254/24")]
    assert make_plan(asked, found(*facts)).actions == []


@pytest.mark.parametrize("title", MISSING)
def test_what_is_missing_may_still_be_made_by_another_task(title: str) -> None:
    wanted, facts, _words = CONFLICTS[title]
    assert make_plan(wanted, found(*facts), predicting=True).actions


@pytest.mark.parametrize("title", sorted(set(CONFLICTS) - set(MISSING)))
def test_other_conflicts_are_predicted(title: str) -> None:
    wanted, facts, words = CONFLICTS[title]
    with pytest.raises(ConflictError) as caught:
        make_plan(wanted, found(*facts), predicting=True)
    assert words[0] in str(caught.value)


# title: (request, what the error begins with)
SACRED: dict[str, tuple[Want, str]] = {
    "enslaved": (want("linux_bridge", {"name": "br0", "ports": ["up0"]}), "enslave up0"),
    "enslaved as an end of a pair": (want("veth", {**UP0, "master": "br0"}), "enslave up0"),
    "taken down": (want("veth", {**UP0, "up": False}), "take down up0"),
    "MAC": (want("veth", {**UP0, "mac": "02:00:00:00:00:07"}), "change the MAC of up0"),
    "removed": (want("veth", {"name": "up0", "state": "absent"}), "remove up0"),
}


@pytest.mark.parametrize("title", SACRED)
def test_management_path_is_sacred(title: str) -> None:
    wanted, asked = SACRED[title]
    uplink = change(UPLINK, kind="veth", alias="netpath:", peer=Link("", "x", "veth"))
    with pytest.raises(ConflictError, match=PROTECTED["up0"]) as caught:
        make_plan(wanted, found(BRIDGE, uplink, LEASED, protected=PROTECTED))
    assert caught.value.asked.startswith(asked)


def test_management_path_as_the_other_end_of_a_pair_is_sacred() -> None:
    """A pair is wanted whose far end is the uplink."""
    there = Link("", "far", "veth", master="", up=True, peer=change(UPLINK, kind="veth"))
    wanted = want("veth", {"name": "far", "peer": {"name": "up0", "up": False}})
    with pytest.raises(ConflictError, match=PROTECTED["up0"]):
        make_plan(wanted, found(there, protected=PROTECTED))


def test_bridge_that_carries_the_default_route_keeps_its_port() -> None:
    protected = {"br0": "the default route", "up0": "the default route, as a port of br0"}
    wanted = want("linux_bridge", {"name": "br0", "ports": [], "exclusive_ports": True})
    with pytest.raises(ConflictError, match="up0"):
        make_plan(wanted, found(BRIDGE, change(UPLINK, master="br0"), protected=protected))


def test_addresses_of_the_management_path_are_not_replaced() -> None:
    protected = {"br0": PROTECTED["up0"]}
    for addresses in (["10.0.0.1/24"], []):
        wanted = want("linux_bridge", {"name": "br0", "addresses": addresses, "exclusive_addresses": True})
        with pytest.raises(ConflictError, match=PROTECTED["up0"]):
            make_plan(wanted, found(BRIDGE, GATEWAY4, GATEWAY6, protected=protected))


def test_management_path_may_get_another_address_and_lose_it_again() -> None:
    theirs = change(BRIDGE, alias=None)
    request: Options = {"name": "br0", "addresses": ["10.7.0.1/24"]}
    plan = make_plan(want("linux_bridge", request), found(theirs, GATEWAY4, protected={"br0": "it"}))
    assert plan.actions == ["add address 10.7.0.1/24 to br0"]
    assert plan.ledger == Ledger({("address", "", "br0", "10.7.0.1/24"): None})


@pytest.mark.parametrize(("there", "refused"), [(1022, False), (1023, True)])
def test_a_bridge_holds_1023_ports(there: int, refused: bool) -> None:
    have = found(NS1, BRIDGE, ports={("", "br0"): there})
    if not refused:
        assert make_plan(want("veth", VETH), have).actions
        return
    with pytest.raises(ConflictError, match="give bridge br0 1024 ports: a bridge holds 1023"):
        make_plan(want("veth", VETH), have)


def test_ports_of_one_request_are_counted_together() -> None:
    pairs: list[tuple[str, Options]] = [
        ("veth", {"name": f"v{i}", "master": "br0", "peer": {"name": f"p{i}"}}) for i in range(1024)
    ]
    with pytest.raises(ConflictError, match="1024 ports"):
        make_plan(all_of(("linux_bridge", {"name": "br0"}), *pairs), found())


def test_own_default_route_of_the_host_may_be_replaced() -> None:
    ours = change(HOST_DEFAULT, protocol=250)
    plan = make_plan(want("ns_route", {"dest": "default", "gateway": "198.18.0.2"}), found(ours, UPLINK))
    assert plan.actions == ["replace route default via 198.18.0.2 dev up0"]


def test_foreign_default_route_inside_a_namespace_may_be_replaced() -> None:
    theirs = change(DEFAULT4, protocol=3, gateway="10.0.0.9")
    plan = make_plan(want("ns_route", ROUTE4), found(Namespace("ns1"), theirs))
    assert plan.actions == ["replace route default via 10.0.0.1 dev eth0 in namespace ns1"]
    assert plan.ledger.originals == {theirs.identity: theirs}


def test_errors_are_words() -> None:
    """No error shows a Python object."""
    for wanted, facts, _words in CONFLICTS.values():
        with pytest.raises(ConflictError) as caught:
            make_plan(wanted, found(*facts))
        assert not set("()={}") & set(str(caught.value))


@pytest.mark.parametrize("force", [False, True])
def test_namespace_with_inhabitants_needs_force(force: bool) -> None:
    have = Have({NS1.identity: NS1}, inhabitants={"ns1": [(12, "sleep")]})
    wanted = want("netns", {"name": "ns1", "state": "absent", "force": force})
    if force:
        assert make_plan(wanted, have).actions == ["delete namespace ns1"]
        return
    with pytest.raises(ConflictError, match=r"processes live in it: 12 \(sleep\)"):
        make_plan(wanted, have)
