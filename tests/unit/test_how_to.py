"""The how-tos: their form, and their files as Ansible and the engine read them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import parse_networks

from tests.support import howto_parser, spec_questions

# Hosts of an inventory and what they ask for.
_TOLD = re.compile(r"^(\S+) \| SUCCESS => (\{.*\})$", re.MULTILINE)


def ansible(folder: Path, program: str, *arguments: str) -> str:
    own = {"ANSIBLE_LOCAL_TEMP": str(folder / ".ansible"), "ANSIBLE_NOCOLOR": "1"}
    argv, environment = spec_questions.ansible(program, *arguments, **own)
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", howto_parser.NAMES)
def test_form(name: str) -> None:
    page = howto_parser.read(name)
    assert len(page.text.splitlines()) <= 80
    assert "\n\n**Goal:** " in page.text
    ordered = [
        heading for heading in page.headings if heading in ("Files", "Run it", "How you know that it worked", "Undo")
    ]
    assert ordered == ["Files", "Run it", "How you know that it worked", "Undo"]
    assert page.headings[-1] == howto_parser.UNDO
    assert page.unnamed == ()
    assert page.commands
    index = (howto_parser.ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert f"(how-to/{name}.md)" in index


@pytest.mark.parametrize("name", howto_parser.NAMES)
def test_files_are_read(name: str, tmp_path: Path) -> None:
    """Networks by the engine, with their templates filled in by Ansible; playbooks by Ansible."""
    page = howto_parser.read(name)
    page.write(tmp_path)
    for file, content in page.files.items():
        if file.endswith(".yml"):
            assert yaml.safe_load(content), file
    inventories = [file for file in page.files if file in ("inventory.yml", "molecule/default/inventory/hosts.yml")]
    assert len(inventories) == 1
    told = ansible(tmp_path, "ansible", "all", "-o", "-i", inventories[0], "-m", "debug", "-a", "var=egress_networks")
    asked = {host: json.loads(found)["egress_networks"] for host, found in _TOLD.findall(told)}
    assert asked, told
    for networks in asked.values():
        assert any(network.namespaces for network in parse_networks(networks))
    for play in (file for file in page.files if Path(file).name in ("play.yml", "converge.yml")):
        ansible(tmp_path, "ansible-playbook", "-i", inventories[0], "--syntax-check", play)


def test_blocks_of_each_host_are_its_own(tmp_path: Path) -> None:
    howto_parser.read("fleet").write(tmp_path)
    told = ansible(tmp_path, "ansible", "all", "-o", "-i", "inventory.yml", "-m", "debug", "-a", "var=egress_networks")
    blocks = {host: json.loads(found)["egress_networks"][0]["subnets"] for host, found in _TOLD.findall(told)}
    assert blocks == {
        "node1.example.org": ["10.22.0.0/24", "fd00:22::/64"],
        "node2.example.org": ["10.22.1.0/24", "fd00:22:0:1::/64"],
    }
