"""What one run of a command costs."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.bench import tools

Start = t.Callable[..., subprocess.Popen[str]]

PATIENCE = 7200.0  # seconds: the slowest peer takes two for each namespace
_LAST = 2000  # characters of what a command wrote that are told when it fails


class FailedError(Exception):
    """A measured command failed, or did not bring about what it should."""


@dataclass(frozen=True)
class Cost:
    """seconds: of the clock. cpu: seconds of processors. peak_kib: the memory of the largest process.

    module_kib: that of the largest module that Ansible ran, or 0.
    """

    seconds: float
    cpu: float
    peak_kib: int
    module_kib: int = 0


def run(
    start: Start,
    argv: t.Sequence[str],
    place: Path,
    accepted: t.Container[int] = (0,),
    variables: t.Mapping[str, str] | None = None,
) -> Cost:
    """Run a command. start: as subprocess.Popen, or that of a node. place: a folder for what it writes.

    variables: more of them for its environment. Errors: FailedError.
    """
    costs, modules, log = place / "costs", place / "modules", place / "log"
    for old in (costs, modules):
        old.unlink(missing_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = start(
            [str(tools.METER), str(costs), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **tools.environment(), **(variables or {})},
        )
        try:
            status = process.wait(PATIENCE)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if status not in accepted:
        raise FailedError(f"{argv[0]} ended with {status}: {log.read_text(encoding='utf-8')[-_LAST:].strip()}")
    cost = _lines(costs)[-1]
    largest = max((line["peak_kib"] for line in _lines(modules)), default=0)
    return Cost(cost["seconds"], cost["cpu"], cost["peak_kib"], largest)


def _lines(path: Path) -> list[dict[str, t.Any]]:
    text = path.read_text(encoding="ascii") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]
