# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of one host, each built or left as it was: what stands in the way of one keeps no other down.

What stands in the way inside a namespace keeps down no more than that: all else of its network is built.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .errors import ApplyError, ConflictError, EgressError
from .result import Result

_Names = t.Sequence[str]
# Builds the named networks in one transaction, or in check mode says what that would do; the last argument are
# namespaces that are left as they are.
Attempt = t.Callable[[_Names, bool, t.Collection[str]], Result]
_Build = t.Callable[[_Names, bool], Result]
# More reasons inside namespaces than these are those of their networks: each takes an attempt to find.
_MOST = 16


@dataclass(frozen=True)
class Outcome:
    """What came of the networks, by name.

    together: each transaction that took effect, with its networks. failed: why others were left as they were, or
    namespaces of one that was built otherwise.
    """

    together: tuple[tuple[tuple[str, ...], Result], ...]
    failed: t.Mapping[str, EgressError]

    @property
    def built(self) -> frozenset[str]:
        """Those that were, of which some may have failed all the same: but for namespaces."""
        return frozenset(name for names, _result in self.together for name in names)

    @property
    def result(self) -> Result:
        """All transactions as one."""
        results = [result for _names, result in self.together]
        if len(results) == 1:
            return results[0]

        def difference() -> dict[str, str]:
            return {side: "".join(result.diff.get(side, "") for result in results) for side in ("before", "after")}

        return Result(
            any(result.changed for result in results),
            [action for result in results for action in result.actions],
            difference,
            tuple(dict.fromkeys(choice for result in results for choice in result.choices)),
            next((result.unconfirmed for result in results if result.unconfirmed), None),
            frozenset[str]().union(*(result.networks for result in results)),
            tuple(dict.fromkeys(line for result in results for line in result.left)),
        )


def isolated(names: _Names, attempt: Attempt, check: bool) -> Outcome:
    """Build the networks in one transaction; where that fails for a reason inside a namespace, without changes there,
    and where it fails for another reason of some networks, without these.

    names: those that are removed come first, as others may need what they free. Errors: EgressError where a reason of
    the host stands in the way, or the same one in that of every network.
    """
    sparing = _Sparing(attempt)
    outcome = _without_failing(names, sparing.build, check)
    failed = {**sparing.failed(outcome), **outcome.failed}
    return Outcome(outcome.together, {name: failed[name] for name in names if name in failed})


class _Sparing:
    """Leaves namespaces as they are from when something inside them stood in the way."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._spared: dict[str, EgressError] = {}

    def build(self, names: _Names, check: bool) -> Result:
        try:
            return self._attempt(names, check, tuple(self._spared))
        except EgressError as error:
            found = error.namespaces - self._spared.keys()
            if error.of_host or not found or len(self._spared) >= _MOST:
                raise
            self._spared.update(dict.fromkeys(found, error))
        return self.build(names, check)

    def failed(self, outcome: Outcome) -> dict[str, EgressError]:
        """Why networks that were built are not as they were asked for."""
        found: dict[str, dict[str, EgressError]] = {}
        for built, result in outcome.together:
            for namespace, networks in result.spared.items():
                for name in set(networks).intersection(built):
                    found.setdefault(name, {})[namespace] = self._spared[namespace]
        return {name: _all_else_is_built(reasons) for name, reasons in found.items()}


def _all_else_is_built(reasons: t.Mapping[str, EgressError]) -> EgressError:
    """reasons: by namespace, some of which may share one."""
    names = [name for name, _error in sorted(reasons.items())]
    errors = list(dict.fromkeys(error for _name, error in sorted(reasons.items())))
    left = [error for error in errors if isinstance(error, ApplyError) and not error.rolled_back]
    return ApplyError(
        f"build {'namespace' if len(names) == 1 else 'namespaces'} {', '.join(names)}",
        "; ".join(f"{error.asked}: {error.found}" for error in errors),
        ". ".join([*(error.advice for error in left), "All else of the network is as asked for"]),
        rolled_back=not left,
    )


def _without_failing(names: _Names, attempt: _Build, check: bool) -> Outcome:
    """Build the networks in one transaction; where that fails for a reason of some of them, without these."""
    try:
        return Outcome(((tuple(names), attempt(names, check)),), {})
    except EgressError as error:
        if error.of_host or not names:
            raise
        if len(names) == 1:
            return Outcome((), {names[0]: error})
    planned = _Sieve(lambda some: attempt(some, True)).sifted(names)
    # The last look ahead was at all that can be built.
    outcome = Outcome(planned.together[-1:], planned.failed)
    if planned.together and not check:
        built = _built(planned.together[-1][0], attempt)
        failed = {**planned.failed, **built.failed}
        outcome = Outcome(built.together, {name: failed[name] for name in names if name in failed})
    if not outcome.together and len({str(error) for error in outcome.failed.values()}) == 1:
        raise outcome.failed[names[0]].for_all()
    return outcome


def _built(names: _Names, attempt: _Build) -> Outcome:
    """What can be planned for all of them may still fail for one, while it is done."""
    unconfirmed: list[str] = []

    def build(some: _Names) -> Result:
        if unconfirmed:
            found = "another change of this run waits to be confirmed"
            raise ConflictError(f"build {', '.join(some)}", found, "Run it again").for_all()
        result = attempt(some, False)
        unconfirmed.extend(some if result.unconfirmed else ())
        return result

    try:
        return Outcome(((tuple(names), build(names)),), {})
    except EgressError as error:
        if error.of_host:
            raise
        if len(names) == 1:
            return Outcome((), {names[0]: error})
    return _Sieve(build).sifted(names)


class _Sieve:
    """Finds networks that can be built together, where not all can: by halves, as few of many are at fault."""

    def __init__(self, build: t.Callable[[_Names], Result]) -> None:
        self._build = build
        self._together: list[tuple[tuple[str, ...], Result]] = []
        self._failed: dict[str, EgressError] = {}
        self._stop: EgressError | None = None

    def sifted(self, names: _Names) -> Outcome:
        """Each of together holds those before it."""
        self._add_halves(names)
        before: list[str] = []
        # One may have needed what another one frees.
        while self._together and self._failed and list(self._failed) != before:
            before = list(self._failed)
            self._failed = {}
            self._add(before)
        return Outcome(tuple(self._together), {name: self._failed[name] for name in names if name in self._failed})

    def _add(self, names: _Names) -> None:
        sound = self._together[-1][0] if self._together else ()
        try:
            if self._stop:
                raise self._stop
            together = (*sound, *names)
            self._together.append((together, self._build(together)))
        except EgressError as error:
            if error.of_host and not sound:
                raise
            self._stop = error if error.of_host else None
            if self._stop or len(names) == 1:
                self._failed.update(dict.fromkeys(names, error))
            else:
                self._add_halves(names)

    def _add_halves(self, names: _Names) -> None:
        half = len(names) // 2
        self._add(names[:half])
        self._add(names[half:])
