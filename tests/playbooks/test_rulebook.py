"""The rule set for ansible-rulebook: an alert has the host repaired that it names, and no other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from tests.lab import inventory, privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.support.playbook_runs import APPS, ROOT, Playbooks, answers

PROGRAM = ROOT / "build/venv/rulebook/bin/ansible-rulebook"
RULEBOOK = ROOT / "extensions/eda/rulebooks/remediate.yml"
TOKEN = "open-sesame"
DETACH = ["ip", "link", "set", "np-a1", "nomaster"]
_POST = """
import json, sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:5101/endpoint", sys.argv[2].encode())
request.add_header("Authorization", f"Bearer {sys.argv[1]}")
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
_CONNECT = """
import socket, sys, time
give_up = time.monotonic() + float(sys.argv[1])
while time.monotonic() < give_up:
    try:
        sys.exit(socket.create_connection(("127.0.0.1", 5101), 1).close())
    except OSError:
        time.sleep(0.1)  # it does not listen yet
sys.exit(1)
"""
_PATIENCE = 60.0  # seconds


def obstacle() -> str | None:
    if not PROGRAM.exists():
        return "ansible-rulebook is not installed; scripts/setup/venv.sh rulebook does it"
    if shutil.which("java") is None:
        return "there is no Java runtime, which ansible-rulebook needs"
    return privilege.obstacle()


_OBSTACLE = obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))


class Listener:
    """A running ansible-rulebook, in the network of a node that nobody else uses."""

    def __init__(self, node: Node, process: subprocess.Popen[str], log: Path) -> None:
        self.node = node
        self._process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def listens(self) -> bool:
        """Whether it does before patience ends."""
        return self.node.run([sys.executable, "-c", _CONNECT, str(_PATIENCE)], check=False).returncode == 0

    def post(self, *alerts: t.Mapping[str, t.Any], token: str = TOKEN) -> str:
        """The status of the answer."""
        payload = json.dumps({"version": "4", "status": "firing", "alerts": alerts})
        return self.node.run([sys.executable, "-c", _POST, token, payload]).stdout.strip()

    def told(self, pattern: str, count: int = 1) -> bool:
        """Whether the output has had it so often before patience ends."""
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up:
            if len(re.findall(pattern, self.output)) >= count:
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.1)
        return False


@pytest.fixture
def playbooks(tmp_path: Path) -> t.Iterator[Playbooks]:
    with World(nodes=2) as world:
        made = Playbooks(world, tmp_path)
        made.options = ["-e", json.dumps({"egress_persist": False})]
        made.prepare(APPS)
        yield made


@pytest.fixture
def listener(playbooks: Playbooks, tmp_path: Path) -> t.Iterator[Listener]:
    known = inventory.environment(inventory.write(playbooks.world, tmp_path, sys.executable))
    # It takes a file along without the variables that lie beside it, and a folder as it is.
    folder = tmp_path / "inventory"
    (folder / "group_vars").mkdir(parents=True)
    shutil.copy(known["LAB_INVENTORY"], folder)
    (folder / "group_vars" / "all.yml").write_text(json.dumps({"egress_networks": [APPS]}))
    variables = tmp_path / "webhook.json"
    variables.write_text(json.dumps({"netpath_webhook_token": TOKEN}))
    environment = {
        **os.environ,
        **known,
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible"),
    }
    argv = [str(PROGRAM), "--rulebook", str(RULEBOOK), "--inventory", str(folder), "--vars", str(variables)]
    with playbooks.world.add_node(uplink=False) as node:
        node.run(["ip", "link", "set", "lo", "up"])
        log = tmp_path / "log"
        with log.open("w") as out:
            process = node.popen(argv, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=str(tmp_path))
        try:
            made = Listener(node, process, log)
            assert made.listens(), made.output
            yield made
        finally:
            process.terminate()
            process.wait(timeout=30)


def alert(instance: str, name: str = "NetpathPathBroken", status: str = "firing") -> dict[str, t.Any]:
    return {"status": status, "labels": {"alertname": name, "instance": instance}, "annotations": {}}


def test_alert_has_its_host_repaired(playbooks: Playbooks, listener: Listener) -> None:
    nodes = playbooks.world.nodes[:2]
    for node in nodes:
        node.run(DETACH)
    assert listener.post(alert("node1:9100"), token="guessed") == "401"
    # Names that are none, alerts about something else, and what is over.
    template = "{{ lookup('ansible.builtin.pipe', 'touch " + str(playbooks.directory / "touched") + "') }}"
    strange = [alert(template), alert("node1", "NodeDown"), alert("node1", status="resolved"), alert("--all")]
    assert listener.post(*strange, alert("node1:9100"), alert("node1:9100")) == "200"
    assert listener.told("PLAY RECAP"), listener.output
    assert answers(nodes[0], "a1")[4] == nodes[0].address, listener.output
    assert "np-a1" not in nodes[1].run(["ip", "link", "show", "master", "br-apps"]).stdout
    assert not (playbooks.directory / "touched").exists()
    # It breaks again at once: that is for a person.
    nodes[0].run(DETACH)
    assert listener.post(alert("node1:9100"), alert("node2:9100", "NetpathDrift")) == "200"
    assert listener.told("PLAY RECAP", 2), listener.output
    assert answers(nodes[1], "a1")[4] == nodes[1].address, listener.output
    assert "np-a1" not in nodes[0].run(["ip", "link", "show", "master", "br-apps"]).stdout
    assert len(re.findall("PLAY RECAP", listener.output)) == 2
