"""Measure playbooks on booted nodes over SSH, and the report about many hosts: fleet.json and fleet.md in build/bench.

    python3 -m tests.bench.fleet --nodes 2 --rounds 1 --ways tuned --summarised 100

The nodes are a lab of its own, which is destroyed at the end, whatever that is.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from tests.bench import cost, fleet_table, machine, rounds, summarised, tools, ways
from tests.bench.cost import FailedError
from tests.bench.ways import Way
from tests.lab.booted import lab as labs
from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.lab.holder import LabError

NAMESPACES = 20
_LAB = "bench"
_BATCH = 10  # nodes that boot at a time
_BOOT = 600.0
Row = dict[str, t.Any]


def main() -> int:
    """Measure what the command line says. 1 when something failed, 77 where nodes cannot be booted."""
    asked = _parse()
    reason = requirements.obstacle() if asked.nodes else None
    if reason is not None:
        print(f"SKIPPED: {reason}")
        return int(os.environ.get("SKIPPED", "77"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tools.make()
    empty: Row = {"rounds": [], "samples": [], "failures": [], "skipped": []}
    results: Row = {"machine": machine.describe(), "asked": vars(asked), **empty}
    status = 0
    try:
        results["summarised"] = summarised.measure(asked.summarised, asked.rounds) if asked.summarised else []
        if asked.nodes:
            _measure(asked, results)
    except (LabError, FailedError) as error:
        print(f"bench-fleet: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    _keep(results)
    return status or int(bool(results["failures"]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench.fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[10, 30, 60], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--ways", nargs="+", default=list(ways.WAYS), choices=list(ways.WAYS))
    parser.add_argument("--summarised", type=int, default=1000, metavar="N", help="hosts in the report; 0 for none")
    return parser.parse_args()


def _measure(asked: argparse.Namespace, results: Row) -> None:
    room = requirements.room()
    sizes = sorted({nodes for nodes in asked.nodes if nodes <= room})
    for nodes in sorted(set(asked.nodes) - set(sizes)):
        reason = f"{nodes} nodes: inotify instances of root are left for {room} (fs.inotify.max_user_instances)"
        results["skipped"].append(reason)
        _tell(f"SKIPPED: {reason}")
    if not sizes:
        return
    with _lab(max(sizes)) as lab:
        for number in range(asked.rounds):
            before, calibration, began = machine.noise(), machine.calibrate(), time.monotonic()
            for nodes in sizes:
                for name in asked.ways:
                    found, failed = _run_way(lab, ways.WAYS[name], nodes)
                    about = {"round": number, "nodes": nodes, "way": name}
                    results["samples"] += [{**about, **row} for row in found]
                    results["failures"] += [{**about, **row} for row in failed]
            results["rounds"].append(rounds.noise(before, calibration, time.monotonic() - began))


@contextlib.contextmanager
def _lab(nodes: int) -> t.Iterator[Lab]:
    """Booted nodes. What an earlier run has left that was killed is taken away first."""
    labs.destroy(_LAB)
    names = [f"node{number}" for number in range(1, nodes + 1)]
    try:
        lab = Lab.create(_LAB, dict.fromkeys(names, "bookworm"), started=min(_BATCH, nodes), tell=_tell)
        for first in range(_BATCH, nodes, _BATCH):
            batch = names[first : first + _BATCH]
            lab.start(*batch, wait=False)
            lab.wait(*batch, timeout=_BOOT)
            _tell(f"{first + len(batch)} of {nodes} nodes are up")
        yield lab
    finally:
        labs.destroy(_LAB)


def _run_way(lab: Lab, way: Way, nodes: int) -> tuple[list[Row], list[Row]]:
    """Samples of all plays, and what failed: then the nodes are cleaned for the next way."""
    samples: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for play in ways.TITLES:
            try:
                found = _run_play(lab, way, nodes, play, Path(folder))
                _prove(lab, play, nodes)
            except (FailedError, subprocess.SubprocessError) as error:
                _tell(f"{way.name} {play} on {nodes} nodes failed: {error}")
                with contextlib.suppress(FailedError, subprocess.SubprocessError):
                    _run_play(lab, ways.WAYS[ways.DEFAULT], nodes, "teardown", Path(folder))
                return samples, [{"play": play, "reason": str(error)}]
            _tell(f"{way.name:8} {play:12} {nodes:3} nodes  {found.seconds:8.3f} s")
            samples.append({"play": play, **dataclasses.asdict(found)})
    return samples, []


def _run_play(lab: Lab, way: Way, nodes: int, play: str, folder: Path) -> cost.Cost:
    """Each begins without open connections, as a playbook of the day does."""
    playbook, settings = folder / "play.yml", folder / "ansible.cfg"
    content = {"name": ways.TITLES[play], **ways.plays(NAMESPACES)[play], **way.play}
    playbook.write_text(json.dumps([content]), encoding="ascii")
    settings.write_text(way.settings(nodes), encoding="ascii")
    limit = ",".join(list(lab.nodes)[:nodes])
    argv = [str(way.program), "-i", str(lab.places.inventory), "--limit", limit, str(playbook)]
    sockets = Path(tempfile.mkdtemp(prefix="ssh-"))
    variables = {"ANSIBLE_CONFIG": str(settings), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets)}
    try:
        return cost.run(subprocess.Popen, argv, folder, variables=variables)
    finally:
        _close(sockets)


def _close(sockets: Path) -> None:
    for path in sockets.iterdir():
        command = ["ssh", "-o", f"ControlPath={path}", "-O", "exit", "any"]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    shutil.rmtree(sockets, ignore_errors=True)


def _prove(lab: Lab, play: str, nodes: int) -> None:
    """Ask the last node, and from there the internet host. Errors: those of subprocess."""
    if play == "nothing":
        return
    node = list(lab.nodes)[nodes - 1]
    built = play in {"task", "role", "role-again"}
    names = [f"s{number}" for number in range(1, NAMESPACES + 1)] if built else []
    lab.ssh(node, ["sudo", "witness", "named", *names])
    if built:
        lab.ssh(node, ["sudo", "witness", "reach", "--as", lab.nodes[node].uplink_address, names[-1]])


def _keep(results: Row) -> None:
    results["ratios"] = fleet_table.ratios(results["samples"])
    text = fleet_table.table(results)
    tools.RESULTS.mkdir(parents=True, exist_ok=True)
    (tools.RESULTS / "fleet.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (tools.RESULTS / "fleet.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nbench-fleet: fleet.json and fleet.md are in {tools.RESULTS}")


def _tell(line: str) -> None:
    print(f"bench-fleet: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
