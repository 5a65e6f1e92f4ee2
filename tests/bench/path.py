"""What packets cost with everything that keeps namespaces to their own, and without it, side by side.

    python3 -m tests.bench.path --rounds 9 --seconds 1

What is told is how much passes in a second of processor time of those who send and take it, and a second of time.
The first also says something on a machine that has other things to do. Two nodes have the same network, with all
protections and with none. In each round both are measured in turn, in one order and then in the other: a machine
that becomes slower does so for both. What came out is written to
build/bench: path.json and path.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import typing as t
from dataclasses import dataclass

from tests.bench import machine, tools
from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once

TRAFFIC = tools.RESULTS / "bin" / "traffic"
GOAL = 3.0  # per cent
_PORT = "5001"
_NETWORK: dict[str, t.Any] = {
    "name": "bench",
    "bridge": "br0",
    "subnets": ["10.22.0.0/24", "fd00:22::/64"],
    "namespaces": ["s1", "s2"],
}
WAYS: dict[str, dict[str, t.Any]] = {"off": {"spoof_protection": False, "inbound": "open", "peers": ["all"]}, "on": {}}
Found = dict[str, dict[str, list[tuple[float, float]]]]  # by thing, and off or on, the rates of each round
_OUT = {4: "198.51.100.80", 6: "2001:db8:51::80"}
_BESIDE = {4: "10.22.0.3", 6: "fd00:22::3"}


@dataclass(frozen=True)
class Thing:
    """What is measured: bytes of TCP or datagrams of UDP."""

    name: str
    protocol: str
    family: int
    beside: bool

    @property
    def unit(self) -> str:
        return "Gbit" if self.protocol == "tcp" else "kpackets"

    def scaled(self, count: float) -> float:
        return count * 8 / 1e9 if self.protocol == "tcp" else count / 1e3


THINGS = [
    Thing(f"{'namespace to namespace' if beside else 'namespace to internet'}, {protocol.upper()}, IPv{family}", *rest)
    for beside in (False, True)
    for family in (4, 6)
    for protocol in ("tcp", "udp")
    for rest in [(protocol, family, beside)]
]


def rates(world: World, node: Node, thing: Thing, seconds: float) -> tuple[float, float]:
    """What arrived in a second of processor time, and of time."""
    address = (_BESIDE if thing.beside else _OUT)[thing.family]
    place = node if thing.beside else world.internet
    where = ["ip", "netns", "exec", "s2"] if thing.beside else []
    pipes: dict[str, t.Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    take = [*where, str(TRAFFIC), f"{thing.protocol}-take", address, _PORT]
    with place.popen(take, **pipes) as taker:
        assert taker.stdout is not None
        if taker.stdout.readline() != "ready\n":
            raise RuntimeError(f"nobody listens at {address}")
        send = [str(TRAFFIC), f"{thing.protocol}-send", address, _PORT, str(seconds)]
        sent = node.namespace_run("s1", send).stdout.split()
        taken = taker.communicate("")[0].split()
    return thing.scaled(int(taken[0]) / (float(sent[1]) + float(taken[1]))), thing.scaled(int(taken[0]) / seconds)


def measure(rounds: int, seconds: float, tell: t.Callable[[str], None]) -> Found:
    """Of each round."""
    found: Found = {thing.name: {way: [] for way in WAYS} for thing in THINGS}
    with World(nodes=len(WAYS)) as world:
        nodes = dict(zip(WAYS, world.nodes))
        for way, node in nodes.items():
            node.call(build_at_once, [{**_NETWORK, **WAYS[way]}])
        for number in range(rounds):
            for thing in THINGS:
                for way in list(WAYS)[:: 1 if number % 2 else -1]:
                    found[thing.name][way].append(rates(world, nodes[way], thing, seconds))
            tell(f"round {number + 1} of {rounds}")
    return found


def cost(off: t.Sequence[float], on: t.Sequence[float]) -> float:
    """Per cent that the median loses."""
    return 100 * (1 - statistics.median(on) / statistics.median(off))


def table(found: Found) -> str:
    """As Markdown: medians, what they lose, and how far the rounds of one way are apart."""
    lines = ["| what | per second of | without | with | cost | spread of rounds |", "|---|---|---|---|---|---|"]
    for thing in THINGS:
        for place, kind in enumerate(("processor time", "time")):
            off, on = ([pair[place] for pair in found[thing.name][way]] for way in WAYS)
            medians = " | ".join(f"{statistics.median(rates):.2f} {thing.unit}" for rates in (off, on))
            apart = 100 * (max(off) - min(off)) / statistics.median(off)
            lines.append(f"| {thing.name} | {kind} | {medians} | {cost(off, on):+.1f} % | {apart:.0f} % |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure what the command line says. It never fails for a figure: the machine may be busy."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench.path", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="of each measurement")
    asked = parser.parse_args()
    privilege.ensure()
    TRAFFIC.parent.mkdir(parents=True, exist_ok=True)
    source = tools.HERE / "traffic.c"
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(TRAFFIC), str(source)], check=True)
    found = measure(asked.rounds, asked.seconds, lambda line: print(f"bench-path: {line}", file=sys.stderr, flush=True))
    results = {"machine": machine.describe(), "asked": vars(asked), "rates": found}
    (tools.RESULTS / "path.json").write_text(json.dumps(results, indent=1) + "\n", encoding="ascii")
    (tools.RESULTS / "path.md").write_text(table(found), encoding="ascii")
    print(f"\n{table(found)}\nbench-path: the goal is at most {GOAL:g} %. path.json and path.md are in {tools.RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
