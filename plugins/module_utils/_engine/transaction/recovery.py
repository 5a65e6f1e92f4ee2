# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a run that has not ended, by its record alone: it is completed, or taken back."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t
from dataclasses import asdict, dataclass

from .. import audit
from ..errors import EgressError
from ..kernel import files, mounts
from ..kernel.executor import Executor
from ..kernel.namespaces import Namespaces
from ..model import Want
from ..observe import Observer
from ..planning import management_path
from ..planning.plan import Plan, make_plan
from ..planning.state import Have
from ..verify import verify
from . import interrupts
from . import record as records
from .apply import apply, begun, stay
from .record import AWAITING, ROLLING_BACK, Record
from .rollback import take_back

# What became of the last change that awaited confirmation, until the next run, for whoever asks.
OUTCOME = "/run/netpath/outcome.json"
_INTERRUPTED = "a run that was interrupted"


@dataclass(frozen=True)
class Outcome:
    """token: its SHA-256. kept: whether it was confirmed; else it was taken back but for what is left."""

    token: str
    kept: bool
    left: t.Sequence[str] = ()

    def write(self) -> None:
        with contextlib.suppress(EgressError):
            files.write(OUTCOME, json.dumps(asdict(self)), 0o600)


def outcome() -> Outcome | None:
    """That of the last change that awaited confirmation, if no run came since."""
    with contextlib.suppress(EgressError, ValueError, TypeError):
        return Outcome(**json.loads(files.read(OUTCOME) or ""))
    return None


def forget_outcome() -> None:
    with contextlib.suppress(EgressError):
        files.delete(OUTCOME)


def why_back(record: Record, own: bool) -> str:
    """Why it is taken back; "" where it is completed. own: by the guardian of the run itself.

    What somebody would have had to confirm or to judge, or was going back, is never completed; what may cut the way to
    this host not by another run.
    """
    if record.phase == AWAITING:
        return f"not confirmed within {record.terms.confirm_within:g} s"
    if record.terms.confirmed:
        return "killed before it was confirmed"
    if record.phase == ROLLING_BACK:
        return "killed while it was going back"
    if record.terms.judged:
        return "killed before it was judged"
    if record.terms.hazards and not own:
        return "interrupted, and it may cut the way to this host"
    return ""


def recover(own: bool = False) -> list[str]:
    """Bring a run that has not ended to its end; lines on what was done. own: by the guardian of the run itself."""
    if not any(map(os.path.lexists, (records.PATH, records.JOURNAL, mounts.REMOVED))):
        return []
    with interrupts.held(), Namespaces() as namespaces:
        try:
            found = records.read()
        except EgressError as error:
            with contextlib.suppress(EgressError):
                files.delete(records.PATH)
            return [*_recover_journal(namespaces), _given_up(error)]
        if found is None:
            # Of one that was killed behind its end.
            namespaces.end_removed()
            return _recover_journal(namespaces)
        why = why_back(found, own)
        return taken_back(found, namespaces, why) if why else _completed(found, namespaces, own)


def taken_back(found: Record, namespaces: Namespaces, why: str) -> list[str]:
    """Lines on what was undone. It is noted in the audit, and for whoever asks with the token."""
    token, actions = found.token, [step.line for step in found.steps]
    undone = [step.line for step in found.inverses]
    left = take_back(found, Executor(namespaces))
    if token:
        Outcome(token, False, left).write()
    error = f"{why}, and put back" + (f"; left undone: {'; '.join(left)}" if left else "")
    _note("confirmation" if found.terms.confirmed else "recovery", actions, error)
    return [f"take back {_INTERRUPTED}: {line}" for line in undone] or [f"take back {_INTERRUPTED}: {why}"]


def _completed(found: Record, namespaces: Namespaces, own: bool) -> list[str]:
    try:
        plan, have, accept = _prepared(found.want, namespaces)
    except EgressError as error:
        # It was wanted by somebody else, and must not stand in the way of what is wanted now.
        return [_given_up(error), *taken_back(found, namespaces, str(error))]
    if management_path.hazards(plan.steps, have) and not (own and found.terms.hazards):
        return taken_back(found, namespaces, "interrupted, and it may cut the way to this host")
    executor = Executor(namespaces)
    try:
        apply(found, plan, executor, have.ledger, accept)
    except EgressError as error:
        _note("recovery", plan.actions, str(error))
        return [_given_up(error)]
    stay(found, executor)
    _note("recovery", [step.line for step in found.steps], "")
    return [f"finish {_INTERRUPTED}: {line}" for line in plan.actions]


def _recover_journal(namespaces: Namespaces) -> list[str]:
    """That of an earlier release, which says what was wanted, but neither what was done nor how far it was."""
    try:
        want = records.read_journal()
        if want is None:
            return []
        plan, have, accept = _prepared(want, namespaces)
        management_path.refuse_hazards(f"finish {_INTERRUPTED}", management_path.hazards(plan.steps, have))
        executor, record = Executor(namespaces), begun(Record(want))
        apply(record, plan, executor, have.ledger, accept)
        stay(record, executor)
    except EgressError as error:
        return [_given_up(error)]
    finally:
        records.end_journal()
    return [f"finish {_INTERRUPTED}: {line}" for line in plan.actions]


def _prepared(want: Want, namespaces: Namespaces) -> tuple[Plan, Have, t.Callable[[], None]]:
    observer = Observer(namespaces)
    have = observer.observe(want)
    plan = make_plan(want, have)
    return plan, have, lambda: verify(want, plan, have, observer)


def _given_up(error: EgressError) -> str:
    return f"give up {_INTERRUPTED}: {error}"


def _note(by: str, actions: t.Sequence[str], error: str) -> None:
    with contextlib.suppress(EgressError):
        audit.write(audit.Line(by, "", actions, {}, {}, error))
