"""The controller confirms over the connection that a change may cut; where it does, the host comes back by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.lab.booted import plan, requirements
from tests.lab.booted.lab import Lab

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("plain"),
]

NODE = "newer"
FILTER = {"rp_filter": 1, "interfaces": ["mgmt0"], "network": "pods"}
_FILTERS = ["cat", "/proc/sys/net/ipv4/conf/mgmt0/rp_filter"]
_PLAY = """
- hosts: newer
  gather_facts: false
  become: true
  tasks:
    - netpath.egress.sysctl_forward: {asked}
      async: 60
      poll: 0
      register: started
    - async_status: {{jid: "{{{{ started.ansible_job_id }}}}"}}
      register: finished
      until: finished.finished
      retries: 60
      delay: 1
    - netpath.egress.egress_confirm: {{token: "{{{{ finished.unconfirmed.token }}}}"}}
"""


@pytest.fixture(scope="module")
def lab(plain_lab: Lab) -> Lab:
    plain_lab.ssh(NODE, ["sudo", "rm", "-f", "/var/log/netpath/audit.jsonl"])
    return plain_lab


def ansible(lab: Lab, program: str, *arguments: str, give_up: int = 60) -> subprocess.CompletedProcess[str]:
    """give_up: seconds after which SSH gives up a connection without an answer."""
    options = f"-o ControlMaster=auto -o ControlPersist=60 -o ServerAliveInterval={give_up} -o ServerAliveCountMax=1"
    known = {
        **lab.environment(),
        "ANSIBLE_SSH_ARGS": options,
        # A connection that another test left open keeps what it was opened with.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(Path.home() / f".ansible/cp{give_up}"),
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), "-i", known["LAB_INVENTORY"], *arguments],
        env={**os.environ, **known, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "5"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=200,
    )


def module(lab: Lab, name: str, options: object) -> t.Any:
    """What a module returns, by Ansible and SSH."""
    done = ansible(lab, "ansible", NODE, "--become", "-m", f"netpath.egress.{name}", "-a", json.dumps(options))
    return json.loads(done.stdout[done.stdout.index("=> {") + 3 :])


def test_controller_confirms(lab: Lab) -> None:
    result = module(lab, "sysctl_forward", FILTER)
    assert result["confirmed"] == ["set net.ipv4.conf.mgmt0.rp_filter to 1 (was 0)"]
    assert "unconfirmed" not in result
    assert not module(lab, "sysctl_forward", FILTER)["changed"]
    assert module(lab, "sysctl_forward", {"network": "pods", "state": "restored"})["confirmed"]
    assert lab.ssh(NODE, _FILTERS).stdout.strip() == "0"


# (seconds until the host puts the change back, seconds until SSH gives up, what Ansible calls the result)
@pytest.mark.parametrize(
    ("confirm_within", "give_up", "called"), [(12, 2, "UNREACHABLE"), (3, 60, "FAILED")], ids=["given-up", "resumed"]
)
def test_change_that_cuts_its_connection_is_put_back(confirm_within: int, give_up: int, called: str, lab: Lab) -> None:
    lab.ssh(NODE, ["sudo", "rm", "-f", "/var/log/netpath/audit.jsonl"])
    wrong = {
        "dest": f"{plan.CONTROLLER}/32",
        "gateway": "198.18.128.250",
        "device": "mgmt0",
        "confirm_within": confirm_within,
    }
    command = ["--become", "-m", "netpath.egress.ns_route", "-a", json.dumps(wrong)]
    told = ansible(lab, "ansible", NODE, *command, give_up=give_up).stdout
    assert f"{NODE} | {called}! =>" in told, told
    # It says so only if the host has said it.
    assert ('"rolled_back": true' in told) == (called == "FAILED"), told
    lab.wait(NODE, timeout=60)
    assert lab.ssh(NODE, ["ip", "route", "show", "proto", "250"]).stdout == ""
    (line,) = lab.ssh(NODE, ["sudo", "cat", "/var/log/netpath/audit.jsonl"]).stdout.splitlines()
    assert json.loads(line)["error"] == f"not confirmed within {confirm_within} s, and put back"


def test_change_in_the_background(lab: Lab, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(_PLAY.format(asked=json.dumps({**FILTER, "confirm_within": 30})))
    done = ansible(lab, "ansible-playbook", str(play))
    assert done.returncode == 0, done.stdout
    assert lab.ssh(NODE, _FILTERS).stdout.strip() == "1"
    assert module(lab, "sysctl_forward", {"network": "pods", "state": "restored"})["confirmed"]


def test_management_path_is_sacred_in_the_background_too(lab: Lab, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    asked = json.dumps({"name": "brx", "ports": ["mgmt0"], "network": "lab"})
    play.write_text(_PLAY.format(asked=asked).replace("sysctl_forward", "linux_bridge"))
    done = ansible(lab, "ansible-playbook", str(play))
    assert done.returncode != 0
    assert "it carries the SSH session" in done.stdout
    assert "brx" not in lab.ssh(NODE, ["ip", "link"]).stdout
