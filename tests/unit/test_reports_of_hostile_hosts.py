"""One host's data never ends the report about the others, whatever it holds."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.netpath.egress.plugins.action import diagnosis_report, import_report
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import history, page, summary

from tests.support import verdicts
from tests.support.network_yaml import PODS

NAMES_OF_DIGITS = ["ns" + "9" * 5000, "ns" + "0" * 5000 + "7", "ns9", "ns10"]


def report(tmp_path: Path, answers: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
    asked = {"hosts": list(answers), "result": "x", "directory": str(tmp_path / "reports"), "previous": "", "query": ""}
    hostvars = {host: {"x": told_by} for host, told_by in answers.items()}
    return diagnosis_report._report({**asked, "fail_on": "broken", **options}, hostvars)


def test_names_of_thousands_of_digits(tmp_path: Path) -> None:
    paths = [verdicts.path(name, "FORWARDING_OFF") for name in NAMES_OF_DIGITS]
    made = report(tmp_path, {"web1": {"verdicts": paths}, "web" + "1" * 5000: {"verdicts": []}})
    assert [Path(file).name for file in made["files"]] == ["junit.xml", "report.html", "report.json"]
    assert sorted(NAMES_OF_DIGITS[1:], key=page._natural) == ["ns" + "0" * 5000 + "7", "ns9", "ns10"]


@pytest.mark.parametrize("where", ["registered", "page", "summary"])
def test_whatever_one_host_tells_the_others_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """By faults that nobody has thought of, in whatever is made of the answers."""
    answers = {
        "web1": {"verdicts": [verdicts.path("odd")]},
        "web2": {"verdicts": [verdicts.path("c1", "FORWARDING_OFF")]},
    }
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
    odd = {**verdicts.path("odd", "FORWARDING_OFF"), "findings": [{"code": 7, "hop": ["x"]}], "code": 7}
    none = {**odd, "findings": [], "code": None, "hop": None}
    answers = {"web1": {"verdicts": [odd]}, "web2": {"verdicts": [verdicts.path("c1", "FORWARDING_OFF")]}}
    asked = "[?starts_with(code, 'FORWARDING') && starts_with(hop, 'host')]"
    assert list(report(tmp_path, answers, query=asked)["failing"]) == ["web2"]
    made = report(tmp_path, {**answers, "web1": {"verdicts": [none]}}, query="[?starts_with(code, 'FORWARDING')]")
    assert "what it told cannot be used: AnsibleActionFail: the query" in made["failing"]["web1"][0]
    assert made["failing"]["web2"] == ["c1 (IPv4): the host does not forward IPv4"]


def test_earlier_report_that_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"web2": {"verdicts": [verdicts.path("c1", "FORWARDING_OFF")]}}
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


class Hostile(dict[str, t.Any]):
    """Fails in a way that nobody has thought of."""

    def get(self, key: str, _default: t.Any = None) -> t.Any:
        raise ZeroDivisionError(f"{key} \x1b[2J")


def test_import_reports_the_others_whatever_one_host_tells() -> None:
    told = {"web1": {"x": Hostile()}, "web2": {"x": {"egress_networks": [PODS], "notes": []}}}
    text, _files, reason = import_report._of_host(told, "web1", "x", "")
    assert (text, reason) == ("", "what it told cannot be used: ZeroDivisionError: egress_networks \\x1b[2J")
    text, _files, reason = import_report._of_host(told, "web2", "x", "")
    assert (reason, "name: br0" in text) == ("", True)
