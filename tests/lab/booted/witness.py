"""What a node can tell: what changed in its network, whom the internet sees from it, and which connections live on.

Every booted node has it as the command `witness`. It needs root and the standard library alone.
Exit code 0 if all is as asked for, 1 if not, 3 for a wrong command line.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import signal
import socket
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import internet, probe, settling, snapshot
from tests.lab.syscalls import CLONE_NEWNET, setns

PROTOCOLS = ("tcp", "udp", "icmp", "dns")
_NAMED = Path("/run/netns")
_OWN = "."  # the network namespace of the caller
_HELD, _SERVED = Path("/run/witness/held"), Path("/run/witness/served")
_PAUSE = 0.2
_PATIENCE = 15.0  # seconds without an answer after which a connection counts as broken


def _enter(namespace: str) -> None:
    """Move the calling thread into a named namespace."""
    descriptor = os.open(_NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _reach(options: argparse.Namespace) -> list[str]:
    """Ask from namespaces; each has to be seen as an address of each family that is given."""
    asked = [
        (namespace, protocol, expected)
        for namespace in options.namespaces or [_OWN]
        for expected in options.seen_as
        for protocol in options.protocols.split(",")
    ]
    with ThreadPoolExecutor(max_workers=8) as threads:
        return [problem for problem in threads.map(lambda question: _wrong(*question), asked) if problem]


def _wrong(namespace: str, protocol: str, expected: str) -> str:
    target = probe.TARGETS[6 if ":" in expected else 4]
    return _seen_otherwise(namespace, f"{protocol} to {target}", expected, lambda: probe.probe(protocol, target))


def _published(options: argparse.Namespace) -> list[str]:
    """Ask a port over TCP; whoever serves there has to see the address that is given."""
    asked = f"port {options.port} of {options.target}"
    problem = _seen_otherwise(options.namespace, asked, options.seen_as, lambda: _of_port(options))
    return [problem] if problem else []


def _of_port(options: argparse.Namespace) -> probe.Reply:
    """Ask until somebody serves, who may have been started just now."""
    deadline = time.monotonic() + options.patience
    while True:
        try:
            return probe.tcp(options.target, port=options.port)
        except ConnectionRefusedError:  # noqa: PERF203 (a network takes longer)
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _seen_otherwise(namespace: str, asked: str, expected: str, ask: t.Callable[[], probe.Reply]) -> str:
    try:
        if namespace != _OWN:
            _enter(namespace)
        reply = ask()
    except OSError as error:
        return f"{namespace}: {asked}: {error}"
    # An echo does not tell whom the other side saw.
    if reply.protocol != "icmp" and reply.client != expected:
        return f"{namespace}: {asked}: seen as {reply.client}, not as {expected}"
    return ""


def _named(options: argparse.Namespace) -> list[str]:
    """Compare the named namespaces with those that shall be there."""
    there = {entry.name for entry in _NAMED.iterdir()} if _NAMED.is_dir() else set()
    wanted = set(options.namespaces)
    problems = [f"{name}: there is no such namespace" for name in sorted(wanted - there)]
    return problems + [f"{name}: this namespace should not be there" for name in sorted(there - wanted)]


def _snapshot(options: argparse.Namespace) -> list[str]:
    settling.await_links()
    Path(options.file).write_text(json.dumps(snapshot.collect()), encoding="utf-8")
    return []


def _compare(options: argparse.Namespace) -> list[str]:
    before = json.loads(Path(options.file).read_text(encoding="utf-8"))
    states = [_without(options.without, state) for state in (before, snapshot.collect())]
    return snapshot.difference(*states).splitlines()


def _without(pattern: str, state: snapshot.Snapshot) -> snapshot.Snapshot:
    """Leave out lines in which a pattern is found, if there is one."""
    if not pattern:
        return state
    return {
        title: "\n".join(line for line in text.splitlines() if not re.search(pattern, line))
        for title, text in state.items()
    }


def _hold(options: argparse.Namespace) -> list[str]:
    """Open a connection that a process in the background keeps in use."""
    return _in_background(options, functools.partial(_keep_in_use, _file(_HELD, options), options))


def _serve(options: argparse.Namespace) -> list[str]:
    """Have a process in the background tell clients whom it sees."""
    return _in_background(options, functools.partial(_tell_clients, _file(_SERVED, options), options))


def _file(folder: Path, options: argparse.Namespace) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / str(options.name)


def _in_background(options: argparse.Namespace, work: t.Callable[[int], None]) -> list[str]:
    """Start a process that works in a namespace, and go on once it closes the pipe that it is given."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            os.close(reader)
            if options.namespace is not None:
                _enter(options.namespace)
            work(writer)
        except OSError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        problem = stream.read()
    return [f"{options.name}: {problem}"] if problem else []


def _detach(writer: int) -> None:
    """Let go of what the process was started with, and have it go on."""
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    os.close(writer)


def _tell_clients(file: Path, options: argparse.Namespace, writer: int) -> None:
    service = internet.Service((), options.addresses)
    _write(file, {"pid": os.getpid()})
    _detach(writer)
    # The service ends with its standard input, and this one has no end.
    control, _never_closed = os.pipe()
    os.dup2(control, 0)
    service.run()


def _keep_in_use(file: Path, options: argparse.Namespace, writer: int) -> None:
    target = (probe.TARGETS[options.family], probe.WHO_PORT)
    with socket.create_connection(target, timeout=_PATIENCE) as connection:
        stream = connection.makefile("r", encoding="ascii")
        seen = json.loads(stream.readline())
        state = {
            "pid": os.getpid(),
            "namespace": options.namespace,
            "own": connection.getsockname()[:2],
            "seen": [seen["client"], seen["port"]],
            "answers": 1,
            "longest": 0.0,
            "problem": "",
        }
        _write(file, state)
        _detach(writer)
        while not state["problem"]:
            began = time.monotonic()
            state["problem"] = _next_problem(connection, stream, seen)
            state["longest"] = round(max(state["longest"], time.monotonic() - began), 3)
            state["answers"] += 1
            _write(file, state)
            time.sleep(_PAUSE)


def _next_problem(connection: socket.socket, stream: t.TextIO, seen: t.Mapping[str, t.Any]) -> str:
    try:
        connection.sendall(b"\n")
        line = stream.readline()
    except OSError as error:
        return str(error)
    if not line:
        return "the other side closed it"
    return "" if json.loads(line) == seen else f"the other side now says {line.strip()}"


def _write(file: Path, state: t.Mapping[str, t.Any]) -> None:
    part = file.with_name(f".{file.name}")
    part.write_text(json.dumps(state), encoding="ascii")
    part.replace(file)


def _held(options: argparse.Namespace) -> list[str]:
    """Check that every connection that is held is in use, and that those of the node itself are not translated."""
    problems = []
    files = _files(_HELD)
    for file in files:
        state = _state_after_an_answer(file)
        if state["problem"]:
            problems.append(f"{file.name}: broken after {state['answers']} answers: {state['problem']}")
        if state["longest"] > options.longest:
            problems.append(f"{file.name}: an answer took {state['longest']} s")
        if state["namespace"] is None and state["own"] != state["seen"]:
            problems.append(f"{file.name}: {state['own']} of the node is seen as {state['seen']}")
    return problems if files else ["no connection is held"]


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if not file.name.startswith(".")]


def _state_after_an_answer(file: Path) -> dict[str, t.Any]:
    state: dict[str, t.Any] = json.loads(file.read_text(encoding="ascii"))
    answers, deadline = state["answers"], time.monotonic() + _PATIENCE + 1
    while state["answers"] == answers and not state["problem"]:
        if time.monotonic() > deadline:
            return {**state, "problem": "its process does not use it any more"}
        time.sleep(_PAUSE / 4)
        state = json.loads(file.read_text(encoding="ascii"))
    return state


def _release(options: argparse.Namespace) -> list[str]:
    """End connections that are held and services, by default all."""
    files = [*_files(_HELD), *_files(_SERVED)]
    problems = [f"{name}: there is nothing of that name" for name in set(options.names) - {file.name for file in files}]
    for file in (file for file in files if not options.names or file.name in options.names):
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(file.read_text(encoding="ascii"))["pid"], signal.SIGTERM)
        file.unlink()
    return sorted(problems)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> t.NoReturn:
        self.print_usage(sys.stderr)
        self.exit(3, f"{self.prog}: {message}\n")


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do what the command line says, and print what is wrong."""
    parser = _Parser(prog="witness", description="Tell about the network of this node.")
    actions = parser.add_subparsers(dest="action", required=True, parser_class=_Parser)

    def add(name: str, function: t.Callable[[argparse.Namespace], list[str]], text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(function=function)
        return action

    add("snapshot", _snapshot, "write the state of the network into a file").add_argument("file")
    comparing = add("compare", _compare, "tell what differs from such a file")
    comparing.add_argument("--without", default="", metavar="PATTERN", help="leave out lines in which it is found")
    comparing.add_argument("file")
    add("named", _named, "check which named namespaces there are").add_argument("namespaces", nargs="*")

    asking = add("reach", _reach, "check that the internet host is reached from namespaces, and whom it sees")
    asking.add_argument("--as", dest="seen_as", action="append", required=True, metavar="ADDRESS")
    asking.add_argument("--protocols", default=",".join(PROTOCOLS), help="default %(default)s")
    asking.add_argument("namespaces", nargs="*", help="by default that of the caller")

    publishing = add("published", _published, "check that a port is served, and whom its service sees")
    publishing.add_argument("--as", dest="seen_as", required=True, metavar="ADDRESS")
    publishing.add_argument("--namespace", default=_OWN, help="where to ask from, by default that of the caller")
    publishing.add_argument("--patience", type=float, default=5.0, help="seconds for its start, default %(default)s")
    publishing.add_argument("target", metavar="address")
    publishing.add_argument("port", type=int)

    holding = add("hold", _hold, "open a connection that is kept in use until it is released")
    holding.add_argument("--family", type=int, choices=(4, 6), default=4)
    serving = add("serve", _serve, f"tell clients on port {probe.WHO_PORT} whom it sees, until it is released")
    for action in (holding, serving):
        action.add_argument("--namespace", help="by default that of the node itself")
        action.add_argument("name")
    serving.add_argument("addresses", nargs="+", metavar="address")

    checking = add("held", _held, "check the connections that are held")
    checking.add_argument("--longest", type=float, default=3.0, help="seconds for an answer, default %(default)s")
    releasing = add("release", _release, "end connections that are held and services, by default all")
    releasing.add_argument("names", nargs="*", metavar="name")

    options = parser.parse_args(arguments)
    problems = options.function(options)
    print("\n".join(problems), end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
