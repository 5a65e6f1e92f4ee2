"""The inventory plugin: namespaces as hosts, from networks written as users write them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

HOSTS = """
all:
  children:
    web:
      hosts:
        node1.example.org: {ansible_host: "{{ address }}", address: 198.18.0.11}
        node2.example.org:
    db:
      hosts:
        node3.example.org: {egress_networks: []}
"""
VARIABLES = """
egress_index: "{{ groups['all'].index(inventory_hostname) }}"
ansible_user: ops
egress_networks:
  - name: web-pods
    subnets: ["{{ '10.22.0.0/16' | netpath.egress.host_subnet(egress_index, 24) }}"]
    namespaces: [ns1, {prefix: w, count: 2}]
  - {name: apps, subnets: [10.44.0.0/24], namespaces: [a1]}
  - {name: gone, state: absent}
"""
PLUGIN = "plugin: netpath.egress.namespaces\n"


def listed(
    folder: Path,
    variables: str = VARIABLES,
    plugin: str = PLUGIN,
    hosts: str = HOSTS,
    order: t.Sequence[str] = ("hosts.yml", "namespaces.yml"),
) -> tuple[t.Any, str]:
    """What ansible-inventory lists, and its errors."""
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text(variables, encoding="utf-8")
    (folder / "hosts.yml").write_text(hosts, encoding="utf-8")
    (folder / "namespaces.yml").write_text(plugin, encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    done = subprocess.run(
        [program, *(f"--inventory={name}" for name in order), "--list"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    return (json.loads(done.stdout) if done.returncode == 0 else None), done.stderr


def plain(value: t.Any) -> t.Any:
    """Text that is no template is marked in the listing."""
    return value["__ansible_unsafe"] if isinstance(value, dict) and "__ansible_unsafe" in value else value


def test_namespaces_are_hosts(tmp_path: Path) -> None:
    found, errors = listed(tmp_path)
    assert found, errors
    nodes = ("node1.example.org", "node2.example.org")
    assert sorted(found["netpath_network_web_pods"]["hosts"]) == sorted(
        f"{name}.{node}" for name in ("ns1", "w1", "w2") for node in nodes
    )
    assert sorted(found["netpath_network_apps"]["hosts"]) == [f"a1.{node}" for node in nodes]
    assert sorted(found["netpath_namespaces"]["children"]) == ["netpath_network_apps", "netpath_network_web_pods"]
    assert sorted(found["web"]["hosts"]) == list(nodes)
    variables = {key: plain(value) for key, value in found["_meta"]["hostvars"]["w2.node1.example.org"].items()}
    expected = {
        "ansible_host": "198.18.0.11",
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_become_method": "netpath.egress.netns",
        "ansible_netns": "w2",
        "egress_networks": [],
        "netpath_host": "node1.example.org",
        "netpath_network": "web-pods",
        "netpath_bridge": "br-web-pods",
        "netpath_interface": "eth0",
    }
    assert {key: variables[key] for key in expected} == expected
    given = {key: [plain(item) for item in variables[key]] for key in ("netpath_addresses", "netpath_gateways")}
    assert given == {"netpath_addresses": ["10.22.0.4/24"], "netpath_gateways": ["10.22.0.1"]}
    assert plain(found["_meta"]["hostvars"]["a1.node2.example.org"]["ansible_host"]) == "node2.example.org"


def test_namespaces_before_the_hosts(tmp_path: Path) -> None:
    _found, errors = listed(tmp_path, order=("namespaces.yml", "hosts.yml"))
    assert "comes before any host, so that it has no namespaces: name it after the hosts" in " ".join(errors.split())


def test_another_separator(tmp_path: Path) -> None:
    found, errors = listed(tmp_path, plugin=f"{PLUGIN}separator: '@'\n")
    assert found, errors
    assert "a1@node1.example.org" in found["_meta"]["hostvars"]


WRONG = "egress_networks: [{name: pods, subnets: [10.22.0.0/33]}]"


@pytest.mark.parametrize("variables", [WRONG, "egress_networks: '{{ nowhere }}'"])
def test_networks_that_cannot_be_read(tmp_path: Path, variables: str) -> None:
    found, errors = listed(tmp_path, variables)
    assert found is None
    assert "the networks of node1.example.org" in errors


def test_left_out_with_a_warning(tmp_path: Path) -> None:
    found, errors = listed(tmp_path, WRONG, f"{PLUGIN}strict: false\n")
    assert found, errors
    assert "the networks of node1.example.org" in errors
    assert "netpath_namespaces" not in found


# The namespace ns1 of node1.example.org would have the name of that host.
TAKEN = HOSTS.replace(
    "    db:", "        ns1.node1.example.org: {ansible_host: 198.18.0.12, egress_networks: []}\n    db:"
)


def test_name_of_another_host(tmp_path: Path) -> None:
    found, errors = listed(tmp_path, hosts=TAKEN)
    assert found is None
    assert "the inventory has a host ns1.node1.example.org already" in " ".join(errors.split())


def test_host_of_that_name_stays_what_it_is(tmp_path: Path) -> None:
    found, errors = listed(tmp_path, plugin=f"{PLUGIN}strict: false\n", hosts=TAKEN)
    assert found, errors
    assert plain(found["_meta"]["hostvars"]["ns1.node1.example.org"]["ansible_host"]) == "198.18.0.12"
    assert "ansible_netns" not in found["_meta"]["hostvars"]["ns1.node1.example.org"]
    assert "w1.node1.example.org" in found["_meta"]["hostvars"]


def test_two_namespaces_of_one_name(tmp_path: Path) -> None:
    """A name may have dots, so that two hosts could give the same one."""
    hosts = "all:\n  hosts:\n" + "".join(
        f"    {host}: {{egress_networks: [{{name: p, subnets: [10.1.0.0/24], namespaces: [{space}]}}]}}\n"
        for host, space in (("c", "a.b"), ("b.c", "a"))
    )
    found, errors = listed(tmp_path, variables="{}", hosts=hosts)
    assert found is None
    assert "the inventory has a host a.b.c already" in " ".join(errors.split())


SCOPED = (
    VARIABLES
    + """
ansible_become_password: "{{ lookup('ansible.builtin.vars', 'password_' ~ inventory_hostname_short) }}"
ansible_ssh_private_key_file: "/keys/{{ inventory_hostname }}.pem"
nested: {name: ["{{ inventory_hostname }}"]}
password_node1: one
password_node2: two
password_node3: three
"""
)


def test_templates_of_a_host_keep_their_meaning_in_its_namespaces(tmp_path: Path) -> None:
    listed(tmp_path, variables=SCOPED)
    shown = "{{ [ansible_become_password, ansible_ssh_private_key_file, nested] | to_json }}"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible"),
            *("-i", "hosts.yml", "-i", "namespaces.yml", "ns1.node2.example.org"),
            *("-c", "local", "-m", "ansible.builtin.debug", "-a", f"msg='seen={shown}'"),
        ],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_BECOME": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout[done.stdout.index("{") :])["msg"]
    key = "/keys/node2.example.org.pem"
    assert json.loads(answer.removeprefix("seen=")) == ["two", key, {"name": ["node2.example.org"]}]
