"""Runs a module of the collection as Ansible would, inside a node of the lab."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import typing as t

from ansible.module_utils.testing import patch_module_args

# Imported ahead of the fork, so that not each run pays for it.
from ansible_collections.netpath.egress.plugins.module_utils._engine import run as _run  # noqa: F401

from tests.lab import snapshot
from tests.lab.node import Node
from tests.lab.settling import settled

Options = dict[str, t.Any]
Result = dict[str, t.Any]
Request = tuple[str, Options]

_PLUGINS = "ansible_collections.netpath.egress.plugins.modules"


def run(node: Node, module: str, options: Options, check: bool = False) -> Result:
    """What the module returns, whether it succeeds or fails."""
    return node.call(run_here, module, options, check)


def run_here(module: str, options: Options, check: bool) -> Result:
    """The same in this very process, which must be in a node already."""
    output = io.StringIO()
    arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": True}
    with contextlib.redirect_stdout(output), patch_module_args(arguments), contextlib.suppress(SystemExit):
        importlib.import_module(f"{_PLUGINS}.{module}").main()
    result: Result = json.loads(output.getvalue())
    return result


def done(node: Node, module: str, options: Options) -> list[str]:
    """Run a module and return its actions; a failure is one of the test."""
    result = run(node, module, options)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] == bool(result["actions"])
    actions: list[str] = result["actions"]
    return actions


def predicted(node: Node, module: str, options: Options) -> list[str]:
    """Run a module in check mode and return its actions."""
    result = run(node, module, options, check=True)
    assert not result.get("failed"), result["msg"]
    assert result["changed"] == bool(result["actions"])
    actions: list[str] = result["actions"]
    return actions


def refused(node: Node, module: str, options: Options) -> Result:
    """Run a module that must fail and change nothing. Returns what it says."""
    before = settled(node)
    result = run(node, module, options)
    assert result.get("failed"), result
    assert snapshot.difference(before, settled(node)) == ""
    return result
