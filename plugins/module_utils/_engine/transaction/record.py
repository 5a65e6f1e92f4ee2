# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a run: one file from before its first step until it has ended, by which whoever comes next acts.

A line each: what is wanted, then each batch of steps before it is sent, each phase, each step of a way back. A line has
a checksum, so that one that was cut off counts as not written. All is kept below /run: a reboot ends what it was about.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import typing as t
import zlib
from dataclasses import dataclass, field

from ..errors import ConflictError, EgressError, KernelError
from ..fact_data import from_data, to_data
from ..kernel import files
from ..model import Want
from ..planning.step import Step
from ..sealed import unseal

PATH = "/run/netpath/record"
VERSION = 1
# What releases before 1.1 kept of a run: what is wanted, and nothing else.
JOURNAL = "/run/netpath/journal.json"
APPLYING, VERIFYING, AWAITING, ROLLING_BACK = "applying", "verifying", "awaiting confirmation", "rolling back"
_PHASES = (APPLYING, VERIFYING, AWAITING, ROLLING_BACK)
_SETS = ("exclusive_addresses", "exclusive_ports", "released", "exclusive_claims")
_NAMES = ("only", "replaceable")
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Terms:
    """What a run was started with. hazards: lines of steps that may cut the way to this host.

    confirm_within: seconds, 0 where nobody confirms. judged: whether it has a judge, which ends with its process.
    """

    hazards: tuple[str, ...] = ()
    confirm_within: float = 0
    judged: bool = False

    @property
    def confirmed(self) -> bool:
        """Whether it stays only if it is confirmed."""
        return bool(self.hazards and self.confirm_within)


@dataclass(frozen=True)
class Timer:
    """The process that waits for a confirmation: its PID, and when it began, as in /proc/PID/stat."""

    pid: int
    began: int


@dataclass
class Record:
    """steps: each of them may have taken effect, those ahead of the last batch have. undone: of their inverses, last
    first, whether each could be undone.

    ledger: the text of the ledger before the run, "" for none. deadline: of time.monotonic. token: the SHA-256 of what
    only the run has reported.
    """

    want: Want
    terms: Terms = field(default_factory=Terms)
    ledger: str = ""
    phase: str = APPLYING
    steps: list[Step] = field(default_factory=list)
    undone: list[bool] = field(default_factory=list)
    deadline: float = 0
    token: str = ""
    timer: Timer | None = None
    batch: int = 0
    descriptor: int = -1
    # Most of what is made is what is wanted, and is written as its place there.
    places: t.Mapping[int, int] = field(default_factory=dict)

    @property
    def inverses(self) -> list[Step]:
        """The steps that undo it, in their order."""
        return [inverse for step in reversed(self.steps) for inverse in step.inverses]

    def begin(self) -> None:
        """Errors: ConflictError, KernelError."""
        terms = dataclasses.asdict(self.terms)
        head = {"version": VERSION, "want": _want_data(self.want), "terms": terms, "ledger": self.ledger}
        files.write(PATH, _line(head).decode(), 0o600)
        self.descriptor = _opened()
        self.places = {id(fact): place for place, fact in enumerate(self.want.facts)}

    def run(self, batch: t.Sequence[Step]) -> None:
        """They are about to be run. Errors: KernelError."""
        self._append({"steps": self._data(batch)})
        self._add(batch)

    def enter(self, phase: str, deadline: float = 0, token: str = "") -> None:
        """Errors: KernelError."""
        self._append({"phase": phase, "deadline": deadline, "token": token})
        self.phase, self.deadline, self.token = phase, deadline, token

    def go_back(self, done: t.Sequence[Step] | None = None) -> None:
        """done: of the last batch, those that took effect, where that is known."""
        data = None if done is None else self._data(done)
        # What cannot be written down is done all the same.
        with contextlib.suppress(KernelError):
            self._append({"phase": ROLLING_BACK, "done": data})
        self._settle(done)

    def undid(self, done: bool) -> None:
        with contextlib.suppress(KernelError):
            self._append({"undone": done})
        self.undone.append(done)

    def wait_by(self, timer: Timer) -> None:
        """Errors: KernelError."""
        self._append({"timer": dataclasses.asdict(timer)})
        self.timer = timer

    def end(self) -> None:
        """One that stays is found by the next run."""
        self.close()
        with contextlib.suppress(EgressError):
            files.delete(PATH)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _add(self, batch: t.Sequence[Step]) -> None:
        self.batch = len(self.steps)
        self.steps += batch

    def _settle(self, done: t.Sequence[Step] | None) -> None:
        self.phase = ROLLING_BACK
        if done is not None:
            self.steps[self.batch :] = done

    def _append(self, data: t.Mapping[str, t.Any]) -> None:
        try:
            line = _line(data)
            if os.write(self.descriptor, line) != len(line):
                raise KernelError(f"write {PATH}", "it was not written as a whole", 0, "See whether /run is full")
            os.fsync(self.descriptor)
        except OSError as error:
            raise KernelError(f"write {PATH}", os.strerror(error.errno or 0), error.errno or 0) from error

    def _data(self, steps: t.Sequence[Step]) -> list[t.Any]:
        return [
            [
                to_data(step.before),
                self.places.get(id(step.after)) or to_data(step.after),
                list(map(to_data, step.along)),
            ]
            for step in steps
        ]

    def _steps(self, data: t.Sequence[t.Any]) -> list[Step]:
        facts = self.want.facts
        return [
            Step(from_data(before), facts[after] if isinstance(after, int) else from_data(after), _facts(along))
            for before, after, along in data
        ]

    def read_line(self, data: t.Any) -> None:
        """Take in what was appended. Errors: those of damaged data."""
        if "steps" in data:
            self._add(self._steps(data["steps"]))
        elif "undone" in data:
            self.undone.append(bool(data["undone"]))
        elif "timer" in data:
            self.timer = Timer(**data["timer"])
        elif data["phase"] == ROLLING_BACK:
            self._settle(None if data["done"] is None else self._steps(data["done"]))
        else:
            self.phase, self.deadline = _PHASES[_PHASES.index(data["phase"])], float(data["deadline"])
            self.token = str(data["token"])


def read() -> Record | None:
    """That of the run that has not ended. Errors: ConflictError where it is damaged."""
    text = files.read(PATH)
    if text is None:
        return None
    lines = text.splitlines(keepends=True) or [""]
    size = len(lines[0])
    try:
        record = _head(_data(lines[0]))
        for line in lines[1:]:
            data = _data(line)
            if data is None:
                break
            record.read_line(data)
            size += len(line)
    except _DAMAGE as error:
        raise damaged(PATH, error) from error
    record.descriptor = _opened()
    # What comes must not be added to a line that was cut off.
    os.ftruncate(record.descriptor, size)
    return record


def damaged(path: str, error: Exception) -> ConflictError:
    found = f"it is damaged ({type(error).__name__}: {error})"
    return ConflictError(f"read {path}", found, "It is removed, and what was interrupted stays as it is")


def read_journal() -> Want | None:
    """What a run of an earlier release was to bring about. Errors: ConflictError where its journal is damaged."""
    text = files.read(JOURNAL)
    if text is None:
        return None
    try:
        data = unseal(text)
        return _want(data["version"], data["want"])
    except _DAMAGE as error:
        raise damaged(JOURNAL, error) from error


def end_journal() -> None:
    with contextlib.suppress(EgressError):
        files.delete(JOURNAL)


def _opened() -> int:
    try:
        return files.opened(PATH, flags=os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise KernelError(f"write {PATH}", os.strerror(error.errno or 0), error.errno or 0) from error


def _line(data: t.Mapping[str, t.Any]) -> bytes:
    text = json.dumps(data).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _data(line: str) -> t.Any:
    """None where it was cut off."""
    checksum, _space, text = line.partition(" ")
    whole = text.endswith("\n") and checksum == f"{zlib.crc32(text[:-1].encode()):08x}"
    return json.loads(text) if whole else None


def _head(data: t.Any) -> Record:
    if data is None:
        raise ValueError("its first line is not what was written")
    terms = {**data["terms"], "hazards": tuple(data["terms"]["hazards"])}
    return Record(_want(data["version"], data["want"]), Terms(**terms), str(data["ledger"]))


def _facts(data: t.Sequence[t.Any]) -> tuple[t.Any, ...]:
    return tuple(map(from_data, data))


def _want_data(want: Want) -> dict[str, t.Any]:
    data: dict[str, t.Any] = {name: sorted(getattr(want, name)) for name in (*_SETS, *_NAMES)}
    for name in ("facts", "absent"):
        data[name] = [to_data(fact) for fact in getattr(want, name)]
    data["assignments"] = [to_data(one) for one in want.assignments]
    return data


def _want(version: t.Any, data: t.Any) -> Want:
    if version != VERSION or isinstance(version, bool):
        raise ValueError(f"its version is {version!r}")
    fields: dict[str, t.Any] = {name: frozenset(map(tuple, data[name])) for name in _SETS}
    fields.update({name: frozenset(data[name]) for name in _NAMES})
    fields.update({name: tuple(map(from_data, data[name])) for name in ("facts", "absent")})
    # One that release 1.0.0 wrote has none.
    fields["assignments"] = tuple(map(from_data, data.get("assignments", ())))
    return Want(**fields)
