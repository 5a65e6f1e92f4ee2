# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis: for each namespace and family, the first hop at which its packets stop, and what proves it. Read-only."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..kernel import features, neighbours, probes, sysctls
from ..kernel.namespaces import Namespaces
from ..kernel.probes import Target
from ..model import HOST
from ..observe import Observer
from . import path as paths
from . import probe_checks, structural_checks
from .catalogue import CODES
from .path import Path
from .probe_checks import Probing
from .structure import Reader, Seen
from .targets import default_target
from .verdict import Data, Finding, Probed, verdict

_WORKERS = 32
_PATIENCE = 1.0  # seconds for an answer


def check(networks: t.Any, targets: t.Sequence[Target] = (), probe: bool = True) -> list[Data]:
    """Verdicts as documented for the module egress_check. Errors: SpecError, UnsupportedError without rights."""
    features.require_privilege()
    with Namespaces() as namespaces:
        reader = Reader(namespaces)
        found = paths.of_networks(networks, Observer(namespaces).view())
        looks = [(path, _looks(reader, namespaces, path, targets)) for path in found]
        if not probe:
            return [_judged(path, seen, [None] * len(seen)) for path, seen in looks]
        with ThreadPoolExecutor(_WORKERS) as workers:
            probed = [[workers.submit(_probe, namespaces, one) for one in seen] for _path, seen in looks]
            return [_judged(path, seen, [job.result() for job in jobs]) for (path, seen), jobs in zip(looks, probed)]


def _looks(reader: Reader, namespaces: Namespaces, path: Path, targets: t.Sequence[Target]) -> list[Seen]:
    """One for each target of the path's family; without any, the gateway of the host's uplink."""
    chosen = [target for target in targets if target.family == path.family]
    if not targets:
        chosen = [default_target(namespaces, path.family)]
    return [reader.see(path, target) for target in chosen]


def _probe(namespaces: Namespaces, seen: Seen) -> Probing | None:
    """None where the structure says that nothing can be sent."""
    if seen.inside is None or seen.interface is None:
        return None
    target = seen.target
    before = sysctls.counters(namespaces, HOST)
    trace = probes.send(namespaces, seen.path.namespace, target, patience=_PATIENCE)
    if trace.answered:
        return Probing(target, trace)
    after = sysctls.counters(namespaces, HOST)
    counted = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    control = probes.send(namespaces, HOST, target, patience=_PATIENCE)
    state = neighbours.state(namespaces, seen.path.namespace, seen.path.gateway)
    back = neighbours.state(namespaces, HOST, seen.path.address)
    return Probing(target, trace, control, state, back, counted)


def _judged(path: Path, looks: t.Sequence[Seen], probed: t.Sequence[Probing | None]) -> Data:
    """All targets together: what is wrong with any of them is wrong."""
    found: list[Finding] = []
    notes: dict[str, tuple[str, ...]] = {}
    answers: list[bool] = []
    for seen, probing in zip(looks, probed):
        wrong = structural_checks.findings(seen)
        if probing:
            answers.append(probing.trace.answered)
            notes.update(probe_checks.notes(seen, probing))
            if all(CODES[finding.code].degraded for finding in wrong):
                wrong += probe_checks.findings(seen, probing)
        found += [finding for finding in wrong if finding not in found]
    answered = all(answers) if answers else None
    return verdict(path, found, Probed(answered, notes=notes))
