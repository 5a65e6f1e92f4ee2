"""A light node: namespaces that commands and Python functions run in."""

from __future__ import annotations

import gc
import os
import pickle
import selectors
import signal
import subprocess
import sys
import time
import traceback
import typing as t
from pathlib import Path

from tests.lab import settling, snapshot
from tests.lab.holder import LabError
from tests.lab.syscalls import die_with

if t.TYPE_CHECKING:
    from typing_extensions import Self

    from tests.lab.holder import Holder

Result = t.TypeVar("Result")

COMMAND_TIMEOUT = 60.0
CALL_TIMEOUT = 120.0
_LENGTH = 8


class CommandFailed(subprocess.CalledProcessError):
    """A command in a node failed; the message has what it wrote."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout or ''}{self.stderr or ''}".rstrip()


class ChildTracebackError(Exception):
    """The traceback, as text, of an exception that was raised in a node's child process."""


class Node:
    """A host of the lab."""

    def __init__(self, name: str, holder: Holder, uplink: str = "", address: str = "", address6: str = "") -> None:
        self.name = name
        self.uplink = uplink
        self.address = address
        self.address6 = address6
        self._holder = holder

    def __repr__(self) -> str:
        return f"<Node {self.name} pid={self.pid} {self.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The PID of the process that holds the namespaces."""
        return self._holder.pid

    @property
    def open(self) -> bool:
        """Whether the node is there: not closed, and made by this process."""
        return self._holder.open

    def close(self) -> None:
        """Kill what runs in the node and take it away."""
        self._holder.close()

    def popen(self, argv: t.Sequence[str], **options: t.Any) -> subprocess.Popen[str]:
        """Start a command in the node; options are those of `subprocess.Popen`."""
        options.setdefault("text", True)
        return subprocess.Popen(argv, preexec_fn=self._entrance(options), **options)  # noqa: PLW1509 (system calls alone)

    def run(
        self,
        argv: t.Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,  # noqa: A002 (as in subprocess)
        timeout: float = COMMAND_TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node and return its output."""
        options: dict[str, t.Any] = {} if input is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            argv,
            preexec_fn=self._entrance({}),
            input=input,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        if check and done.returncode != 0:
            raise CommandFailed(done.returncode, list(argv), done.stdout, done.stderr)
        return done

    def namespace_run(
        self, namespace: str, argv: t.Sequence[str], **options: t.Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a named namespace of the node; options are those of `run`."""
        return self.run(["ip", "netns", "exec", namespace, *argv], **options)

    def call(self, function: t.Callable[..., Result], *args: t.Any, **kwargs: t.Any) -> Result:
        """Run a function in a forked child inside the node and return its pickled result.

        An exception is raised here again, with the child's traceback as its cause. What the
        function changes in the memory of the process is lost.
        """
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or the child would write the same text again
        holder, parent, directory = self._opened(), os.getpid(), str(Path.cwd())
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _run_child(parent, holder, directory, writer, lambda: function(*args, **kwargs))
        os.close(writer)
        name = getattr(function, "__name__", repr(function))
        try:
            succeeded, value = pickle.loads(_receive(reader, pid, f"{name} in {self.name}"))
        finally:
            os.close(reader)
            os.waitpid(pid, 0)
        if succeeded:
            return t.cast("Result", value)
        error, text = value
        raise error from ChildTracebackError(f"\n{text}")

    def snapshot(self) -> snapshot.Snapshot:
        """Describe the network state of the node and of its named namespaces, as text, once all of it has settled."""
        self.call(settling.await_links)
        return self.call(snapshot.collect)

    def _entrance(self, options: t.Mapping[str, t.Any]) -> t.Callable[[], None]:
        holder = self._opened()
        directory = str(options.get("cwd") or Path.cwd())
        return lambda: holder.enter(directory)

    def _opened(self) -> Holder:
        # The numbers of closed descriptors may by now belong to other namespaces.
        if not self._holder.open:
            raise LabError(f"{self.name} is closed")
        return self._holder


def _run_child(
    parent: int,
    holder: Holder,
    directory: str,
    writer: int,
    function: t.Callable[[], t.Any],
) -> t.NoReturn:
    status = 1
    try:
        try:
            die_with(parent)
            # It ends soon, and to look at all of the parent's memory would copy it.
            gc.disable()
            holder.enter(directory)
            message = pickle.dumps((True, function()))
        except BaseException as error:  # noqa: BLE001 (the parent raises it)
            message = _pickled_error(error)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with os.fdopen(writer, "wb") as stream_out:
            stream_out.write(len(message).to_bytes(_LENGTH, "big") + message)
        status = 0
    finally:
        # Without the exit handlers of the program, which belong to the parent.
        os._exit(status)


def _pickled_error(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        message = pickle.dumps((False, (error, text)))
        pickle.loads(message)  # many exceptions fail only here
    except Exception:  # noqa: BLE001 (whatever a foreign class raises)
        stand_in = RuntimeError(f"{type(error).__name__}: {error}")
        message = pickle.dumps((False, (stand_in, text)))
    return message


def _receive(reader: int, pid: int, what: str) -> bytes:
    """Read one message that its length precedes: a grandchild may keep the pipe open."""
    deadline = time.monotonic() + CALL_TIMEOUT
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while len(received) < _LENGTH or len(received) < _LENGTH + _announced(received):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                os.kill(pid, signal.SIGKILL)
                raise TimeoutError(f"{what} did not end in {CALL_TIMEOUT:g} s")
            data = os.read(reader, 1 << 16)
            if not data:
                raise ChildProcessError(f"{what} ended without a result")
            received += data
    return bytes(received[_LENGTH:])


def _announced(received: bytearray) -> int:
    return int.from_bytes(received[:_LENGTH], "big")
