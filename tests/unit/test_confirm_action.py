"""What the controller reports of a change that was not confirmed: what a second look at the host shows, and no more."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.action import egress_confirm

HAZARD = "set net.ipv4.conf.mgmt0.rp_filter to 1 (was 0)"
DONE = {"changed": True, "unconfirmed": {"token": "0f", "hazards": [HAZARD]}}
NOBODY = {"failed": True, "msg": "confirm the change: no change waits for that"}


class Connection:
    has_native_async = False

    def reset(self) -> None: ...


def run(monkeypatch: pytest.MonkeyPatch, confirmation: dict[str, t.Any], look: dict[str, t.Any]) -> dict[str, t.Any]:
    """The result of a task whose module, confirmation and look in check mode answer so."""
    task = types.SimpleNamespace(
        args={"confirm_within": 0}, async_val=0, check_mode=False, resolved_action="netpath.egress.sysctl_forward"
    )

    def execute(module_name: str = "", **_arguments: t.Any) -> dict[str, t.Any]:
        if module_name == egress_confirm.CONFIRM:
            return dict(confirmation)
        return dict(look) if task.check_mode else dict(DONE)

    action = object.__new__(egress_confirm.ActionModule)
    monkeypatch.setattr(egress_confirm.ActionModule.__mro__[2], "run", lambda *_arguments: {})
    monkeypatch.setattr(egress_confirm, "SECONDS", 0)
    action._task, action._connection = task, Connection()
    action._execute_module = execute
    result = action.run(None, {})
    assert not task.check_mode
    return result


def test_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, {"changed": False}, {})
    assert (result["confirmed"], result.get("failed"), result["changed"]) == ([HAZARD], None, True)


def test_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, NOBODY, {"changed": True})
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, False, True)
    assert "and was put back: confirm the change: no change waits for that" in result["msg"]


def test_process_that_waited_was_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a session's processes are where logind has KillUserProcesses=yes."""
    result = run(monkeypatch, NOBODY, {"changed": False})
    assert (result["failed"], result["changed"], result["rolled_back"]) == (True, True, False)
    assert "it stays, as nothing waits any more to put it back" in result["msg"]


@pytest.mark.parametrize("look", [{"failed": True, "msg": "locked"}, {"unreachable": True, "changed": False}])
def test_host_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch, look: dict[str, t.Any]) -> None:
    result = run(monkeypatch, NOBODY, look)
    assert (result["failed"], result["changed"], result.get("rolled_back")) == (True, True, None)
    assert "whether it was put back cannot be seen from here" in result["msg"]


def test_host_that_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, {"failed": True, "unreachable": True, "msg": "timed out"}, {"changed": True})
    assert (result["failed"], result["changed"], result.get("rolled_back")) == (True, True, None)
