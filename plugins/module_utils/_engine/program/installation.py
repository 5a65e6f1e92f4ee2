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

from ..errors import ApplyError, ConflictError, EgressError, KernelError, SpecError, attempt
from ..kernel import addresses, directories, features, files
from ..kernel.ledger_file import readable_ledger
from ..kernel.mounts import is_namespace
from ..kernel.namespaces import Namespaces, path_of
from ..result import Result
from ..spec import network_file
from ..spec.network import parse_networks
from ..transaction.confirmation import exclusive
from . import bundle, metrics, units, watch_memory
from .networks import DIRECTORY, damaged

PATH = "/usr/local/sbin/netpath-egress"
UNIT_MODE = 0o644
OFF, REPORT, REPAIR = WATCH = ("off", "report", "repair")
SHORTEST, LONGEST = 10, 7 * 24 * 3600  # seconds between looks


@dataclass(frozen=True)
class _Step:
    """One file, of which there is none where it is None. mode: permission bits that it has, and that it shall have.

    link: it is a symbolic link, and before and after are where it leads.
    """

    path: str
    before: str | None
    after: str | None
    mode_before: int | None = None
    mode: int = 0
    link: bool = False

    @property
    def needed(self) -> bool:
        modes_differ = self.after is not None and not self.link and self.mode_before != self.mode
        return self.before != self.after or modes_differ

    @property
    def inverse(self) -> _Step:
        return _Step(self.path, self.after, self.before, self.mode, self.mode_before or self.mode, self.link)

    def apply(self) -> None:
        if self.after is None:
            files.delete(self.path)
        elif self.link:
            files.link(self.path, self.after)
        else:
            files.write(self.path, self.after, self.mode)


@dataclass(frozen=True)
class Asked:
    """path: of the program. networks: as in egress_networks. absent: all of them go, and with the last one the program.

    persist: systemd builds the networks at boot. watch: off, report or repair, each interval seconds.
    """

    path: str
    interpreter: str
    networks: t.Any
    absent: bool = False
    persist: bool = False
    watch: str = OFF
    interval: int = 300

    def __post_init__(self) -> None:
        if not os.path.isabs(self.path) or os.path.normpath(self.path) != self.path or not self.path.isprintable():
            raise SpecError("path", f"{self.path!r} is no path of a file", f"such as {PATH}")
        if (self.persist or self.watch != OFF) and any(character in self.path for character in " %$\\\"'"):
            raise SpecError("path", f"{self.path!r} is read otherwise in a unit of systemd", f"such as {PATH}")
        if not SHORTEST <= self.interval <= LONGEST:
            asked = f"{self.interval} seconds"
            raise SpecError("watch_interval", f"{asked} is too short or too long", f"{SHORTEST} to {LONGEST}")


def install(asked: Asked, check: bool = False) -> Result:
    """Write the program, a file for each network, and units for them; those of absent networks go.

    Errors: EgressError of any kind; then nothing was changed, or it was put back, or the error says so.
    """
    features.require_privilege()
    names = _names(asked)
    wanted = _files(asked)
    try:
        program = None if asked.absent else _program(asked)
        if check:
            return _result(_steps(asked, program, wanted, names))
        with exclusive():
            steps = _steps(asked, program, wanted, names)
            _apply(steps, names)
        # Without the lock, which a unit needs.
        units.require_started([units.unit(name) for name, kept in names.items() if kept])
        return _result(steps)
    except OSError as error:
        raise KernelError("write the files of networks", str(error), error.errno or 0, "See errno(3)") from error


def _program(asked: Asked) -> str:
    """As it is on disk, where that is what it shall be."""
    there = files.read(asked.path)
    if there is not None and bundle.is_same(there.encode(errors="surrogateescape"), asked.interpreter):
        return there
    return bundle.executable(asked.interpreter).decode(errors="surrogateescape")


def _names(asked: Asked) -> dict[str, bool]:
    """{network: whether systemd is to build it}. Errors: SpecError."""
    parsed = parse_networks(asked.networks, "networks", asked.absent)
    return {network.name: asked.persist and units.runs_here() and not network.absent for network in parsed}


def _follow(steps: t.Sequence[_Step], names: t.Mapping[str, bool]) -> None:
    """Tell systemd, where something that it or a unit reads was changed."""
    started = {**{units.link(name): units.unit(name) for name in names}, units.TIMER_LINK: units.NAME_OF_TIMER}
    started[units.RESTORE_LINKS[0]] = units.NAME_OF_RESTORE
    changed = {step.path: step for step in steps}
    links = {path: changed[path] for path in started if path in changed}
    # A timer counts from when it was started.
    links.update({units.TIMER_LINK: changed[units.TIMER]} if units.TIMER in changed else {})
    gone = [started[path] for path, step in links.items() if step.after is None]
    there = [started[path] for path, step in links.items() if step.after is not None]
    # What could not be built from the file that was there may be by this one.
    there += [units.unit(name) for name, kept in names.items() if kept and network_file.path(name) in changed]
    if units.runs_here() and (there or any(path.startswith(f"{units.DIRECTORY}/") for path in changed)):
        units.follow(gone, list(dict.fromkeys(there)))


def _files(asked: Asked) -> dict[str, str | None]:
    """{path: content, None for one that shall not be there}."""
    parsed = parse_networks(asked.networks, "networks", asked.absent)
    present = [namespace.name for network in parsed if not network.absent for namespace in network.namespaces]
    assigned = _assigned(present)
    return {
        network_file.path(network.name): None if network.absent else network_file.content(network, entry, assigned)
        for network, entry in zip(parsed, asked.networks)
    }


def _assigned(names: t.Sequence[str]) -> dict[str, list[str]]:
    """What namespaces were given. Of those that the ledger does not have, what is in them."""
    given = readable_ledger().assignments
    with Namespaces() as namespaces:
        there = [name for name in names if name not in given and is_namespace(path_of(name))]
        found = {name: [item.cidr for item in addresses.read(namespaces.socket(name))] for name in there}
    return {**found, **{name: list(given[name].addresses) for name in names if name in given}}


def _steps(
    asked: Asked, program: str | None, wanted: t.Mapping[str, str | None], names: t.Mapping[str, bool]
) -> list[_Step]:
    """In the order of taking them. Errors: ConflictError where somebody else's file has one of the names."""
    path = asked.path
    if program is not None and not os.path.isdir(os.path.dirname(path)):
        raise ConflictError(f"write {path}", "its directory is not there", "Make it, or choose another path")
    if program is not None:
        with directories.opened(os.path.dirname(path), f"write {path}"):
            pass  # in a look ahead as well
    steps = [_step(name, content, network_file.MODE, _is_network) for name, content in wanted.items()]
    going = [name for name in names if asked.absent or wanted[network_file.path(name)] is None]
    steps += [_step(file, None, 0, lambda _content: True) for name in going for file in damaged(name)]
    last = asked.absent and not _others(wanted)
    if last or not asked.absent:
        steps.append(_step(path, program, bundle.PERMISSIONS, _is_program))
    steps += _units(asked, names, last)
    return [step for step in steps if step.needed]


def _units(asked: Asked, names: t.Mapping[str, bool], last: bool) -> list[_Step]:
    """What builds each network at boot, what has that started, and what looks at all of them. last: none is left."""
    links = [
        _Step(path, files.target(path), units.TEMPLATE if kept else None, link=True)
        for path, kept in ((units.link(name), kept) for name, kept in names.items())
    ]
    listed = os.listdir(units.WANTS) if os.path.isdir(units.WANTS) else []
    used = {f"{units.WANTS}/{name}" for name in listed if name.startswith(units.unit("").partition("@")[0] + "@")}
    others = used - {step.path for step in links}
    if any(names.values()):
        template, restore = units.template(asked.path), units.restore(asked.path)
        pulled = [_Step(path, files.target(path), units.RESTORE, link=True) for path in units.RESTORE_LINKS]
        made = [_step(path, text, UNIT_MODE, _is_unit) for path, text in _shared(template, restore)]
        links = [*made, *links, *pulled]
    elif not others:
        # These units go with the last network that uses them.
        links += [_Step(path, files.target(path), None, link=True) for path in units.RESTORE_LINKS]
        links += [_step(path, None, UNIT_MODE, _is_unit) for path, _text in _shared(None, None)]
    return [*links, *_watch(asked, last)]


def _shared(template: str | None, restore: str | None) -> list[tuple[str, str | None]]:
    """The units that all networks share, with their text."""
    return [(units.TEMPLATE, template), (units.RESTORE, restore)]


def _watch(asked: Asked, last: bool) -> list[_Step]:
    if asked.absent and not last:
        return []
    watched = asked.watch != OFF and not asked.absent and units.runs_here()
    service = units.service(asked.path, asked.watch == REPAIR) if watched else None
    timer = units.timer(asked.interval) if watched else None
    # Nobody would bring them up to date any more.
    traces = [] if watched else [_step(watch_memory.MEMORY, None, 0, watch_memory.is_memory), _no_metrics()]
    return [
        *traces,
        _step(units.SERVICE, service, UNIT_MODE, _is_unit),
        _step(units.TIMER, timer, UNIT_MODE, _is_unit),
        _Step(units.TIMER_LINK, files.target(units.TIMER_LINK), units.TIMER if watched else None, link=True),
    ]


def _no_metrics() -> _Step:
    """The directory may be another user's: what that one has put in the place of the file is left alone."""
    try:
        asked = f"delete {metrics.PATH}"
        with directories.opened(os.path.dirname(metrics.PATH), asked, trust=directories.NONE):
            return _step(metrics.PATH, None, 0, metrics.is_ours)
    except (FileNotFoundError, NotADirectoryError, ConflictError):
        return _Step(metrics.PATH, None, None)


def _step(path: str, after: str | None, mode: int, is_ours: t.Callable[[str], bool]) -> _Step:
    before = files.read(path)
    if before is None or is_ours(before):
        return _Step(path, before, after, files.mode(path), mode)
    if after is None:
        return _Step(path, None, None, None, mode)  # somebody else's, which stays
    raise ConflictError(f"write {path}", "somebody else's file has this name", "Move it away")


def _is_program(content: str) -> bool:
    return bundle.is_ours(content.encode(errors="surrogateescape"))


def _is_unit(content: str) -> bool:
    return content.startswith(units.MARK)


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


def _apply(steps: t.Sequence[_Step], names: t.Mapping[str, bool]) -> None:
    taken: list[_Step] = []
    try:
        for step in steps:
            taken.append(step)
            step.apply()
        _follow(steps, names)
    except EgressError as error:
        back = [step.inverse for step in reversed(taken)]
        try:
            for step in back:
                step.apply()
            attempt(_follow, back, names)
        except EgressError as second:
            raise ApplyError(error.asked, error.found, f"Not put back: {second}") from error
        raise ApplyError(error.asked, error.found, error.advice, rolled_back=True) from error


def _result(steps: t.Sequence[_Step]) -> Result:
    actions = [f"{'delete' if step.after is None else 'write'} {step.path}" for step in steps]
    before = "".join(_described(step.path, step.before, step.mode_before) for step in steps)
    after = "".join(_described(step.path, step.after, step.mode) for step in steps)
    return Result(bool(steps), actions, lambda: {"before": before, "after": after})


def _described(path: str, content: str | None, mode: int | None) -> str:
    """As YAML; of the program, by what its content is known."""
    if content is None:
        return ""
    data = content.encode(errors="surrogateescape")
    told = f"sha256 {hashlib.sha256(data).hexdigest()}" if bundle.is_ours(data) else content
    return f"file {path}:\n  content: {json.dumps(told)}\n  mode: '{mode or 0:04o}'\n"
