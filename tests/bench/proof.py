"""Whether what was measured has come about: asked of the kernel and of the internet host, when the clock is off."""

from __future__ import annotations

import json
import os
import sys
import time

from tests.bench.cost import FailedError
from tests.lab.node import Node
from tests.lab.probe import __file__ as probe

_TARGET, _GATEWAY = "198.51.100.80", "10.22.0.1"
_NAMES = "/run/netns"
_PATIENCE = 30.0  # seconds: a bridge forwards for a port some time after the port was made


def has(node: Node, count: int) -> None:
    """Fail unless the node has this number of namespaces."""
    there = node.call(_named)
    if there != count:
        raise FailedError(f"there are {there} namespaces, and {count} were asked for")


def reaches_internet(node: Node, namespace: str) -> None:
    """Fail unless a namespace reaches the internet host, which sees the node's own address."""
    argv = [sys.executable, probe, "--json", "--protocol", "tcp", "--target", _TARGET]
    seen = json.loads(_patiently(node, namespace, argv))["client"]
    if seen != node.address:
        raise FailedError(f"the internet saw {namespace} as {seen}, and not as {node.address}")


def reaches_gateway(node: Node, namespace: str) -> None:
    """Fail unless a namespace reaches the bridge."""
    _patiently(node, namespace, ["ping", "-n", "-q", "-c", "1", "-W", "1", _GATEWAY])


def _patiently(node: Node, namespace: str, argv: list[str]) -> str:
    deadline = time.monotonic() + _PATIENCE
    while True:
        tried = node.namespace_run(namespace, argv, check=False)
        if tried.returncode == 0:
            return tried.stdout
        if time.monotonic() > deadline:
            raise FailedError(f"{namespace} gets no answer: {(tried.stdout + tried.stderr).strip()}")
        time.sleep(0.1)


def _named() -> int:
    return len(os.listdir(_NAMES)) if os.path.isdir(_NAMES) else 0
