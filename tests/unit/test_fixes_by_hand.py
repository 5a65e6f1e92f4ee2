"""What a verdict tells of a namespace that no network describes: who repairs it, and by which command."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.by_hand import by_hand
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.path import Path
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.verdict import Finding, Judged, verdict
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.decision import decide

NAMED = Path("pod", "", 4, "eth0", "veth1", "cni0", "10.88.0.2/16", "10.88.0.1", firewall="none", asked=False)
PROCESS = replace(NAMED, namespace="/proc/4711/ns/net", title="process 4711 (sh)")
UNKNOWN = Path("pod", "", 4, "", "", "", "", "", firewall="none", routed=False, asked=False)
# The tools of the collection, which do nothing there, and options of its networks.
_OURS = re.compile(r"\brole\b|netpath|mss_clamp|to_source|\bmodule\b|[{}]")


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("path", [NAMED, PROCESS, UNKNOWN], ids=["name", "process", "unknown"])
def test_a_person_repairs(path: Path, code: str) -> None:
    told = verdict(Judged(path, [Finding(code, ("seen",))]))
    for one in (told, *told["findings"]):
        assert one["tier"] == "advise"
        assert one["fix"] == by_hand(path, code)
        assert not _OURS.search(one["fix"]), one["fix"]
    assert decide([told], ["auto", "declared"], [code]) == []


def test_whatever_a_finding_says_of_its_tier() -> None:
    told = verdict(Judged(NAMED, [Finding("FORWARD_DROPPED", ("seen",), tier="declared", fix="remove the rule")]))
    assert (told["tier"], told["fix"]) == ("advise", "remove the rule")


def test_described_namespaces_keep_theirs() -> None:
    told = verdict(Judged(replace(NAMED, network="pods", asked=True), [Finding("LINK_DOWN", ("seen",))]))
    assert (told["tier"], told["fix"]) == (CODES["LINK_DOWN"].tier, CODES["LINK_DOWN"].fix)


@pytest.mark.parametrize(
    ("path", "code", "fix"),
    [
        (NAMED, "LOOPBACK_DOWN", "ip -n pod link set lo up"),
        (PROCESS, "LOOPBACK_DOWN", "nsenter --net=/proc/4711/ns/net ip link set lo up"),
        (NAMED, "NO_DEFAULT_ROUTE", "ip -n pod -4 route add default via 10.88.0.1"),
        (replace(NAMED, namespace="a b;c"), "LOOPBACK_DOWN", "ip -n 'a b;c' link set lo up"),
        (UNKNOWN, "HOST_LINK_DOWN", "ip link set PEER up"),
        (
            replace(NAMED, family=6, cidr="fd00::2/64"),
            "NAT_MISSING",
            "ip6tables -t nat -A POSTROUTING -s fd00::/64 ! -o cni0 -j MASQUERADE",
        ),
    ],
)
def test_command(path: Path, code: str, fix: str) -> None:
    assert by_hand(path, code) == fix
