# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a path, and what that makes of it: findings, hop by hop, and the verdict."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field, replace

from ..errors import printable
from .by_hand import by_hand
from .catalogue import CODES, HOPS, ROLE
from .path import Path

Data = dict[str, t.Any]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong. hop, fix, tier, summary: "" for the catalogue's; direction: out or return.

    presumed: it may stop packets and may not, which one that is sent decides. Its texts are made printable.
    """

    code: str
    evidence: tuple[str, ...]
    hop: str = ""
    direction: str = "out"
    fix: str = ""
    tier: str = ""
    summary: str = ""
    presumed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", tuple(map(printable, self.evidence)))
        object.__setattr__(self, "fix", printable(self.fix))
        object.__setattr__(self, "summary", printable(self.summary))

    @property
    def place(self) -> str:
        return self.hop or CODES[self.code].hop

    @property
    def degrades(self) -> bool:
        """Whether packets may pass all the same."""
        return self.presumed or CODES[self.code].degraded


@dataclass(frozen=True)
class Probed:
    """What a probe showed. answered: None without a probe. notes: by hop, what was seen there."""

    answered: bool | None = None
    notes: t.Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """All that is known of a path once it was looked at and probed."""

    path: Path
    findings: t.Sequence[Finding]
    probed: Probed = Probed()
    links: t.Sequence[Data] = ()
    targets: t.Sequence[str] = ()


@dataclass(frozen=True)
class Promised:
    """A finding about a path that a run is to repair."""

    path: Path
    finding: Finding


def promises(judged: Judged) -> list[Promised]:
    """Its findings of the tiers auto and declared."""
    kept = [finding for finding in judged.findings if _tier(judged.path, finding) in ("auto", "declared")]
    return [Promised(judged.path, finding) for finding in kept]


def left_to_a_person(judged: Judged, unkept: t.Mapping[Promised, str]) -> Judged:
    """The same, where no run would change what some findings are about. unkept: why, "" as nothing differs."""
    found = [(finding, unkept.get(Promised(judged.path, finding))) for finding in judged.findings]
    return replace(judged, findings=[one if why is None else _advised(judged.path, one, why) for one, why in found])


def _advised(path: Path, finding: Finding, why: str) -> Finding:
    said = finding.fix or CODES[finding.code].fix
    by_a_person = by_hand(path, finding.code) if ROLE in said else said.format(namespace=path.shown)
    return replace(finding, tier="advise", fix=why or by_a_person)


def verdict(judged: Judged) -> Data:
    """As documented for the module egress_check. The first broken hop in packet order is the verdict."""
    path, probed, links, targets = judged.path, judged.probed, judged.links, judged.targets
    ordered = sorted(_united(judged.findings), key=_order)
    first = ordered[0] if ordered else None
    status = _status(first, probed)
    subject = printable(f"{path.shown} ({path.label})")
    return {
        "namespace": path.shown,
        "network": path.network,
        "family": f"ipv{path.family}",
        "status": status,
        "code": first.code if first else None,
        "hop": first.place if first else None,
        "direction": first.direction if first else None,
        "summary": f"{subject}: {_summary(first) if first else _sound(probed, targets)}",
        "evidence": list(first.evidence) if first else [],
        "fix": _fix(path, first) if first else None,
        "tier": _tier(path, first) if first else None,
        "findings": [_listed(path, finding) for finding in ordered],
        "hops": _hops(ordered, probed, status),
        "links": list(links),
        "targets": list(targets),
    }


def with_finding(sound: Data, finding: Finding) -> Data:
    """The verdict on a path without findings, with one by which packets may pass all the same."""
    entry = CODES[finding.code]
    label = sound["family"].replace("ip", "IP")
    told: Data = {
        "code": finding.code,
        "hop": finding.place,
        "direction": finding.direction,
        "summary": f"{sound['namespace']} ({label}): {entry.summary}",
        "evidence": list(finding.evidence),
        "fix": finding.fix or entry.fix,
        "tier": finding.tier or entry.tier,
    }
    hops = [
        {**hop, "status": "broken", "evidence": [*finding.evidence, *hop["evidence"]]}
        if hop["hop"] == finding.place
        else hop
        for hop in sound["hops"]
    ]
    return {**sound, **told, "status": "degraded", "findings": [told], "hops": hops}


def _united(findings: t.Sequence[Finding]) -> list[Finding]:
    """What is the same but for what proves it is one finding, whichever target and whichever look told it."""
    proofs: dict[Finding, dict[str, None]] = {}
    for finding in findings:
        proofs.setdefault(replace(finding, evidence=()), {}).update(dict.fromkeys(finding.evidence))
    return [replace(finding, evidence=tuple(evidence)) for finding, evidence in proofs.items()]


def _sound(probed: Probed, targets: t.Sequence[str]) -> str:
    """In words, where nothing is wrong."""
    if probed.answered:
        return "packets reach the target and come back"
    why = "nothing was sent to find out" if targets else "there is nobody to ask: name targets"
    if probed.answered is False:
        why = "the target may be one that keeps silent: name targets that answer"
    return f"nothing is wrong with what can be seen, and {why}"


def _order(finding: Finding) -> tuple[bool, int, int]:
    """In packet order, what stops packets first; of one hop in the order of the catalogue."""
    return finding.degrades, HOPS.index(finding.place), list(CODES).index(finding.code)


def _status(first: Finding | None, probed: Probed) -> str:
    if first is None:
        return "ok" if probed.answered else "unknown"
    return "degraded" if first.degrades or probed.answered else "broken"


def _fix(path: Path, finding: Finding) -> str:
    if finding.fix:
        return finding.fix
    # The roles and netpath-egress apply build described networks alone.
    described = CODES[finding.code].fix.format(namespace=path.shown)
    return printable(described if path.network else by_hand(path, finding.code))


def _summary(finding: Finding) -> str:
    return finding.summary or CODES[finding.code].summary


def _tier(path: Path, finding: Finding) -> str:
    return (finding.tier or CODES[finding.code].tier) if path.network else "advise"


def _listed(path: Path, finding: Finding) -> Data:
    return {
        "code": finding.code,
        "hop": finding.place,
        "direction": finding.direction,
        "summary": f"{printable(path.shown)} ({path.label}): {_summary(finding)}",
        "evidence": list(finding.evidence),
        "fix": _fix(path, finding),
        "tier": _tier(path, finding),
    }


def _hops(findings: t.Sequence[Finding], probed: Probed, status: str) -> list[Data]:
    """Each hop, with what is known of it. Behind the first broken one a packet does not come, unless one was seen."""
    found: dict[str, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.place, []).extend(finding.evidence)
    broken = [HOPS.index(f.place) for f in findings if not f.degrades] if status == "broken" else []
    end = min(broken, default=len(HOPS))
    listed = []
    for number, hop in enumerate(HOPS):
        if hop in found:
            state = "broken"
        elif number > end:
            state = "not_reached"
        else:
            state = "ok" if probed.answered or number < end < len(HOPS) else "unknown"
        listed.append(
            {"hop": hop, "status": state, "evidence": [*found.get(hop, []), *map(printable, probed.notes.get(hop, ()))]}
        )
    return listed
