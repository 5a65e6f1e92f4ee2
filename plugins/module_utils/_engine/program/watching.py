# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at the networks of this host's files: what differs is told or put right, and metrics say how it went."""

from __future__ import annotations

import os
import time
import typing as t

from .. import audit, inventory
from ..errors import EgressError
from ..repair import promises
from ..repair.decision import refuse_to_take
from . import applying
from .metrics import PATH as METRICS
from .metrics import Metrics
from .networks import Stored
from .output import Output
from .watch_memory import Memory, Repairs

DONE, DIFFERS, FAILED = applying.DONE, applying.DIFFERS, applying.FAILED


def watch(repair: bool, probe: bool, metrics: str | None, output: Output, errors: Output) -> int:
    """Look once; the exit code: 0 nothing differs any more, 1 something does or a path is broken, 4 it failed.

    metrics: the file to write, "" for none; None for that of Debian's node_exporter, where its directory is.
    Errors: EgressError where files cannot be read or written.
    """
    now = time.time()
    stored = applying.chosen()
    memory = Memory(dict(_remembered(stored)))
    drift, failed = _drift(stored)
    due = [one for one in stored if repair and one.name in drift and memory.networks[one.name].not_before <= now]
    _tell_drift(drift, [one.name for one in due] if repair else drift, output)
    lasted = memory.networks.keys() - drift.keys() - failed.keys()
    if due:
        # What could not be repaired may be no more than what could not be compared.
        failed.update(_repair(due, stored, probe, memory, now, output))
        drift, failed_now = _drift(stored)
        failed.update(failed_now)
    for name in lasted:
        memory.networks[name] = memory.networks[name].at_rest()
    unwritten = _unwritten(memory.write)
    verdicts = _verdicts(stored, probe)
    _tell(failed, verdicts, output, errors)
    if metrics is None and os.path.isdir(os.path.dirname(METRICS)):
        metrics = METRICS
    if metrics:
        made = _metrics(memory, drift, failed, verdicts, now)
        unwritten += _unwritten(lambda: made.write(metrics or METRICS))
    for line in unwritten:
        errors.line(line, "bad")
    if failed or unwritten:
        return FAILED
    return DIFFERS if drift or any(one["status"] == "broken" for one in verdicts) else DONE


def _repair(
    due: t.Sequence[Stored], stored: t.Sequence[Stored], probe: bool, memory: Memory, now: float, output: Output
) -> dict[str, EgressError]:
    """Each network by itself, and an audit line for each. Returns why some could not be put right."""
    failed: dict[str, EgressError] = {}
    done: dict[str, list[str]] = {}
    before = _verdicts(stored, probe)
    for one in due:
        applied = applying.build([one], False, lambda steps, _hazards: refuse_to_take("repair by the timer", steps))
        failed.update(applied.failed)
        for _name, left in applied.left:
            output.line(f"{one.name}: {applying.left_alone(left)}", "warn")
        actions = [action for result in applied.results.values() for action in result.actions]
        if not actions and not applied.failed:
            continue  # all that differs is left to a person
        done[one.name] = actions
        memory.networks[one.name] = memory.networks[one.name].after(not applied.failed, now)
        for action in done[one.name]:
            output.line(f"{one.name}: {action}", "good")
    after = _verdicts(stored, probe)
    for name, actions in done.items():
        error = str(failed.get(name, ""))
        line = audit.Line("watch", name, actions, audit.codes(before, name), audit.codes(after, name), error)
        for unwritten in _unwritten(lambda line=line: audit.write(line)):  # type: ignore[misc]
            output.line(unwritten, "bad")
    return failed


def _unwritten(write: t.Callable[[], None]) -> list[str]:
    """Why something could not be written: no reason to forget how often somebody was worked against."""
    try:
        write()
    except EgressError as error:
        return [str(error)]
    return []


def _tell_drift(drift: t.Mapping[str, t.Sequence[str]], due: t.Container[str], output: Output) -> None:
    for name, actions in drift.items():
        waits = "" if name in due else "; it was repaired in vain, and is left alone for a while"
        for action in actions:
            output.line(f"{name} differs: would {action}{waits}", "warn")


def _remembered(stored: t.Sequence[Stored]) -> list[tuple[str, Repairs]]:
    known = Memory.read().networks
    return [(one.name, known.get(one.name, Repairs())) for one in stored]


def _drift(stored: t.Sequence[Stored]) -> tuple[dict[str, list[str]], dict[str, EgressError]]:
    """({network: what differs}, {network: why that cannot be told}). Each by itself only where something differs."""
    together = applying.build(stored, check=True)
    if not any(result.changed for result in together.results.values()):
        return {}, dict(together.failed)
    each = [applying.build([one], check=True) for one in stored]
    drift = {name: result.actions for one in each for name, result in one.results.items() if result.changed}
    return drift, {name: error for one in each for name, error in one.failed.items()}


def _verdicts(stored: t.Sequence[Stored], probe: bool) -> list[t.Any]:
    return promises.check([one.network for one in stored if one.error is None], (), probe)


def _tell(failed: t.Mapping[str, EgressError], verdicts: t.Sequence[t.Any], output: Output, errors: Output) -> None:
    for one in verdicts:
        if one["status"] in ("broken", "degraded"):
            output.line(f"{one['network']}: {one['status']}: {one['summary']} ({one['code']} at {one['hop']})", "bad")
    for name, error in sorted(failed.items()):
        errors.line(f"{name}: {error}", "bad")


def _metrics(
    memory: Memory,
    drift: t.Mapping[str, t.Sequence[str]],
    failed: t.Mapping[str, EgressError],
    verdicts: t.Sequence[t.Any],
    now: float,
) -> Metrics:
    made = Metrics()
    for one in verdicts:
        labels = {key: one[key] or "" for key in ("namespace", "network", "family", "status", "code", "hop")}
        made.gauge("netpath_path_status", "A path by its state and the code of what is wrong, always 1.", 1, **labels)
    for name, repairs in memory.networks.items():
        steps = len(drift.get(name, ()))
        made.gauge("netpath_drift_steps", "Steps from what is there to what shall be.", steps, network=name)
        told = "Whether a network can neither be compared nor built."
        made.gauge("netpath_network_failed", told, float(name in failed), network=name)
        made.counter("netpath_drift_repairs_total", "Repairs that were done.", repairs.done, network=name)
        told = "Repairs that failed, and put back what they had changed."
        made.counter("netpath_drift_repair_failures_total", told, repairs.failed, network=name)
        told = "Repairs in a row after which it differed again."
        made.gauge("netpath_drift_repairs_in_vain", told, repairs.in_vain, network=name)
    tracked = inventory.inventory(["conntrack"])["conntrack"]
    if tracked["count"] is not None and tracked["max"] is not None:
        made.gauge("netpath_conntrack_entries", "Connections that are tracked.", tracked["count"])
        made.gauge("netpath_conntrack_entries_limit", "Connections that can be tracked.", tracked["max"])
    made.gauge("netpath_last_run_timestamp_seconds", "When the last look began.", now)
    return made
