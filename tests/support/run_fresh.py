"""Runs a module in an interpreter that has imported nothing yet. Used by path, as a program."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys

from ansible.module_utils.testing import patch_module_args


def main() -> None:
    """Arguments: folders to search first, module, options; all as JSON. Prints [result, was pyroute2 imported]."""
    path, module, options = (json.loads(argument) for argument in sys.argv[1:])
    sys.path[:0] = path
    output = io.StringIO()
    with contextlib.redirect_stdout(output), patch_module_args(options), contextlib.suppress(SystemExit):
        importlib.import_module(f"ansible_collections.netpath.egress.plugins.modules.{module}").main()
    print(json.dumps([json.loads(output.getvalue()), any(name.startswith("pyroute2.") for name in sys.modules)]))


if __name__ == "__main__":
    main()
