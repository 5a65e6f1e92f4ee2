"""What many hosts have told of their paths: findings, query, history, text, JSON, JUnit and HTML."""

from __future__ import annotations

import builtins
import html.parser
import json
import os
import stat
import typing as t
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.plugin_utils import _folder
from ansible_collections.netpath.egress.plugins.plugin_utils._diagnosis import (
    document,
    files,
    findings,
    history,
    junit,
    page,
    query,
    summary,
)

from tests.support import verdicts

OFF = "FORWARDING_OFF"
HOSTS = verdicts.answers(
    web2=[verdicts.path("a", OFF), verdicts.path("b", OFF)],
    web1=[verdicts.path("a", OFF), verdicts.path("b")],
    web3=[verdicts.path("a", "LOOPBACK_DOWN"), verdicts.path("b")],
    web4=[verdicts.path("a", status="unknown")],
    web5="Failed to connect",
)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x00\ud800\u202e&\"'"


def lines(report: findings.Data) -> list[str]:
    return [line.text for line in summary.summary(report)]


def test_broken_first_and_healthy_in_one_line() -> None:
    assert lines(verdicts.report(HOSTS)) == [
        "BROKEN FORWARDING_OFF at host_forwarding: 3 paths on 2 hosts: the host does not forward IPv4",
        "  web1/a ipv4, web2/a ipv4, web2/b ipv4",
        "  seen: net.ipv4.ip_forward = 0",
        "  fix (declared): run the role egress",
        "DEGRADED LOOPBACK_DOWN at loopback: 1 path on 1 host: its loopback is down",
        "  web3/a ipv4",
        "  seen: loopback_down was seen",
        "  fix (auto): ip -n a link set lo up",
        "UNKNOWN: 1 path on 1 host, as nobody was asked who has to answer: web4",
        "NO ANSWER from 1 host: web5",
        "  Failed to connect",
        "OK: 2 paths on 2 hosts",
    ]


def test_tones_are_the_statuses() -> None:
    tones = [line.tone for line in summary.summary(verdicts.report(HOSTS)) if line.tone]
    assert tones == ["broken", "degraded", "unknown", "broken", "ok"]


def test_thousand_hosts_are_a_few_lines() -> None:
    said = lines(
        verdicts.report(verdicts.answers(**{f"h{number:04}": [verdicts.path("a", OFF)] for number in range(1000)}))
    )
    assert len(said) == 4
    assert said[1].endswith("h0007/a ipv4 and 992 more")


def test_nothing_was_asked_for() -> None:
    (line,) = lines(verdicts.report(verdicts.answers(web1=[])))
    assert line.startswith("NOTHING WAS CHECKED: egress_networks lists no network of these hosts")


def test_all_that_is_wrong_with_a_path_is_found() -> None:
    found = findings.findings(verdicts.answers(web1=[verdicts.path("a", OFF, "NAT_MISSING", "LOOPBACK_DOWN")]))
    assert [(one["code"], one["status"]) for one in found] == [
        (OFF, "broken"),
        ("NAT_MISSING", "broken"),
        ("LOOPBACK_DOWN", "degraded"),
    ]
    assert all(tuple(one) == findings.KEYS for one in found)


@pytest.mark.parametrize(
    ("threshold", "hosts"),
    [
        ("broken", ["web1", "web2", "web5"]),
        ("degraded", ["web1", "web2", "web3", "web5"]),
        ("unknown", ["web1", "web2", "web3", "web4", "web5"]),
        ("never", []),
    ],
)
def test_threshold(threshold: str, hosts: list[str]) -> None:
    assert list(findings.failing(findings.findings(HOSTS), threshold)) == hosts


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (None, "it was not checked"),
        ({"unreachable": True, "msg": "Timed\nout"}, "unreachable: Timed out"),
        ({"failed": True, "msg": "no rights"}, "no rights"),
        ({"skipped": True}, "the check returned no verdicts"),
        ({"failed": False, "verdicts": []}, None),
    ],
)
def test_answer(result: t.Any, error: str | None) -> None:
    assert findings.answer(result) == {"verdicts": [], "error": error}


def test_verdict_of_another_release() -> None:
    """Keys that are missing and a code that is not known here are no obstacle."""
    hosts = verdicts.answers(
        web1=[{"namespace": "a", "family": "ipv4", "status": "broken", "code": "NEW", "summary": "new"}, {}]
    )
    report = verdicts.report(hosts)
    assert lines(report)[0] == "BROKEN NEW: 1 path on 1 host: new"
    assert report["counts"]["unknown"] == 1
    ET.fromstring(junit.junit(report))
    assert "NEW" in page.page(report)


def test_texts_of_hosts_are_made_harmless() -> None:
    assert findings.clean({"a": [HOSTILE, 1, None, True, 1.5]}) == {
        "a": [
            "</script><script>alert(1)</script><img src=x onerror=alert(1)>\ufffd[31m\ufffd\ufffd\ufffd&\"'",
            1,
            None,
            True,
            1.5,
        ]
    }


@pytest.mark.parametrize(
    ("expression", "hosts"),
    [
        ("", ["web1", "web2", "web2", "web3", "web4", "web5"]),
        ("[?code=='FORWARDING_OFF']", ["web1", "web2", "web2"]),
        ("[?starts_with(host, 'web2') && family=='ipv4'] | [:1]", ["web2"]),
        ("[?contains(evidence, 'net.ipv4.ip_forward = 0')]", ["web1", "web2", "web2"]),
        ("[?code=='NO_ANSWER']", ["web5"]),
        ("[?hop=='moon']", []),
    ],
)
def test_query(expression: str, hosts: list[str]) -> None:
    assert [one["host"] for one in query.select(findings.findings(HOSTS), expression)] == hosts


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("[?code==", "is wrong"),
        ("[?nothing(code)]", "is wrong: Unknown function: nothing()"),
        ("[?starts_with(hop, `1`)]", "is wrong"),
        ("[].host", "gives a list of something else instead of a list of findings"),
        ("[0]", "gives one object instead"),
        ("length(@)", "gives a number instead"),
        ("host", "gives nothing instead"),
    ],
)
def test_query_says_what_is_wrong(expression: str, words: str) -> None:
    with pytest.raises(query.QueryError) as caught:
        query.select(findings.findings(HOSTS), expression)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_query_keeps_hosts_without_an_answer_unless_it_speaks_of_them() -> None:
    silent = (findings.NO_ANSWER,)
    everything = findings.findings(HOSTS)
    assert [one["host"] for one in query.select(everything, "[?hop=='nowhere']", silent)] == ["web5"]
    assert query.select(everything, "[?hop=='nowhere' && code!='NO_ANSWER']", silent) == []


def test_query_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: t.Any, **more: t.Any) -> t.Any:
        if name == "jmespath":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert query.select([], "") == []
    with pytest.raises(query.QueryError, match="pip install jmespath"):
        query.select([], "[]")


def test_history() -> None:
    before = verdicts.report(
        verdicts.answers(
            web1=[
                verdicts.path("a", OFF),
                verdicts.path("b", OFF),
                verdicts.path("c"),
                verdicts.path("gone", OFF),
            ],
            web2=[verdicts.path("a", "NAT_MISSING"), verdicts.path("b", "NAT_MISSING")],
            web3="silent",
            web4=[],
        )
    )
    after = verdicts.answers(
        web1=[
            verdicts.path("a", OFF),
            verdicts.path("b"),
            verdicts.path("c", "NAT_MISSING"),
            verdicts.path("new", OFF),
        ],
        web2=[verdicts.path("a", "LOOPBACK_DOWN"), verdicts.path("b", status="unknown")],
        web3=[],
        web4="silent",
    )
    compared = history.compare(before, after)
    assert compared["previous"] == verdicts.NOW
    assert {kind: [summary.change(one) for one in compared[kind]] for kind in ("broke", "healed", "changed")} == {
        "broke": [
            "web1/c ipv4 (ok -> NAT_MISSING)",
            "web1/new ipv4 (not there -> FORWARDING_OFF)",
            "web4 (ok -> NO_ANSWER)",
        ],
        "healed": ["web1/b ipv4 (FORWARDING_OFF -> ok)", "web3 (NO_ANSWER -> ok)"],
        "changed": ["web2/a ipv4 (NAT_MISSING -> LOOPBACK_DOWN)"],
    }
    said = lines(verdicts.report(after, history=compared))
    assert f"SINCE {verdicts.NOW}: 3 broke, 2 healed, 1 changed" in said
    assert "Healed: 2" in page.page(verdicts.report(after, history=compared))


def test_json_is_read_back(tmp_path: Path) -> None:
    report = verdicts.report(HOSTS, selects="[?code=='NO_ANSWER']", fail_on="degraded")
    path = tmp_path / "report.json"
    _folder.write(path, files.as_json(report))
    assert files.read(path) == report
    assert list(report) == ["schema", "version", "generated", "asked", "counts", "history", "findings", "hosts"]
    assert report["asked"] == {"query": "[?code=='NO_ANSWER']", "fail_on": "degraded"}
    assert len(report["findings"]) == 1
    assert len(path.read_text(encoding="utf-8").splitlines()) == 18


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is no JSON"),
        ("[" * 100000, "it is no JSON"),
        ("[]", "its schema is not netpath.egress/diagnosis"),
        ('{"schema": "netpath.egress/diagnosis", "version": 2}', "it has version 2, and this release reads 1"),
        ('{"schema": "netpath.egress/diagnosis", "version": 1, "hosts": {"a": 1}}', "its hosts are damaged"),
        ('{"schema": "netpath.egress/diagnosis", "version": 1, "hosts": {"a": {"verdicts": [1]}}}', "are damaged"),
    ],
)
def test_foreign_report(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(document.ForeignReportError, match=words):
        files.read(path)


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        _folder.write(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    _folder.write(path, "new")
    assert (path.read_text(encoding="utf-8"), os.listdir(tmp_path)) == ("new", ["report.json"])
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("fail_on", "numbers"),
    [("broken", (7, 3, 1, 1)), ("degraded", (7, 4, 1, 1)), ("unknown", (7, 5, 1, 0)), ("never", (7, 3, 1, 1))],
)
def test_junit(fail_on: str, numbers: tuple[int, ...]) -> None:
    root = ET.fromstring(junit.junit(verdicts.report({**HOSTS, "web4": HOSTS["web4"]}, fail_on=fail_on)))
    assert tuple(int(root.get(name, "")) for name in ("tests", "failures", "errors", "skipped")) == (8, *numbers[1:])
    assert [suite.get("name") for suite in root] == ["web1", "web2", "web3", "web4", "web5"]
    failure = root.find("testsuite[@name='web1']/testcase[@name='pods/a/ipv4']/failure")
    assert failure is not None
    assert failure.attrib == {"type": OFF, "message": "a (IPv4): the host does not forward IPv4"}
    assert (failure.text or "").splitlines() == [
        "FORWARDING_OFF at host_forwarding: a (IPv4): the host does not forward IPv4",
        "seen: net.ipv4.ip_forward = 0",
        "fix (declared): run the role egress",
    ]
    assert root.find("testsuite[@name='web5']/testcase/error[@type='NO_ANSWER']") is not None


class _Elements(html.parser.HTMLParser):
    """Elements, texts, and whether all of them end where they should."""

    VOID: t.ClassVar = {"meta", "input", "br", "img", "link"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.started: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.started.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.started if name == tag]


def test_page_is_one_file_that_is_well_formed() -> None:
    read = _Elements(page.page(verdicts.report(HOSTS)))
    assert read.open == []
    assert [name for name, attributes in read.started if {"src", "srcset", "style"} & set(attributes)] == []
    assert [link["href"] for link in read.of("a") if not str(link.get("href", "#")).startswith("#")] == []
    assert read.of("link") == []
    policy = read.of("meta")[-1]["content"] or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    identities = [attributes["id"] for _tag, attributes in read.started if attributes.get("id")]
    assert len(identities) == len(set(identities))


def test_page_has_what_is_broken_as_drawing_and_as_text() -> None:
    text = page.page(verdicts.report(HOSTS))
    read = _Elements(text)
    said = "\n".join(read.texts)
    assert said.index("web1 · a (IPv4)") < said.index("web2 · a (IPv4)") < said.index("web3 · a (IPv4)")
    assert "The path of a (IPv4) on web1: broken" in read.texts
    assert text.count('class="station broken"') == 3
    # Each link as text too, with its addresses and counters.
    for value in ("10.22.33.2/24", "1206 / 990", "np-a", "198.18.0.11/16"):
        assert value in read.texts
    assert "no answer: Failed to connect" in read.texts


def test_page_draws_a_hundred_and_has_data_of_all() -> None:
    hosts = verdicts.answers(**{f"h{number:03}": [verdicts.path("c", OFF)] for number in range(page.DRAWN + 20)})
    text = page.page(verdicts.report(hosts))
    assert text.count("<article") == page.DRAWN + 1  # one is the template
    index = text.partition('id="index">')[2].partition("</script>")[0]
    assert len(json.loads(index)) == page.DRAWN + 20


def test_page_escapes_all_values() -> None:
    wrong = verdicts.path(HOSTILE, OFF) | {"summary": HOSTILE, "network": HOSTILE, "targets": [HOSTILE]}
    wrong["findings"][0] |= {"evidence": [HOSTILE], "fix": HOSTILE, "code": HOSTILE, "hop": HOSTILE, "tier": HOSTILE}
    wrong["hops"][0] |= {"evidence": [HOSTILE], "hop": HOSTILE}
    wrong["links"][0] |= dict.fromkeys(("name", "netns", "mtu", "rx_packets", "rx_dropped"), HOSTILE) | {
        "addresses": [HOSTILE]
    }
    hosts = {
        HOSTILE: findings.answer({"verdicts": [wrong]}),
        "silent": findings.answer({"failed": True, "msg": HOSTILE}),
    }
    hosts = {findings.clean(host): told_by for host, told_by in hosts.items()}
    compared = history.compare(verdicts.report(verdicts.answers(**{next(iter(hosts)): []})), hosts)
    text = page.page(verdicts.report(hosts, history=compared))
    read = _Elements(text)
    assert len(read.of("script")) == 4
    assert read.of("img") == []
    assert read.open == []
    assert "alert(1)" in "".join(read.texts)
    assert text.encode()  # no half of a surrogate pair
    ET.fromstring(junit.junit(verdicts.report(hosts)))


def test_many_namespaces_share_a_column() -> None:
    many = verdicts.answers(web1=[verdicts.path(f"pod-{number}") for number in range(60)])
    assert len(_Elements(page.page(verdicts.report(many))).of("th")) < 40
    few = page.page(verdicts.report(verdicts.answers(web1=[verdicts.path("ns10"), verdicts.path("ns9")])))
    assert few.index('<th scope="col">ns9</th>') < few.index('<th scope="col">ns10</th>')


def test_hosts_that_are_worst_off_come_first() -> None:
    text = page.page(verdicts.report(HOSTS))
    matrix = text.partition('<tbody id="matrix">')[2].partition("</tbody>")[0]
    assert [part.partition("<")[0] for part in matrix.split('<th scope="row">')[1:]] == [
        "web2",
        "web1",
        "web5",
        "web3",
        "web4",
    ]
