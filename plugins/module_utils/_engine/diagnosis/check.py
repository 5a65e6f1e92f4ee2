# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis: for each namespace and family, the first hop at which its packets stop, and what proves it. Read-only."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ..kernel import features
from ..kernel.namespaces import Namespaces
from ..kernel.probes import Target
from ..observe import Observer
from . import inferred, probe_checks, structural_checks
from . import path as paths
from .catalogue import CODES
from .path import Path
from .probing import Prober, Probing
from .structure import Reader, Seen
from .targets import default_target
from .verdict import Data, Finding, Probed, verdict

_WORKERS = 32


def check(
    networks: t.Any,
    targets: t.Sequence[Target] = (),
    probe: bool = True,
    *,
    names: t.Sequence[t.Any] = (),
    pids: t.Sequence[t.Any] = (),
    everything: bool = False,
) -> list[Data]:
    """Verdicts as documented for the module egress_check. Errors: SpecError, UnsupportedError without rights.

    networks: what is meant to be. names of namespaces, pids in them, and everything: as the kernel has it.
    """
    features.require_privilege()
    with Namespaces() as namespaces:
        reader = Reader(namespaces)
        found = paths.of_networks(networks, Observer(namespaces).view()) if networks else []
        found += inferred.of_names(reader, names) + inferred.of_processes(reader, pids)
        described = {path.namespace for path in found}
        if everything:
            found += [path for path in inferred.of_everything(reader) if path.namespace not in described]
        looks = [(path, _looks(reader, path, targets)) for path in found]
        if not probe:
            return [_judged(path, seen, [None] * len(seen)) for path, seen in looks]
        prober = Prober(namespaces, [one for _path, seen in looks for one in seen])
        with ThreadPoolExecutor(_WORKERS) as workers:
            probed = [[workers.submit(prober.probe, one) for one in seen] for _path, seen in looks]
            return [_judged(path, seen, [job.result() for job in jobs]) for (path, seen), jobs in zip(looks, probed)]


def _looks(reader: Reader, path: Path, targets: t.Sequence[Target]) -> list[Seen]:
    """One for each target of the path's family; without any, the gateway of the host's uplink."""
    chosen = [target for target in targets if target.family == path.family]
    if not targets:
        chosen = [default_target(reader.namespaces, path.family)]
    return [reader.see(path, target) for target in chosen]


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
            if all(CODES[finding.code].degraded for finding in wrong) or probing.trace.answered:
                wrong += probe_checks.findings(seen, probing)
        found += [finding for finding in wrong if finding not in found]
    answered = all(answers) if answers else None
    links = looks[0].links if looks else ()
    return verdict(path, found, Probed(answered, notes=notes), links, [str(seen.target) for seen in looks])
