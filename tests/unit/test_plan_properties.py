"""What holds for every plan, tried on generated requests and generated damage."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import EMPTY, Ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    Address,
    Claim,
    Fact,
    File,
    Identity,
    Link,
    Namespace,
    Route,
    Ruleset,
    Setting,
    Want,
    differences,
    is_ours,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.facts import Facts
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import Plan, make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.state import (
    Have,
    ends,
    side_effects,
    simulate,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.spec_questions import Options, all_of

Requests = list[tuple[str, Options]]

FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
REDIRECTS = "net/ipv4/conf/all/accept_redirects"
# What every namespace has, as the kernel makes it.
INITIAL = {FORWARD4: "0", FORWARD6: "0", REDIRECTS: "1", "net/ipv4/conf/eth5/forwarding": "0"}

maybe = st.booleans()


@st.composite
def requests(draw: st.DrawFn) -> Requests:
    """A path for one network: namespaces on a bridge or connected directly, in part or as a whole."""
    made: Requests = [("netns", draw(namespace(f"ns{i}"))) for i in range(draw(st.integers(1, 3)))]
    with_bridge = draw(maybe)
    if with_bridge:
        made.append(("linux_bridge", draw(bridge())))
    for number in range(len(made) - with_bridge):
        if draw(maybe):
            made.append(("veth", draw(pair(number, with_bridge))))
            made += draw(routes(f"ns{number}"))
    if draw(maybe):
        made.append(("nat_masquerade", {"name": "pods", "sources": ["10.0.0.0/24"], "random_fully": draw(maybe)}))
    if draw(maybe):
        forwarding = {"ipv4": draw(maybe), "ipv6": draw(st.sampled_from([None, True])), "persist": draw(maybe)}
        made.append(("sysctl_forward", {**forwarding, "network": "pods"}))
    return made


@st.composite
def namespace(draw: st.DrawFn, name: str) -> Options:
    options: Options = {"name": name, "loopback": draw(maybe), "network": "pods"}
    if draw(maybe):
        options["dns"] = {"servers": ["198.51.100.80"]}
    if draw(maybe):
        options["sysctls"] = {FORWARD4: draw(st.sampled_from([0, 1])), REDIRECTS: 0}
    return options


@st.composite
def bridge(draw: st.DrawFn) -> Options:
    addresses = draw(st.lists(st.sampled_from(["10.0.0.1/24", "fd00::1/64"]), unique=True))
    flags = {"stp": draw(st.sampled_from([None, True])), "up": draw(maybe), "exclusive_addresses": draw(maybe)}
    return {"name": "br0", "addresses": addresses, "network": "pods", **flags}


@st.composite
def pair(draw: st.DrawFn, number: int, with_bridge: bool) -> Options:
    master = draw(st.sampled_from([None, "", "br0"] if with_bridge else [None, ""]))
    candidates = [f"10.0.0.{number + 10}/24", f"10.0.0.{number + 20}/24", f"fd00::{number + 10}/64"]
    addresses = draw(st.one_of(st.none(), st.lists(st.sampled_from(candidates), unique=True)))
    peer = {"name": "eth0", "netns": f"ns{number}", "addresses": addresses, "up": draw(maybe)}
    mtu = draw(st.sampled_from([None, 1400]))
    isolated = draw(maybe) if master else None
    return {"name": f"ve{number}", "master": master, "mtu": mtu, "isolated": isolated, "peer": peer, "network": "pods"}


@st.composite
def routes(draw: st.DrawFn, netns: str) -> Requests:
    pool: list[Options] = [
        {"netns": netns, "dest": "default", "device": "eth0", "gateway": "10.0.0.1"},
        {"netns": netns, "dest": "default", "device": "eth0", "gateway": "fd00::1", "mtu": 1400},
        {"netns": netns, "dest": "10.9.0.0/16", "device": "eth0", "table": "100"},
        {"netns": netns, "dest": "10.8.0.0/16", "type": "blackhole"},
    ]
    chosen = draw(st.lists(st.integers(0, len(pool) - 1), unique=True))
    return [("ns_route", pool[i]) for i in chosen]


def empty_host() -> Facts:
    """Settings of the host, and those that its namespaces will have."""
    places = ["", "ns0", "ns1", "ns2"]
    facts = [Setting(netns, key, value) for netns in places for key, value in INITIAL.items()]
    return Facts({fact.identity: fact for fact in facts})


def applied(facts: t.Mapping[Identity, Fact], plan: Plan) -> Facts:
    """What the steps of a plan make of the facts."""
    after = Facts(facts)
    for step in plan.steps:
        simulate(after, step, side_effects(after, step))
    return after


def observed(facts: Facts) -> Facts:
    """With what the kernel chooses where nobody asked."""
    return Facts({identity: _observed(fact) for identity, fact in facts.items()})


def _observed(fact: Fact) -> Fact:
    if isinstance(fact, Link):
        chosen = {"mac": "02:00:00:00:00:01", "mtu": 1500, "master": "", "isolated": False, "hairpin": False}
        peer = t.cast("Link | None", fact.peer and _observed(fact.peer))
        filled = {key: value for key, value in chosen.items() if getattr(fact, key) is None}
        return dataclasses.replace(fact, **t.cast("dict[str, t.Any]", filled), peer=peer, index=7)
    if isinstance(fact, Route):
        return dataclasses.replace(fact, onlink=bool(fact.onlink))
    if isinstance(fact, Namespace):
        return dataclasses.replace(fact, loopback=bool(fact.loopback))
    return fact


def built(wanted: Want) -> tuple[Facts, Ledger]:
    """The host as it is once the request was carried out."""
    plan = make_plan(wanted, Have(empty_host()))
    facts = applied(empty_host(), plan)
    lasting = {identity: fact for identity, fact in facts.items() if not isinstance(fact, Claim)}
    return observed(Facts({**lasting, **plan.ledger.claims})), plan.ledger


@st.composite
def damaged(draw: st.DrawFn, wanted: Want, facts: Facts) -> Facts:
    """Some of what was wanted is changed or gone, with all that the kernel takes along."""
    facts = Facts(facts)
    targets = [fact.identity for fact in wanted.facts if not isinstance(fact, (Claim, Setting))]
    for identity in draw(st.lists(st.sampled_from(targets), max_size=4)):
        there = facts.get(identity)
        # What got another name here is harmed no further: it stays in the place of the name that was wanted.
        if there is not None and there.identity == identity:
            _put(facts, there, draw(st.sampled_from([None, *_harm(there)])))
    for wish in wanted.facts:
        if isinstance(wish, Setting) and draw(maybe):
            facts[wish.identity] = dataclasses.replace(wish, value=draw(st.sampled_from(["0", "1"])))
    for netns, link in sorted(wanted.exclusive_addresses):
        if draw(maybe) and any(
            fact.identity[:2] == ("link", netns) or _has_end(fact, netns) for fact in facts.values()
        ):
            stranger = Address(netns, link, "10.7.0.1/24")
            facts[stranger.identity] = stranger
    # A pair without our mark at either end is somebody else's, and refused.
    assume(not any(isinstance(fact, Link) and fact.peer and _is_foreign(fact) for fact in facts.values()))
    return facts


def _is_foreign(pair: Link) -> bool:
    return not any(is_ours(end.alias) for end in ends(pair))


def _has_end(fact: Fact, netns: str) -> bool:
    return isinstance(fact, Link) and fact.peer is not None and fact.peer.netns == netns


def _harm(fact: Fact) -> list[Fact]:
    """The same thing, each time with another fault."""
    change: t.Any = dataclasses.replace
    if isinstance(fact, Namespace):
        return [change(fact, loopback=False), change(fact, alias=None)]
    if isinstance(fact, Link):
        harmed = [change(fact, up=not fact.up), change(fact, mtu=1300), change(fact, alias="theirs")]
        if fact.peer:
            faults: list[dict[str, t.Any]] = [
                {"up": False},
                {"mtu": 1300},
                {"name": "x"},
                {"netns": ""},
                {"alias": "a"},
            ]
            harmed += [change(fact, peer=change(fact.peer, **fault)) for fault in faults]
            harmed += [change(fact, master="br9"), change(fact, name="old"), change(fact, isolated=True)]
        return harmed
    if isinstance(fact, Route):
        return [change(fact, protocol=3), change(fact, gateway="10.0.0.77", type="unicast", device="eth0")]
    if isinstance(fact, Ruleset):
        return [change(fact, rules=None), change(fact, rules=NatRules(("10.1.0.0/24",)))]
    return [change(fact, content="edited\n")] if isinstance(fact, File) else []


def _put(facts: Facts, there: Fact, then: Fact | None) -> None:
    """Change one fact, or take it away, as somebody else would."""
    step = Step(there, then)
    effects = side_effects(facts, step)
    for gone, effect in effects.items():
        if effect is None:
            del facts[gone]
    if then is not None:
        facts[there.identity] = then
        return
    del facts[there.identity]
    for identity, fact in list(facts.items()):
        if isinstance(there, Namespace) and _has_end(fact, there.name):
            del facts[identity]
        elif isinstance(fact, Link) and isinstance(there, Link) and fact.master == there.name:
            facts[identity] = dataclasses.replace(fact, master="")


def unmet(wanted: Want, facts: Facts) -> list[str]:
    """Differences that are left, but for the mark, which is given at birth alone."""
    left = []
    for wish in wanted.facts:
        if isinstance(wish, Claim):
            continue
        fact = facts.get(wish.identity)
        open_ = {"missing": None} if fact is None else differences(wish, fact)
        left += [f"{wish.identity} {key}" for key in open_ if not key.endswith("alias")]
    return left


generated = settings(suppress_health_check=[HealthCheck.too_slow])


@generated
@given(st.data())
def test_a_plan_leads_to_what_is_wanted_and_leaves_nothing_to_do(data: st.DataObject) -> None:
    wanted = all_of(*data.draw(requests()))
    facts, ledger = built(wanted)
    have = Have(data.draw(damaged(wanted, facts)), ledger)
    plan = make_plan(wanted, have)
    after = applied(have.facts, plan)
    assert unmet(wanted, after) == []
    assert make_plan(wanted, Have(after, plan.ledger)).actions == []


@generated
@given(requests())
def test_what_was_built_needs_nothing(made: Requests) -> None:
    facts, ledger = built(all_of(*made))
    assert make_plan(all_of(*made), Have(facts, ledger)).actions == []


@generated
@given(requests())
def test_prediction_on_an_empty_host_is_what_is_then_done(made: Requests) -> None:
    wanted, have = all_of(*made), Have(empty_host())
    assert make_plan(wanted, have, predicting=True).actions == make_plan(wanted, have).actions


@generated
@given(st.data())
def test_one_fault_is_mended_by_steps_for_it_alone(data: st.DataObject) -> None:
    wanted = all_of(*data.draw(requests()))
    facts, ledger = built(wanted)
    there = data.draw(st.sampled_from([fact for fact in facts.values() if _harm(fact)]))
    harmed = Facts(facts)
    _put(harmed, there, data.draw(st.sampled_from(_harm(there))))
    plan = make_plan(wanted, Have(harmed, ledger))
    lost = set(facts) - set(harmed)
    along = {fact.identity for step in plan.steps for fact in step.along}
    assert {step.identity for step in plan.steps} <= {there.identity} | lost | along
    assert len(plan.steps) == len({step.identity for step in plan.steps})


@generated
@given(requests())
def test_removing_leads_back_to_the_empty_host(made: Requests) -> None:
    facts, ledger = built(all_of(*made))
    gone = all_of(
        *(
            (module, {**options, "state": "restored" if module == "sysctl_forward" else "absent"})
            for module, options in made
        )
    )
    plan = make_plan(gone, Have(facts, ledger))
    after = applied(facts, plan)
    on_host = {identity: fact for identity, fact in empty_host().items() if identity[:2] == ("setting", "")}
    # Settings inside a namespace went with it; here they were listed before it was made.
    assert {identity: fact for identity, fact in after.items() if identity[1] not in ("ns0", "ns1", "ns2")} == on_host
    assert {identity[0] for identity in after} == {"setting"}
    assert plan.ledger == EMPTY


def test_every_request_can_be_generated() -> None:
    """The properties above say nothing about a kind of fact that never comes up."""
    kinds: set[str] = set()

    @settings(max_examples=60)
    @given(requests())
    def collect(made: Requests) -> None:
        kinds.update(type(fact).__name__ for fact in all_of(*made).facts)

    collect()
    assert kinds == {"Namespace", "Link", "Address", "Claim", "Setting", "Route", "Ruleset", "File"}
