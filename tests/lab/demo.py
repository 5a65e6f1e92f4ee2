"""The main job before your eyes: three nodes, built by the playbook, proved by packets, taken down again.

With DEMO_KEEP=1 in the environment the world stays until Ctrl-C.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.lab import inventory, privilege
from tests.lab.probe import __file__ as probe_program
from tests.lab.snapshot import difference
from tests.lab.world import LabError, Node, World

ROOT = Path(__file__).resolve().parents[2]
NODES = 3
NAMESPACES = ("ns1", "ns2", "ns3")
TARGETS = {4: "198.51.100.80", 6: "2001:db8:51::80"}


class DemoError(Exception):
    """Something did not come out as it shall."""


@dataclass(frozen=True)
class Row:
    """What one namespace looks like from both sides, in one family."""

    node: str
    namespace: str
    address: str
    seen: str
    milliseconds: float


def main() -> int:
    """Run the demo. 0 when all came out as it shall."""
    print("demo: making a private world: an internet host and three nodes", flush=True)
    privilege.ensure()
    obstacle = privilege.obstacle()
    if obstacle:
        print(f"demo: cannot run here: {obstacle}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    try:
        with tempfile.TemporaryDirectory(prefix="netpath-demo-") as directory, World(nodes=NODES) as world:
            return _demo(world, Path(directory))
    except (DemoError, LabError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _demo(world: World, directory: Path) -> int:
    environment = _environment(world, directory)
    before = [node.snapshot() for node in world.nodes]
    started = time.monotonic()
    print("\ndemo: ansible-playbook netpath.egress.site")
    recap = _playbook("site", environment)
    print(f"demo: built in {time.monotonic() - started:.0f} s\n")
    _print_table(_rows(world), world)
    print("\ndemo: the same playbook again changes nothing")
    again = _playbook("site", environment)
    if _changed(again) or not _changed(recap):
        raise DemoError(f"the first run changed {_changed(recap)} and the second {_changed(again)} tasks")
    if os.environ.get("DEMO_KEEP"):
        _stay(world, environment)
    print("\ndemo: ansible-playbook netpath.egress.teardown")
    _playbook("teardown", environment)
    for node, there in zip(world.nodes, before):
        left = difference(there, node.snapshot())
        if left:
            raise DemoError(f"{node.name} is not what it was before:\n{left}")
    print("demo: every node is exactly what it was before: links, routes, rules, sysctls and files")
    return 0


def _environment(world: World, directory: Path) -> dict[str, str]:
    """An inventory as a user writes one, and what Ansible needs to find it and the nodes."""
    shutil.copytree(ROOT / "docs" / "examples" / "group_vars", directory / "group_vars")
    known = inventory.environment(inventory.write(world, directory))
    shutil.copy(ROOT / "docs" / "examples" / "ansible.cfg", directory)
    return {**os.environ, **known, "ANSIBLE_CONFIG": str(directory / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def _playbook(name: str, environment: t.Mapping[str, str]) -> str:
    """Run a playbook of the collection, show its tasks as they come, and return its recap."""
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [str(program), "-i", environment["LAB_INVENTORY"], f"netpath.egress.{name}"]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output: list[str] = []
    for line in process.stdout or ():
        output.append(line)
        title = re.match(r"(?:TASK|PLAY) \[(?:netpath\.egress\.\w+ : )?(.+?)\]", line)
        if title and not line.startswith("PLAY RECAP"):
            print(f"    {title[1]}", flush=True)
    if process.wait() != 0:
        raise DemoError(f"the playbook {name} failed:\n{''.join(output)}")
    recap = "".join(output).partition("PLAY RECAP")[2].partition("\n")[2].strip()
    print("\n".join(f"    {line}" for line in recap.splitlines()), flush=True)
    return recap


def _changed(recap: str) -> int:
    return sum(int(number) for number in re.findall(r"changed=(\d+)", recap))


def _rows(world: World) -> list[Row]:
    return [_row(node, namespace, family) for node in world.nodes for namespace in NAMESPACES for family in TARGETS]


def _row(node: Node, namespace: str, family: int) -> Row:
    argv = [sys.executable, probe_program, "--json", "--protocol", "tcp", "--target", TARGETS[family]]
    reply = json.loads(node.namespace_run(namespace, argv).stdout)
    wanted = node.address if family == 4 else node.address6
    if reply["client"] != wanted:
        raise DemoError(f"the internet saw {reply['client']} instead of {wanted}")
    listed = json.loads(node.namespace_run(namespace, ["ip", "-j", f"-{family}", "addr", "show", "eth0"]).stdout)
    address = next(info["local"] for info in listed[0]["addr_info"] if info["scope"] == "global")
    return Row(node.name, namespace, address, reply["client"], reply["milliseconds"])


def _print_table(rows: t.Sequence[Row], world: World) -> None:
    print(f"{'node':8}{'namespace':12}{'address':20}{'the internet saw':22}{'round trip':>10}")
    for row in rows:
        print(f"{row.node:8}{row.namespace:12}{row.address:20}{row.seen:22}{row.milliseconds:7.2f} ms")
    names = ", ".join(f"{node.name} = {node.address} and {node.address6}" for node in world.nodes)
    print(f"Every packet came from the address of its node: {names}")


def _stay(world: World, environment: t.Mapping[str, str]) -> None:
    node = world.nodes[0]
    print(
        "\ndemo: DEMO_KEEP is set, so the world stays until Ctrl-C, which takes the networks and then the world down."
    )
    print("In another shell, to look around in a namespace of node1:")
    user = privilege.user_namespace()
    print(f"    nsenter -t {node.pid} {user}-n -m -u ip netns exec ns1 ping -c 3 {TARGETS[4]}")
    print("and to run Ansible on the nodes, with the inventory that built them:")
    print(f"    . {ROOT}/scripts/env.sh")
    for variable in ("ANSIBLE_CONFIG", "ANSIBLE_CONNECTION_PLUGINS"):
        print(f"    export {variable}={environment[variable]}")
    play = f"-i {environment['LAB_INVENTORY']} netpath.egress.site --check --diff"
    print(f"    {privilege.entrance()}ansible-playbook {play}", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
