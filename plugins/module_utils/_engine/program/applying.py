# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of this host's files, built and kept as they were: at boot, and whenever somebody asks."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing as t

from .. import ledger as ledgers
from ..errors import EgressError, SpecError
from ..kernel.ledger_file import read_ledger
from ..model import Want
from ..observe import Observer
from ..result import Result
from ..run import Permit, run
from ..spec import path
from ..spec.host import HostView
from . import networks
from .networks import Stored
from .output import Output

DONE, DIFFERS, FAILED = 0, 1, 4


@dataclasses.dataclass(frozen=True)
class Applied:
    """What came of the networks, by name: what was done or would be done, and what stood in the way.

    told: what else a person should know.
    """

    results: t.Mapping[str, Result]
    failed: t.Mapping[str, EgressError]
    told: str = ""

    def exit_code(self, check: bool) -> int:
        if self.failed:
            return FAILED
        return DIFFERS if check and any(result.changed for result in self.results.values()) else DONE


def apply(
    names: t.Sequence[str],
    check: bool,
    output: Output,
    errors: Output,
    as_json: bool,
    only: t.Sequence[str] | None = None,
) -> int:
    """Build the networks of the files, all or those that are named; the exit code.

    check: nothing is changed, and what differs is told. only: namespaces, if not all. Errors: SpecError where a name
    has no file.
    """
    applied = build(chosen(names), check, only=only)
    if as_json:
        output.json(
            {
                "networks": {name: {"actions": result.actions} for name, result in applied.results.items()},
                "failed": {name: str(error) for name, error in applied.failed.items()},
            }
        )
    # Those that were built together share a result.
    for result in [] if as_json else {id(result): result for result in applied.results.values()}.values():
        for action in result.actions:
            output.line(f"would {action}" if check else action)
    for name, error in sorted(applied.failed.items()):
        errors.line(f"{name}: {error}", "bad")
    if applied.told:
        errors.line(applied.told, "bad")
    return applied.exit_code(check)


def build(
    stored: t.Sequence[Stored],
    check: bool,
    permit: Permit = lambda _steps, _hazards: None,
    only: t.Sequence[str] | None = None,
) -> Applied:
    """Damaged files are put aside, and keep no other network down. permit: as of run. only: namespaces, if not all."""
    sound = [one for one in stored if one.error is None]
    told = "" if check else _put_ledger_away()
    if only is not None:
        _check_only(stored, only)
    build_some = functools.partial(_build, check=check, permit=permit, only=only)
    results, failed = _together(sound, build_some) if sound else ({}, {})
    failed.update((one.name, _put_away(one, check)) for one in stored if one.error)
    return Applied(results, failed, told)


def chosen(names: t.Sequence[str] = ()) -> list[Stored]:
    """Those that are named, or all. Errors: SpecError."""
    there = {stored.name: stored for stored in networks.stored()}
    for name in names:
        if name not in there:
            listed = ", ".join(there) or "none"
            raise SpecError("apply", f"there is no network {name!r} below {networks.DIRECTORY}", f"there are {listed}")
    return [there[name] for name in dict.fromkeys(names or there)]


def _namespaces(stored: t.Sequence[Stored]) -> set[str]:
    return {name for one in stored if one.error is None for name in one.namespaces}


def _check_only(stored: t.Sequence[Stored], only: t.Sequence[str]) -> None:
    there = _namespaces(stored)
    for name in only:
        if name not in there:
            broken = ", ".join(one.path for one in stored if one.error)
            unread = f", and not all could be read: {broken}" if broken else ""
            raise SpecError("--only", f"there is no namespace {name!r} in the networks{unread}", "give one of theirs")


def _together(
    stored: t.Sequence[Stored], build_some: t.Callable[[t.Sequence[Stored]], Result]
) -> tuple[dict[str, Result], dict[str, EgressError]]:
    """In one transaction; where that fails each by itself, so that one network keeps no other down."""
    try:
        result = build_some(stored)
    except EgressError as error:
        if len(stored) == 1:
            return {}, {stored[0].name: error}
    else:
        return dict.fromkeys((one.name for one in stored), result), {}
    results: dict[str, Result] = {}
    failed: dict[str, EgressError] = {}
    for one in stored:
        built, broken = _together([one], build_some)
        results.update(built)
        failed.update(broken)
    return results, failed


def _build(stored: t.Sequence[Stored], check: bool, permit: Permit, only: t.Sequence[str] | None) -> Result:
    kept = {name: cidrs for one in stored for name, cidrs in one.addresses.items()}
    options: dict[str, t.Any] = {"networks": [one.network for one in stored], "state": "present"}
    if only is not None:
        options["only"] = sorted(_namespaces(stored).intersection(only))

    def wanted(observer: Observer) -> Want:
        return path.wanted(options, _Remembering(observer, kept))

    return run(wanted, check, permit)


class _Remembering(Observer):
    """Looks at a host with the addresses of files, where the ledger has none. What is in namespaces decides nothing."""

    def __init__(self, observer: Observer, kept: t.Mapping[str, t.Sequence[str]]) -> None:
        super().__init__(observer.namespaces)
        self._observer = observer
        self._kept = kept

    def view(
        self, only: t.Collection[str] | None = None, known: t.Mapping[str, t.Sequence[str]] | None = None
    ) -> HostView:
        seen = self._observer.view(only, {**self._kept, **(known or {})})
        found = {name: cidrs for name, cidrs in seen.found.items() if name not in self._kept}
        return dataclasses.replace(seen, assigned={**self._kept, **seen.assigned}, found=found)


def _put_ledger_away() -> str:
    """A damaged one is moved aside, as networks matter more than what settings were before them."""
    try:
        read_ledger()
    except ledgers.DamagedError as error:
        try:
            os.rename(ledgers.PATH, f"{ledgers.PATH}.damaged")
        except OSError:
            return str(error)
        return f"{error.asked}: {error.found}. It was moved to {ledgers.PATH}.damaged, and a new one is begun."
    except EgressError:
        return ""  # which every run says by itself
    return ""


def _put_away(stored: Stored, check: bool) -> EgressError:
    """Why a file cannot be used. A damaged one is moved aside unless nothing is to be changed."""
    error = t.cast(SpecError, stored.error)
    if check or not stored.damaged:
        return error
    try:
        moved = networks.set_aside(stored.path)
    except OSError:
        return error
    return EgressError(str(error), f"it was moved to {moved}")
