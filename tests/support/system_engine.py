"""The engine inside booted nodes, run by their own Python, and what is seen from the namespaces that it makes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.booted.lab import Lab
from tests.lab.booted.plan import ROOT
from tests.support.spec_questions import Options

if t.TYPE_CHECKING:
    from typing_extensions import Self

_ENGINE = ROOT / "plugins/module_utils/_engine"
PACKAGE = "ansible_collections.netpath.egress.plugins.module_utils._engine"
PLACE = "/opt/engine"
_PROBE = (ROOT / "tests/lab/probe.py").read_text(encoding="utf-8")
_TIMEOUT = 600  # seconds after which something hangs
# What takes long is to start: each request is done by a child of a process that has all modules.
_SERVE = f"""
import json, os, sys
from {PACKAGE}.diagnosis import check, targets
from {PACKAGE}.errors import EgressError
from {PACKAGE}.kernel import message_classes
from {PACKAGE}.run import run
from {PACKAGE}.spec import path

def done(asked):
    try:
        if asked["do"] == "diagnose":
            return check.check(asked["networks"], targets.parsed(asked["targets"]))
        request = {{"networks": asked["networks"], "state": asked["state"]}}
        result = run(lambda host: path.wanted(request, host), check=asked["check"])
        return {{"actions": result.actions, "backends": {{
            purpose: {{choice.backend: choice.reason for choice in result.choices if choice.purpose == purpose}}
            for purpose in ("nat", "forward")
        }}}}
    except EgressError as error:
        return {{"error": str(error)}}

for line in sys.stdin:
    child = os.fork()
    if not child:
        print(json.dumps(done(json.loads(line))), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(json.dumps({{"error": "it ended by itself"}}), flush=True)
"""

_CONNECT = """
import socket, sys, time
give_up = time.monotonic() + 5
while time.monotonic() < give_up:
    try:
        sys.exit(socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close())
    except OSError:
        time.sleep(0.05)  # it does not listen yet
sys.exit(1)
"""


class Built(t.NamedTuple):
    """What a run did, and for which back ends and why."""

    actions: list[str]
    backends: dict[str, dict[str, str]]


class RefusalError(Exception):
    """The engine refused or failed, in its own words."""


Verdict = dict[str, t.Any]


class Host:
    """A booted node with the engine in it, which runs there until `close`."""

    def __init__(self, lab: Lab, node: str) -> None:
        self.lab = lab
        self.node = node
        self._engine: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()
        self.run(["mkdir", "-p", PLACE])
        self.copy(_ENGINE, "/".join(PACKAGE.split(".")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the engine in the node."""
        if self._engine:
            self._engine.communicate()
            self._engine = None

    def reboot(self) -> None:
        """Reboot the node, with which the engine ends, and wait until it answers SSH again."""
        self.close()
        self.lab.reboot(self.node)

    def copy(self, folder: Path, name: str) -> None:
        """Put a Python package where the engine is."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(folder, name, filter=_source)
        self.run(["tar", "-x", "-C", PLACE], archive.getvalue())

    def sh(self, script: str, check: bool = True) -> str:
        """The output of a shell script that root runs in the node."""
        return self.run(["sh", "-ec", script], check=check)

    def build(self, *networks: Options, absent: bool = False, check: bool = False) -> Built:
        """Bring networks to be, or to be no more. Errors: RefusalError."""
        state = "absent" if absent else "present"
        told = t.cast("dict[str, t.Any]", self._ask("build", networks, state=state, check=check))
        return Built(told["actions"], told["backends"])

    def diagnose(self, networks: t.Sequence[Options], targets: t.Sequence[str]) -> list[Verdict]:
        """Return the verdicts about networks. Errors: RefusalError."""
        return t.cast("list[Verdict]", self._ask("diagnose", networks, targets=targets))

    def _ask(self, do: str, networks: t.Sequence[Options], **more: object) -> object:
        engine = self._engine = self._engine or self._start()
        assert engine.stdin
        assert engine.stdout
        with self._asking:
            engine.stdin.write(json.dumps({"do": do, "networks": networks, **more}) + "\n")
            line = engine.stdout.readline()
        try:
            told = json.loads(line)
        except ValueError:
            raise AssertionError(f"the engine on {self.node} wrote {line!r}, status {engine.poll()}") from None
        if isinstance(told, dict) and "error" in told:
            raise RefusalError(told["error"])
        return t.cast("object", told)

    def _start(self) -> subprocess.Popen[str]:
        command = self.lab.inside(self.node, ["env", f"PYTHONPATH={PLACE}", "python3", "-c", _SERVE])
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd="/")

    def unreachable(self, *namespaces: str, families: str = "46") -> list[str]:
        """Namespaces and families whose packets the internet does not see from the node's address, and why."""
        own = self.lab.nodes[self.node]
        wanted = {"4": own.uplink_address, "6": own.uplink_address6}
        asked = [(name, family) for name in namespaces for family in families]
        with ThreadPoolExecutor(len(asked)) as threads:
            seen = threads.map(lambda pair: self._seen(*pair), asked)
            return [f"{name} IPv{fam}: {who}" for (name, fam), who in zip(asked, seen) if who != wanted[fam]]

    def is_reached(self, port: int, namespace: str, target: int) -> bool:
        """Whether the internet gets a connection to a port that leads to a port of a namespace."""
        self.sh(f"systemd-run -q --unit=listener ip netns exec {namespace} python3 -m http.server {target}")
        descriptor = self.lab.network("internet")
        try:
            argv = ["nsenter", f"--net=/proc/self/fd/{descriptor}", sys.executable, "-c", _CONNECT]
            argv += [self.lab.nodes[self.node].uplink_address, str(port)]
            return subprocess.run(argv, pass_fds=[descriptor], check=False, timeout=_TIMEOUT).returncode == 0
        finally:
            os.close(descriptor)
            self.sh("systemctl stop listener")

    def _seen(self, namespace: str, family: str) -> str:
        command = ["ip", "netns", "exec", namespace, "python3", "-c", _PROBE, "--json", "--family", family]
        output = self.run(command, check=False)
        try:
            return str(json.loads(output)["client"])
        except (ValueError, KeyError):
            return output.strip() or "no answer"

    def run(self, argv: t.Sequence[str], given: bytes = b"", check: bool = True) -> str:
        done = subprocess.run(
            self.lab.inside(self.node, argv), input=given, capture_output=True, check=False, timeout=_TIMEOUT, cwd="/"
        )
        if check and done.returncode:
            raise AssertionError(f"{argv[-1]}: {done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout.decode()


def _source(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(member.name).name == "__pycache__" else member
