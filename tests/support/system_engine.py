"""The engine inside booted nodes, run by their own Python, and what is seen from the namespaces that it makes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.booted.lab import Lab
from tests.lab.booted.plan import ROOT
from tests.support.spec_questions import Options

_ENGINE = ROOT / "plugins/module_utils/_engine"
PACKAGE = "ansible_collections.netpath.egress.plugins.module_utils._engine"
PLACE = "/opt/engine"
_PROBE = (ROOT / "tests/lab/probe.py").read_text(encoding="utf-8")
_TIMEOUT = 120
_RUN = f"""
import json, sys
from {PACKAGE}.errors import EgressError
from {PACKAGE}.run import run
from {PACKAGE}.spec import path
asked = json.load(sys.stdin)
try:
    result = run(lambda host: path.wanted(asked["request"], host), check=asked["check"])
    told = {{"actions": result.actions, "backends": {{
        purpose: {{choice.backend: choice.reason for choice in result.choices if choice.purpose == purpose}}
        for purpose in ("nat", "forward")
    }}}}
except EgressError as error:
    told = {{"error": str(error)}}
print(json.dumps(told))
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


class Host:
    """A booted node with the engine in it."""

    def __init__(self, lab: Lab, node: str) -> None:
        self.lab = lab
        self.node = node
        self.run(["mkdir", "-p", PLACE])
        self.copy(_ENGINE, "/".join(PACKAGE.split(".")))

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
        request = {"networks": list(networks), "state": "absent" if absent else "present"}
        asked = json.dumps({"request": request, "check": check}).encode()
        told = json.loads(self.run(["env", f"PYTHONPATH={PLACE}", "python3", "-c", _RUN], asked))
        if "error" in told:
            raise RefusalError(told["error"])
        return Built(told["actions"], told["backends"])

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
