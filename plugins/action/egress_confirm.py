# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action of the modules that change a host's network: what may have cut the way to it stays only if it did not."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.netpath.egress.plugins.plugin_utils._networks import NetworksAction

CONFIRM = "netpath.egress.egress_confirm"
OPTION = "confirm_within"
SECONDS = 30
_PAUSE = 1.0  # seconds between two attempts


class ActionModule(NetworksAction):
    """Runs the module that the task names, and confirms its change over the connection that the change may have cut."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        unconfirmed = result.get("unconfirmed")
        if unconfirmed and not self._task.async_val:
            self._confirm(result, unconfirmed, task_vars)
        return result

    def _arguments(self) -> dict[str, t.Any]:
        arguments = super()._arguments()
        # The result of a task in the background is not seen here, so that nothing could be confirmed.
        if not self._task.async_val and self._task.resolved_action != CONFIRM:
            arguments.setdefault(OPTION, SECONDS)
        return arguments

    def _confirm(self, result: dict[str, t.Any], unconfirmed: dict[str, t.Any], task_vars: t.Any) -> None:
        within = int(self._task.args.get(OPTION, SECONDS))
        answer = self._answer(unconfirmed["token"], time.monotonic() + within, task_vars)
        del result["unconfirmed"]
        result["confirmed"] = [] if answer.get("failed") else unconfirmed["hazards"]
        if answer.get("failed"):
            outcome = _outcome(within, str(answer["msg"]), self._stays(answer, task_vars))
            result.update(outcome, failed=True, asked="; ".join(unconfirmed["hazards"]))
            result["msg"] = f"{result['asked']}: {result['found']}. {result['advice']}."

    def _stays(self, answer: dict[str, t.Any], task_vars: t.Any) -> bool | None:
        """Whether the change is on the host: as the host's record has it, or by a look; None where neither is there."""
        if "rolled_back" in answer:
            return not answer["rolled_back"]
        return None if "unreachable" in answer else self._is_there(task_vars)

    def _is_there(self, task_vars: t.Any) -> bool | None:
        """Whether the change is on the host, by the same module in check mode; None where that cannot be seen.

        It waits for the lock, which a process holds while it waits for the confirmation or puts the change back.
        """
        check_mode = self._task.check_mode
        self._task.check_mode = True
        try:
            told = self._execute_module(module_args=self._given, task_vars=task_vars)
        except AnsibleConnectionFailure:
            return None
        finally:
            self._task.check_mode = check_mode
        return None if told.get("failed") or told.get("unreachable") else not told["changed"]

    def _answer(self, token: str, deadline: float, task_vars: t.Any) -> dict[str, t.Any]:
        """Asks again while the host cannot be reached: a link may be down for a moment."""
        while True:
            answer = self._one_answer(token, task_vars)
            # Some time after the deadline the host has put it back, and can be reached again.
            if "unreachable" not in answer or time.monotonic() > deadline + SECONDS:
                return answer
            with contextlib.suppress(AnsibleError):
                self._connection.reset()
            time.sleep(_PAUSE)

    def _one_answer(self, token: str, task_vars: t.Any) -> dict[str, t.Any]:
        try:
            answer = self._execute_module(module_name=CONFIRM, module_args={"token": token}, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            answer = {"failed": True, "unreachable": True, "msg": str(error)}
        return t.cast("dict[str, t.Any]", answer)


def _outcome(within: int, reason: str, is_there: bool | None) -> dict[str, t.Any]:
    """What is returned of a change that was not confirmed."""
    cut = "See whether it cuts the connection between the controller and the host"
    if is_there is None:
        found = (
            f"it was not confirmed within {within} s, and whether it was put back cannot be seen from here: {reason}"
        )
        return {"changed": True, "found": found, "advice": f"Look at the host. {cut}"}
    if is_there:
        found = f"it was not confirmed within {within} s, and it was not put back entirely: {reason}"
        return {"changed": True, "rolled_back": False, "found": found, "advice": f"Undo it, or leave it so. {cut}"}
    found = f"it was not confirmed within {within} s, and was put back: {reason}"
    return {"changed": False, "rolled_back": True, "found": found, "advice": cut}
