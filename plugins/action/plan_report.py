# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plan_report: the plan of all hosts' networks, made on the controller without a connection to any."""

from __future__ import annotations

import collections.abc
import functools
import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.netpath.egress.plugins.plugin_utils import _terminal
from ansible_collections.netpath.egress.plugins.plugin_utils._controller import ControllerAction, registered, unusable
from ansible_collections.netpath.egress.plugins.plugin_utils._folder import absolute, write_all
from ansible_collections.netpath.egress.plugins.plugin_utils._plan import document, drawing, text

OPTIONS: dict[str, dict[str, t.Any]] = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "result": {"type": "str", "required": True},
    "fact": {"type": "str", "required": True},
    "directory": {"type": "str", "default": ""},
}
_TONES = {"bad": constants.COLOR_ERROR, "warn": constants.COLOR_WARN}


class ActionModule(ControllerAction):
    """As documented for the module of the same name."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _checked, options = self.validate_argument_spec(argument_spec=OPTIONS)
        hostvars = (task_vars or {})["hostvars"]
        asked = {host: _asked(hostvars, host, options["result"], options["fact"]) for host in options["hosts"]}
        made, lines, contents = _shown(asked, bool(options["directory"]))
        written = _write(options["directory"], contents) if options["directory"] else []
        _terminal.show((line.text, _TONES.get(line.tone)) for line in lines)
        return {
            **result,
            "changed": False,
            "lines": [line.text for line in lines],
            "failing": made["refused"],
            "overlaps": made["warnings"],
            "files": written,
        }


def _shown(
    asked: t.Mapping[str, t.Any], files: bool
) -> tuple[document.Data, list[text.Line], dict[str, t.Callable[[], str]]]:
    """The plan of all hosts, its lines, and files; of a host whose networks nothing can be made of, why."""
    try:
        return _made(asked, files)
    except Exception:  # noqa: BLE001 (which host it was is found out below)
        return _made({host: _alone(host, networks, files) for host, networks in asked.items()}, files)


def _made(
    asked: t.Mapping[str, t.Any], files: bool
) -> tuple[document.Data, list[text.Line], dict[str, t.Callable[[], str]]]:
    made = document.plan(asked)
    drawn = {"plan.json": document.as_json(made), "plan.svg": drawing.drawing(made)} if files else {}
    return made, text.lines(made), {name: functools.partial(str, content) for name, content in drawn.items()}


def _alone(host: str, networks: t.Any, files: bool) -> t.Any:
    """A host's networks, or why these cannot be shown."""
    try:
        _made({host: networks}, files)
    except Exception as error:  # noqa: BLE001 (whatever one host has, the others are shown)
        return unusable(error)
    return networks


def _asked(hostvars: t.Any, host: str, name: str, fact: str) -> t.Any:
    """The networks of a host as they were read, or why they were not."""
    told = registered(hostvars, host, name)
    if not isinstance(told, collections.abc.Mapping):
        return "its networks were not read"
    if told.get("failed"):
        return f"its networks cannot be read: {' '.join(str(told.get('msg') or 'no reason was given').split())}"
    facts = told.get("ansible_facts")
    return (facts.get(fact) if isinstance(facts, collections.abc.Mapping) else None) or []


def _write(directory: str, contents: t.Mapping[str, t.Callable[[], str]]) -> list[str]:
    """Paths of what was written. Errors: AnsibleActionFail."""
    folder = absolute(directory)
    try:
        return write_all(folder, contents)
    except OSError as error:
        raise AnsibleActionFail(
            f"the plan cannot be written to {folder}: {error.strerror}. Name a folder on the controller that "
            "its user may write to, or none"
        ) from error
