"""What hosts tell of their paths, of the shape that the module egress_check returns."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES, HOPS
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import document, findings, query

Verdict = dict[str, t.Any]
LABELS = {"ipv4": "IPv4", "ipv6": "IPv6"}
NOW = "2026-01-02T03:04:05Z"


def links(namespace: str, number: int = 2, family: str = "ipv4") -> list[Verdict]:
    """The four links of a path."""
    inside = f"10.22.33.{number}/24" if family == "ipv4" else f"fd00:22:33::{number:x}/64"
    gateway = "10.22.33.1/24" if family == "ipv4" else "fd00:22:33::1/64"
    rows = [
        ("link", namespace, "eth0", [inside]),
        ("bridge_port", "", f"np-{namespace}", []),
        ("bridge", "", "br0", [gateway]),
        ("uplink", "", "uplink0", ["198.18.0.11/16"]),
    ]
    lost = {"rx_dropped": 0, "tx_dropped": 0, "rx_errors": 0, "tx_errors": 0}
    return [
        {"hop": hop, "netns": netns, "name": name, "mtu": 1500, "up": True, "addresses": addresses}
        | {"rx_packets": 1204 + number, "tx_packets": 988 + number, **lost}
        for hop, netns, name, addresses in rows
    ]


def path(namespace: str, *codes: str, status: str = "", family: str = "ipv4", number: int = 2) -> Verdict:
    """A verdict with findings of these codes, or a healthy one. status: other than follows from the first code."""
    listed = [_finding(code, namespace) for code in codes]
    first: Verdict = (
        listed[0] if listed else {"code": None, "hop": None, "direction": None, "evidence": [], "fix": None}
    )
    chosen = status or ("ok" if not codes else "degraded" if CODES[codes[0]].degraded else "broken")
    summary = CODES[codes[0]].summary if codes else "packets reach the target and come back"
    return {
        "namespace": namespace,
        "network": "pods",
        "family": family,
        "status": chosen,
        "summary": f"{namespace} ({LABELS[family]}): {summary}",
        "tier": None,
        **first,
        "findings": listed,
        "hops": _hops(listed, chosen),
        "links": links(namespace, number, family),
        "targets": ["icmp 198.51.100.80"],
    }


def _finding(code: str, namespace: str) -> Verdict:
    entry = CODES[code]
    evidence = ["net.ipv4.ip_forward = 0"] if code == "FORWARDING_OFF" else [f"{code.lower()} was seen"]
    rest = {"evidence": evidence, "fix": entry.fix.format(namespace=namespace), "tier": entry.tier}
    return {"code": code, "hop": entry.hop, "direction": "out", **rest}


def _hops(listed: t.Sequence[Verdict], status: str) -> list[Verdict]:
    wrong = {one["hop"]: one["evidence"] for one in listed}
    end = min((HOPS.index(hop) for hop in wrong), default=len(HOPS)) if status == "broken" else len(HOPS)
    rest = "unknown" if status == "unknown" else "ok"
    states = ["broken" if hop in wrong else rest if number < end else "not_reached" for number, hop in enumerate(HOPS)]
    return [{"hop": hop, "status": state, "evidence": wrong.get(hop, [])} for hop, state in zip(HOPS, states)]


def answers(**hosts: t.Any) -> dict[str, findings.Data]:
    """Of lists of verdicts; a text is why a host told nothing."""
    return {
        host: findings.answer({"failed": True, "msg": told} if isinstance(told, str) else {"verdicts": told})
        for host, told in hosts.items()
    }


def report(
    hosts: findings.Answers, selects: str = "", fail_on: str = "broken", history: findings.Data | None = None
) -> findings.Data:
    selected = query.select(findings.findings(hosts), selects)
    return document.report(hosts, selected, {"query": selects, "fail_on": fail_on}, history, NOW)


def fleet(hosts: int = 1000, namespaces: int = 20, broken: int = 7) -> dict[str, findings.Data]:
    """Many hosts; each broken-th one does not forward, and one tells nothing."""
    made: dict[str, t.Any] = {}
    for number in range(hosts):
        codes = ["FORWARDING_OFF"] if number % broken == 3 else []
        made[f"node{number:04}"] = [
            path(f"ns{place}", *(codes if family == "ipv4" else []), family=family, number=place + 1)
            for place in range(1, namespaces + 1)
            for family in LABELS
        ]
    made["node0001"] = "unreachable: Connection timed out"
    return answers(**made)
