"""Ways to run a playbook on many hosts: settings of Ansible, and what stands in the play itself."""

from __future__ import annotations

import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from tests.bench import tools

Play = dict[str, t.Any]


@dataclass(frozen=True)
class Way:
    """play: what stands in the play."""

    name: str
    title: str
    tuned: bool
    play: t.Mapping[str, t.Any]
    with_mitogen: bool = False

    @property
    def program(self) -> Path:
        """The ansible-playbook that has what it needs."""
        return tools.PEERS / "bin" / "ansible-playbook" if self.with_mitogen else tools.ANSIBLE

    def settings(self, hosts: int) -> str:
        """The content of ansible.cfg; forks are as many as there are hosts."""
        if not self.tuned:
            return ""
        lines = ["[defaults]", f"forks = {hosts}", "gathering = explicit"]
        if self.with_mitogen:
            lines.append(f"strategy_plugins = {_mitogen()}")
        lines += ["[connection]", "pipelining = true"]
        lines += ["[ssh_connection]", "ssh_args = -o ControlMaster=auto -o ControlPersist=10m"]
        return "\n".join(lines) + "\n"


def _mitogen() -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return tools.PEERS / "lib" / version / "site-packages" / "ansible_mitogen" / "plugins" / "strategy"


DEFAULT, TUNED = "default", "tuned"
WAYS = {
    way.name: way
    for way in (
        Way(DEFAULT, "Ansible's defaults", False, {}),
        Way(TUNED, "forks, pipelining, no facts", True, {}),
        Way("free", "the same, strategy free", True, {"strategy": "free"}),
        Way(
            "mitogen",
            "the same, Mitogen",
            True,
            {"strategy": "mitogen_linear"},
            with_mitogen=True,
        ),
    )
}


def plays(namespaces: int) -> dict[str, Play]:
    """What is run on the hosts, by name: a play that does nothing, and those that build and remove namespaces."""
    networks = [
        {
            "name": "bench",
            "bridge": "br0",
            "subnets": [
                "{{ '10.22.0.0/16' | netpath.egress.host_subnet(groups['all'].index(inventory_hostname), 24) }}"
            ],
            "namespaces": [{"prefix": "s", "count": namespaces}],
        }
    ]
    of_all: Play = {"hosts": "all", "become": True, "vars": {"egress_networks": networks}}

    def task(state: str) -> Play:
        asked = {"networks": "{{ egress_networks }}", "state": state}
        return {**of_all, "tasks": [{"name": "All networks", "netpath.egress.egress_path": asked}]}

    def role(name: str) -> Play:
        return {**of_all, "roles": [{"role": f"netpath.egress.{name}"}]}

    return {
        "nothing": {**of_all, "tasks": [{"name": "Nothing", "ansible.builtin.ping": {}}]},
        "task": task("present"),
        "task-absent": task("absent"),
        "role": role("egress"),
        "role-again": role("egress"),
        "teardown": role("teardown"),
    }


TITLES = {
    "nothing": "a task that does nothing",
    "task": "one task, egress_path",
    "task-absent": "the same task, state absent",
    "role": "role egress",
    "role-again": "role egress again, nothing to do",
    "teardown": "role teardown",
}
