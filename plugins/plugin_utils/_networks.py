# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as Ansible has them, checked on the controller: what the plan refuses, no module gets to see."""

from __future__ import annotations

import collections.abc
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.survey import survey
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import Network, normalized

OPTION = "networks"
# What ansible-core 2.18 puts in the place of "omit". Later releases have an object.
OMITTED = "__omit_place_holder__"


def plain(value: t.Any) -> t.Any:
    """Ansible's own types as Python's, which errors show as they were written. What is omitted is left out."""
    if isinstance(value, collections.abc.Mapping):
        return {str(key): plain(item) for key, item in value.items() if not is_omitted(item)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value if not is_omitted(item)]
    if value is None or isinstance(value, bool):
        return value if value is None else bool(value)
    return next((kind(value) for kind in (int, float) if isinstance(value, kind)), str(value))


def is_omitted(value: t.Any) -> bool:
    """Whether it is what the variable omit stands for."""
    return type(value).__name__ == "_OmitType" or (isinstance(value, str) and value.startswith(OMITTED))


def checked(given: t.Any, absent: bool = False) -> tuple[list[Network], list[EgressError]]:
    """Those that nothing is wrong with, and all errors of the others. given: as of plain."""
    planned, errors = survey(given, OPTION, absent)
    return [network for network, _options in planned], errors


def in_words(errors: t.Sequence[EgressError]) -> str:
    """All of them in one line, as everything that refuses networks says it."""
    return "; ".join(map(str, errors))


class NetworksAction(ActionBase):  # type: ignore[misc]
    """Runs the module that the task names, unless its networks are wrong: then the host is not asked."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = self._arguments()
        refused = self._refused(arguments)
        if refused:
            return {**result, "failed": True, "changed": False, **refused}
        self._given = arguments
        wrap = bool(self._task.async_val) and not self._connection.has_native_async
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=wrap))
        return result

    def _arguments(self) -> dict[str, t.Any]:
        """What the module is given."""
        return dict(self._task.args)

    def _refused(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        """Why the networks are refused, or nothing: then arguments has them as the engine reads them."""
        if OPTION not in arguments:
            return {}
        given = plain(arguments[OPTION])
        _networks, errors = checked(given, arguments.get("state") == "absent")
        if errors:
            first = errors[0]
            return {"msg": in_words(errors), "asked": first.asked, "found": first.found, "advice": first.advice}
        # No conversion of Ansible's then makes something else of them.
        arguments[OPTION] = normalized(given, OPTION)
        return {}
