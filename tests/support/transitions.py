"""Two states of a node, and the ways between them."""

from __future__ import annotations

import functools
import re
import time
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import path
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.union import union

from tests.lab.node import Node
from tests.lab.settling import await_link_event
from tests.lab.snapshot import Snapshot, difference
from tests.support.spec_questions import Options, all_of


def network(name: str, subnet: str, *numbers: int, addresses: int = 3, **rest: t.Any) -> Options:
    """Without IPv6, where each run would wait for duplicate address detection."""
    namespaces = [
        {
            "name": f"c{number}",
            "addresses": [f"{subnet}.{20 * number + host}/24" for host in range(addresses)],
            "dns": {"servers": [f"{subnet}.1"]},
            "bandwidth": "100mbit",
        }
        for number in numbers
    ]
    return {"name": name, "subnets": [f"{subnet}.0/24"], "rp_filter": 2, "namespaces": namespaces, **rest}


PODS = network("pods", "10.22.33", 1, 2, publish=[{"port": 8080, "to": "c1:80"}])
OTHER_PODS = network("pods", "10.22.34", 2, 3, mtu=1400, bridge="br9", publish=[{"port": 8081, "to": "c2:80"}])
ROUTES = [{"dest": f"10.77.{number}.0/24", "type": "blackhole", "table": 77} for number in range(48)]
# Networks and routes of the host.
State = tuple[list[Options], list[Options]]
EMPTY: State = ([], [])


def put_theirs(node: Node) -> None:
    """What is somebody else's."""
    node.run(["sh", "-ec", "ip link add theirs0 type veth peer name theirs1; ip netns add theirs"])
    node.run(["nft", "add table inet theirs; add chain inet theirs f { type filter hook forward priority 0; }"])


# What the kernel does in its own time, and numbers that depend on what was there before.
_OWN = (
    r'"(designated_port|id|no)": ("0x)?\w+"?',
    r'(, )?"(LOWER_UP|NO-CARRIER)"',
    r'(, )?\{"family": "inet6", "local": "fe80[^}]*\}',
)


def state(node: Node) -> Snapshot:
    """In one order: chains and sets that were written again are listed behind others."""
    found = {title: text for title, text in node.snapshot().items() if not title.endswith("routes ipv6")}
    for title in [title for title in found if title.endswith(("links", "addresses", "nftables"))]:
        text = functools.reduce(lambda text, pattern: re.sub(pattern, "", text), _OWN, found[title])
        found[title] = "\n".join(sorted(text.splitlines()))
    # A journal that could not be deleted is for the next run.
    found["files"] = "\n".join(line for line in found["files"].splitlines() if "/run/netpath" not in line)
    return found


def without_notes(taken: Snapshot) -> Snapshot:
    """What is written last may have more than the next run needs, which puts that right."""
    lines = [line for line in taken["files"].splitlines() if "/var/lib/netpath" not in line]
    return {**taken, "files": "\n".join(lines)}


def bring_about(wanted: State) -> None:
    """These of all networks and routes of the tests, and no others."""
    networks, routes = wanted
    asked = {"networks": networks or [{"name": "pods", "state": "absent"}], "state": "present"}
    gone = [{**route, "state": "absent"} for route in ROUTES if route not in routes]

    def want(observer: t.Any) -> Want:
        along = [("routes", all_of(*(("ns_route", route) for route in (*routes, *gone))))]
        return union([("networks", path.wanted(asked, observer)), *along])

    run(want)


# On a busy machine the kernel may take away the links of a namespace many seconds after its last handle.
_PATIENCE = 120.0


class Way:
    """From one state of a node to another."""

    def __init__(self, node: Node, there: State, asked: State) -> None:
        self.node = node
        self.action = functools.partial(bring_about, asked)
        self.back = functools.partial(bring_about, there)
        node.call(self.back)
        self.before = state(node)
        node.call(self.action)
        self.wanted = state(node)

    def finish(self, number: int) -> None:
        """The next run brings about what was wanted."""
        self.node.call(self.action)
        self.check(number)

    def check(self, number: int) -> None:
        """It is there in full. A namespace whose last handle is gone takes its links along in the kernel's own time."""
        give_up = time.monotonic() + _PATIENCE
        while (left := difference(self.wanted, state(self.node))) and time.monotonic() < give_up:
            self.node.call(await_link_event, 1.0)
        assert not left, (number, left)
