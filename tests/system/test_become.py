"""Modules in a namespace of a remote host: over SSH, by sudo, with pipelining and without."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("plain"),
]

_BUILD = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - netpath.egress.egress_path:
        networks:
          - name: pods
            subnets: [10.22.33.0/24]
            namespaces:
              - {name: c1, dns: {servers: [198.51.100.80]}}
              - c2
    - ansible.builtin.command:
        argv: [systemd-run, --unit=web, ip, netns, exec, c2, python3, -m, http.server, "8000", --directory, /etc/netns]
        creates: /run/systemd/transient/web.service
"""
_REMOVE = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.command: systemctl stop web
    - ansible.builtin.file: {path: /root/.ssh/authorized_keys, state: absent}
    - netpath.egress.egress_path:
        networks:
          - {name: pods, state: absent}
"""
_USE = """
- hosts: all
  gather_facts: false
  become: true
  become_method: netpath.egress.netns
  vars:
    ansible_netns: c1
  tasks:
    - ansible.builtin.command: ip -br address show eth0
      register: addresses
    - ansible.builtin.shell: cat /etc/resolv.conf | tail -1
      register: resolver
    - ansible.builtin.wait_for: {host: 10.22.33.3, port: 8000, timeout: 20}
    - ansible.builtin.uri: {url: "http://10.22.33.3:8000/c1/resolv.conf", return_content: true}
      register: page
    - ansible.builtin.get_url: {url: "http://10.22.33.3:8000/c1/resolv.conf", dest: /tmp/fetched, mode: "0600"}
    - ansible.builtin.raw: id -un
      become_user: nobody
      register: user
    - ansible.builtin.raw: ip link set eth0 down
      become_user: nobody
      register: refused
      failed_when: refused.rc == 0
    - ansible.builtin.assert:
        that:
          - "'10.22.33.2/24' in addresses.stdout"
          - resolver.stdout == 'nameserver 198.51.100.80'
          - "'nameserver' in page.content"
          - user.stdout | trim == 'nobody'
    # The host itself has no way there, as it has no listener on that port.
    - ansible.builtin.command: ip -br link show np-c1
      become_method: sudo
"""
_NETWORKS = """
all:
  vars:
    egress_networks:
      - {name: pods, subnets: [10.22.33.0/24], namespaces: [c1, c2]}
"""
_EVERYWHERE = """
- hosts: netpath_network_pods
  gather_facts: false
  tasks:
    - ansible.builtin.command: ip -br address show eth0
      register: addresses
    - ansible.builtin.assert:
        that: ("10.22.33.2/24" if ansible_netns == "c1" else "10.22.33.3/24") in addresses.stdout
"""
_GONE = """
- hosts: stable
  gather_facts: false
  tasks:
    - ansible.builtin.command: "true"
      become: true
      become_method: netpath.egress.netns
      vars: {ansible_netns: gone}
"""


@pytest.fixture(scope="module")
def lab(plain_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    done = played(plain_lab, tmp_path_factory.mktemp("build"), _BUILD)
    assert done.returncode == 0, done.stdout
    yield plain_lab
    done = played(plain_lab, tmp_path_factory.mktemp("remove"), _REMOVE)
    assert done.returncode == 0, done.stdout


def played(
    lab: Lab, directory: Path, play: str, pipelining: bool = False, inventories: t.Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    (directory / "play.yml").write_text(play, encoding="utf-8")
    known = {**lab.environment(), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": str(pipelining)}
    return subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            known["LAB_INVENTORY"],
            *(f"--inventory={inventory}" for inventory in inventories),
            str(directory / "play.yml"),
        ],
        env={**os.environ, **known},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.mark.parametrize("pipelining", [False, True])
def test_modules_run_in_the_namespace(lab: Lab, tmp_path: Path, pipelining: bool) -> None:
    done = played(lab, tmp_path, _USE, pipelining)
    assert done.returncode == 0, done.stdout


def test_connection_of_root_is_in_the_namespace_as_well(lab: Lab, tmp_path: Path) -> None:
    """Ansible does nothing to become the user who it is already."""
    for name in lab.nodes:
        keys = "mkdir -p /root/.ssh; cat /home/*/.ssh/authorized_keys >/root/.ssh/authorized_keys"
        subprocess.run(lab.inside(name, ["sh", "-ec", keys]), check=True, cwd="/")
    done = played(lab, tmp_path, _USE.replace("vars:", "vars:\n    ansible_user: root", 1))
    assert done.returncode == 0, done.stdout


def test_namespaces_as_hosts(lab: Lab, tmp_path: Path) -> None:
    files = {"networks.yml": _NETWORKS, "namespaces.yml": "plugin: netpath.egress.namespaces\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    done = played(lab, tmp_path, _EVERYWHERE, inventories=[tmp_path / name for name in files])
    assert done.returncode == 0, done.stdout
    for name in ("c1.stable", "c2.stable", "c1.newer", "c2.newer"):
        assert f"{name} " in done.stdout


def test_namespace_that_is_not_there_is_no_host_that_is_not_there(lab: Lab, tmp_path: Path) -> None:
    done = played(lab, tmp_path, _GONE)
    assert '"msg": "this host has no network namespace gone"' in done.stdout
    assert "unreachable=0" in done.stdout
    assert "failed=1" in done.stdout
