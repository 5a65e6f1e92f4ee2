# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: what a run is to bring about, written before its first change, so that one that was killed is finished.

It is kept below /run: a reboot ends what a run was about, and the journal with it.
"""

from __future__ import annotations

import contextlib
import typing as t

from .errors import ConflictError, EgressError
from .fact_data import from_data, to_data
from .kernel import files
from .model import Want
from .sealed import seal, unseal

PATH = "/run/netpath/journal.json"
VERSION = 1
_SETS = ("exclusive_addresses", "exclusive_ports", "released", "exclusive_claims")
_NAMES = ("only", "replaceable")


def begin(want: Want) -> None:
    """Errors: KernelError."""
    data: dict[str, t.Any] = {name: sorted(getattr(want, name)) for name in (*_SETS, *_NAMES)}
    for name in ("facts", "absent"):
        data[name] = [to_data(fact) for fact in getattr(want, name)]
    data["assignments"] = [to_data(one) for one in want.assignments]
    files.write(PATH, seal({"version": VERSION, "want": data}, indent=None), 0o600)


def end() -> None:
    """One that stays is found to be finished by the next run."""
    with contextlib.suppress(EgressError):
        files.delete(PATH)


def interrupted() -> Want | None:
    """What the run that did not end was to bring about. Errors: ConflictError where its journal is damaged."""
    text = files.read(PATH)
    if text is None:
        return None
    try:
        data = unseal(text)
        return _want(data["version"], data["want"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConflictError(
            f"read {PATH}",
            f"it is damaged ({type(error).__name__}: {error})",
            "It is removed, and what was interrupted is not finished",
        ) from error


def _want(version: t.Any, data: t.Any) -> Want:
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"its version is {version!r}")
    fields: dict[str, t.Any] = {name: frozenset(map(tuple, data[name])) for name in _SETS}
    fields.update({name: frozenset(data[name]) for name in _NAMES})
    fields.update({name: tuple(map(from_data, data[name])) for name in ("facts", "absent")})
    # One that release 1.0.0 wrote has none.
    fields["assignments"] = tuple(map(from_data, data.get("assignments", ())))
    return Want(**fields)
