"""What a lab of booted nodes consists of: its nodes with their addresses, and its places on disk."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import typing as t
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import world
from tests.lab.booted import rootfs
from tests.lab.holder import LabError

ROOT = Path(__file__).resolve().parents[3]
USER = "ansible"
UPLINK, MANAGEMENT = world.UPLINK, "mgmt0"
# Nodes see half of the uplink network as their link, because the other half is for management.
UPLINK_PREFIX, MANAGEMENT_PREFIX = 17, 17
CONTROLLER = "198.18.128.1"
_MANAGEMENT_OFFSET = int(ipaddress.IPv4Address("198.18.128.0")) - int(ipaddress.IPv4Address("198.18.0.0"))
_MOST = 200
_LAB_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_RESERVED = frozenset(["controller", "internet", "segment", "management", "all", "world"])


@dataclass(frozen=True)
class NodePlan:
    """One node; everything but its release follows from its name and number."""

    name: str
    release: str
    number: int
    rootfs: str

    @property
    def address(self) -> str:
        """The address for SSH, in the management network."""
        return str(ipaddress.IPv4Address(self.uplink_address) + _MANAGEMENT_OFFSET)

    @property
    def uplink_address(self) -> str:
        """The IPv4 address that the internet host sees."""
        return world.uplink_addresses(self.number)[0]

    @property
    def uplink_address6(self) -> str:
        """The IPv6 address that the internet host sees."""
        return world.uplink_addresses(self.number)[1]

    def mac(self, interface: str) -> str:
        """Return the MAC, the same after each boot, or others would keep one that is gone."""
        return f"02:18:{int(interface == MANAGEMENT):02x}:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    def port(self, interface: str) -> str:
        """Return the name of the other end of an interface, on its segment."""
        return f"{'mg' if interface == MANAGEMENT else 'up'}{self.number}"

    def describe(self) -> dict[str, t.Any]:
        """Return the facts that users of the lab need."""
        return {
            "name": self.name,
            "release": self.release,
            "address": self.address,
            "management_interface": MANAGEMENT,
            "uplink": UPLINK,
            "uplink_address": self.uplink_address,
            "uplink_address6": self.uplink_address6,
        }


@dataclass(frozen=True)
class Places:
    """Where a lab keeps its files; the logs stay when the rest is destroyed."""

    name: str
    base: Path = ROOT / "build" / "lab"

    def __post_init__(self) -> None:
        if not _LAB_NAME.fullmatch(self.name):
            raise LabError(f"{self.name!r} is no name for a lab: lower-case letters, digits, - and _, 32 at most")

    @property
    def directory(self) -> Path:
        """All of the lab, from its first file to the end of its destruction."""
        return self.base / self.name

    @property
    def lock(self) -> Path:
        """A file that is locked while the lab is made or destroyed."""
        return self.base / f".{self.name}.lock"

    @property
    def logs(self) -> Path:
        """Consoles, journals and states of the nodes."""
        return self.base.parent / "log" / "lab" / self.name

    @property
    def cgroup(self) -> str:
        """The control group that has every process of the lab; another checkout's lab has another one."""
        digest = hashlib.sha256(os.fsencode(self.directory.resolve())).hexdigest()
        return f"netpath-egress-lab-{self.name}-{digest[:8]}"

    @property
    def plan(self) -> Path:
        """The plan, by which other processes know the lab."""
        return self.directory / "plan.json"

    @property
    def control(self) -> Path:
        """The socket on which the supervisor answers."""
        return self.directory / "control"

    @property
    def key(self) -> Path:
        """The private key for SSH."""
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The keys of the nodes."""
        return self.directory / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """The configuration with which ssh finds its way to the nodes."""
        return self.directory / "ssh_config"

    @property
    def inventory(self) -> Path:
        """The inventory for Ansible."""
        return self.directory / "inventory.yml"

    def node(self, name: str) -> Path:
        """Return the folder of one node, which has the layers of its file system."""
        return self.directory / "nodes" / name

    def log(self, name: str) -> Path:
        """Return the folder of the logs of one node."""
        return self.logs / name


def make(nodes: t.Mapping[str, str], roots: t.Mapping[str, Path]) -> list[NodePlan]:
    """Plan nodes, given as a mapping of names to recipes of their root file systems."""
    if not nodes:
        raise LabError("a lab needs a node at least")
    if len(nodes) > _MOST:
        raise LabError(f"a lab has {_MOST} nodes at most, and {len(nodes)} were asked for")
    for name in nodes:
        if not _NODE_NAME.fullmatch(name) or name in _RESERVED:
            raise LabError(f"{name!r} is no name for a node: it must be a host name, not of the lab's own")
    return [
        NodePlan(name, rootfs.release_of(recipe), number, str(roots[recipe]))
        for number, (name, recipe) in enumerate(nodes.items(), 1)
    ]


def spread(count: int, releases: t.Sequence[str] = rootfs.RELEASES) -> dict[str, str]:
    """Return `count` numbered nodes over which the releases take turns."""
    return {f"node{number + 1}": releases[number % len(releases)] for number in range(count)}


def write(places: Places, nodes: t.Sequence[NodePlan]) -> None:
    """Keep the plan for later commands."""
    places.plan.write_text(json.dumps([asdict(node) for node in nodes], indent=1) + "\n", encoding="utf-8")


def read(places: Places) -> list[NodePlan]:
    """Read the plan of a lab that was made, perhaps in part."""
    try:
        return [NodePlan(**node) for node in json.loads(places.plan.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise LabError(f"there is no lab {places.name!r}; `list` shows those that there are") from None
    except ValueError as error:
        raise LabError(f"the plan of lab {places.name!r} cannot be read ({error}): destroy it") from error
