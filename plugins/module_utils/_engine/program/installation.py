# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program and the files of networks that it reads, brought to a host and taken away again."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from dataclasses import dataclass

from ..errors import ApplyError, ConflictError, EgressError, SpecError
from ..kernel import files
from ..kernel.lock import locked
from ..run import Result
from ..spec.network import parse_networks
from . import bundle
from .networks import DIRECTORY, FORMAT

PATH = "/usr/local/sbin/netpath-egress"
NETWORK_MODE = 0o600


@dataclass(frozen=True)
class _Step:
    """One file, of which there is none where it is None. mode: permission bits that it has, and that it shall have."""

    path: str
    before: str | None
    after: str | None
    mode_before: int | None
    mode: int

    @property
    def needed(self) -> bool:
        return self.before != self.after or (self.after is not None and self.mode_before != self.mode)

    def apply(self) -> None:
        _put(self.path, self.after, self.mode)

    def revert(self) -> None:
        _put(self.path, self.before, self.mode_before or self.mode)


def install(path: str, interpreter: str, networks: t.Any, absent: bool = False, check: bool = False) -> Result:
    """Write the program, and a file for each network; those of absent networks go.

    absent: the files of all these networks go, and with the last file the program. Errors: EgressError of any kind;
    then nothing was changed, or it was put back, or the error says so.
    """
    _check_path(path)
    wanted = _files(networks, absent)
    program = None if absent else bundle.executable(interpreter).decode(errors="surrogateescape")
    if check:
        return _result(_steps(path, program, wanted, absent))
    with locked():
        steps = _steps(path, program, wanted, absent)
        _apply(steps)
        return _result(steps)


def _check_path(path: str) -> None:
    if not os.path.isabs(path) or os.path.normpath(path) != path or not path.isprintable():
        raise SpecError("path", f"{path!r} is no path of a file", f"such as {PATH}")


def _files(networks: t.Any, absent: bool) -> dict[str, str | None]:
    """{path: content, None for one that shall not be there}. Errors: SpecError."""
    parsed = parse_networks(networks, "networks", absent)
    return {
        f"{DIRECTORY}/{network.name}.json": None if network.absent else _content(entry)
        for network, entry in zip(parsed, networks)
    }


def _content(entry: t.Any) -> str:
    return json.dumps({"version": FORMAT, "network": _given(entry)}, indent=2, sort_keys=True) + "\n"


def _given(value: t.Any) -> t.Any:
    """Without the options that were left out, which Ansible fills in as none."""
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items() if item is not None}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _steps(path: str, program: str | None, wanted: t.Mapping[str, str | None], absent: bool) -> list[_Step]:
    """In the order of taking them. Errors: ConflictError where somebody else's file has one of the names."""
    if program is not None and not os.path.isdir(os.path.dirname(path)):
        raise ConflictError(f"write {path}", "its directory is not there", "Make it, or choose another path")
    steps = [_step(name, content, NETWORK_MODE, _is_network) for name, content in wanted.items()]
    if not (absent and _others(wanted)):
        steps.append(_step(path, program, bundle.PERMISSIONS, _is_program))
    return [step for step in steps if step.needed]


def _step(path: str, after: str | None, mode: int, is_ours: t.Callable[[str], bool]) -> _Step:
    before = files.read(path)
    if before is None or is_ours(before):
        return _Step(path, before, after, files.mode(path), mode)
    if after is None:
        return _Step(path, None, None, None, mode)  # somebody else's, which stays
    raise ConflictError(f"write {path}", "somebody else's file has this name", "Move it away")


def _is_program(content: str) -> bool:
    return bundle.is_ours(content.encode(errors="surrogateescape"))


def _is_network(content: str) -> bool:
    try:
        data = json.loads(content)
    except ValueError:
        return False
    return isinstance(data, dict) and {"version", "network"} <= set(data)


def _others(wanted: t.Mapping[str, str | None]) -> bool:
    """Whether there are files of other networks."""
    names = os.listdir(DIRECTORY) if os.path.isdir(DIRECTORY) else []
    return any(name.endswith(".json") and f"{DIRECTORY}/{name}" not in wanted for name in names)


def _apply(steps: t.Sequence[_Step]) -> None:
    taken: list[_Step] = []
    try:
        for step in steps:
            taken.append(step)
            step.apply()
    except EgressError as error:
        try:
            for step in reversed(taken):
                step.revert()
        except EgressError as second:
            raise ApplyError(error.asked, error.found, f"Not put back: {second}") from error
        raise ApplyError(error.asked, error.found, error.advice, rolled_back=True) from error


def _put(path: str, content: str | None, mode: int) -> None:
    if content is None:
        files.delete(path)
    else:
        files.write(path, content, mode)


def _result(steps: t.Sequence[_Step]) -> Result:
    actions = [f"{'delete' if step.after is None else 'write'} {step.path}" for step in steps]
    before = "".join(_described(step.path, step.before, step.mode_before) for step in steps)
    after = "".join(_described(step.path, step.after, step.mode) for step in steps)
    return Result(bool(steps), actions, {"before": before, "after": after})


def _described(path: str, content: str | None, mode: int | None) -> str:
    """As YAML; of the program, by what its content is known."""
    if content is None:
        return ""
    data = content.encode(errors="surrogateescape")
    told = f"sha256 {hashlib.sha256(data).hexdigest()}" if bundle.is_ours(data) else content
    return f"file {path}:\n  content: {json.dumps(told)}\n  mode: '{mode or 0:04o}'\n"
