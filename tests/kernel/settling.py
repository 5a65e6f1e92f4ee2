"""Waiting until nothing in a node changes by itself any more, so that snapshots of it compare."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import typing as t

from tests.lab.node import Node
from tests.lab.snapshot import Snapshot
from tests.lab.syscalls import CLONE_NEWNET, setns

_COMMAND = ["ip", "-d", "-j", "address", "show"]


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
    node.call(await_links)
    return node.snapshot()


def await_links(patience: float = 5.0) -> None:
    """Wait until the kernel has told all carriers on, and no IPv6 address is still to come or being checked."""
    give_up = time.monotonic() + patience
    places = ["", *(os.listdir("/run/netns") if os.path.isdir("/run/netns") else [])]
    while places and time.monotonic() < give_up:
        places = [place for place in places if _is_unsettled(place)]


def _is_unsettled(place: str) -> bool:
    try:
        with inside(place) if place else contextlib.nullcontext():
            shown = subprocess.run(_COMMAND, capture_output=True, text=True, check=False).stdout
            return any(_changes(link) for link in json.loads(shown or "[]") if link)
    except OSError:  # a handle that is no namespace
        return False


def _changes(link: dict[str, t.Any]) -> bool:
    up, carrier = ("UP" in link["flags"], "LOWER_UP" in link["flags"])
    if up and link["operstate"] != "UNKNOWN" and (link["operstate"] == "UP") != carrier:
        return True
    addresses = [item for item in link["addr_info"] if item["family"] == "inet6"]
    if any(item.get("tentative") and not item.get("dadfailed") for item in addresses):
        return True
    makes_its_own = link.get("inet6_addr_gen_mode") == "eui64" and link["link_type"] == "ether"
    return up and carrier and makes_its_own and not addresses and _has_ipv6(link["ifname"])


def _has_ipv6(link: str) -> bool:
    try:
        with open(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", encoding="ascii") as file:
            return file.read().strip() == "0"
    except OSError:
        return False
