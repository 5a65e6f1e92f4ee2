# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line. Exit codes: 0 ok, 1 broken, 2 degraded or unknown, 3 bad usage, 4 it failed itself.

Each command imports what it needs, as no other needs it and the time for it may be longer than that of its work.
"""

from __future__ import annotations

import argparse
import sys
import typing as t

from ..errors import EgressError, SpecError
from ..kernel import message_classes
from ..model import NETWORK_FILES
from . import NAME, VERSION, metrics
from .output import Output

OK, BROKEN, DOUBTFUL, USAGE, FAILED = range(5)
INTERRUPTED = 130  # as a shell reports SIGINT
_EXIT_CODES = """\
exit codes:
  0  ok: packets reach the target and come back
  1  broken; with apply --check, something differs
  2  degraded or unknown
  3  bad usage: the command line or a file of networks is wrong
  4  it failed itself: without root, or without pyroute2"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        """argparse would end with 2, which says something else here."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(argv: t.Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    errors = Output(sys.stderr, last=True)
    try:
        arguments = _parser().parse_args(argv)
        _require_pyroute2()
        return int(arguments.run(arguments, Output(sys.stdout)))
    except SpecError as error:
        errors.line(f"{NAME}: {error}", "bad")
        return USAGE
    except EgressError as error:
        errors.line(f"{NAME}: {error}", "bad")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 (Python's own exit code, 1, would say that a path is broken)
        import traceback

        for line in traceback.format_exc().splitlines():
            errors.line(line)
        return FAILED


def _require_pyroute2() -> None:
    oldest = ".".join(map(str, message_classes.OLDEST))
    advice = f"Install the package python3-pyroute2, {oldest} or later, for {sys.executable}"
    try:
        version = message_classes.version()
    except ImportError as error:
        raise EgressError("start", "pyroute2 is missing", advice) from error
    if message_classes.too_old(version):
        raise EgressError("start", f"pyroute2 {version} is too old", advice)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=NAME,
        description="Build, check and follow the path of packets from network namespaces to the internet.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="apply|check|import|show|trace|watch", required=True)
    _add_apply(commands)
    _add_check(commands)
    _add_import(commands)
    _add_show(commands)
    _add_trace(commands)
    _add_watch(commands)
    return parser


def _add_apply(commands: t.Any) -> None:
    text = f"Build the networks of the files below {NETWORK_FILES}, as they were."
    command = commands.add_parser("apply", help="build what is missing or differs", description=text)
    command.add_argument("network", nargs="*", help="its name; default: all")
    command.add_argument("--check", action="store_true", help="change nothing, and exit with 1 if something differs")
    command.add_argument(
        "--only",
        metavar="NAMESPACE",
        action="append",
        help="of its namespaces, look at this one alone; may be given again",
    )
    text = "do what may cut the way to this host as well, unless an SSH session is open; for units, and on a console"
    command.add_argument("--at-boot", action="store_true", help=text)
    _add_json(command)
    command.set_defaults(run=_apply)


def _add_check(commands: t.Any) -> None:
    text = "Say for each namespace and family at which hop packets stop, and why."
    command = commands.add_parser("check", help="name the hop at which packets stop", description=text)
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--networks",
        metavar="FILE",
        help=f"networks as JSON, - for the standard input; default: the files below {NETWORK_FILES}",
    )
    what.add_argument("--netns", metavar="NAME", action="append", default=[], help="a namespace; may be given again")
    _add_pid(what)
    what.add_argument("--all", action="store_true", help="every namespace of the host, whoever made it")
    command.add_argument(
        "--target",
        metavar="T",
        action="append",
        default=[],
        help="where to send packets, such as 198.51.100.80, tcp://198.51.100.80:443 or udp://[2001:db8::1]:53;"
        " may be given again; default: the gateway of the uplink",
    )
    command.add_argument("--no-probe", action="store_true", help="send nothing")
    _add_json(command)
    command.set_defaults(run=_check)


def _add_import(commands: t.Any) -> None:
    text = "Describe the namespaces behind bridges, whoever made them, as networks in the form of egress_networks."
    command = commands.add_parser("import", help="describe what is there as networks", description=text)
    _add_json(command)
    command.set_defaults(run=_import)


def _add_show(commands: t.Any) -> None:
    text = "Show namespaces, links, routes, translation and leftovers of the host."
    command = commands.add_parser("show", help="show what is there", description=text)
    command.add_argument("section", nargs="*", help="such as links or routes; default: all")
    _add_json(command)
    command.set_defaults(run=_show)


def _add_trace(commands: t.Any) -> None:
    text = "Send one packet, and show on which links it and its answer are seen."
    command = commands.add_parser("trace", help="follow one packet", description=text)
    where = command.add_mutually_exclusive_group()
    where.add_argument("--netns", metavar="NAME", help="a namespace by its name; default: that of the host")
    _add_pid(where)
    command.add_argument("target", metavar="TARGET", help="such as 198.51.100.80 or tcp://198.51.100.80:443")
    command.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, default=1.0, help="for an answer, 0.1 to 60; default: 1"
    )
    _add_json(command)
    command.set_defaults(run=_trace)


def _add_watch(commands: t.Any) -> None:
    text = f"Look once at the networks of the files below {NETWORK_FILES}: a timer calls this again and again."
    command = commands.add_parser("watch", help="tell what differs, or put it right", description=text)
    command.add_argument("--repair", action="store_true", help="put right what differs")
    command.add_argument("--no-probe", action="store_true", help="send nothing")
    command.add_argument(
        "--metrics",
        metavar="FILE",
        help=f"metrics for node_exporter's textfile collector; default: {metrics.PATH} where its directory is",
    )
    command.set_defaults(run=_watch)


def _add_pid(group: t.Any) -> None:
    group.add_argument("--pid", type=_pid, help="the namespace that a process lives in")


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON document")


def _pid(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:10]) < 1 << 22 or len(text) > 7:
        raise argparse.ArgumentTypeError(f"{text!r} is no process number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 60")
    return value


def _apply(arguments: argparse.Namespace, output: Output) -> int:
    from . import applying

    errors = Output(sys.stderr, last=True)
    options = (arguments.json, arguments.only, arguments.at_boot)
    return applying.apply(arguments.network, arguments.check, output, errors, *options)


def _watch(arguments: argparse.Namespace, output: Output) -> int:
    from . import watching

    errors = Output(sys.stderr, last=True)
    return watching.watch(arguments.repair, not arguments.no_probe, arguments.metrics, output, errors)


def _check(arguments: argparse.Namespace, output: Output) -> int:
    from ..diagnosis import targets
    from ..repair import drift
    from . import tracing, verdicts

    asked = targets.parsed(arguments.target, "--target")
    names = [tracing.place(name, None) for name in arguments.netns]
    pids = [arguments.pid] if arguments.pid is not None and tracing.place(None, arguments.pid) else []
    found = drift.checked(
        [] if names or pids else _networks(arguments),
        asked,
        not arguments.no_probe,
        names=names,
        pids=pids,
        everything=arguments.all,
    )
    if arguments.json:
        output.json({"verdicts": found})
    else:
        verdicts.show(found, output)
    return verdicts.exit_code(found)


def _networks(arguments: argparse.Namespace) -> list[t.Any]:
    from . import networks

    if arguments.networks is not None:
        return networks.read(arguments.networks)
    found = networks.installed()
    if not found and not arguments.all:
        raise SpecError("check", f"there is no network below {NETWORK_FILES}", "try --all, or --networks FILE")
    return found


def _import(arguments: argparse.Namespace, output: Output) -> int:
    from ..description import description, written

    found = description.description()
    if arguments.json:
        output.json(found)
        return OK
    for line in written.as_yaml(found["egress_networks"], found["notes"]).splitlines():
        output.line(line, "faint" if line.startswith("#") else "")
    return OK


def _show(arguments: argparse.Namespace, output: Output) -> int:
    from .. import inventory
    from . import tables

    for section in arguments.section:
        if section not in inventory.SECTIONS:
            raise SpecError("show", f"there is no section {section!r}", f"there are {', '.join(inventory.SECTIONS)}")
    found = inventory.inventory(arguments.section or inventory.SECTIONS)
    if arguments.json:
        output.json(found)
    else:
        tables.show(found, output)
    return OK


def _trace(arguments: argparse.Namespace, output: Output) -> int:
    from ..diagnosis import targets
    from . import tracing

    (target,) = targets.parsed([arguments.target], "TARGET")
    netns = tracing.place(arguments.netns, arguments.pid)
    return tracing.trace(netns, target, arguments.wait, output, arguments.json)
