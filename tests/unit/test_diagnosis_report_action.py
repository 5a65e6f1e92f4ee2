"""The action diagnosis_report as Ansible runs it, on results that were registered."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.netpath.egress.plugins.action import diagnosis_report
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import history, page, summary

from tests.unit import told
from tests.unit.asking import ansible

ROOT = Path(__file__).resolve().parents[2]
RED = "\x1b[0;31mBROKEN FORWARDING_OFF"


def play(tmp_path: Path, options: dict[str, t.Any], **environment: str) -> subprocess.CompletedProcess[str]:
    """Of two hosts, one of which is broken, and one that has told nothing."""
    tasks = [
        {
            "name": "Tell",
            "ansible.builtin.set_fact": {"checked": {"verdicts": [told.path("{{ 'c' ~ 1 }}", "FORWARDING_OFF")]}},
            "when": "inventory_hostname == 'web1'",
        },
        {
            "name": "Report",
            "netpath.egress.diagnosis_report": {"hosts": ["web1", "web2"], "result": "checked", **options},
            "register": "report",
            "run_once": True,
        },
        {"name": "Show", "ansible.builtin.debug": {"msg": "failing {{ report.failing | to_json }}"}, "run_once": True},
    ]
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    argv, known = ansible("ansible-playbook", "-i", "web1,web2,", str(book), **environment)
    return subprocess.run(
        argv,
        env=known,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_files_and_hosts_that_fail(tmp_path: Path) -> None:
    done = play(
        tmp_path, {"directory": "reports/today", "query": "[?starts_with(code, 'FORWARDING') && code!='NO_ANSWER']"}
    )
    assert done.returncode == 0, done.stdout
    assert 'failing {\\"web1\\": [\\"c1 (IPv4): the host does not forward IPv4\\"]}' in done.stdout
    assert sorted(os.listdir(tmp_path / "reports/today")) == ["junit.xml", "report.html", "report.json"]
    report = json.loads((tmp_path / "reports/today/report.json").read_text(encoding="utf-8"))
    assert report["hosts"]["web2"] == {"verdicts": [], "error": "it was not checked"}
    assert [line for line in done.stdout.splitlines() if line.startswith("BROKEN")] == [
        "BROKEN FORWARDING_OFF at host_forwarding: 1 path on 1 host: the host does not forward IPv4"
    ]


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"ANSIBLE_FORCE_COLOR": "1"}, True),
        ({"NO_COLOR": "1"}, False),
        ({"ANSIBLE_NOCOLOR": "1"}, False),
    ],
)
def test_colours(tmp_path: Path, environment: dict[str, str], coloured: bool) -> None:
    done = play(tmp_path, {}, **environment)
    assert "BROKEN FORWARDING_OFF" in done.stdout
    assert (RED in done.stdout) == coloured
    assert ("\x1b" in done.stdout) == coloured


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"query": "[?"}, "the query '[?' is wrong"),
        ({"query": "[].code"}, "instead of a list of findings"),
        ({"fail_on": "bad"}, "value of fail_on must be one of: broken, degraded, unknown, never, got: bad"),
        ({"directory": "/proc/none"}, "the report cannot be written to /proc/none"),
        ({"folder": "x"}, "Unsupported parameters"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, options: dict[str, t.Any], words: str) -> None:
    done = play(tmp_path, options)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_earlier_report_that_is_not_there(tmp_path: Path) -> None:
    done = play(tmp_path, {"previous": "missing.json"})
    assert done.returncode == 0
    said = " ".join((done.stdout + done.stderr).split())
    assert f"There is no comparison with the earlier report {tmp_path}/missing.json: No such file or directory" in said


NAMES_OF_DIGITS = ["ns" + "9" * 5000, "ns" + "0" * 5000 + "7", "ns9", "ns10"]


def report(tmp_path: Path, answers: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
    asked = {"hosts": list(answers), "result": "x", "directory": str(tmp_path / "reports"), "previous": "", "query": ""}
    hostvars = {host: {"x": told_by} for host, told_by in answers.items()}
    return diagnosis_report._report({**asked, "fail_on": "broken", **options}, hostvars)


def test_names_of_thousands_of_digits(tmp_path: Path) -> None:
    paths = [told.path(name, "FORWARDING_OFF") for name in NAMES_OF_DIGITS]
    made = report(tmp_path, {"web1": {"verdicts": paths}, "web" + "1" * 5000: {"verdicts": []}})
    assert [Path(file).name for file in made["files"]] == ["junit.xml", "report.html", "report.json"]
    assert sorted(NAMES_OF_DIGITS[1:], key=page._natural) == ["ns" + "0" * 5000 + "7", "ns9", "ns10"]


@pytest.mark.parametrize("where", ["registered", "page", "summary"])
def test_whatever_one_host_tells_the_others_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """By faults that nobody has thought of, in whatever is made of the answers."""
    answers = {"web1": {"verdicts": [told.path("odd")]}, "web2": {"verdicts": [told.path("c1", "FORWARDING_OFF")]}}
    place, name = {
        "registered": (diagnosis_report, "registered"),
        "page": (page, "undrawn"),
        "summary": (summary, "summary"),
    }[where]
    real = getattr(place, name)

    def failing(*arguments: t.Any) -> t.Any:
        if (where == "registered" and arguments[1] == "web1") or (where != "registered" and "'odd'" in str(arguments)):
            raise ZeroDivisionError("odd \x1b[2J")
        return real(*arguments)

    monkeypatch.setattr(place, name, failing)
    made = report(tmp_path, answers)
    assert made["failing"]["web2"] == ["c1 (IPv4): the host does not forward IPv4"]
    assert made["failing"]["web1"] == ["no answer: what it told cannot be used: ZeroDivisionError: odd \\x1b[2J"]
    assert [Path(file).name for file in made["files"]] == ["junit.xml", "report.html", "report.json"]


def test_code_that_is_no_text_ends_no_query(tmp_path: Path) -> None:
    odd = {**told.path("odd", "FORWARDING_OFF"), "findings": [{"code": 7, "hop": ["x"]}], "code": 7}
    none = {**odd, "findings": [], "code": None, "hop": None}
    answers = {"web1": {"verdicts": [odd]}, "web2": {"verdicts": [told.path("c1", "FORWARDING_OFF")]}}
    asked = "[?starts_with(code, 'FORWARDING') && starts_with(hop, 'host')]"
    assert list(report(tmp_path, answers, query=asked)["failing"]) == ["web2"]
    made = report(tmp_path, {**answers, "web1": {"verdicts": [none]}}, query="[?starts_with(code, 'FORWARDING')]")
    assert "what it told cannot be used: AnsibleActionFail: the query" in made["failing"]["web1"][0]
    assert made["failing"]["web2"] == ["c1 (IPv4): the host does not forward IPv4"]


def test_earlier_report_that_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"web2": {"verdicts": [told.path("c1", "FORWARDING_OFF")]}}
    first = report(tmp_path, answers)
    assert first["history"] is None

    def failing(*_arguments: t.Any) -> t.Any:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(history, "compare", failing)
    previous = str(tmp_path / "reports/report.json")
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    made = report(tmp_path, answers, previous=previous)
    assert "There is no comparison with the earlier report" in made["warnings"][0]
    assert list(made["failing"]) == ["web2"]
