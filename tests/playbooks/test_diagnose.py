"""The playbook diagnose: its summary, its files, and how it ends."""

from __future__ import annotations

import json
import os
import re
import typing as t
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.world import World
from tests.support.playbook_runs import Done, Playbooks

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

PODS: dict[str, t.Any] = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}
OFF = "BROKEN FORWARDING_OFF at host_forwarding: 2 paths on 1 host: the host does not forward IPv4"


class _Headings(HTMLParser):
    """Names of the cards of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, _attributes: t.Any) -> None:
        if tag == "h3":
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "h3"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


@pytest.fixture
def world() -> t.Iterator[World]:
    with World(nodes=3) as made:
        yield made


@pytest.fixture
def playbooks(world: World, tmp_path: Path) -> Playbooks:
    made = Playbooks(world, tmp_path)
    made.prepare(PODS)
    return made


def diagnosed(playbooks: Playbooks, *options: str, **variables: t.Any) -> Done:
    extra = {"egress_networks": [PODS], "diagnose_report_dir": str(playbooks.directory / "reports"), **variables}
    return playbooks.run("netpath.egress.diagnose", "-e", json.dumps(extra), *options)


def content(playbooks: Playbooks) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads((playbooks.directory / "reports" / "report.json").read_text(encoding="utf-8"))
    return found


def test_one_broken_host_of_three(world: World, playbooks: Playbooks) -> None:
    first, second, third = (node.name for node in world.nodes)
    healthy = diagnosed(playbooks)
    assert healthy.status == 0, healthy.output
    assert "OK: 12 paths on 3 hosts" in healthy.output.splitlines()

    world.nodes[1].run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    before = world.nodes[1].snapshot()
    broken = diagnosed(playbooks, "--check")
    assert broken.status == 2, broken.output
    lines = broken.output.splitlines()
    at = lines.index(OFF)
    assert lines[at + 1] == f"  {second}/c1 ipv4, {second}/c2 ipv4"
    assert "net.ipv4.ip_forward = 0" in lines[at + 2]
    assert lines[-1] != "OK: 10 paths on 3 hosts"
    assert "OK: 10 paths on 3 hosts" in lines
    assert f"  broke: {second}/c1 ipv4 (ok -> FORWARDING_OFF), {second}/c2 ipv4 (ok -> FORWARDING_OFF)" in lines
    assert "\x1b[" not in broken.output
    assert re.findall(r"^fatal: \[(\w+)\]", broken.output, re.MULTILINE) == [second]
    assert set(broken.changed.values()) == {0}
    assert world.nodes[1].snapshot() == before

    report = content(playbooks)
    assert (report["schema"], report["version"]) == ("netpath.egress/diagnosis", 1)
    assert report["counts"] == {
        "hosts": 3,
        "no_answer": 0,
        "paths": 12,
        "broken": 2,
        "degraded": 0,
        "unknown": 0,
        "ok": 10,
    }
    assert {(one["host"], one["namespace"], one["code"]) for one in report["findings"]} == {
        (second, name, "FORWARDING_OFF") for name in ("c1", "c2")
    }
    assert list(report["hosts"]) == [first, second, third]
    suites = ET.parse(playbooks.directory / "reports" / "junit.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("12", "2")
    page = _Headings()
    text = (playbooks.directory / "reports" / "report.html").read_text(encoding="utf-8")
    assert [name for name in ("np-c1", "br0", "uplink0", "10.22.33.1/24") if name not in text] == []
    page.feed(text)
    assert [name for name in page.found if name.startswith("✕")] == [
        f"✕ {second} · {name} (IPv4)" for name in ("c1", "c2")
    ]

    world.nodes[1].run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
    healed = diagnosed(playbooks)
    assert healed.status == 0, healed.output
    assert f"  healed: {second}/c1 ipv4 (FORWARDING_OFF -> ok)" in healed.output
    assert sorted(os.listdir(playbooks.directory / "reports")) == ["junit.xml", "report.html", "report.json"]


def test_what_the_query_selects_fails_the_play(world: World, playbooks: Playbooks) -> None:
    world.nodes[0].run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    world.nodes[1].run(["ip", "-n", "c2", "link", "set", "lo", "down"])
    others = diagnosed(playbooks, diagnose_query="[?tier=='confirm']")
    assert others.status == 0, others.output
    assert "The query selects 0 findings." in others.output
    assert OFF not in others.output
    assert content(playbooks)["counts"]["broken"] == 2

    selected = diagnosed(playbooks, diagnose_query="[?hop=='loopback']", diagnose_fail_on="degraded")
    assert selected.status == 2, selected.output
    assert re.findall(r"^fatal: \[(\w+)\]", selected.output, re.MULTILINE) == [world.nodes[1].name]
    assert diagnosed(playbooks, diagnose_fail_on="never").status == 0

    wrong = diagnosed(playbooks, diagnose_query="[?hop==")
    assert wrong.status == 2
    assert "the query '[?hop==' is wrong" in wrong.output
    assert "Traceback" not in wrong.output


def test_namespaces_that_nobody_described(world: World, playbooks: Playbooks) -> None:
    """By name alone; all of a host would be those of this machine's processes too."""
    first = world.nodes[0]
    first.run(["ip", "-n", "c2", "route", "del", "default"])
    done = diagnosed(playbooks, "--limit", first.name, egress_networks=[], diagnose_netns=["c1", "c2", "c9"])
    assert done.status == 2, done.output
    assert {(one["namespace"], one["family"], one["code"]) for one in content(playbooks)["findings"]} == {
        ("c2", "ipv4", "NO_DEFAULT_ROUTE"),
        ("c9", "ipv4", "NAMESPACE_MISSING"),
    }
    assert content(playbooks)["counts"]["ok"] == 3


def test_host_that_does_not_answer(world: World, playbooks: Playbooks) -> None:
    """Also where it is the only one: then there is a report all the same."""
    name = world.nodes[0].name
    gone = ("-e", "ansible_lab_node_pid=4194304")
    done = diagnosed(playbooks, *gone, "--limit", name)
    assert done.status != 0
    assert f"NO ANSWER from 1 host: {name}" in done.output.splitlines()
    assert "NOTHING WAS CHECKED" not in done.output
    assert content(playbooks)["counts"]["no_answer"] == 1
    assert ET.parse(playbooks.directory / "reports" / "junit.xml").getroot().get("errors") == "1"
    forgiven = diagnosed(playbooks, *gone, "--limit", name, diagnose_fail_on="never")
    assert forgiven.status == 0, forgiven.output


def test_batches_are_one_report(world: World, playbooks: Playbooks) -> None:
    """All batches compare with the report from before the play, and the last one has all hosts."""
    assert diagnosed(playbooks, diagnose_fail_on="never").status == 0
    world.nodes[0].run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    playbook = playbooks.directory / "batches.yml"
    play = {"hosts": "all", "gather_facts": False, "serial": 1, "roles": [{"role": "netpath.egress.diagnose"}]}
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    folder = str(playbooks.directory / "reports")
    extra = {"egress_networks": [PODS], "diagnose_report_dir": folder, "diagnose_fail_on": "never"}
    done = playbooks.run(str(playbook), "-e", json.dumps(extra))
    assert done.status == 0, done.output
    report = content(playbooks)
    assert (report["counts"]["hosts"], report["counts"]["no_answer"]) == (3, 0)
    assert [one["host"] for one in report["history"]["broke"]] == [world.nodes[0].name] * 2


def test_earlier_report_that_is_damaged(playbooks: Playbooks) -> None:
    (playbooks.directory / "reports").mkdir()
    (playbooks.directory / "reports" / "report.json").write_text('{"schema": ', encoding="utf-8")
    done = diagnosed(playbooks)
    assert done.status == 0, done.output
    assert "[WARNING]: There is no comparison with the earlier report" in done.output
    assert content(playbooks)["history"] is None


def test_folder_that_cannot_be_written(playbooks: Playbooks) -> None:
    (playbooks.directory / "file").write_text("", encoding="utf-8")
    done = diagnosed(playbooks, diagnose_report_dir=str(playbooks.directory / "file"))
    assert done.status == 2
    assert "the report cannot be written to" in done.output
    assert "Traceback" not in done.output
