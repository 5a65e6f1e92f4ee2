"""Networks built and removed in a node: by the modules one after the other, as the role does, or as one request."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine import inventory
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import HOST, Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import Result, run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import HostView, module_options
from tests.lab import probe
from tests.lab.node import Node
from tests.lab.syscalls import CLONE_NEWNET, setns
from tests.unit.asking import Options, all_of

# In which the role runs the modules.
ORDER = ("netns", "linux_bridge", "veth", "ns_route", "nat_masquerade", "sysctl_forward")
PUBLIC = {"ipv4": probe.TARGETS[4], "ipv6": probe.TARGETS[6]}


def ask(module: str, *requests: Options, check: bool = False) -> Result:
    """One run of a module, with its options at the top level or, if they are several, as config."""

    def wanted(observer: t.Any) -> Want:
        uplinks = observer.ra_uplinks(HOST) if module == "sysctl_forward" else ()
        return all_of(*((module, request) for request in requests), uplinks=uplinks)

    return run(wanted, check=check)


def build(networks: t.Sequence[Options], absent: bool = False, check: bool = False) -> list[str]:
    """Run the modules one after the other, as the role does, and return what they did."""
    info = inventory.inventory(("namespaces", "links", "uplinks"))
    options = module_options(list(networks), HostView.from_info(info), absent=absent)
    actions = []
    for module in ORDER:
        if options[module]:
            actions += ask(module, *options[module], check=check).actions
    return actions


def build_at_once(networks: t.Sequence[Options], absent: bool = False, check: bool = False) -> list[str]:
    """Run the module egress_path, and return what it did."""
    state = "absent" if absent else "present"

    def wanted(observer: t.Any) -> Want:
        return path.wanted({"networks": list(networks), "state": state}, observer)

    return run(wanted, check=check).actions


@contextlib.contextmanager
def inside(namespace: str) -> t.Iterator[None]:
    """The calling thread is in a named namespace while the block runs."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(handle, CLONE_NEWNET)
        finally:
            os.close(handle)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def seen_from(namespace: str, target: str, protocol: str = "tcp", timeout: float = 1.0) -> str:
    """Whom the internet saw when a namespace asked it, or in words why there was no answer."""
    with inside(namespace):
        try:
            return str(probe.probe(protocol, target, timeout=timeout).client)
        except OSError as error:
            return str(error)


def unreachable_from(node: Node, *namespaces: str, families: t.Sequence[str] = ("ipv4", "ipv6")) -> list[str]:
    """One line for each namespace and family whose packets do not come back translated to the node's address."""
    wanted = {"ipv4": node.address, "ipv6": node.address6}

    def ask_all() -> list[str]:
        found = [(name, family, seen_from(name, PUBLIC[family])) for name in namespaces for family in families]
        return [f"{name} {family}: {client}" for name, family, client in found if client != wanted[family]]

    return node.call(ask_all)
