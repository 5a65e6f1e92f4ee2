"""The commands for booted nodes.

python3 -m tests.lab boot create mine --nodes 3
python3 -m tests.lab boot run mine -- ansible-playbook site.yml
python3 -m tests.lab boot destroy mine
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t

from tests.lab.booted import lab as labs
from tests.lab.booted import logs, plan, requirements, rootfs
from tests.lab.booted.lab import Lab
from tests.lab.booted.plan import Places
from tests.lab.holder import LabError
from tests.lab.syscalls import CLONE_NEWNET, setns

_BAD_USAGE = 3
_FAILED = 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_BAD_USAGE, f"{self.prog}: {message}\n")


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    options = _parser().parse_args(arguments)
    reason = requirements.obstacle()
    if reason is not None:
        print(f"no booted nodes here: {reason}", file=sys.stderr)
        return _FAILED
    try:
        return int(options.function(options) or 0)
    except (LabError, subprocess.SubprocessError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python3 -m tests.lab boot", description="Hosts with systemd and sshd in a private world.")
    actions = parser.add_subparsers(dest="action", required=True, parser_class=_Parser)

    def add(name: str, function: t.Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(function=function)
        return action

    create = add("create", _create, "make a lab and wait until its nodes answer SSH")
    create.add_argument("lab")
    create.add_argument(
        "--node", action="append", default=[], metavar="NAME=RELEASE[+PACKAGE...]", help="a node; repeatable"
    )
    create.add_argument("--nodes", type=int, metavar="N", help="node1 to nodeN, over which the releases take turns")
    create.add_argument("--releases", default=",".join(rootfs.RELEASES), help="for --nodes: default %(default)s")
    create.add_argument("--json", action="store_true", help="describe the lab as JSON")

    show = add("list", _list, "show the labs and their nodes")
    show.add_argument("lab", nargs="?")
    show.add_argument("--json", action="store_true")

    run = add("run", _run, "run a command of this machine in the network of the lab's controller, or another host's")
    run.add_argument("lab")
    run.add_argument("--host", default="controller", help="controller, internet, segment, management or a node")
    run.add_argument("command", nargs="+")

    enter = add("enter", _enter, "run a shell, or a command, inside a node as root")
    enter.add_argument("lab")
    enter.add_argument("node")
    enter.add_argument("command", nargs="*")

    for name, function, text in (
        ("reboot", _reboot, "reboot nodes, by default all, and wait until they answer SSH"),
        ("poweroff", _poweroff, "power nodes off, by default all"),
        ("start", _start, "start nodes that are off, by default all, and wait until they answer SSH"),
        ("logs", _logs, "write journals and the state of networks beside the consoles, and tell where"),
    ):
        action = add(name, function, text)
        action.add_argument("lab")
        action.add_argument("nodes", nargs="*", metavar="node")
        if name == "poweroff":
            action.add_argument("--now", action="store_true", help="as if their power was cut")

    seen = add("seen", _seen, "tell whom the internet host has seen, as JSON")
    seen.add_argument("lab")
    destroy = add("destroy", _destroy, "take labs away, whatever state they are in; their logs stay")
    destroy.add_argument("labs", nargs="*", metavar="lab")
    destroy.add_argument("--all", action="store_true")
    roots = add("rootfs", _rootfs, "make root file systems ahead of their use")
    roots.add_argument("releases", nargs="*", metavar="release[+package...]")
    return parser


def _create(options: argparse.Namespace) -> None:
    began = time.monotonic()
    made = Lab.create(options.lab, _nodes(options), outlives=True, tell=_tell)
    if options.json:
        print(json.dumps(made.describe(), indent=2))
        return
    _show(made)
    print(f"\nready in {time.monotonic() - began:.1f} s. To use it:")
    print(f"    ssh -F {made.places.ssh_config} {next(iter(made.nodes))}")
    print(f"    ansible-playbook -i {made.places.inventory} site.yml")


def _nodes(options: argparse.Namespace) -> dict[str, str]:
    if bool(options.node) == (options.nodes is not None):
        raise LabError("say which nodes by either --node or --nodes")
    if options.nodes is not None:
        return plan.spread(options.nodes, options.releases.split(","))
    nodes: dict[str, str] = {}
    for text in options.node:
        name, _separator, release = text.partition("=")
        if name in nodes:
            raise LabError(f"there are two nodes {name!r}")
        nodes[name] = release or rootfs.RELEASES[-1]
    return nodes


def _list(options: argparse.Namespace) -> None:
    names = [options.lab] if options.lab else labs.names()
    if options.json:
        print(json.dumps([Lab(Places(name)).describe() for name in names], indent=2))
        return
    for name in names:
        # One that was made in part is shown as well.
        if options.lab or Places(name).plan.exists():
            _show(Lab(Places(name)))
        else:
            print(f"{name}: made in part, to be destroyed")


def _show(lab: Lab) -> None:
    described = lab.describe()
    print(f"{described['name']}: supervisor {described['supervisor'] or 'gone'}, {lab.places.directory}")
    for node in described["nodes"]:
        addresses = f"{node['address']:15} {node['uplink_address']:15} {node['uplink_address6']}"
        print(f"    {node['name']:16} {node['release']:10} {node['state']:8} {addresses}")


def _run(options: argparse.Namespace) -> t.NoReturn:
    lab = Lab(Places(options.lab))
    setns(lab.network(options.host), CLONE_NEWNET)
    os.execvpe(options.command[0], options.command, {**os.environ, **lab.environment()})


def _enter(options: argparse.Namespace) -> t.NoReturn:
    argv = Lab(Places(options.lab)).inside(options.node, options.command or ["bash", "-l"])
    os.execvp(argv[0], argv)


def _reboot(options: argparse.Namespace) -> None:
    Lab(Places(options.lab)).reboot(*options.nodes)


def _poweroff(options: argparse.Namespace) -> None:
    Lab(Places(options.lab)).poweroff(*options.nodes, now=options.now)


def _start(options: argparse.Namespace) -> None:
    Lab(Places(options.lab)).start(*options.nodes)


def _logs(options: argparse.Namespace) -> None:
    print(logs.collect(Lab(Places(options.lab)), options.nodes))


def _seen(options: argparse.Namespace) -> None:
    print(json.dumps([entry._asdict() for entry in Lab(Places(options.lab)).seen()]))


def _destroy(options: argparse.Namespace) -> None:
    if bool(options.labs) == options.all:
        raise LabError("say which labs to destroy, or --all")
    for name in options.labs or labs.names():
        # What it logged is of use later, if it is there.
        with contextlib.suppress(LabError, OSError):
            logs.collect(Lab(Places(name)))
        if not labs.destroy(name):
            _tell(f"there is nothing of a lab {name!r}")


def _rootfs(options: argparse.Namespace) -> None:
    for path in rootfs.ensure(options.releases or rootfs.RELEASES, _tell).values():
        print(path)


def _tell(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)
