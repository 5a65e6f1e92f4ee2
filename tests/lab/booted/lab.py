"""A lab of booted nodes, for tests and commands: made by one process, used and destroyed by any other.

It ends with the process that made it, also where that is killed, unless it is to outlive it.

lab = Lab.create("mine", {"web": "bookworm", "db": "trixie"})
lab.ssh("web", ["sudo", "systemctl", "is-system-running"])
print(lab.seen())
lab.destroy()
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shlex
import shutil
import subprocess
import sys
import time
import typing as t

from tests.lab import world
from tests.lab.booted import cgroup, connect, plan, provision, requirements, rootfs
from tests.lab.booted.plan import ROOT, NodePlan, Places
from tests.lab.holder import LabError
from tests.lab.internet import Seen
from tests.lab.node import CommandFailed
from tests.lab.syscalls import die_with

if t.TYPE_CHECKING:
    from typing_extensions import Self

BOOT_TIMEOUT = 120.0
COMMAND_TIMEOUT = 120.0
_LOCK_TIMEOUT = 10.0
_LAST_LINES = 30
_ROOM_TIMEOUT = 300.0  # seconds in which labs of other runs may end


class Status(t.NamedTuple):
    """What became of a node: running, off or failed; how often it was started; how nspawn ended."""

    state: str
    boots: int
    status: int | None


class Lab:
    """A lab that exists, whole or in part."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.nodes: dict[str, NodePlan] = {node.name: node for node in plan.read(places)}

    @classmethod
    def create(
        cls,
        name: str,
        nodes: t.Mapping[str, str],
        *,
        wait: bool = True,
        started: int | None = None,
        outlives: bool = False,
        tell: t.Callable[[str], None] | None = None,
    ) -> Self:
        """Make a lab from names and releases, and wait until every node answers SSH.

        A lab whose nodes do not come up stays for a look at it, until it is destroyed. started: how many of the nodes
        are, so that the others can follow in batches; all if not told. outlives: whether it goes on when this process
        has ended.
        """
        places = Places(name)
        places.base.mkdir(parents=True, exist_ok=True)
        roots = rootfs.ensure(nodes.values(), tell or (lambda _line: None))
        plans = plan.make(nodes, roots)
        _await_room(len(plans) if started is None else started, tell or (lambda _line: None))
        with _locked(places):
            if places.directory.exists():
                raise LabError(f"there is a lab {name!r} already; destroy it first")
            shutil.rmtree(places.logs, ignore_errors=True)
            places.directory.mkdir(mode=0o755)
            plan.write(places, plans)
            try:
                provision.write(places, plans)
                _launch(places, len(plans) if started is None else started, outlives)
            except BaseException:
                _destroy(places)
                raise
        lab = cls(places)
        if wait:
            lab.wait(*list(nodes)[:started])
        return lab

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.destroy()

    def describe(self) -> dict[str, t.Any]:
        """Return all that users of the lab need, ready for JSON."""
        places = self.places
        try:
            status = self.status()
        except LabError:
            status = {}
        nodes = []
        for node in self.nodes.values():
            known = status.get(node.name, Status("gone", 0, None))
            nodes.append({**node.describe(), "state": known.state, "boots": known.boots})
        return {
            "name": places.name,
            "directory": str(places.directory),
            "inventory": str(places.inventory),
            "ssh_config": str(places.ssh_config),
            "ssh_key": str(places.key),
            "known_hosts": str(places.known_hosts),
            "user": plan.USER,
            "logs": str(places.logs),
            "supervisor": self.supervisor(),
            "controller": plan.CONTROLLER,
            "internet": list(world.PUBLIC),
            "nodes": nodes,
        }

    def environment(self) -> dict[str, str]:
        """Return what a command needs in its environment to use the lab."""
        return {"LAB_INVENTORY": str(self.places.inventory), "LAB_SSH_CONFIG": str(self.places.ssh_config)}

    def supervisor(self) -> int | None:
        """Return the process with which all of the lab ends."""
        found = cgroup.first_processes(cgroup.path(self.places.cgroup) / "world")
        return found[0] if found else None

    def leader(self, node: str) -> int:
        """Return the PID, outside of the node, of the node's systemd."""
        found = cgroup.first_processes(cgroup.path(self.places.cgroup) / self._known(node))
        if not found:
            raise LabError(f"{node} does not run")
        return found[0]

    def status(self) -> dict[str, Status]:
        """Ask what became of the nodes."""
        return {name: Status(**values) for name, values in self._ask({"action": "status"})[0].items()}

    def seen(self) -> list[Seen]:
        """Everyone whom the internet host has seen so far, in order."""
        return [Seen(*entry) for entry in self._ask({"action": "seen"})[0]["seen"]]

    def network(self, host: str = "controller") -> int:
        """Return a descriptor of a network namespace: controller, internet, segment, management or a node's."""
        return self._ask({"action": "network", "host": host})[1][0]

    def inside(self, node: str, argv: t.Sequence[str]) -> list[str]:
        """Return the command that runs a command inside a node as root, without SSH."""
        names = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        clean = ["env", "-i", "HOME=/root", f"TERM={os.environ.get('TERM', 'dumb')}", "LANG=C.UTF-8"]
        clean.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        return ["nsenter", "--target", str(self.leader(node)), *names, "--wd=/root", "--", *clean, *argv]

    def ssh(
        self, node: str, argv: t.Sequence[str], *, check: bool = True, timeout: float = COMMAND_TIMEOUT
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a node over SSH, as the user `ansible`."""
        command = ["ssh", "-F", str(self.places.ssh_config), "-o", "BatchMode=yes", self._known(node), shlex.join(argv)]
        quiet = subprocess.DEVNULL
        done = subprocess.run(command, stdin=quiet, capture_output=True, text=True, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise CommandFailed(done.returncode, list(argv), done.stdout, done.stderr)
        return done

    def start(self, *nodes: str, wait: bool = True) -> None:
        """Start nodes that are off, by default all."""
        for node in self._chosen(nodes):
            self._ask({"action": "start", "node": node})
        if wait:
            self.wait(*nodes)

    def reboot(self, *nodes: str, timeout: float = BOOT_TIMEOUT) -> None:
        """Reboot nodes, by default all, and wait until they answer SSH again."""
        before = self.status()
        for node in self._chosen(nodes):
            self._ask({"action": "reboot", "node": node})
        for node in self._chosen(nodes):
            self._await(node, functools.partial(_was_started_after, before[node]), "reboot", timeout)
        self.wait(*nodes, timeout=timeout)

    def poweroff(self, *nodes: str, now: bool = False, timeout: float = BOOT_TIMEOUT) -> None:
        """Power nodes off, by default all; with `now` as if their power was cut."""
        for node in self._chosen(nodes):
            self._ask({"action": "kill" if now else "poweroff", "node": node})
        for node in self._chosen(nodes):
            self._await(node, _ended, "power off", timeout)

    def wait(self, *nodes: str, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait until nodes, by default all, answer SSH."""
        deadline = time.monotonic() + timeout
        for node in self._chosen(nodes):
            while True:
                status = self.status()[node]
                if status.state != "running":
                    raise LabError(self._epitaph(node, f"is {status.state} (nspawn ended with {status.status})"))
                if self._answers(node):
                    break
                if time.monotonic() > deadline:
                    raise LabError(self._epitaph(node, f"does not answer SSH after {timeout:.0f} s"))
                time.sleep(0.1)

    def destroy(self) -> None:
        """Take the lab away, whatever state it is in."""
        destroy(self.places.name)

    def _answers(self, node: str) -> bool:
        try:
            return self.ssh(node, ["true"], check=False, timeout=15).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _await(self, node: str, reached: t.Callable[[Status], bool], what: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not reached(status := self.status()[node]):
            if status.state == "failed" or time.monotonic() > deadline:
                raise LabError(self._epitaph(node, f"did not {what}"))
            time.sleep(0.05)

    def _epitaph(self, node: str, problem: str) -> str:
        console = self.places.log(node) / "console.log"
        lines = console.read_text(encoding="utf-8", errors="replace").splitlines() if console.exists() else []
        end = [line for line in lines if line.strip()][-_LAST_LINES:]
        return "\n    ".join([f"{node} {problem}; its console ends:", *end, f"(all of it is in {console})"])

    def _chosen(self, nodes: t.Sequence[str]) -> list[str]:
        return [self._known(node) for node in nodes] or list(self.nodes)

    def _known(self, node: str) -> str:
        if node not in self.nodes:
            raise LabError(f"lab {self.places.name!r} has no node {node!r}, but {', '.join(self.nodes)}")
        return node

    def _ask(self, message: dict[str, object]) -> tuple[dict[str, t.Any], list[int]]:
        try:
            answer, descriptors = connect.request(str(self.places.control), message, timeout=60)
        except OSError as error:
            reason = f"the supervisor of lab {self.places.name!r} does not answer ({error}): destroy it"
            raise LabError(reason) from error
        if "error" in answer:
            raise LabError(str(answer["error"]))
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return answer, descriptors


def _was_started_after(before: Status, now: Status) -> bool:
    return now.boots > before.boots


def _ended(now: Status) -> bool:
    return now.state != "running"


def names() -> list[str]:
    """Return the names of the labs that there are, also of those made in part."""
    base = Places("any").base
    return sorted(entry.name for entry in base.iterdir() if entry.is_dir()) if base.is_dir() else []


def destroy(name: str) -> bool:
    """Take a lab away, whatever state it is in; return whether there was anything of it."""
    places = Places(name)
    if not places.base.is_dir():
        return False
    with _locked(places):
        return _destroy(places)


def _destroy(places: Places) -> bool:
    group = cgroup.path(places.cgroup)
    there = places.directory.exists() or group.exists()
    # The nodes first: their ends of connections close while the network is there to tell the other ends.
    for folder in sorted(group.iterdir()) if group.is_dir() else []:
        if folder.is_dir() and folder.name != "world":
            cgroup.kill(folder)
    cgroup.remove(group)
    if places.directory.exists():
        shutil.rmtree(places.directory)
    return there


def _await_room(nodes: int, tell: t.Callable[[str], None]) -> None:
    """Wait until the kernel lets so many nodes watch their files, besides those of all other labs of this machine."""
    deadline, told = time.monotonic() + _ROOM_TIMEOUT, False
    while (room := requirements.room()) < nodes:
        if time.monotonic() > deadline:
            raise LabError(
                f"{nodes} nodes are asked for, and this machine has room for {room}: after {_ROOM_TIMEOUT:.0f} s root's"
                f" inotify instances are still in use. Destroy other labs, or raise fs.inotify.max_user_instances"
            )
        if not told:
            tell(f"waits for room for {nodes} nodes, as other labs have all but {room}")
            told = True
        time.sleep(1)


def _launch(places: Places, started: int, outlives: bool) -> None:
    group = cgroup.path(places.cgroup) / "world"
    creator = os.getpid()

    def enter() -> None:
        # Until it is in the group, where `destroy` finds it, the process must end with this one.
        die_with(creator)
        cgroup.join(group)

    argv = [sys.executable, "-m", "tests.lab.booted.supervisor", str(places.base), places.name, str(started)]
    with contextlib.ExitStack() as stack:
        owner = [] if outlives else [stack.enter_context(os.fdopen(os.pidfd_open(creator), "rb", 0)).fileno()]
        done = subprocess.run(
            [*argv, *map(str, owner)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            pass_fds=owner,
            preexec_fn=enter,
        )
    if done.returncode != 0:
        raise LabError(f"the lab's world could not be made: {done.stderr.strip()}")


@contextlib.contextmanager
def _locked(places: Places) -> t.Iterator[None]:
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        with places.lock.open("w", encoding="ascii") as file:
            if _lock(file):
                try:
                    yield
                finally:
                    places.lock.unlink()
                return
        if time.monotonic() > deadline:
            raise LabError(f"another process is making or destroying lab {places.name!r}")
        time.sleep(0.05)


def _lock(file: t.TextIO) -> bool:
    """Take a lock that is deleted by who had it: a file that was deleted meanwhile does not count."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), os.stat(file.name))
    except (BlockingIOError, FileNotFoundError):
        return False
