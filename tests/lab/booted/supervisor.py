"""The process that keeps a lab of booted nodes, and ends all of it when it ends.

    python3 -m tests.lab.booted.supervisor BASE NAME NODES [OWNER]

starts it in the background and returns when its world is made. NODES is how many are started. OWNER is a descriptor of
a process (pidfd_open(2)) with which the lab ends.
It is the first process of a PID namespace, so the kernel ends everything in the lab with it, also after a kill.
It answers on a socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
import traceback
import typing as t
from pathlib import Path

from tests.lab import holder
from tests.lab.booted import cgroup, plan
from tests.lab.booted.machine import Machine
from tests.lab.booted.plan import CONTROLLER, MANAGEMENT, MANAGEMENT_PREFIX, UPLINK, Places
from tests.lab.holder import LabError
from tests.lab.node import Node
from tests.lab.syscalls import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, MS_PRIVATE, MS_REC, mount, setns, unshare
from tests.lab.world import World, wire

_REQUEST_TIMEOUT, _ANSWER_TIMEOUT = 5.0, 30.0


class Supervisor:
    """The world of a lab, its machines, and the answers to requests about them."""

    def __init__(self, places: Places, started: int, owner: int | None) -> None:
        nodes = plan.read(places)
        self._world = World(nodes=0)
        self._management = World(nodes=0, internet=False)
        self._selector = selectors.DefaultSelector()
        self._world.__enter__()
        self._controller = _make_controller(self._management.segment)
        segments = {UPLINK: self._world.segment, MANAGEMENT: self._management.segment}
        self._machines = {node.name: Machine(places, node, segments) for node in nodes}
        self._listener = _listen(places)
        self._selector.register(self._listener, selectors.EVENT_READ)
        if owner is not None:
            self._selector.register(owner, selectors.EVENT_READ)
        for machine in list(self._machines.values())[:started]:
            self._start(machine)

    def run(self) -> None:
        """Serve requests and start nodes again that reboot, until the owner ends or this process is killed."""
        while True:
            for key, _events in self._selector.select():
                if isinstance(key.data, Machine):
                    self._on_end(key)
                elif key.fileobj is self._listener:
                    self._on_request()
                else:
                    return

    def _start(self, machine: Machine) -> None:
        self._selector.register(machine.start(), selectors.EVENT_READ, machine)

    def _on_end(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        os.close(key.fd)
        machine: Machine = key.data
        wants_start = machine.ended()
        # Or attempts to connect would for some time go to a neighbour that is no more, and take longer to fail.
        self._controller.run(["ip", "neighbour", "flush", "to", machine.plan.address], check=False)
        if wants_start:
            try:
                self._start(machine)
            except Exception:  # noqa: BLE001 (the other nodes go on)
                machine.state = "failed"
                traceback.print_exc()

    def _on_request(self) -> None:
        client, _address = self._listener.accept()
        with client:
            descriptors: list[int] = []
            try:
                client.settimeout(_REQUEST_TIMEOUT)
                with client.makefile(encoding="utf-8") as stream:
                    request = json.loads(stream.readline())
                answer = self._answer(request, descriptors)
            except Exception as error:  # noqa: BLE001 (whatever a client sends, the lab goes on)
                answer = {"error": str(error) or repr(error)}
            with contextlib.suppress(OSError):
                client.settimeout(_ANSWER_TIMEOUT)
                socket.send_fds(client, [b" "], descriptors)
                client.sendall(json.dumps(answer).encode())
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, request: t.Mapping[str, t.Any], descriptors: list[int]) -> dict[str, t.Any]:
        action = request["action"]
        if action == "status":
            return {name: _status(machine) for name, machine in self._machines.items()}
        if action == "seen":
            return {"seen": self._world.internet.seen()}
        if action == "socket":
            descriptors.append(self._socket())
            return {}
        if action == "network":
            pid = self._host(request["host"]).pid
            descriptors.append(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            return {}
        self._change(self._machines[request["node"]], action)
        return {}

    def _change(self, machine: Machine, action: str) -> None:
        if action == "start":
            self._start(machine)
        elif action in {"poweroff", "reboot"}:
            machine.ask(action)
        elif action == "kill":
            machine.kill()
        else:
            raise LabError(f"{action} is no action")

    def _host(self, name: str) -> Node:
        hosts = {
            "controller": self._controller,
            "internet": self._world.internet,
            "segment": self._world.segment,
            "management": self._management.segment,
        }
        return hosts[name] if name in hosts else self._machines[name].node

    def _socket(self) -> int:
        """Make a TCP socket in the network of the controller: it stays there, wherever it is used."""
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self._controller.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there, CLONE_NEWNET)
            try:
                return socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()
            finally:
                setns(own, CLONE_NEWNET)
        finally:
            os.close(own)
            os.close(there)


def _status(machine: Machine) -> dict[str, t.Any]:
    return {"state": machine.state, "boots": machine.boots, "status": machine.status}


def _make_controller(segment: Node) -> Node:
    """Make the host that ssh and Ansible connect from."""
    controller = Node("controller", holder.start("controller"), MANAGEMENT, CONTROLLER)
    wire(segment, controller, MANAGEMENT)
    controller.run(["ip", "link", "set", "lo", "up"])
    controller.run(["ip", "address", "add", f"{CONTROLLER}/{MANAGEMENT_PREFIX}", "dev", MANAGEMENT])
    controller.run(["ip", "link", "set", MANAGEMENT, "up"])
    return controller


def _listen(places: Places) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(places.control.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # By its folder's descriptor, as the path itself may be too long for the address of a socket.
    listener.bind(f"/proc/self/fd/{folder}/{places.control.name}")
    os.close(folder)
    listener.listen(64)
    return listener


def launch(places: Places, started: int, owner: int | None) -> t.NoReturn:
    """Become a process in the background; this one ends when the lab is there, or says why not."""
    cgroup.join(cgroup.path(places.cgroup) / "world")
    report, complaint = os.pipe()
    os.setsid()
    unshare(CLONE_NEWPID)
    if os.fork() == 0:
        os.close(report)
        _become_first(places, started, owner, complaint)
    os.close(complaint)
    with os.fdopen(report, encoding="utf-8") as stream:
        problem = stream.read()
    if problem:
        print(problem, file=sys.stderr)
    sys.stderr.flush()
    os._exit(1 if problem else 0)


def _become_first(places: Places, started: int, owner: int | None, complaint: int) -> t.NoReturn:
    """Be the first process of the PID namespace, which inherits orphans; the supervisor is its child."""
    try:
        unshare(CLONE_NEWNS | CLONE_NEWNET)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc")
        _detach(places)
        supervisor = os.fork()
        if supervisor == 0:
            _supervise(places, started, owner, complaint)
        os.close(complaint)
        while os.wait()[0] != supervisor:
            pass
    except BaseException as error:  # noqa: BLE001 (the creator tells it)
        os.write(complaint, str(error).encode())
    finally:
        os._exit(0)


def _detach(places: Places) -> None:
    places.logs.mkdir(parents=True, exist_ok=True)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(places.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, wanted in ((null, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, wanted)


def _supervise(places: Places, started: int, owner: int | None, complaint: int) -> t.NoReturn:
    try:
        try:
            supervisor = Supervisor(places, started, owner)
        except BaseException as error:
            os.write(complaint, (str(error) or repr(error)).encode())
            raise
        os.close(complaint)
        supervisor.run()
    except BaseException:  # noqa: BLE001 (it is in the log, and the end of this process ends the lab)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


if __name__ == "__main__":
    launch(Places(sys.argv[2], Path(sys.argv[1])), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else None)
