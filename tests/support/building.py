"""Networks built and removed in a node: by the modules one after the other, as the role does, or as one request."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import EgressError
from ansible_collections.netpath.egress.plugins.module_utils._engine.inventory import read_sections
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.namespaces import Namespaces
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.result import Result
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import module_options
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView

from tests.lab import probe
from tests.lab.node import Node
from tests.lab.settling import inside
from tests.support.spec_questions import Options, all_of

# In which the role runs the modules.
ORDER = ("netns", "linux_bridge", "veth", "ns_route", "nat_masquerade", "forward_accept", "sysctl_forward")
PUBLIC = {"ipv4": probe.TARGETS[4], "ipv6": probe.TARGETS[6]}


def ask(module: str, *requests: Options, check: bool = False) -> Result:
    """One run of a module, with its options at the top level or, if they are several, as config."""

    def wanted(observer: t.Any) -> Want:
        return all_of(*((module, request) for request in requests), host=observer)

    return run(wanted, check=check)


def build(networks: t.Sequence[Options], absent: bool = False, check: bool = False) -> list[str]:
    """Run the modules one after the other, as the role does, and return what they did."""
    with Namespaces() as namespaces:
        # What the role learns from egress_info; that lists the namespaces of all processes of this machine as well.
        info = read_sections(
            namespaces, ("namespaces", "links", "uplinks", "routes", "resolvers", "restricted"), anonymous=False
        )
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


def restrictions(namespaces: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """The lines of a run that restricts the ports of namespaces to these addresses, as without_macs gives them."""
    return [
        f"restrict what np-{name} sends to MAC with {', '.join(addresses)}" for name, addresses in namespaces.items()
    ]


def without_macs(lines: t.Sequence[str]) -> list[str]:
    """They depend on the name of the host."""
    return [re.sub(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b", "MAC", line) for line in lines]


def families_of(*namespaces: str) -> list[str]:
    """Each namespace with each family, as unreachable_from says them."""
    return [f"{namespace} {family}" for namespace in namespaces for family in PUBLIC]


def seen_from(namespace: str, target: str, patience: float = 4.0) -> str:
    """Whom the internet saw when a namespace asked it, or in words why there was no answer.

    Asked again until patience, in seconds, ends: a neighbour that did not answer is given up for good only then.
    """
    give_up = time.monotonic() + patience
    with inside(namespace):
        while True:
            try:
                return str(probe.tcp(target, timeout=max(0.05, min(1.0, give_up - time.monotonic()))).client)
            except OSError as error:  # noqa: PERF203 (a network takes longer)
                if time.monotonic() + 0.05 > give_up:
                    return str(error)
                time.sleep(0.02)


def unreachable_from(
    node: Node, *namespaces: str, broken: t.Collection[str] = (), families: t.Sequence[str] = tuple(PUBLIC)
) -> list[str]:
    """The namespaces and families whose packets do not come back translated to the node's address.

    broken: those that are expected to be among them, for which nobody waits long.
    """
    wanted = {"ipv4": node.address, "ipv6": node.address6}

    def ask_all() -> list[str]:
        asked = [(namespace, family) for namespace in namespaces for family in families]
        with ThreadPoolExecutor(len(asked)) as threads:
            seen = threads.map(
                lambda pair: seen_from(pair[0], PUBLIC[pair[1]], 0.25 if " ".join(pair) in broken else 10.0), asked
            )
            return [f"{name} {family}" for (name, family), who in zip(asked, seen) if who != wanted[family]]

    return node.call(ask_all)


_THREAD = """
import ctypes, os, sys, threading

def live() -> None:
    handle = os.open("/run/netns/" + sys.argv[1], os.O_RDONLY)
    assert ctypes.CDLL(None).setns(handle, 0x40000000) == 0
    os.close(handle)
    print(threading.get_native_id(), flush=True)
    sys.stdin.read()

threading.Thread(target=live).start()
"""


@contextlib.contextmanager
def thread_in(node: Node, namespace: str) -> t.Iterator[int]:
    """A thread in a named namespace of the node, whose process is in that of the node; its TID."""
    pipes: dict[str, t.Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with node.popen([sys.executable, "-c", _THREAD, namespace], **pipes) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("")


@dataclass(frozen=True)
class Refusal:
    """An error of the engine as a user sees it."""

    kind: str
    asked: str
    found: str
    advice: str
    text: str
    rolled_back: bool | None


def refusal(node: Node, function: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> Refusal:
    """The error that a function ends with in the node."""

    def fail() -> Refusal:
        try:
            result = function(*args, **kwargs)
        except EgressError as error:
            back = getattr(error, "rolled_back", None)
            return Refusal(type(error).__name__, error.asked, error.found, error.advice, str(error), back)
        raise AssertionError(f"it did not fail: {result}")

    return node.call(fail)
