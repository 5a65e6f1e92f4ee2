"""Networks as the YAML of a file of variables, and the action import_report on results that were registered."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.netpath.egress.plugins.action import import_report
from ansible_collections.netpath.egress.plugins.action.import_report import MARK
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.written import as_yaml

from tests.unit.asking import ansible

NOTE = {"about": "namespace two", "seen": "it has 2 links", "reason": "one is enough"}
PODS: dict[str, t.Any] = {
    "name": "br0",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "mtu": 1400,
    "isolated": True,
    "nat": {"mode": "snat", "to_source": ["198.18.5.1-198.18.5.9", "2001:db8::7"], "exclude": ["10.0.0.0/8"]},
    "publish": [{"port": 8080, "to": "a:80"}, {"port": "81-82", "to": "10.22.33.9", "protocol": "udp"}],
    "namespaces": ["a", "on", "1e5", "0x10", {"name": "b", "dns": {"servers": ["fd00::1"], "search": ["example.org"]}}],
}


class _Loader(yaml.SafeLoader):
    """Reads !unsafe as Ansible does."""


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> t.Any:
    return loader.construct_scalar(node)


_Loader.add_constructor("!unsafe", _text)


def read(text: str) -> t.Any:
    return yaml.load(text, _Loader)  # a kind of SafeLoader


def test_written_as_a_user_would() -> None:
    assert as_yaml([{**PODS, "namespaces": ["a", {"name": "b", "interface": "net0"}]}], [NOTE]).splitlines() == [
        "# Seen, and not described:",
        "# namespace two: it has 2 links (one is enough)",
        "egress_networks:",
        "  - name: br0",
        "    bridge: br0",
        '    subnets: [10.22.33.0/24, "fd00:22:33::/64"]',
        "    mtu: 1400",
        "    isolated: true",
        '    nat: {mode: snat, to_source: ["198.18.5.1-198.18.5.9", "2001:db8::7"], exclude: [10.0.0.0/8]}',
        '    publish: [{port: 8080, to: "a:80"}, {port: "81-82", to: 10.22.33.9, protocol: udp}]',
        "    namespaces:",
        "      - a",
        "      - name: b",
        "        interface: net0",
    ]
    assert as_yaml([], []) == "egress_networks: []\n"


@pytest.mark.parametrize(
    "text",
    ["", "on", "No", "~", "1", "1.5", "1_0", "0x1", "12:30", "a: b", "- a", "#", "'", '"', "\\", "\x1b\x85\u2028", "ä"],
)
def test_every_text_reads_back(text: str) -> None:
    networks = [{**PODS, "name": text, "namespaces": [text, {"name": text, "dns": {text: [text]}}], text: text}]
    assert read(as_yaml(networks, [{"about": text, "seen": "\n" + text, "reason": text}])) == {
        "egress_networks": networks
    }


def test_many_namespaces_are_on_lines_of_their_own() -> None:
    networks = [{**PODS, "namespaces": [f"c{number}" for number in range(1000)]}]
    text = as_yaml(networks, [])
    assert read(text)["egress_networks"] == networks
    assert max(map(len, text.splitlines())) < 120


def test_templates_stay_text() -> None:
    text = as_yaml([{**PODS, "bridge": "{{x}}"}], [])
    assert '    bridge: !unsafe "{{x}}"' in text.splitlines()


def play(tmp_path: Path, results: dict[str, t.Any], directory: str = "host_vars") -> subprocess.CompletedProcess[str]:
    tasks = [
        {
            "name": "Tell",
            "ansible.builtin.set_fact": {"imported": "{{ results[inventory_hostname] }}"},
            "when": "inventory_hostname in results",
        },
        {
            "name": "Report",
            "netpath.egress.import_report": {"hosts": ["web1", "web2"], "result": "imported", "directory": directory},
            "register": "report",
            "run_once": True,
        },
        {"name": "Show", "ansible.builtin.debug": {"msg": "failing {{ report.failing | to_json }}"}, "run_once": True},
    ]
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]), encoding="utf-8")
    (tmp_path / "results.json").write_text(json.dumps({"results": results}), encoding="utf-8")
    argv, environment = ansible(
        "ansible-playbook", "-i", "web1,web2,", "-e", "@results.json", str(book), ANSIBLE_NOCOLOR="1"
    )
    done = subprocess.run(
        argv,
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def failing(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    (line,) = [line for line in done.stdout.splitlines() if line.strip().startswith('"msg": "failing ')]
    return dict(json.loads(json.loads("{" + line.strip() + "}")["msg"].removeprefix("failing ")))


def test_files_of_variables(tmp_path: Path) -> None:
    done = play(tmp_path, {"web1": {"egress_networks": [PODS], "notes": [NOTE]}})
    assert failing(done) == {"web2": "it was not looked at"}
    assert os.listdir(tmp_path / "host_vars") == ["web1.yml"]
    written = (tmp_path / "host_vars/web1.yml").read_text(encoding="utf-8")
    assert read(written) == {"egress_networks": [PODS]}
    assert written.splitlines()[1] == MARK
    for line in written.splitlines()[2:]:
        assert line in done.stdout.splitlines()
    again = play(tmp_path, {"web1": {"egress_networks": [{**PODS, "mtu": 1300}], "notes": []}})
    assert "web1" not in failing(again)
    assert read((tmp_path / "host_vars/web1.yml").read_text(encoding="utf-8"))["egress_networks"][0]["mtu"] == 1300


def test_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    own = tmp_path / "host_vars/web1.yml"
    own.write_text("---\nown: true\n", encoding="utf-8")
    (tmp_path / "host_vars/web2.yml").symlink_to(tmp_path / "nowhere")
    answer = {"egress_networks": [PODS], "notes": []}
    said = failing(play(tmp_path, {"web1": answer, "web2": answer}))
    assert said["web1"] == f"{own} is somebody else's. Move it away, or name another folder"
    assert said["web2"].endswith("web2.yml is somebody else's. Move it away, or name another folder")
    assert own.read_text(encoding="utf-8") == "---\nown: true\n"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"failed": True, "msg": "no\npyroute2"}, "no pyroute2"),
        ({"unreachable": True, "msg": "refused"}, "refused"),
        ({"egress_networks": "no", "notes": 7}, "it told no networks"),
        ({"egress_networks": [{"name": "x", "more": "{{ lookup('pipe', 'id') }}"}]}, "what it told are no networks: "),
        ({"egress_networks": [{**PODS, "mtu": "9" * 5000}]}, "what it told are no networks: egress_networks[0].mtu"),
        ({"egress_networks": [{**PODS, "count": "9" * 5000, "prefix": "n"}]}, "egress_networks[0].count"),
        (
            {"egress_networks": [{**PODS, "namespaces": [{"name": "a", "vlan": "9" * 5000}]}]},
            "egress_networks[0].namespaces[0].vlan",
        ),
        (
            {"egress_networks": [{**PODS, "subnets": ["no"]}]},
            "what it told are no networks: egress_networks[0].subnets",
        ),
    ],
)
def test_what_a_host_tells_is_not_believed(tmp_path: Path, answer: t.Any, words: str) -> None:
    done = play(tmp_path, {"web1": answer, "web2": {"egress_networks": [], "notes": ["x", {"about": "y"}]}})
    assert list(failing(done)) == ["web1"]
    assert words in failing(done)["web1"]
    assert not (tmp_path / "host_vars").exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    said = failing(play(tmp_path, {"web1": {"egress_networks": [PODS], "notes": []}}, "/proc/none"))
    assert said["web1"].startswith("/proc/none/web1.yml cannot be written: ")


class Hostile(dict[str, t.Any]):
    """Fails in a way that nobody has thought of."""

    def get(self, key: str, _default: t.Any = None) -> t.Any:
        raise ZeroDivisionError(f"{key} \x1b[2J")


def test_whatever_one_host_tells_the_others_are_reported() -> None:
    told = {"web1": {"x": Hostile()}, "web2": {"x": {"egress_networks": [PODS], "notes": []}}}
    text, _files, reason = import_report._of_host(told, "web1", "x", "")
    assert (text, reason) == ("", "what it told cannot be used: ZeroDivisionError: egress_networks \\x1b[2J")
    text, _files, reason = import_report._of_host(told, "web2", "x", "")
    assert (reason, "name: br0" in text) == ("", True)
