"""A process that does not end in a namespace, so that the namespace cannot be removed."""

from __future__ import annotations

import contextlib
import subprocess
import typing as t

from tests.lab.node import Node


@contextlib.contextmanager
def inhabited(node: Node, namespace: str) -> t.Iterator[None]:
    """While a process lives in it."""
    process = node.popen(["ip", "netns", "exec", namespace, "sleep", "600"], stdin=subprocess.DEVNULL)
    try:
        node.run(["sh", "-ec", f"until ip netns pids {namespace} | grep -q .; do :; done"])
        yield
    finally:
        process.kill()
        process.wait()
