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
from ansible_collections.netpath.egress.plugins.plugin_utils._controller import ControllerAction, registered
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
        made = document.plan(asked)
        written = _write(options["directory"], made) if options["directory"] else []
        lines = text.lines(made)
        _terminal.show((line.text, _TONES.get(line.tone)) for line in lines)
        return {
            **result,
            "changed": False,
            "lines": [line.text for line in lines],
            "failing": made["refused"],
            "overlaps": made["warnings"],
            "files": written,
        }


def _asked(hostvars: t.Any, host: str, name: str, fact: str) -> t.Any:
    """The networks of a host as they were read, or why they were not."""
    told = registered(hostvars, host, name)
    if not isinstance(told, collections.abc.Mapping):
        return "its networks were not read"
    if told.get("failed"):
        return f"its networks cannot be read: {' '.join(str(told.get('msg') or 'no reason was given').split())}"
    return told.get("ansible_facts", {}).get(fact) or []


def _write(directory: str, made: document.Data) -> list[str]:
    """Paths of what was written. Errors: AnsibleActionFail."""
    folder = absolute(directory)
    contents = {"plan.json": document.as_json, "plan.svg": drawing.drawing}
    try:
        return write_all(folder, {name: functools.partial(one, made) for name, one in contents.items()})
    except OSError as error:
        raise AnsibleActionFail(
            f"the plan cannot be written to {folder}: {error.strerror}. Name a folder on the controller that "
            "its user may write to, or none"
        ) from error
