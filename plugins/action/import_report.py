# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action import_report: the networks that were found on many hosts, as YAML on the controller."""

from __future__ import annotations

import collections.abc
import os
import typing as t
from pathlib import Path

from ansible import constants
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.written import as_yaml
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import parse_networks
from ansible_collections.netpath.egress.plugins.plugin_utils import _terminal
from ansible_collections.netpath.egress.plugins.plugin_utils._controller import ControllerAction, registered, unusable
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis.findings import clean
from ansible_collections.netpath.egress.plugins.plugin_utils._folder import absolute, write_all

OPTIONS: dict[str, dict[str, t.Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "result": {"type": "str", "required": True},
    "directory": {"type": "str", "default": ""},
}
MARK = "# Written by netpath.egress.import, which replaces this file."
_NOTE = ("about", "seen", "reason")


class UntoldError(Exception):
    """A host told nothing that could be used, or its file cannot be written; the text says why."""


class ActionModule(ControllerAction):
    """As documented for the module of the same name."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=OPTIONS)
        hostvars = (task_vars or {})["hostvars"]
        lines: list[tuple[str, str | None]] = []
        failing: dict[str, str] = {}
        written: list[str] = []
        for host in options["hosts"]:
            text, files, reason = _of_host(hostvars, host, options["result"], options["directory"])
            title = f"# {clean(host)}" + (f": {reason}" if reason else "")
            lines += [("", None), (title, constants.COLOR_ERROR if reason else constants.COLOR_OK)]
            lines += [(line, None) for line in text.splitlines()]
            written += files
            failing.update({host: reason} if reason else {})
        _terminal.show(lines)
        shown = [line for line, _color in lines]
        return {**result, "changed": False, "lines": shown, "failing": failing, "files": written}


def _of_host(hostvars: t.Any, host: str, name: str, directory: str) -> tuple[str, list[str], str]:
    """What is shown, what was written, and what kept the rest from being done, "" for nothing."""
    text, files = "", []
    try:
        networks, text = _told(hostvars, host, name)
        files = _write(directory, host, text) if directory and networks else []
    except UntoldError as error:
        return text, files, str(error)
    except Exception as error:  # noqa: BLE001 (whatever one host tells, the others are reported)
        return text, files, unusable(error)
    return text, files, ""


def _told(hostvars: t.Any, host: str, name: str) -> tuple[list[t.Any], str]:
    """The networks of a host, and their text. Errors: UntoldError."""
    told = registered(hostvars, host, name)
    if not isinstance(told, collections.abc.Mapping):
        raise UntoldError("it was not looked at")
    networks, notes = clean(told.get("egress_networks")), clean(told.get("notes"))
    if told.get("failed") or told.get("unreachable") or not isinstance(networks, list):
        raise UntoldError(" ".join(clean(str(told.get("msg") or "it told no networks")).split()))
    try:
        # Who controls a host chooses what it tells, and the file is read as variables.
        parse_networks(networks)
    except SpecError as error:
        raise UntoldError(f"what it told are no networks: {clean(str(error))}") from error
    known = [one for one in notes or [] if isinstance(one, dict) and set(one) == set(_NOTE)]
    return networks, as_yaml(networks, known)


def _write(directory: str, host: str, text: str) -> list[str]:
    """Errors: UntoldError."""
    folder = absolute(directory)
    name = f"{host}.yml"
    path = folder / name
    if "/" in host or not host.isprintable() or host.startswith("."):
        raise UntoldError("its name is none for a file")
    try:
        if not _is_free(path):
            raise UntoldError(f"{path} is somebody else's. Move it away, or name another folder")
        return write_all(folder, {name: lambda: f"---\n{MARK}\n{text}"})
    except OSError as error:
        advice = "Name a folder on the controller that its user may write to, or none"
        raise UntoldError(f"{path} cannot be written: {error.strerror}. {advice}") from error


def _is_free(path: Path) -> bool:
    """Whether nothing is there, or what this action wrote."""
    if not path.is_file():
        return not os.path.lexists(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        return MARK in (file.readline().strip(), file.readline().strip())
