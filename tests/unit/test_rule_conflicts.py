"""Networks whose rules get in each other's way: errors name both. And what ports and listeners have to do with it."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ConflictError
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Ruleset, Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.plan import make_plan
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules, Publication, PublishRules
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.publish import joined

from tests.support.spec_questions import found

WEB = Publication("tcp", 8080, 8080, "10.0.0.2", 80)
WEB6 = Publication("tcp", 8080, 8080, "fd00::2", 80)
RANGE = Publication("tcp", 8000, 9000, "10.1.0.2", 8000)


def nat(name: str, *sources: str, netns: str = "", backend: str = "nftables") -> Ruleset:
    return Ruleset(netns, name, NatRules(sources), backend)


def ports(name: str, *publications: Publication, netns: str = "") -> Ruleset:
    return Ruleset(netns, name, PublishRules(publications, ("10.0.0.0/8",)), "nftables", "publish")


@pytest.mark.parametrize(
    ("asked", "there", "words"),
    [
        (
            [nat("a", "10.0.0.0/8")],
            [nat("b", "10.1.0.0/16")],
            "translate 10.0.0.0/8 for a: it overlaps 10.1.0.0/16, which is translated for b",
        ),
        (
            [nat("a", "10.1.0.0/16")],
            [nat("b", "10.0.0.0/8", backend="iptables-nft")],
            "translate 10.1.0.0/16 for a: it overlaps 10.0.0.0/8, which is translated for b",
        ),
        ([nat("a", "10.0.0.0/24", "fd00::/64"), nat("b", "10.0.1.0/24", "fd00::/80")], [], "fd00::/80 for b"),
        # The one before is no neighbour of it.
        ([nat("a", "10.9.0.0/16")], [nat("b", "10.0.0.0/8"), nat("c", "10.1.0.0/16")], "translated for b"),
        ([nat("a", "10.0.0.0/24")], [nat("b", "10.0.1.0/24"), nat("a", "10.0.1.0/24")], ""),
        ([nat("a", "10.0.0.0/24")], [nat("b", "10.0.0.0/24", netns="ns1")], ""),
        ([nat("a", "10.3.0.0/24")], [nat("b", "10.0.0.0/24"), nat("c", "10.0.0.0/24")], ""),
        (
            [nat("a", "10.0.0.0/24")],
            [Ruleset("", "b", None)],
            "translate more sources for a: rules of b were edited by hand",
        ),
        ([nat("a", "10.0.0.0/24")], [Ruleset("", "b", None, purpose="publish")], ""),
        ([nat("a", "10.0.0.0/24")], [Ruleset("ns1", "b", None)], ""),
        ([nat("a", "10.0.0.0/24")], [Ruleset("", "b", None), nat("a", "10.0.0.0/24", "fd00::/64")], ""),
        ([nat("a", "10.0.0.0/24")], [Ruleset("", "b", None), Ruleset("", "a", None)], ""),
        ([nat("a", "10.0.0.0/24"), nat("b", "10.0.1.0/24")], [Ruleset("", "b", None)], ""),
        ([nat("a", "10.0.0.0/24"), nat("b", "10.0.0.0/8")], [Ruleset("", "b", None)], "it overlaps 10.0.0.0/8"),
        ([ports("a", WEB)], [Ruleset("", "b", None)], ""),
        (
            [ports("a", WEB)],
            [Ruleset("", "b", None, "iptables-nft", "publish"), ports("a", WEB6)],
            "publish more ports for a: rules of b were edited by hand",
        ),
        ([ports("a", WEB)], [Ruleset("", "b", None, purpose="publish"), ports("a", RANGE, WEB)], ""),
        ([ports("a", WEB)], [ports("b", RANGE)], "publish tcp 8080 (IPv4) for a: b publishes it already"),
        ([ports("b", RANGE), ports("a", WEB)], [], "publish tcp 8080 (IPv4) for a: b publishes it already"),
        ([ports("a", WEB6)], [ports("b", RANGE)], ""),
        ([ports("a", dataclasses.replace(WEB, protocol="udp"))], [ports("b", RANGE)], ""),
        ([ports("a", WEB)], [ports("a", RANGE)], ""),
        ([ports("a", WEB)], [ports("b", WEB, netns="ns1")], ""),
    ],
)
def test_other_networks(asked: list[Ruleset], there: list[Ruleset], words: str) -> None:
    if not words:
        make_plan(Want(tuple(asked)), found(*there), predicting=True)
        return
    with pytest.raises(ConflictError) as caught:
        make_plan(Want(tuple(asked)), found(*there))
    assert words in str(caught.value)
    assert caught.value.advice


def test_what_goes_in_the_same_request_is_in_nobodys_way() -> None:
    there = [nat("b", "10.0.0.0/24"), ports("b", WEB)]
    gone = tuple(dataclasses.replace(fact, rules=None) for fact in there)
    assert make_plan(Want((nat("a", "10.0.0.0/24"), ports("a", WEB)), gone), found(*there))


@pytest.mark.parametrize(
    ("there", "refused"),
    [([], True), ([ports("a", RANGE)], False), ([Ruleset("", "a", None, purpose="publish")], True)],
)
def test_listeners(there: list[Ruleset], refused: bool) -> None:
    who = "nginx (PID 7) listens there, on 0.0.0.0"
    have = dataclasses.replace(found(*there), listeners={("", 4, "tcp", 8080): who})
    want = Want((ports("a", WEB, WEB6),))
    if refused:
        with pytest.raises(ConflictError, match=r"publish tcp 8080 \(IPv4\) for a: nginx \(PID 7\) listens there"):
            make_plan(want, have)
    else:
        make_plan(want, have)


def test_one_form_for_the_same_ports() -> None:
    singles = [Publication("tcp", port, port, "10.0.0.2", port) for port in (82, 80, 81, 90)]
    moved = [Publication("tcp", port, port, "10.0.0.2", port + 1000) for port in (83, 84)]
    assert joined([*moved, *singles, WEB6]) == (
        Publication("tcp", 80, 82, "10.0.0.2", 80),
        *moved,
        Publication("tcp", 90, 90, "10.0.0.2", 90),
        WEB6,
    )
    assert [str(item) for item in joined(singles)] == ["tcp 80-82 to 10.0.0.2", "tcp 90 to 10.0.0.2:90"]
