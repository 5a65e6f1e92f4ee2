"""Playbooks run on the nodes of a world, and what they did there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.lab import inventory, probe
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.building import build_at_once

ROOT = Path(__file__).resolve().parents[2]
PROBE = str(Path(probe.__file__).resolve())
APPS: dict[str, t.Any] = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}


@dataclass(frozen=True)
class Done:
    """A playbook that ended, with what its modules did on each host."""

    status: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        recap = self.output.partition("PLAY RECAP")[2]
        return {host: int(number) for host, number in re.findall(r"^(\w+)\s+: .*changed=(\d+)", recap, re.MULTILINE)}

    @property
    def tasks(self) -> list[str]:
        return re.findall(r"^TASK \[(.*?)\]", self.output, re.MULTILINE)

    def actions(self, host: str) -> list[str]:
        results = re.findall(rf"^changed: \[{host}\] => (\{{.*\}})$", self.output, re.MULTILINE)
        return [action for result in results for action in json.loads(result).get("actions", [])]


class Playbooks:
    """Runs playbooks on the nodes of a world."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.directory = directory
        self.options: list[str] = []
        self.controller = Path(sys.executable)
        shutil.copytree(ROOT / "docs" / "examples" / "group_vars", directory / "group_vars")
        shutil.copy(ROOT / "docs" / "examples" / "ansible.cfg", directory)

    def run(
        self, playbook: str, *options: str, networks: t.Sequence[t.Any] | None = None, interpreter: str = sys.executable
    ) -> Done:
        """Run a playbook of the collection, or one by its path, with other networks than those of the example."""
        known = inventory.environment(inventory.write(self.world, self.directory, interpreter))
        settings = {
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "ansible"),
        }
        argv = [str(self.controller.with_name("ansible-playbook")), "-v", "-i", known["LAB_INVENTORY"], playbook]
        if networks is not None:
            argv += ["-e", json.dumps({"egress_networks": networks})]
        done = subprocess.run(
            [*argv, *self.options, *options],
            env={**os.environ, **known, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        return Done(done.returncode, done.stdout)

    def prepare(self, *networks: t.Any) -> None:
        """Have every node built as the role does it, in one transaction, without the time that Ansible takes."""
        for node in self.world.nodes:
            node.call(build_at_once, list(networks))

    def build(self, *networks: t.Any) -> Done:
        done = self.run("netpath.egress.site", networks=networks)
        assert done.status == 0, done.output
        return done


def answers(node: Node, namespace: str) -> dict[int, str]:
    """For each family whom the internet saw."""
    replies = {}
    for family in probe.TARGETS:
        told = node.namespace_run(namespace, [sys.executable, PROBE, "--json", "--family", str(family)], check=False)
        reply = json.loads(told.stdout)
        replies[family] = reply.get("client") or reply["error"]
    return replies
