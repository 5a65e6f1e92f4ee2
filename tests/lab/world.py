"""A private world: an internet host and nodes on one segment, with no route out of it.

    with World(nodes=2) as world:
        world.nodes[0].run(["ping", "-c1", "198.51.100.80"])
        print(world.internet.seen())

All of it lives in namespaces of its own, so the machine's own network is neither used nor
changed, and all of it ends with the process that made it.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from tests.lab import holder
from tests.lab.holder import LabError
from tests.lab.internet import Seen
from tests.lab.node import Node

if t.TYPE_CHECKING:
    from typing_extensions import Self

    from tests.lab.holder import Holder

__all__ = ["Internet", "LabError", "Node", "Seen", "World"]

GATEWAY, GATEWAY6 = "198.18.0.1", "2001:db8:18::1"
PUBLIC = ("198.51.100.80", "203.0.113.80", "2001:db8:51::80")
PREFIX, PREFIX6 = 16, 64
MTU = 1500
UPLINK = "uplink0"
_BRIDGE = "wire0"
_FIRST = 10
_MOST = 9989  # the number in the IPv6 address is written in four decimal digits
_SERVICE = Path(__file__).resolve().parent / "internet.py"

# A kernel may be booted without IPv6; its hosts have IPv4 alone.
_HAS_IPV6 = Path("/proc/net/if_inet6").exists()

# The kernel's own defaults: a new namespace may inherit the values of the machine.
DEFAULTS = {
    "ipv4/ip_forward": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/forwarding": "0",
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
}
_SEGMENT_SETTINGS = {"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1"}
# Detection of duplicates would leave the link-local address unusable for a second.
_UPLINK_SETTINGS = {f"ipv6/conf/{UPLINK}/accept_dad": "0"}


class Internet(Node):
    """The internet host: it has the public addresses and reports whom it saw."""

    addresses = PUBLIC

    def __init__(self, held: Holder) -> None:
        super().__init__("internet", held, UPLINK, GATEWAY, GATEWAY6)
        self._service: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the service and wait until it listens."""
        argv = [sys.executable, "-I", "-S", str(_SERVICE), *_possible(PUBLIC)]
        argv += [part for address in _possible([self.address, self.address6]) for part in ("--also", address)]
        pipe = subprocess.PIPE
        self._service = self.popen(argv, stdin=pipe, stdout=pipe, cwd="/")
        if self._ask("").strip() != "ready":
            raise LabError("the service of the internet host did not start")

    def seen(self) -> list[Seen]:
        """Everyone seen so far, in order, over tcp, udp, dns and icmp (echo requests)."""
        return [Seen(*entry) for entry in json.loads(self._ask("seen\n"))]

    def close(self) -> None:
        """Stop the service and take the host away."""
        if not self.open:
            return
        super().close()
        if self._service is not None:
            with self._service:  # which closes the pipes and waits
                self._service.kill()
            self._service = None

    def _ask(self, question: str) -> str:
        if self._service is None or self._service.stdin is None or self._service.stdout is None:
            raise LabError("the service of the internet host does not run")
        self._service.stdin.write(question)
        self._service.stdin.flush()
        return self._service.stdout.readline()


class World:
    """A context manager that makes the world and takes it away."""

    def __init__(self, nodes: int = 1, *, internet: bool = True) -> None:
        self._nodes: list[Node] = []
        self._wanted = nodes
        self._with_internet = internet
        self._made = 0
        self._internet: Internet | None = None
        self._segment: Node | None = None

    def __enter__(self) -> Self:
        try:
            if self._with_internet:
                self._internet = self._make_internet()
            for _node in range(self._wanted):
                self.add_node()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def nodes(self) -> list[Node]:
        """The nodes that are not closed, in the order of their making."""
        return [node for node in self._nodes if node.open]

    @property
    def internet(self) -> Internet:
        """The internet host."""
        if self._internet is None:
            raise LabError("this world has no internet host")
        return self._internet

    @property
    def segment(self) -> Node:
        """The wire between the uplinks, a bridge without addresses: a place for captures."""
        if self._segment is None:
            self._segment = _make_segment()
        return self._segment

    def add_node(self, *, uplink: bool = True) -> Node:
        """Make another node; without an uplink it has its loopback alone."""
        if self._made == _MOST:
            raise LabError(f"a world has {_MOST} nodes at most, over all its time")
        self._made += 1
        node = self._start_node(f"node{self._made}", uplink)
        try:
            if uplink:
                routes = [f"route add default via {gateway}" for gateway in (GATEWAY, GATEWAY6)]
                _connect(self.segment, node, routes)
            else:
                node.run(["sh", "-ec", f"{write_settings(DEFAULTS)}ip link set lo up"])
        except BaseException:
            node.close()
            raise
        self._nodes = [*self.nodes, node]
        return node

    def _start_node(self, name: str, uplink: bool) -> Node:
        if not uplink:
            return Node(name, holder.start(name))
        return Node(name, holder.start(name, f"nameserver {PUBLIC[0]}\n"), UPLINK, *uplink_addresses(self._made))

    def close(self) -> None:
        """Take everything away; what is already gone is not an error."""
        for node in (*self._nodes, self._internet, self._segment):
            if node is not None:
                node.close()
        self._nodes.clear()
        self._internet = self._segment = None

    def _make_internet(self) -> Internet:
        internet = Internet(holder.start("internet"))
        try:
            # No default route: a private source that arrives untranslated gets no reply.
            addresses = [f"address add {address} dev lo {_nodad(address)}" for address in PUBLIC]
            _connect(self.segment, internet, addresses)
            internet.start()
        except BaseException:
            internet.close()
            raise
        return internet


def uplink_addresses(number: int) -> tuple[str, str]:
    """Return the IPv4 and the IPv6 address of the node with a number, which starts at 1."""
    return str(ipaddress.IPv4Address("198.18.0.0") + _FIRST + number), f"2001:db8:18::{_FIRST + number}"


def wire(segment: Node, node: Node, interface: str, *, port: str = "", mac: str = "") -> None:
    """Give a node an interface on the segment, down and without addresses."""
    peer = f"peer name {interface} mtu {MTU} netns {node.pid} {f'address {mac}' if mac else ''}"
    link = f"link add {port or node.name} mtu {MTU} master {_BRIDGE} up type veth {peer}"
    segment.run(["ip", *link.split()])


def unwire(segment: Node, port: str) -> None:
    """Take an interface away at once: the kernel does so only some time after the end of its node."""
    segment.run(["ip", "link", "delete", port], check=False)


def _make_segment() -> Node:
    segment = Node("segment", holder.start("segment"))
    # The machine may filter bridged frames; multicast snooping would need a querier.
    bridge = f"ip link add {_BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    up = f"ip link set {_BRIDGE} mtu {MTU} up"
    segment.run(["sh", "-ec", f"{write_settings(_SEGMENT_SETTINGS)}{bridge}\n{up}"])
    return segment


def _connect(segment: Node, node: Node, then: t.Sequence[str]) -> None:
    """Give a node its uplink on the segment, addresses and what else `ip` is to set."""
    wire(segment, node, UPLINK)
    batch = [
        "link set lo up",
        f"link set {UPLINK} up",
        f"address add {node.address}/{PREFIX} dev {UPLINK}",
        f"address add {node.address6}/{PREFIX6} dev {UPLINK} nodad",
        *then,
    ]
    settings = write_settings({**DEFAULTS, **_UPLINK_SETTINGS})
    node.run(["sh", "-ec", f"{settings}ip -batch -"], input="\n".join(_possible(batch)) + "\n")
    segment.call(_await_forwarding, node.name)


def _await_forwarding(port: str, patience: float = 20.0) -> None:
    """Wait until the bridge forwards for a port: the kernel notices a new carrier later."""
    deadline = time.monotonic() + patience
    state = Path(f"/sys/class/net/{port}/brport/state")
    while True:
        if state.read_text(encoding="ascii").strip() == "3":
            return
        if time.monotonic() > deadline:
            raise LabError(f"the segment does not forward for {port}")
        time.sleep(0.0005)


def write_settings(settings: t.Mapping[str, str]) -> str:
    """Return shell commands that write values below /proc/sys/net."""
    possible = {key: value for key, value in settings.items() if _HAS_IPV6 or not key.startswith("ipv6/")}
    return "".join(f"echo {value} > /proc/sys/net/{key}\n" for key, value in possible.items())


def _possible(words: t.Sequence[str]) -> list[str]:
    """Those of addresses, or of commands with them, that this kernel can have."""
    return [word for word in words if _HAS_IPV6 or ":" not in word]


def _nodad(address: str) -> str:
    return "nodad" if ":" in address else ""
