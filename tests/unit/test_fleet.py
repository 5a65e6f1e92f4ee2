"""What many hosts have told of their paths, as text."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.fleet import failing, summary


def told(namespace: str, status: str = "ok", code: str | None = None, hop: str | None = None) -> dict[str, t.Any]:
    wrong = {"evidence": ["net.ipv4.ip_forward = 0"], "fix": "run the role egress"} if code else {}
    return {"namespace": namespace, "family": "ipv4", "status": status, "code": code, "hop": hop, **wrong}


OFF = ("broken", "FORWARDING_OFF", "host_forwarding")
HOSTS = {
    "web2": [told("a", *OFF), told("b", *OFF)],
    "web1": [told("a", *OFF), told("b")],
    "web3": [told("a", "degraded", "LOOPBACK_DOWN", "loopback"), told("b")],
    "web4": [told("a", "unknown")],
    "web5": None,
}


def test_broken_first_and_healthy_in_one_line() -> None:
    assert summary(HOSTS).splitlines() == [
        "BROKEN FORWARDING_OFF at host_forwarding: 3 paths on 2 hosts: the host does not forward IPv4",
        "  web1/a ipv4, web2/a ipv4, web2/b ipv4",
        "  seen: net.ipv4.ip_forward = 0",
        "  fix (declared): run the role egress",
        "DEGRADED LOOPBACK_DOWN at loopback: 1 path on 1 host: its loopback is down",
        "  web3/a ipv4",
        "  seen: net.ipv4.ip_forward = 0",
        "  fix (auto): run the role egress",
        "UNKNOWN: 1 path on 1 host, as nothing was sent: web4",
        "NO ANSWER from 1 host: web5",
        "OK: 2 paths on 2 hosts",
    ]


def test_many_hosts_are_cut() -> None:
    lines = summary({f"h{number:04}": [told("a", *OFF)] for number in range(1000)}).splitlines()
    assert len(lines) == 5
    assert lines[1].endswith("h0007/a ipv4 and 992 more")


def test_nothing_was_asked_for() -> None:
    assert summary({"web1": []}) == "OK: 0 paths on 0 hosts"


@pytest.mark.parametrize(
    ("threshold", "hosts"),
    [
        ("broken", ["web1", "web2", "web5"]),
        ("degraded", ["web1", "web2", "web3", "web5"]),
        ("unknown", ["web1", "web2", "web3", "web4", "web5"]),
        ("never", []),
    ],
)
def test_threshold(threshold: str, hosts: list[str]) -> None:
    assert failing(HOSTS, threshold) == hosts
