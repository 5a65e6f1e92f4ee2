"""Services in namespaces that tell whom they saw, and clients all around them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from tests.lab import probe
from tests.lab.node import Node
from tests.lab.settling import inside

SERVICE = Path(__file__).resolve().parents[1] / "lab/internet.py"


@contextlib.contextmanager
def serving(node: Node, namespace: str, *addresses: str) -> t.Iterator[None]:
    """The who service of the lab on port 7070 of addresses in a namespace of a node, "" for the node itself."""
    argv = [sys.executable, "-I", "-S", str(SERVICE), *addresses]
    where = ["ip", "netns", "exec", namespace] if namespace else []
    with node.popen([*where, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/") as service:
        assert service.stdout is not None
        assert service.stdin is not None
        assert service.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            service.stdin.close()


def who(target: str, port: int, protocol: str = "tcp", namespace: str = "", patience: float = 4.0) -> tuple[str, str]:
    """(client, server) as the service saw them, or why there was no answer; asked until patience, in seconds, ends."""
    ask = probe.tcp if protocol == "tcp" else probe.udp
    give_up = time.monotonic() + patience
    with inside(namespace) if namespace else contextlib.nullcontext():
        while True:
            try:
                reply = ask(target, port=port, timeout=max(0.05, min(1.0, give_up - time.monotonic())))
            except OSError as error:  # noqa: PERF203 (a network takes longer)
                if time.monotonic() + 0.05 > give_up:
                    return (str(error), "")
                time.sleep(0.02)
            else:
                return (str(reply.client), reply.server)


def answered(found: tuple[str, str]) -> bool:
    return found[1] != ""
