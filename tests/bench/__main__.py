"""Measure, and write what came out to build/bench: results.json, table.md and bench.svg.

    python3 -m tests.bench --sizes 10 30 --rounds 1 --idiomatic 10 --only program recipe

It changes nothing on the machine: everything is built in namespaces of its own.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import typing as t

from tests.bench import machine, plot, rounds, table, things, tools
from tests.bench.figures import Figures
from tests.bench.targets import FLEET_NODES
from tests.lab import privilege
from tests.lab.world import LabError

_BAD_USAGE = 3
_MOST = 1022  # a bridge has 1023 ports, and one namespace is added


def main() -> int:
    """Measure what the command line says. 1 when something failed."""
    asked = _parse()
    privilege.ensure()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tools.make()
    measured, status = rounds.Measured(), 0
    try:
        rounds.measure(asked, measured, lambda line: print(f"bench: {line}", flush=True))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    _keep(asked, measured)
    return status or int(bool(measured.failures))


def _keep(asked: rounds.Asked, measured: rounds.Measured) -> None:
    """Write what was measured, and show it."""
    results = {"machine": machine.describe(), "asked": vars(asked), **vars(measured)}
    text = table.table(results, _fleet())
    _write("results.json", json.dumps(results, indent=1) + "\n")
    _write("table.md", text)
    _write("bench.svg", plot.plot(Figures(results["samples"])))
    print(f"\n{text}\nbench: results.json, table.md and bench.svg are in {tools.RESULTS}")


def _parse() -> rounds.Asked:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 500, 1000], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument(
        "--idiomatic", type=int, nargs="*", default=[10, 100], metavar="N", help="sizes of the playbook"
    )
    parser.add_argument("--idiomatic-rounds", type=int, metavar="N", help="as many as --rounds if not told")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help=f"of {', '.join(things.STEPS)}")
    given = parser.parse_args()
    unknown = sorted(set(given.only) - set(things.STEPS))
    if unknown or min(given.sizes) < 1 or max(given.sizes) > _MOST or given.rounds < 1:
        parser.print_usage(sys.stderr)
        why = f"unknown is {', '.join(unknown)}" if unknown else f"sizes are 1 to {_MOST}, and rounds begin at 1"
        parser.exit(_BAD_USAGE, f"bench: {why}; names are {', '.join(things.STEPS)}\n")
    of_idiomatic = given.rounds if given.idiomatic_rounds is None else given.idiomatic_rounds
    return rounds.Asked(tuple(given.sizes), given.rounds, tuple(given.idiomatic), of_idiomatic, tuple(given.only))


def _fleet() -> float | None:
    """The ratio on a fleet, where make bench-fleet has measured it."""
    path = tools.RESULTS / "fleet.json"
    if not path.exists():
        return None
    found: dict[str, t.Any] = json.loads(path.read_text(encoding="utf-8"))
    ratio = found.get("ratios", {}).get("tuned", {}).get(str(FLEET_NODES))
    return float(ratio) if ratio is not None else None


def _write(name: str, text: str) -> None:
    (tools.RESULTS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
