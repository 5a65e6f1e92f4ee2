"""One booted node, as its supervisor sees it: namespaces, wires, a file system, and systemd-nspawn in them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import typing as t
from pathlib import Path

from tests.lab import holder, world
from tests.lab.booted import cgroup
from tests.lab.booted.plan import MANAGEMENT, UPLINK, NodePlan, Places
from tests.lab.holder import LabError
from tests.lab.node import Node
from tests.lab.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount

_MERGED = "/run/merged"  # in the /run of the node's own mount namespace
_CGROUPS = "/sys/fs/cgroup"
_REBOOTED = 133
# systemd's own: `systemctl poweroff` and `systemctl reboot` with less to go wrong.
_SIGNALS = {"poweroff": signal.SIGRTMIN + 4, "reboot": signal.SIGRTMIN + 5}
_ENTER_GROUP = 'mkdir -p "$1"; echo 0 >"$1/cgroup.procs"; shift; exec "$@"'
_NSPAWN = (
    *("systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--settings=no", f"--directory={_MERGED}"),
    # The network is the namespace that nspawn itself runs in, so it does not give the right to configure it by itself.
    # Limits may be raised as on a host.
    "--capability=CAP_NET_ADMIN,CAP_SYS_RESOURCE",
    # What Docker needs beyond the defaults.
    "--system-call-filter=@keyring bpf",
    *("--console=read-only", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
)
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",  # /proc/sys/net, and nothing else of the machine's
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
}


class Machine:
    """A node that can be started, and ends or is started again when its systemd wants so."""

    def __init__(self, places: Places, plan: NodePlan, segments: t.Mapping[str, Node]) -> None:
        self.plan = plan
        self.state = "off"
        self.boots = 0
        self.status: int | None = None
        self._places = places
        self._segments = segments
        self._node: Node | None = None
        self._nspawn: subprocess.Popen[str] | None = None

    @property
    def node(self) -> Node:
        """The namespaces around the node's systemd."""
        if self._node is None:
            raise LabError(f"{self.plan.name} is {self.state}")
        return self._node

    def start(self) -> int:
        """Start the node in a new network namespace; return a descriptor that is readable when it ends."""
        if self._nspawn is not None:
            raise LabError(f"{self.plan.name} is running already")
        self._node = Node(self.plan.name, holder.start(self.plan.name))
        try:
            self._connect(self._node)
            self._node.call(_mount_all, self._places.node(self.plan.name), self.plan.rootfs)
            self._nspawn = self._spawn(self._node)
        except BaseException:
            self.close()
            raise
        self.state, self.status, self.boots = "running", None, self.boots + 1
        return os.pidfd_open(self._nspawn.pid)

    def ended(self) -> bool:
        """Take away what an ended node leaves; return whether it wants to be started again."""
        status = self._nspawn.wait() if self._nspawn is not None else 0
        self.close()
        self.status = status
        # A kill is what a power cut is; any other status comes from a node that did not boot.
        self.state = "off" if status in {0, _REBOOTED, -signal.SIGKILL} else "failed"
        return status == _REBOOTED

    def ask(self, action: str) -> None:
        """Have the node's systemd power off or reboot."""
        leader = self._leader()
        if leader is None:
            raise LabError(f"{self.plan.name} is {self.state}")
        os.kill(leader, _SIGNALS[action])

    def kill(self) -> None:
        """End the node at once, as if its power was cut."""
        if self._nspawn is not None:
            self._nspawn.kill()

    def close(self) -> None:
        """Take the node's namespaces away, with all that is in them."""
        if self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()
            self._nspawn = None
        if self._node is not None:
            self._node.close()
            self._node = None
            for interface, segment in self._segments.items():
                world.unwire(segment, self.plan.port(interface))
            cgroup.remove(self._group())
        self.state = "off"

    def _connect(self, node: Node) -> None:
        node.run(["sh", "-ec", world.write_settings(world.DEFAULTS)])
        for interface in (UPLINK, MANAGEMENT):
            port, mac = self.plan.port(interface), self.plan.mac(interface)
            world.wire(self._segments[interface], node, interface, port=port, mac=mac)

    def _spawn(self, node: Node) -> subprocess.Popen[str]:
        group = f"{_CGROUPS}/{self._places.cgroup}/{self.plan.name}"
        argv = [*_NSPAWN, f"--machine={self.plan.name}", f"--hostname={self.plan.name}"]
        folder = self._places.log(self.plan.name)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "console.log").open("ab") as console:
            return node.popen(
                ["sh", "-ec", _ENTER_GROUP, "sh", group, *argv],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    def _leader(self) -> int | None:
        """Find the node's PID 1."""
        return next(iter(cgroup.first_processes(self._group())), None)

    def _group(self) -> Path:
        return cgroup.path(self._places.cgroup) / self.plan.name


def _mount_all(folder: Path, rootfs: str) -> None:
    """Mount what nspawn needs, in the mount namespace of the node."""
    mount("cgroup2", _CGROUPS, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    Path(_MERGED).mkdir()
    # Without waiting for the disk, as a lab does not survive a crash of the machine. The kernel remembers that, and
    # would refuse the work folder at the next start.
    shutil.rmtree(folder / "work/work/incompat", ignore_errors=True)
    layers = {"lowerdir": rootfs, "upperdir": f"{folder}/upper", "workdir": f"{folder}/work"}
    options = ",".join(f"{name}={_escaped(path)}" for name, path in layers.items())
    mount("overlay", _MERGED, "overlay", 0, f"{options},volatile")
    # nspawn leaves folders there when killed. Last, as the layers may be below it.
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def _escaped(path: str) -> str:
    for special in ("\\", ":", ","):
        path = path.replace(special, "\\" + special)
    return path
