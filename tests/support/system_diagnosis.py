"""The catalogue of failures inside booted nodes: each one is injected, told by the engine, and put right."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pyroute2

from tests.lab import probe
from tests.lab.booted.plan import ROOT
from tests.support.fault_catalogue import Fault
from tests.support.spec_questions import Options
from tests.support.system_engine import Host, Verdict

if t.TYPE_CHECKING:
    from typing_extensions import Self

PROGRAM = "/opt/netpath-egress"
TARGETS = tuple(probe.TARGETS.values())
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}


class Outcome(t.NamedTuple):
    """What was told of all paths before a failure, of c1 by family with it, and of all paths once it was put right."""

    before: list[Verdict]
    found: dict[str, Verdict]
    after: list[Verdict]


class Patient:
    """A booted node on which one failure at a time is tried."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @classmethod
    def with_pyroute2(cls, host: Host) -> Self:
        """Copy this machine's pyroute2 to a node whose own is too old."""
        host.copy(Path(pyroute2.__file__).parent, "pyroute2")
        return cls(host)

    def install_program(self) -> None:
        """Copy the program to the node."""
        subprocess.run(["scripts/release/program.sh"], cwd=ROOT, check=True, capture_output=True)
        program = (ROOT / "build/netpath-egress").read_bytes()
        self.host.run(["sh", "-ec", f"cat >{PROGRAM}; chmod 755 {PROGRAM}"], program)

    def build(self, *networks: Options) -> list[str]:
        """Bring networks to be, and return what was done. Errors: RefusalError."""
        return self.host.build(*networks).actions

    def check(self, networks: t.Sequence[Options], targets: t.Sequence[str]) -> list[Verdict]:
        """Return the verdicts about networks. Errors: RefusalError."""
        return self.host.diagnose(networks, targets)

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
