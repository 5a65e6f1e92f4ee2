"""A module run in an interpreter of its own."""

from __future__ import annotations

import json
import sys
import typing as t
from pathlib import Path

from tests.lab.node import Node
from tests.support import run_fresh
from tests.support.run_module import Options, Result

FRESH = Path(run_fresh.__file__).resolve()


def fresh(
    node: Node, module: str, options: Options, *ahead: Path, without: t.Sequence[str] = ()
) -> tuple[Result, bool]:
    """Run a module in an interpreter of its own. Returns its result, and whether it imported pyroute2.

    without: a command that takes something from it.
    """
    path = [*map(str, ahead), *sys.path]
    argv = [*without, sys.executable, str(FRESH), *map(json.dumps, (path, module, options))]
    result, imported = json.loads(node.run(argv).stdout)
    return result, imported
