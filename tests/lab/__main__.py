"""Run a world from the command line.

    python3 -m tests.lab up --nodes 3
    python3 -m tests.lab run --nodes 3 -- ansible-playbook -i inventory site.yml

`up` keeps a world until it is interrupted. `run` runs one command with LAB_INVENTORY and Ansible's
plugin path in its environment, takes the world away and passes the exit code of the command on.
`boot` has the commands for booted nodes, which stay until they are destroyed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from tests.lab import inventory, privilege
from tests.lab.booted import commands
from tests.lab.world import LabError, World

_BAD_USAGE = 3
_FAILED = 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_BAD_USAGE, f"{self.prog}: {message}\n")


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Make a world and use it as the command line says."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["boot"]:
        return commands.main(given[1:])
    options = _parse(given)
    privilege.ensure()
    # A termination takes the same way out as an interrupt, which a shell ignores for what it runs in the background.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="lab-") as directory, World(nodes=options.nodes) as world:
            variables = inventory.environment(inventory.write(world, Path(directory), options.python))
            if options.action == "up":
                return _stay(world, variables)
            return _run(options.command, variables)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return _FAILED


def _parse(arguments: t.Sequence[str]) -> argparse.Namespace:
    shared = _Parser(add_help=False)
    shared.add_argument("--nodes", type=int, default=1, metavar="N")
    shared.add_argument("--python", default=sys.executable, help="the interpreter for Ansible's modules on the nodes")
    parser = _Parser(prog="python3 -m tests.lab", description="A private world of nodes and an internet host.")
    actions = parser.add_subparsers(dest="action", required=True, parser_class=_Parser)
    actions.add_parser("up", parents=[shared], help="keep a world until interrupted")
    run = actions.add_parser("run", parents=[shared], help="run a command beside a world")
    run.add_argument("command", nargs="+")
    actions.add_parser("boot", help="hosts with systemd and sshd: see `boot --help`")  # which does not come here
    return parser.parse_args(arguments)


def _stay(world: World, variables: t.Mapping[str, str]) -> int:
    for host in (world.internet, *world.nodes):
        print(f"{host.name:10} pid {host.pid:<8} {host.address:15} {host.address6}")
    print(f"\nThe internet has {', '.join(world.internet.addresses)}. To look around in node N of PID P:")
    print(f"    {_entering('P')} bash")
    print(f"    {_entering('P')} {sys.executable} {Path(__file__).parent / 'probe.py'} --protocol tcp")
    print("To run playbooks on the nodes:")
    for name, value in variables.items():
        print(f"    export {name}={value}")
    print(f'    {privilege.entrance()}ansible-playbook -i "$LAB_INVENTORY" site.yml')
    print("It ends with Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return 0


def _run(command: t.Sequence[str], variables: t.Mapping[str, str]) -> int:
    try:
        child = subprocess.Popen(command, env={**os.environ, **variables})
    except OSError as error:
        print(f"lab: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        status = child.wait()
    except BaseException:
        # The command must not outlive the world that it uses.
        child.terminate()
        child.wait()
        raise
    return status if status >= 0 else 128 - status


def _entering(pid: str) -> str:
    return f"nsenter -t {pid} {privilege.user_namespace()}-m -u -n"


if __name__ == "__main__":
    sys.exit(main())
