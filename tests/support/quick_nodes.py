"""Nodes in which nothing waits for duplicate address detection, and networks for them."""

from __future__ import annotations

import contextlib
import typing as t

from tests.lab.node import Node
from tests.lab.world import World
from tests.support.spec_questions import Options

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", {"name": "c2", "dns": {"servers": ["198.51.100.80"], "search": ["lab"]}}],
}
# Without IPv6 nothing waits for duplicate address detection.
PODS4: Options = {**PODS, "subnets": ["10.22.33.0/24"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"], "nat": {"mode": "masquerade"}}


@contextlib.contextmanager
def new_node(world: World) -> t.Iterator[Node]:
    with world.add_node() as node:
        node.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
        yield node
