"""The action diagnosis_report as Ansible runs it, on results that were registered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import verdicts
from tests.support.spec_questions import ansible

# All tests read what one run of Ansible told.
pytestmark = pytest.mark.xdist_group("diagnosis_report_action")
RED = "\x1b[0;31mBROKEN FORWARDING_OFF"
# What is wrong with the options, and what is said.
WRONG: dict[str, tuple[dict[str, t.Any], str]] = {
    "query": ({"query": "[?"}, "the query '[?' is wrong"),
    "kind": ({"query": "[].code"}, "instead of a list of findings"),
    "failing": (
        {"fail_on": "bad"},
        "value of fail_on must be one of: broken, degraded, unknown, never, got: bad",
    ),
    "directory": ({"directory": "/proc/none"}, "the report cannot be written to /proc/none"),
    "unknown": ({"folder": "x"}, "Unsupported parameters"),
}
CASES: dict[str, dict[str, t.Any]] = {
    "files": {"directory": "reports/today", "query": "[?starts_with(code, 'FORWARDING') && code!='NO_ANSWER']"},
    "earlier": {"previous": "missing.json"},
    **{name: options for name, (options, _words) in WRONG.items()},
}


@dataclass(frozen=True)
class Run:
    """Of two hosts, one of which is broken, and one that has told nothing."""

    status: int
    output: str
    errors: str

    def of(self, task: str) -> str:
        """What a task has printed, which is there once."""
        (found,) = re.findall(rf"^TASK \[{task}\].*\n((?:(?!TASK \[|PLAY RECAP).*\n)*)", self.output, re.MULTILINE)
        return str(found)


def run(folder: Path, cases: t.Mapping[str, dict[str, t.Any]], **environment: str) -> Run:
    """A play with a report for each case, which goes on after one that fails."""
    play: list[dict[str, t.Any]] = [
        {
            "name": "Tell",
            "ansible.builtin.set_fact": {"checked": {"verdicts": [verdicts.path("{{ 'c' ~ 1 }}", "FORWARDING_OFF")]}},
            "when": "inventory_hostname == 'web1'",
        }
    ]
    for name, options in cases.items():
        report = {"hosts": ["web1", "web2"], "result": "checked", **options}
        play += [
            {
                "name": f"Report {name}",
                "netpath.egress.diagnosis_report": report,
                "register": "report",
                "ignore_errors": True,
                "run_once": True,
            },
            {
                "name": f"Show {name}",
                "ansible.builtin.debug": {
                    "msg": "failed {{ report is failed }} failing {{ report.failing | default({}) | to_json }}"
                },
                "run_once": True,
            },
        ]
    (folder / "play.yml").write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": play}]), encoding="utf-8"
    )
    argv, known = ansible("ansible-playbook", "-i", "web1,web2,", "play.yml", **environment)
    done = subprocess.run(
        argv, env=known, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def done(folder: Path) -> Run:
    made = run(folder, CASES)
    assert made.status == 0, made.output + made.errors
    return made


def test_files_and_hosts_that_fail(folder: Path, done: Run) -> None:
    shown = 'failed False failing {\\"web1\\": [\\"c1 (IPv4): the host does not forward IPv4\\"]}'
    assert shown in done.of("Show files")
    assert sorted(os.listdir(folder / "reports/today")) == ["junit.xml", "report.html", "report.json"]
    report = json.loads((folder / "reports/today/report.json").read_text(encoding="utf-8"))
    assert report["hosts"]["web2"] == {"verdicts": [], "error": "it was not checked"}
    assert [line for line in done.of("Report files").splitlines() if line.startswith("BROKEN")] == [
        "BROKEN FORWARDING_OFF at host_forwarding: 1 path on 1 host: the host does not forward IPv4"
    ]


@pytest.mark.parametrize("case", WRONG)
def test_says_what_is_wrong(done: Run, case: str) -> None:
    assert "failed True" in done.of(f"Show {case}")
    assert WRONG[case][1] in done.of(f"Report {case}") + done.errors
    assert "Traceback" not in done.output + done.errors


def test_earlier_report_that_is_not_there(folder: Path, done: Run) -> None:
    assert "failed False" in done.of("Show earlier")
    said = " ".join((done.of("Report earlier") + done.errors).split())
    assert f"There is no comparison with the earlier report {folder}/missing.json: No such file or directory" in said


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"ANSIBLE_FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1"}, False),
        ({"ANSIBLE_NOCOLOR": "1"}, False),
    ],
)
def test_colours(tmp_path: Path, done: Run, environment: dict[str, str], coloured: bool) -> None:
    made = run(tmp_path, {"plain": {}}, **environment) if environment else done
    assert "BROKEN FORWARDING_OFF" in made.output
    assert (RED in made.output) == coloured
    assert ("\x1b" in made.output) == coloured
