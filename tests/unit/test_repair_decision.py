"""What of a diagnosis is repaired: (findings, tiers, codes) -> decisions."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    HOST,
    Address,
    Claim,
    Fact,
    File,
    Link,
    Namespace,
    Route,
    Ruleset,
    Setting,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.step import Step
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.sysctl_file import SYSCTL_FILE
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.decision import decide, tier_of, worse
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import ForwardRules, NatRules

BY_NAME = "only if DANGLING_VETH is asked for by name (remediate_codes, codes)"
BOTH = ("auto", "declared")
NOT_ALLOWED = "of the tier auto, which is not to be repaired"


def verdict(network: str, *findings: tuple[str, str], status: str = "broken", family: str = "ipv4") -> dict[str, t.Any]:
    told = [{"code": code, "tier": tier, "fix": f"fix {code}"} for code, tier in findings]
    return {
        "namespace": "c1",
        "network": network,
        "family": family,
        "status": status,
        "findings": told,
        "summary": "c1",
    }


@pytest.mark.parametrize(
    ("findings", "tiers", "codes", "repaired", "left"),
    [
        ([], BOTH, (), None, None),
        ([("LINK_DOWN", "auto")], BOTH, (), ["LINK_DOWN"], {}),
        (
            [("LINK_DOWN", "auto")],
            ("declared",),
            (),
            [],
            {"LINK_DOWN": NOT_ALLOWED},
        ),
        ([("FORWARDING_OFF", "declared")], ("declared",), (), ["FORWARDING_OFF"], {}),
        ([("UPLINK_DOWN", "advise")], BOTH, ("UPLINK_DOWN",), [], {"UPLINK_DOWN": "for a person: fix UPLINK_DOWN"}),
        (
            [("DANGLING_VETH", "confirm")],
            BOTH,
            (),
            [],
            {"DANGLING_VETH": BY_NAME},
        ),
        ([("DANGLING_VETH", "confirm")], BOTH, ("DANGLING_VETH",), ["DANGLING_VETH"], {}),
        ([("DANGLING_VETH", "confirm")], (), ("DANGLING_VETH",), ["DANGLING_VETH"], {}),
        ([("RP_FILTER_DROP", "confirm")], BOTH, (), [], {"RP_FILTER_DROP": "for a person: fix RP_FILTER_DROP"}),
        (
            [("LINK_DOWN", "auto"), ("UPLINK_DOWN", "advise")],
            BOTH,
            (),
            ["LINK_DOWN"],
            {"UPLINK_DOWN": "for a person: fix UPLINK_DOWN"},
        ),
    ],
)
def test_decision(
    findings: list[tuple[str, str]],
    tiers: tuple[str, ...],
    codes: tuple[str, ...],
    repaired: list[str] | None,
    left: dict[str, str] | None,
) -> None:
    decisions = decide([verdict("pods", *findings)], tiers, codes)
    assert [(one.network, one.codes, dict(one.left)) for one in decisions] == (
        [] if repaired is None else [("pods", repaired, left)]
    )


def test_networks_are_decided_by_themselves() -> None:
    found = decide([verdict("a", ("LINK_DOWN", "auto")), verdict("b", ("UPLINK_DOWN", "advise"))], BOTH, ())
    assert [(one.network, one.codes) for one in found] == [("a", ["LINK_DOWN"]), ("b", [])]


def test_what_nobody_described_is_not_repaired() -> None:
    assert decide([verdict("", ("LINK_DOWN", "auto"))], BOTH, ()) == []


@pytest.mark.parametrize(
    ("fact", "tier"),
    [
        (Namespace("c1"), "auto"),
        (Link(HOST, "br0", "bridge"), "auto"),
        (Address(HOST, "br0", "10.0.0.1/24"), "auto"),
        (Route("c1", "0.0.0.0/0", gateway="10.0.0.1"), "auto"),
        (Setting("c1", "net/ipv4/ip_forward", "1"), "auto"),
        (Ruleset(HOST, "pods", NatRules(("10.0.0.0/24",))), "auto"),
        (File("/etc/netns/c1/resolv.conf", ""), "auto"),
        (Setting(HOST, "net/ipv4/ip_forward", "1"), "declared"),
        (Claim("pods", HOST, "net/ipv4/ip_forward", "1"), "declared"),
        (File(SYSCTL_FILE, ""), "declared"),
        (Ruleset(HOST, "pods", ForwardRules("br0", (), ()), "ufw", "forward"), "declared"),
    ],
)
def test_tier_of_a_change(fact: Fact, tier: str) -> None:
    assert tier_of(Step(None, fact)) == tier_of(Step(fact, None)) == tier


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("ok", "ok", False),
        ("ok", "broken", True),
        ("ok", "degraded", True),
        ("ok", "unknown", True),
        ("degraded", "broken", True),
        ("broken", "broken", False),
        ("broken", "degraded", False),
        ("unknown", "degraded", False),
    ],
)
def test_worse(before: str, after: str, expected: bool) -> None:
    assert bool(worse([verdict("pods", status=before)], [verdict("pods", status=after)])) is expected
    assert worse([verdict("pods", status=before, family="ipv6")], [verdict("pods", status=after)]) == []
