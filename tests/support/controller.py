"""Ansible on a controller whose hosts do not exist, with a trace of any attempt to reach one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.support.playbook_runs import ROOT

Data = dict[str, t.Any]


@dataclass
class Controller:
    """Runs Ansible on hosts that do not exist, with a program in the place of ssh that leaves a trace."""

    directory: Path

    @property
    def contacted(self) -> bool:
        return (self.directory / "contacted").exists()

    def run(self, hosts: Data, *argv: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        ssh = self.directory / "ssh"
        ssh.write_text(f"#!/bin/sh\ntouch {self.directory}/contacted\nexit 255\n", encoding="ascii")
        ssh.chmod(0o755)
        inventory = self.directory / "hosts.json"
        inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        environment = {
            "ANSIBLE_SSH_EXECUTABLE": str(ssh),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build/collections"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "ansible", *argv, "-i", str(inventory), "-e", json.dumps(variables)],
            env={**os.environ, **environment},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    def plan(self, hosts: Data, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        return self.run(hosts, "playbook", "netpath.egress.plan", **variables)
