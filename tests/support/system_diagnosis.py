"""The catalogue of failures inside booted nodes: each one is injected, told by the engine, and put right."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pyroute2

from tests.lab import probe
from tests.lab.booted.lab import Lab
from tests.lab.booted.plan import ROOT
from tests.support.fault_catalogue import Fault
from tests.support.spec_questions import Options
from tests.support.system_engine import PACKAGE, PLACE, Host, RefusalError

PROGRAM = "/opt/netpath-egress"
TARGETS = tuple(probe.TARGETS.values())
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}
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
        if asked["do"] == "check":
            return check.check(asked["networks"], targets.parsed(asked["targets"]))
        request = {{"networks": asked["networks"], "state": "present"}}
        return run(lambda host: path.wanted(request, host)).actions
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
Verdict = dict[str, t.Any]


class Outcome(t.NamedTuple):
    """What was told of all paths before a failure, of c1 by family with it, and of all paths once it was put right."""

    before: list[Verdict]
    found: dict[str, Verdict]
    after: list[Verdict]


class Patient:
    """A booted node on which one failure at a time is tried."""

    def __init__(self, lab: Lab, node: str, *, with_pyroute2: bool = False) -> None:
        """with_pyroute2: this machine's is copied to the node, whose own is too old."""
        self.host = Host(lab, node)
        if with_pyroute2:
            self.host.copy(Path(pyroute2.__file__).parent, "pyroute2")
        command = lab.inside(node, ["env", f"PYTHONPATH={PLACE}", "python3", "-c", _SERVE])
        self._engine = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd="/"
        )

    def close(self) -> None:
        """End the engine in the node."""
        self._engine.communicate()

    def install_program(self) -> None:
        """Copy the program to the node."""
        subprocess.run(["scripts/release/program.sh"], cwd=ROOT, check=True, capture_output=True)
        program = (ROOT / "build/netpath-egress").read_bytes()
        self.host.run(["sh", "-ec", f"cat >{PROGRAM}; chmod 755 {PROGRAM}"], program)

    def build(self, *networks: Options) -> list[str]:
        """Bring networks to be, and return what was done. Errors: RefusalError."""
        return t.cast("list[str]", self._ask("build", networks))

    def check(self, networks: t.Sequence[Options], targets: t.Sequence[str]) -> list[Verdict]:
        """The verdicts about networks. Errors: RefusalError."""
        return t.cast("list[Verdict]", self._ask("check", networks, targets))

    def _ask(self, do: str, networks: t.Sequence[Options], targets: t.Sequence[str] = ()) -> object:
        assert self._engine.stdin
        assert self._engine.stdout
        self._engine.stdin.write(json.dumps({"do": do, "networks": networks, "targets": targets}) + "\n")
        told = json.loads(self._engine.stdout.readline())
        if isinstance(told, dict):
            raise RefusalError(told["error"])
        return t.cast("object", told)

    def suffer(self, fault: Fault, healthy: list[Verdict] | None = None) -> Outcome:
        """One failure and its repair. healthy: what was told last, where the same network is still there."""
        networks = [{**PODS, **fault.network}]
        self.host.sh(fault.before)
        if healthy is None:
            self.build(*networks)
            healthy = self.check(networks, fault.targets)
        if fault.wrong:
            self.build({**PODS, **fault.wrong})
        try:
            self.host.sh(fault.inject)
            found = self.check(networks, fault.targets)
        finally:
            self.host.sh(fault.fix or "true")
            self.build(*networks)
        after = self.check(networks, fault.targets)
        self.host.sh(fault.after)
        return Outcome(healthy, {one["family"]: one for one in found if one["namespace"] == "c1"}, after)
