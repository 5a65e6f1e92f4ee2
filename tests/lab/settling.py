"""Waiting until nothing in a node changes by itself any more, so that snapshots of it compare."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
import typing as t

from tests.lab.snapshot import Snapshot
from tests.lab.syscalls import CLONE_NEWNET, setns

if t.TYPE_CHECKING:
    from tests.lab.node import Node

_COMMAND = ["ip", "-d", "-j", "address", "show"]
_EVENTS = 1 | 0x100  # RTMGRP_LINK, RTMGRP_IPV6_IFADDR


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


def settled(node: Node) -> Snapshot:
    """The state of a node once nothing in it changes by itself."""
    return node.snapshot()


def await_links(patience: float = 20.0) -> None:
    """Wait until the kernel has told all carriers on, and no IPv6 address is still to come or being checked."""
    give_up = time.monotonic() + patience
    for place in ["", *(os.listdir("/run/netns") if os.path.isdir("/run/netns") else [])]:
        # Some handles are no namespaces.
        with contextlib.suppress(OSError), inside(place) if place else contextlib.nullcontext():
            _await_links_here(give_up)


def _await_links_here(give_up: float) -> None:
    """Asked again at each event: the kernel tells all that is awaited (rtnetlink(7))."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as events:
        events.bind((0, _EVENTS))
        while changing_links():
            left = give_up - time.monotonic()
            if left <= 0 or not select.select([events], [], [], left)[0]:
                return
            with contextlib.suppress(OSError):  # there were too many: ask
                while events.recv(1 << 16, socket.MSG_DONTWAIT):
                    pass


def await_link_event(patience: float) -> None:
    """Wait until a link of this namespace changes, comes or goes, for at most so many seconds."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as events:
        events.bind((0, _EVENTS))
        select.select([events], [], [], patience)


def changing_links() -> list[str]:
    """Names of the links of this namespace that are still to change by themselves."""
    return [link["ifname"] for link in _links() if link and _changes(link)]


def _links() -> list[dict[str, t.Any]]:
    shown = subprocess.run(_COMMAND, capture_output=True, text=True, check=False).stdout
    return t.cast("list[dict[str, t.Any]]", json.loads(shown or "[]"))


def _changes(link: dict[str, t.Any]) -> bool:
    up, carrier = ("UP" in link["flags"], "LOWER_UP" in link["flags"])
    if up and link["operstate"] != "UNKNOWN" and (link["operstate"] == "UP") != carrier:
        return True
    if not up or not carrier:
        return False  # an address stays tentative until there is somebody to ask
    addresses = [item for item in link["addr_info"] if item["family"] == "inet6"]
    if any(item.get("tentative") and not item.get("dadfailed") for item in addresses):
        return True
    makes_its_own = link.get("inet6_addr_gen_mode") == "eui64" and link["link_type"] == "ether"
    return makes_its_own and not addresses and _has_ipv6(link["ifname"])


def _has_ipv6(link: str) -> bool:
    try:
        with open(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", encoding="ascii") as file:
            return file.read().strip() == "0"
    except OSError:
        return False
