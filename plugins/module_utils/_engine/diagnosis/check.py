# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis: for each namespace and family, the first hop at which its packets stop, and what proves it. Read-only."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..kernel import features
from ..kernel.ledger_file import readable_ledger
from ..kernel.namespaces import Namespaces
from ..kernel.probes import Target
from ..spec.network import parse_networks
from . import inferred, probe_checks, structural_checks
from . import path as paths
from .path import Path
from .probing import Prober, Probing
from .reader import Reader
from .structure import Seen
from .targets import default_target
from .verdict import Data, Finding, Judged, Probed, Promised, left_to_a_person, promises, verdict

_WORKERS = 32
Unkept = t.Callable[[t.Sequence[Promised]], t.Mapping[Promised, str]]


def check(
    networks: t.Any,
    targets: t.Sequence[Target] = (),
    probe: bool = True,
    *,
    names: t.Sequence[t.Any] = (),
    pids: t.Sequence[t.Any] = (),
    everything: bool = False,
    unkept: Unkept = lambda _promised: {},
) -> list[Data]:
    """Verdicts as documented for the module egress_check. Errors: SpecError, UnsupportedError without rights.

    networks: what is meant to be. names of namespaces, pids in them, and everything: as the kernel has it.
    unkept: which of the findings that a run repairs no run would change, and why.
    """
    features.require_privilege(probing=probe)
    with Namespaces() as namespaces:
        reader = Reader(namespaces)
        wanted = parse_networks(networks, "networks")
        named = {namespace.name for network in wanted for namespace in network.namespaces}
        # What is in a namespace that the ledger knows is what is looked at, and not what it is compared with.
        given = readable_ledger().assignments
        assigned = {name: given[name].addresses if name in given else reader.assigned(name) for name in named}
        found = paths.of_networks(wanted, assigned)
        found += inferred.of_names(reader, names) + inferred.of_processes(reader, pids)
        described = {path.namespace for path in found}
        if everything:
            found += [path for path in inferred.of_everything(reader) if path.namespace not in described]
        looks = [(path, _looks(reader, path, targets)) for path in found]
        wrong = [[structural_checks.findings(one) for one in seen] for _path, seen in looks]
        nothing: list[list[Probing | None]] = [[None] * len(seen) for _path, seen in looks]
        probed = _probe(namespaces, looks, wrong) if probe else nothing
        judged = [_judged(path, seen, known, told) for (path, seen), known, told in zip(looks, wrong, probed)]
        promised = [promise for one in judged for promise in promises(one)]
        broken = unkept(promised) if promised else {}
        return [verdict(left_to_a_person(one, broken)) for one in judged]


def _probe(
    namespaces: Namespaces, looks: t.Sequence[tuple[Path, list[Seen]]], wrong: t.Sequence[list[list[Finding]]]
) -> list[list[Probing | None]]:
    judged = [pair for (_path, seen), findings in zip(looks, wrong) for pair in zip(seen, findings)]
    sound = [one for one, found in judged if not _is_broken(found)]
    prober = Prober(namespaces, [one for one, _found in judged], sound)
    with ThreadPoolExecutor(_WORKERS) as workers:
        jobs = [
            [workers.submit(prober.probe, one, _is_broken(found)) for one, found in zip(seen, findings)]
            for (_path, seen), findings in zip(looks, wrong)
        ]
        return [[job.result() for job in started] for started in jobs]


def _is_broken(findings: t.Sequence[Finding]) -> bool:
    return not all(finding.degrades for finding in findings)


def _looks(reader: Reader, path: Path, targets: t.Sequence[Target]) -> list[Seen]:
    """One for each target of the path's family; without any, the gateway of its uplink."""
    chosen = [target for target in targets if target.family == path.family]
    if not chosen:
        chosen = [default_target(reader, path)]
    return [reader.see(path, target) for target in chosen]


def _judged(
    path: Path, looks: t.Sequence[Seen], structure: t.Sequence[list[Finding]], probed: t.Sequence[Probing | None]
) -> Judged:
    """All targets together: what is wrong with any of them is wrong."""
    found: list[Finding] = []
    notes: dict[str, tuple[str, ...]] = {}
    answers: list[bool] = []
    passed = False
    for seen, known, probing in zip(looks, structure, probed):
        told = known
        if seen.unseen:
            notes["forward_policy"] = seen.unseen
        if probing:
            answers.append(probing.trace.answered)
            notes.update(probe_checks.notes(seen, probing))
            told = [] if _is_broken(known) else probe_checks.findings(seen, probing)
            told = [*probe_checks.weighed(known, told, probing), *told]
            passed = passed or probe_checks.passes(seen, probing)
        found += told
    # What a packet refuted, or another finding says for certain, is presumed no longer.
    certain = {(finding.code, finding.place) for finding in found if not finding.presumed}
    found = [one for one in found if not one.presumed or not (passed or (one.code, one.place) in certain)]
    answered = all(answers) if answers else None
    asked = [str(seen.target) for seen in looks if seen.target.somebody]
    return Judged(path, found, Probed(answered, notes=notes), looks[0].links if looks else (), asked)
