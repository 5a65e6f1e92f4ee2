"""The action import_report on results that were registered: all of them in one run of a playbook."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.action.import_report import MARK

from tests.support.network_yaml import NOTE, PODS, read
from tests.support.spec_questions import ansible

# All tests read what one run of Ansible left.
pytestmark = pytest.mark.xdist_group("import_report")


@dataclass(frozen=True)
class Case:
    """What hosts answer, by name, and the folder of the report."""

    directory: str
    answers: dict[str, t.Any]


_ANSWER = {"egress_networks": [PODS], "notes": []}
# What a host answers, and what the report says of it.
UNBELIEVABLE: list[tuple[t.Any, str]] = [
    ({"failed": True, "msg": "no\npyroute2"}, "no pyroute2"),
    ({"unreachable": True, "msg": "refused"}, "refused"),
    ({"egress_networks": "no", "notes": 7}, "it told no networks"),
    ({"egress_networks": [{"name": "x", "more": "{{ lookup('pipe', 'id') }}"}]}, "what it told are no networks: "),
    (
        {"egress_networks": [{**PODS, "mtu": "9" * 5000}]},
        "what it told are no networks: egress_networks[0].mtu",
    ),
    ({"egress_networks": [{**PODS, "count": "9" * 5000, "prefix": "n"}]}, "egress_networks[0].count"),
    (
        {"egress_networks": [{**PODS, "namespaces": [{"name": "a", "vlan": "9" * 5000}]}]},
        "egress_networks[0].namespaces[0].vlan",
    ),
    ({"egress_networks": [{**PODS, "subnets": ["no"]}]}, "what it told are no networks: egress_networks[0].subnets"),
]
CASES = {
    "first": Case("host_vars", {"web1": {"egress_networks": [PODS], "notes": [NOTE]}}),
    "again": Case("host_vars", {"web1": {"egress_networks": [{**PODS, "mtu": 1300}], "notes": []}}),
    "others": Case("foreign_vars", {"web1": _ANSWER, "web2": _ANSWER}),
    "unwritable": Case("/proc/none", {"web1": _ANSWER}),
    **{
        f"unbelievable{number}": Case(
            f"vars{number}", {"web1": answer, "web2": {"egress_networks": [], "notes": ["x", {"about": "y"}]}}
        )
        for number, (answer, _words) in enumerate(UNBELIEVABLE)
    },
}


def tasks(name: str, case: Case) -> list[dict[str, t.Any]]:
    """Tell what the hosts answered, report it, and show which hosts fail."""
    return [
        {
            "name": f"Tell {name}",
            "ansible.builtin.set_fact": {f"imported_{name}": f"{{{{ results['{name}'][inventory_hostname] }}}}"},
            "when": f"inventory_hostname in results['{name}']",
        },
        {
            "name": f"Report {name}",
            "netpath.egress.import_report": {
                "hosts": ["web1", "web2"],
                "result": f"imported_{name}",
                "directory": case.directory,
            },
            "register": "report",
            "run_once": True,
        },
        {
            "name": f"Show {name}",
            "ansible.builtin.debug": {"msg": "failing {{ report.failing | to_json }}"},
            "run_once": True,
        },
    ]


@dataclass(frozen=True)
class Said:
    """What a case has printed, and why hosts fail."""

    lines: list[str]
    failing: dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With files that the import did not write."""
    made = tmp_path_factory.mktemp("imported")
    (made / "foreign_vars").mkdir()
    (made / "foreign_vars/web1.yml").write_text("---\nown: true\n", encoding="utf-8")
    (made / "foreign_vars/web2.yml").symlink_to(made / "nowhere")
    return made


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Said]:
    """By case."""
    steps = [step for case in CASES.items() for step in tasks(*case)]
    keep = {"name": "Keep first", "delegate_to": "localhost", "run_once": True}
    steps.insert(len(tasks("first", CASES["first"])), {**keep, "ansible.builtin.command": "cp -r host_vars kept"})
    book = [{"hosts": "all", "gather_facts": False, "tasks": steps}]
    (folder / "play.yml").write_text(json.dumps(book), encoding="utf-8")
    results = {"results": {name: case.answers for name, case in CASES.items()}}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    argv, environment = ansible(
        "ansible-playbook", "-i", "web1,web2,", "-e", "@results.json", "play.yml", ANSIBLE_NOCOLOR="1"
    )
    done = subprocess.run(
        argv,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    parts = dict(re.findall(r"^TASK \[(\w+ \w+)\].*\n((?:(?!TASK \[|PLAY RECAP).*\n)*)", done.stdout, re.MULTILINE))
    return {name: Said(parts[f"Report {name}"].splitlines(), failing(parts[f"Show {name}"])) for name in CASES}


def failing(output: str) -> dict[str, str]:
    (line,) = [line for line in output.splitlines() if line.strip().startswith('"msg": "failing ')]
    return dict(json.loads(json.loads("{" + line.strip() + "}")["msg"].removeprefix("failing ")))


def test_files_of_variables(folder: Path, said: dict[str, Said]) -> None:
    assert said["first"].failing == {"web2": "it was not looked at"}
    assert os.listdir(folder / "kept") == ["web1.yml"]
    written = (folder / "kept/web1.yml").read_text(encoding="utf-8")
    assert read(written) == {"egress_networks": [PODS]}
    assert written.splitlines()[1] == MARK
    for line in written.splitlines()[2:]:
        assert line in said["first"].lines


def test_file_of_an_earlier_import_is_replaced(folder: Path, said: dict[str, Said]) -> None:
    assert "web1" not in said["again"].failing
    assert read((folder / "host_vars/web1.yml").read_text(encoding="utf-8"))["egress_networks"][0]["mtu"] == 1300


def test_files_of_others_stay(folder: Path, said: dict[str, Said]) -> None:
    own, reasons = folder / "foreign_vars/web1.yml", said["others"].failing
    assert reasons["web1"] == f"{own} is somebody else's. Move it away, or name another folder"
    assert reasons["web2"].endswith("web2.yml is somebody else's. Move it away, or name another folder")
    assert own.read_text(encoding="utf-8") == "---\nown: true\n"
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("number", range(len(UNBELIEVABLE)))
def test_what_a_host_tells_is_not_believed(folder: Path, said: dict[str, Said], number: int) -> None:
    reasons = said[f"unbelievable{number}"].failing
    assert list(reasons) == ["web1"]
    assert UNBELIEVABLE[number][1] in reasons["web1"]
    assert not (folder / f"vars{number}").exists()


def test_folder_that_cannot_be_written(said: dict[str, Said]) -> None:
    assert said["unwritable"].failing["web1"].startswith("/proc/none/web1.yml cannot be written: ")
