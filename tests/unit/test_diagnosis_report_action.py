"""The action diagnosis_report as Ansible runs it, on results that were registered."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from tests.support import verdicts
from tests.support.spec_questions import ansible

ROOT = Path(__file__).resolve().parents[2]
RED = "\x1b[0;31mBROKEN FORWARDING_OFF"


def play(tmp_path: Path, options: dict[str, t.Any], **environment: str) -> subprocess.CompletedProcess[str]:
    """Of two hosts, one of which is broken, and one that has told nothing."""
    tasks = [
        {
            "name": "Tell",
            "ansible.builtin.set_fact": {"checked": {"verdicts": [verdicts.path("{{ 'c' ~ 1 }}", "FORWARDING_OFF")]}},
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
