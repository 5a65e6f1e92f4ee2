"""The files of the how-tos as Ansible and the engine read them: all pages in two processes."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import parse_networks

from tests.support import howto_parser, spec_questions

# All tests read what one run of Ansible told.
pytestmark = pytest.mark.xdist_group("how_to_files")
# {folder: inventory} to {folder: {host: its networks with their templates filled in}}.
_READ = """
import json, sys
from ansible.plugins.loader import init_plugin_loader
init_plugin_loader()
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

def networks(folder, inventory):
    loader = DataLoader()
    loader.set_basedir(folder)
    hosts = InventoryManager(loader, [f"{folder}/{inventory}"])
    variables = VariableManager(loader, hosts)
    for host in hosts.get_hosts():
        known = variables.get_vars(host=host)
        yield host.name, Templar(loader, variables=known).template(known["egress_networks"])

print(json.dumps({folder: dict(networks(folder, inventory)) for folder, inventory in json.load(sys.stdin).items()}))
"""
_INVENTORIES = ("inventory.yml", "molecule/default/inventory/hosts.yml")
_PLAYS = ("play.yml", "converge.yml")

Networks = dict[str, list[dict[str, t.Any]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a folder for each page, which has the files of that page."""
    made = tmp_path_factory.mktemp("pages")
    for name in howto_parser.NAMES:
        howto_parser.read(name).write(made / name)
    return made


@pytest.fixture(scope="module")
def networks(folder: Path) -> dict[str, Networks]:
    """By page, what each host of its inventory asks for."""
    asked = {}
    for name in howto_parser.NAMES:
        (asked[str(folder / name)],) = [file for file in howto_parser.read(name).files if file in _INVENTORIES]
    _argv, environment = spec_questions.ansible("ansible", ANSIBLE_LOCAL_TEMP=str(folder / ".ansible"))
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        cwd=folder,
        env=environment,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Networks] = json.loads(done.stdout)
    return {Path(page).name: hosts for page, hosts in found.items()}


def test_playbooks_are_read(folder: Path) -> None:
    plays = [str(path) for path in sorted(folder.rglob("*.yml")) if path.name in _PLAYS]
    pages = {name for name in howto_parser.NAMES for file in howto_parser.read(name).files if Path(file).name in _PLAYS}
    assert pages
    assert pages == {Path(play).relative_to(folder).parts[0] for play in plays}
    own = {"ANSIBLE_LOCAL_TEMP": str(folder / ".ansible"), "ANSIBLE_NOCOLOR": "1"}
    argv, environment = spec_questions.ansible("ansible-playbook", "-i", "localhost,", "--syntax-check", *plays, **own)
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("playbook: ")] == [
        f"playbook: {play}" for play in plays
    ]


@pytest.mark.parametrize("name", howto_parser.NAMES)
def test_files_are_read(name: str, networks: dict[str, Networks]) -> None:
    """Networks by the engine, with their templates filled in by Ansible."""
    for file, content in howto_parser.read(name).files.items():
        if file.endswith(".yml"):
            assert yaml.safe_load(content), file
    assert networks[name]
    for asked in networks[name].values():
        assert any(network.namespaces for network in parse_networks(asked))


def test_blocks_of_each_host_are_its_own(networks: dict[str, Networks]) -> None:
    assert {host: asked[0]["subnets"] for host, asked in networks["fleet"].items()} == {
        "node1.example.org": ["10.22.0.0/24", "fd00:22::/64"],
        "node2.example.org": ["10.22.1.0/24", "fd00:22:0:1::/64"],
    }
