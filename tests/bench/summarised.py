"""The report of the role diagnose about many hosts: what it costs the controller, with and without its files.

    python3 -m tests.bench.summarised HOSTS COST [FOLDER]

is what is measured: it makes up what hosts have told, which does not count, and then reports it. It writes what that
cost to the file COST as JSON, and the report's files to FOLDER if there is one.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.netpath.egress.plugins.plugin_utils import _folder
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import (
    document,
    files,
    findings,
    junit,
    memory,
    page,
    summary,
)

from tests.bench.cost import FailedError
from tests.support import verdicts

NAMESPACES = 20  # in two families
BROKEN = 100  # one path of so many
Row = dict[str, t.Any]


def measure(hosts: int, rounds: int) -> list[Row]:
    """What a report about this number of hosts costs. Errors: FailedError."""
    return [_measured(hosts, rounds, with_files) for with_files in (False, True)]


def _measured(hosts: int, rounds: int, with_files: bool) -> Row:
    costs = [_in_process_of_its_own(hosts, with_files) for _round in range(rounds)]
    first = costs[0]
    about = {"hosts": hosts, "files": with_files, **{key: first[key] for key in ("paths", "healthy", "page_bytes")}}
    print(f"bench-fleet: report on {hosts} hosts, files: {with_files}  {first['seconds']:.3f} s", flush=True)
    return {**about, **{key: [cost[key] for cost in costs] for key in ("seconds", "peak_kib")}}


def _in_process_of_its_own(hosts: int, with_files: bool) -> Row:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder, "cost")
        argv = [sys.executable, "-m", "tests.bench.summarised", str(hosts), str(place), *[folder][: int(with_files)]]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise FailedError(f"the report on {hosts} hosts failed: {done.stderr.strip()}")
        cost: Row = json.loads(place.read_text(encoding="ascii"))
        return cost


def registered(hosts: int) -> dict[str, Row]:
    """What is registered for hosts: one path of a hundred is broken, and all others are healthy."""
    made = {}
    for host in range(hosts):
        paths: list[Row] = []
        for number in range(2, NAMESPACES + 2):
            for family in ("ipv4", "ipv6"):
                bad = (host * NAMESPACES * 2 + len(paths)) % BROKEN == 0
                codes = ("FORWARDING_OFF",) if bad else ()
                paths.append(verdicts.path(f"ns{number}", *codes, family=family, number=number))
        made[f"host{host:04}"] = {"changed": False, "failed": False, "verdicts": paths}
    return made


def report(results: t.Mapping[str, Row], folder: Path | None) -> Row:
    """Do as the action diagnosis_report does."""
    answers = {host: findings.answer(result) for host, result in results.items()}
    made = document.report(answers, findings.findings(answers), {"query": "", "fail_on": "broken"}, None, verdicts.NOW)
    if folder is not None:
        for name, content in (("junit.xml", junit.junit), ("report.html", page.page), ("report.json", files.as_json)):
            _folder.write(folder / name, content(made))
    summary.summary(made)
    return made


def _main() -> None:
    hosts, place = int(sys.argv[1]), Path(sys.argv[2])
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    # What hosts have told is in memory before, as it is in Ansible.
    results = registered(hosts)
    began = time.perf_counter()
    with memory.uncollected():
        counts = report(results, folder)["counts"]
    cost = {
        "seconds": time.perf_counter() - began,
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "paths": counts["paths"],
        "healthy": counts["ok"] / counts["paths"],
        "page_bytes": (folder / "report.html").stat().st_size if folder else 0,
    }
    place.write_text(json.dumps(cost), encoding="ascii")


if __name__ == "__main__":
    _main()
