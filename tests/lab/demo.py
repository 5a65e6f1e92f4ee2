"""The main job before your eyes: three nodes, built by the playbook, proved by packets, broken, diagnosed and repaired,
and taken down again.

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

from ansible_collections.netpath.egress.plugins.module_utils._engine.program import bundle

from tests.lab import inventory, privilege
from tests.lab.probe import __file__ as probe_program
from tests.lab.snapshot import difference
from tests.lab.world import LabError, Node, World

ROOT = Path(__file__).resolve().parents[2]
NODES = 3
NAMESPACES = ("ns1", "ns2", "ns3")
TARGETS = {4: "198.51.100.80", 6: "2001:db8:51::80"}
REPORTS = ROOT / "build" / "demo"
# What breaks a node, as the firewall of somebody else would, and what takes it away.
DROP = "add table ip theirs; add chain ip theirs forward { type filter hook forward priority 0; policy drop; }"
ALLOW = "delete table ip theirs"


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
    _diagnose(world.nodes[1], directory, environment)
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


def _diagnose(node: Node, directory: Path, environment: t.Mapping[str, str]) -> None:
    """Break a hop of a node, have it named, repair it, and see that all is healthy."""
    print(f"\ndemo: somebody's firewall on {node.name} drops what is forwarded in IPv4, and packets stop")
    print(f"    nft '{DROP}'")
    node.run(["nft", DROP])
    shutil.rmtree(REPORTS, ignore_errors=True)  # of an earlier demo, with which this one would be compared
    print("demo: ansible-playbook netpath.egress.diagnose")
    _reported(environment, status=2, line="BROKEN FORWARD_DROPPED at forward_policy: 3 paths on 1 host")
    page = REPORTS / "broken.html"
    (REPORTS / "report.html").replace(page)

    print(f"\ndemo: the same path by itself: netpath-egress check --netns {NAMESPACES[0]}, on {node.name}")
    program = directory / "netpath-egress"
    program.write_bytes(bundle.executable(sys.executable))
    targets = [part for target in TARGETS.values() for part in ("--target", target)]
    told = node.run([sys.executable, str(program), "check", "--netns", NAMESPACES[0], *targets], check=False)
    print("\n".join(f"    {line}" for line in told.stdout.splitlines()))
    if "x forward_policy" not in told.stdout:
        raise DemoError(f"the program ended with {told.returncode}, and did not name the hop: {told.stderr}")
    print(f"demo: and drawn, with all other paths, in {page}")

    print("\ndemo: without that firewall all is healthy again")
    print(f"    nft '{ALLOW}'")
    node.run(["nft", ALLOW])
    print("demo: ansible-playbook netpath.egress.diagnose")
    _reported(environment, status=0, line=f"OK: {NODES * len(NAMESPACES) * len(TARGETS)} paths on {NODES} hosts")


def _reported(environment: t.Mapping[str, str], status: int, line: str) -> None:
    """Run the playbook diagnose and show what it reports, where a line has to begin like this."""
    asked = {"diagnose_targets": list(TARGETS.values()), "diagnose_report_dir": str(REPORTS)}
    output = _run("diagnose", environment, "-e", json.dumps(asked), status=status)
    # The report follows the title of its task and an empty line.
    found = re.search(r"^TASK \[.* : Report .*\] \*+\n\n(.*?)^ok: ", output, re.MULTILINE | re.DOTALL)
    if not found or not re.search(f"^{re.escape(line)}", found[1], re.MULTILINE):
        raise DemoError(f"the report does not say {line!r}:\n{output}")
    print("\n".join(f"    {told}" for told in found[1].splitlines()), flush=True)


def _playbook(name: str, environment: t.Mapping[str, str]) -> str:
    """Run a playbook of the collection, show its tasks as they come, and return its recap, which is shown too."""
    recap = _run(name, environment).partition("PLAY RECAP")[2].partition("\n")[2].strip()
    print("\n".join(f"    {line}" for line in recap.splitlines()), flush=True)
    return recap


def _run(name: str, environment: t.Mapping[str, str], *options: str, status: int = 0) -> str:
    """Run a playbook of the collection, show its tasks as they come, and return its output. status: how it ends."""
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [str(program), "-i", environment["LAB_INVENTORY"], f"netpath.egress.{name}", *options]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output: list[str] = []
    for line in process.stdout or ():
        output.append(line)
        title = re.match(r"(?:TASK|PLAY) \[(?:netpath\.egress\.\w+ : )?(.+?)\]", line)
        if title and not line.startswith("PLAY RECAP"):
            print(f"    {title[1]}", flush=True)
    if process.wait() != status:
        raise DemoError(f"the playbook {name} ended with {process.returncode}, not {status}:\n{''.join(output)}")
    return "".join(output)


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
