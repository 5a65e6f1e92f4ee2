"""Lines of shell run in a node, up to the first that fails."""

from __future__ import annotations

from tests.lab.node import Node


def script(node: Node, *lines: str) -> None:
    node.run(["sh", "-ec", "\n".join(lines)])
