# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that may cut the way to this host stays only if somebody still reaches the host and confirms it in time.

Until then its record says so, and nobody builds upon it. The guardian of the run sleeps until the deadline; whoever
comes by and finds it gone has another process do so.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
import typing as t

from ..errors import ApplyError, ConflictError, EgressError
from ..kernel import features
from ..kernel.executor import Executor
from ..kernel.lock import PATIENCE, Lock, locked
from ..kernel.namespaces import Namespaces
from . import guardian
from . import record as records
from .apply import restored, stay
from .record import AWAITING, Record
from .recovery import Outcome, outcome, taken_back, why_back

_PAUSE = 0.02  # seconds
_ASKED = "confirm the change"


def await_confirmation(record: Record, guard: guardian.Guard) -> str:
    """Have it taken back at the deadline. Returns the token by which it is confirmed. Errors: KernelError."""
    token = os.urandom(16).hex()
    record.wait_by(guard.timer)
    record.enter(AWAITING, time.monotonic() + record.terms.confirm_within, _hashed(token))
    guard.waits = True
    record.close()
    return token


@contextlib.contextmanager
def exclusive(patience: float = PATIENCE) -> t.Iterator[tuple[Lock, list[str]]]:
    """Wait until no other run is under way or awaits confirmation. One whose time is over is taken back: lines on that.

    Errors: ConflictError after patience seconds.
    """
    give_up = time.monotonic() + patience
    while True:
        with locked(max(0.0, give_up - time.monotonic())) as lock:
            left, overdue = _awaited()
            if not left:
                yield lock, overdue
                return
        if time.monotonic() > give_up:
            found = f"a change of another run waits to be confirmed, for {left:.0f} s more (held for {patience:g} s)"
            raise ConflictError("change the network of this host", found, "Confirm it, or wait").for_all()
        seen, until = _state(), min(give_up, time.monotonic() + left)
        while time.monotonic() < until and seen == _state():
            time.sleep(_PAUSE)


def _awaited() -> tuple[float, list[str]]:
    """Seconds for which a run still awaits confirmation; lines on one that was taken back."""
    found = None
    with contextlib.suppress(EgressError):  # of one that is damaged, which a run says that may change something
        found = records.read()
    if found is None:
        return 0.0, []
    with contextlib.closing(found):
        left = found.deadline - time.monotonic()
        if found.phase != AWAITING:
            return 0.0, []
        if left > 0:
            guardian.replace(found)
            return left, []
        return 0.0, _put_back(found)


def _state() -> tuple[int, int]:
    """Another one when the record is another one, or nothing."""
    with contextlib.suppress(FileNotFoundError):
        status = os.stat(records.PATH)
        return status.st_ino, status.st_size
    return 0, 0


def confirm(token: str) -> None:
    """Have the change stay. Errors: ApplyError where it was taken back; ConflictError where nothing is known of it."""
    features.require_privilege()
    with locked():
        found = records.read()
        if found and found.phase == AWAITING and _same(found.token, token):
            if found.deadline > time.monotonic():
                _keep(found)
            else:
                _put_back(found)
        elif found:
            found.close()
        known = outcome()
    if known is None or not _same(known.token, token):
        found_words = "no change waits for that: it is of another run, or another run came since"
        advice = "/var/log/netpath/audit.jsonl on the host has what was put back"
        raise ConflictError(_ASKED, found_words, advice)
    if not known.kept:
        raise ApplyError(_ASKED, "it was put back, as that did not come in time", restored(known.left), not known.left)


def _keep(found: Record) -> None:
    Outcome(found.token, True).write()
    with Namespaces() as namespaces:
        stay(found, Executor(namespaces))
    guardian.dismiss(found.timer)


def _put_back(found: Record) -> list[str]:
    with Namespaces() as namespaces:
        lines = taken_back(found, namespaces, why_back(found, own=False))
    guardian.dismiss(found.timer)
    return lines


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _same(hashed: str, token: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(hashed, _hashed(token))
