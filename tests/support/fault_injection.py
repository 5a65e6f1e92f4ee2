"""Operations of the kernel that a run asks for, counted, and one of them made to fail."""

from __future__ import annotations

import os
import signal
import subprocess
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError, KernelError
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import files, mounts, nft, sysctls
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.netlink import (
    Answer,
    Message,
    NetlinkSocket,
)

_GET = 2  # of four kinds of messages of rtnetlink(7): NEW, DEL, GET, SET
_RTM_BASE = 16


class Operations:
    """Counts what changes something, and lets the one of a number fail with an errno, as the kernel would.

    kills: this process is killed there instead, and none that it forks.
    """

    def __init__(self, fails: int = -1, code: int = 0, kills: bool = False) -> None:
        self.count = 0
        self.name = ""
        self.names: list[str] = []
        self._fails = fails
        self._code = code
        self._victim = os.getpid() if kills else 0

    def _is_due(self, name: str) -> bool:
        self.count += 1
        self.names.append(name)
        if self.count - 1 == self._fails:
            self.name = name
            if os.getpid() == self._victim:
                os.kill(self._victim, signal.SIGKILL)
            return not self._victim
        return False

    def watch(self) -> None:
        """For as long as the process lives: it is one of its own."""
        self._watch_netlink()
        self._watch_nft()
        # A thread can always return to a namespace that it holds.
        self._watch_errors(mounts, "call", lambda _asked, name, *_rest: name != "setns")
        self._watch_errors(sysctls, "write")
        self._watch_errors(files, "write")
        self._watch_errors(files, "delete")

    def _watch_errors(self, module: t.Any, name: str, may_fail: t.Callable[..., bool] = lambda *_all: True) -> None:
        function = getattr(module, name)

        def watched(*arguments: t.Any, **options: t.Any) -> t.Any:
            if may_fail(*arguments) and self._is_due(f"{module.__name__.rpartition('.')[2]}.{name}"):
                raise KernelError("do what was asked", os.strerror(self._code), self._code)
            return function(*arguments, **options)

        setattr(module, name, watched)

    def _watch_netlink(self) -> None:
        exchange, transaction = NetlinkSocket._exchange, NetlinkSocket.transaction

        def watched(socket: NetlinkSocket, messages: t.Sequence[Message]) -> list[Answer]:
            refused = {
                number
                for number, message in enumerate(messages)
                if (message.type - _RTM_BASE) % 4 != _GET and self._is_due(f"netlink {message.type}")
            }
            sent = [message for number, message in enumerate(messages) if number not in refused]
            answers = iter(exchange(socket, sent) if sent else [])
            # The kernel works off all others.
            return [Answer(self._code, "") if number in refused else next(answers) for number in range(len(messages))]

        def watched_as_one(socket: NetlinkSocket, subsystem: int, messages: t.Sequence[Message], *rest: int) -> t.Any:
            if self._is_due(f"netfilter {subsystem}"):
                return [Answer(self._code, "") for _message in messages]
            return transaction(socket, subsystem, messages, *rest)

        NetlinkSocket._exchange = watched  # type: ignore[method-assign, assignment]
        NetlinkSocket.transaction = watched_as_one  # type: ignore[method-assign, assignment]

    def _watch_nft(self) -> None:
        run = nft.run

        def watched(*arguments: t.Any, **options: t.Any) -> subprocess.CompletedProcess[str]:
            commands = options.get("commands") or (arguments[4] if len(arguments) > 4 else ())
            if any("list" not in command for command in commands) and self._is_due("nft"):
                words = f"Error: Could not process rule: {os.strerror(self._code)}"
                return subprocess.CompletedProcess([], 1, "", words)
            return run(*arguments, **options)

        nft.run = watched


def operations_of(action: t.Callable[[], object]) -> list[str]:
    """The operations of a run in which none fails, in their order. Runs it, in this process."""
    counted = Operations()
    counted.watch()
    action()
    return counted.names


def failing(action: t.Callable[[], object], number: int, code: int) -> tuple[str, str, bool]:
    """(operation, error, whether all was put back) of a run in which one fails; no error where it was none."""
    failed = Operations(number, code)
    failed.watch()
    try:
        action()
    except EgressError as error:
        return failed.name, f"{type(error).__name__}: {error}", getattr(error, "rolled_back", True)
    return failed.name, "", True
