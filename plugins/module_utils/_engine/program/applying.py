# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of this host's files, built and kept as they were: at boot, and whenever somebody asks."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from .. import isolation
from .. import ledger as ledgers
from ..errors import EgressError, SpecError
from ..kernel import files, management
from ..kernel.ledger_file import read_ledger
from ..kernel.namespaces import Namespaces
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
        differs = self.left or (check and any(result.changed for result in self.results.values()))
        return DIFFERS if differs else DONE

    @property
    def left(self) -> list[tuple[str, str]]:
        """(network, line) of what was left as it is; networks that were built together share it."""
        lines: dict[str, str] = {}
        for name, result in self.results.items():
            for line in result.left:
                lines[line] = f"{lines[line]}, {name}" if line in lines else name
        return [(names, line) for line, names in lines.items()]


def apply(
    names: t.Sequence[str],
    check: bool,
    output: Output,
    errors: Output,
    as_json: bool,
    only: t.Sequence[str] | None = None,
    at_boot: bool = False,
) -> int:
    """Build the networks of the files, all or those that are named; the exit code.

    check: nothing is changed, and what differs is told. only: namespaces, if not all. at_boot: what may cut the way to
    this host is done as well, unless an SSH session is open; otherwise it is left as it is, which is told. Errors:
    SpecError where a name has no file.
    """
    applied = build(chosen(names), check, only=only, at_boot=at_boot)
    if as_json:
        output.json(
            {
                "networks": {
                    name: {"actions": result.actions, **({"left": list(result.left)} if result.left else {})}
                    for name, result in applied.results.items()
                },
                "failed": {name: str(error) for name, error in applied.failed.items()},
            }
        )
    # Those that were built together share a result.
    for result in [] if as_json else {id(result): result for result in applied.results.values()}.values():
        for action in result.actions:
            output.line(f"would {action}" if check else action)
    for name, error in sorted(applied.failed.items()):
        errors.line(f"{name}: {error}", "bad")
    for name, line in applied.left:
        errors.line(f"{name}: {left_alone(line)}", "bad")
    if applied.told:
        errors.line(applied.told, "bad")
    return applied.exit_code(check)


def build(
    stored: t.Sequence[Stored],
    check: bool,
    permit: Permit = lambda _steps, _hazards: None,
    only: t.Sequence[str] | None = None,
    at_boot: bool = False,
) -> Applied:
    """Damaged files are put aside, and keep no other network down. permit: as of run. only: namespaces, if not all.

    at_boot: nobody controls this host yet, so nobody is cut off.
    """
    sound = [one for one in stored if one.error is None]
    told = "" if check else _put_ledger_away()
    if only is not None:
        _check_only(stored, only)
    leave = not check and not (at_boot and _is_alone())
    results: dict[str, Result] = {}
    failed: dict[str, EgressError] = {}
    if sound:
        outcome = _isolated(sound, check, permit, only, leave)
        results = {name: result for names, result in outcome.together for name in names}
        failed = dict(outcome.failed)
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


def _is_alone() -> bool:
    """Whether nobody controls this host by SSH."""
    with Namespaces() as namespaces:
        return not management.ssh_sessions(namespaces)


def left_alone(line: str) -> str:
    """What a person is told of an action that was not taken."""
    return f"not done: {line}. It may cut the way to this host; the role egress does it and has it confirmed"


def _isolated(
    stored: t.Sequence[Stored], check: bool, permit: Permit, only: t.Sequence[str] | None, leave_hazards: bool
) -> isolation.Outcome:
    kept = {name: cidrs for one in stored for name, cidrs in one.addresses.items()}
    options: dict[str, t.Any] = {"networks": [one.network for one in stored], "state": "present"}
    if only is not None:
        options["only"] = sorted(_namespaces(stored).intersection(only))

    def attempt(names: t.Sequence[str], ahead: bool, spared: t.Collection[str]) -> Result:
        def wanted(observer: Observer) -> Want:
            return path.wanted(options, _Remembering(observer, kept), chosen=names)

        return run(wanted, ahead, permit, leave_hazards=leave_hazards, spared=spared)

    names = [one.name for one in stored]
    try:
        return isolation.isolated(names, attempt, check)
    except EgressError as error:
        return isolation.Outcome((), dict.fromkeys(names, error))


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
            files.move(ledgers.PATH, f"{os.path.basename(ledgers.PATH)}.damaged")
        except EgressError:
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
    except EgressError:
        return error
    return EgressError(str(error), f"it was moved to {moved}")
