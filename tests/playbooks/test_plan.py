"""The playbook plan: it contacts no host, and site gives the addresses that it told."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.world import World
from tests.support.controller import Controller
from tests.support.playbook_runs import Playbooks

_OBSTACLE = privilege.obstacle()

Data = dict[str, t.Any]
PODS: Data = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["ns1", "ns2"]}
NOWHERE: dict[str, Data] = {
    "web1.example.invalid": {"egress_networks": [PODS]},
    "web2.example.invalid": {"egress_networks": [{**PODS, "nat": "none"}]},
    "web3.example.invalid": {"egress_networks": [{**PODS, "nat": "none"}]},
    "bare.example.invalid": {},
}


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def test_no_host_is_contacted(controller: Controller) -> None:
    done = controller.plan(NOWHERE, egress_plan_folder="plan/today")
    assert done.returncode == 0, done.stdout
    assert not controller.contacted
    made = json.loads((controller.directory / "plan/today/plan.json").read_text(encoding="utf-8"))
    assert [(row["host"], row["namespace"], row["addresses"]) for row in made["rows"]] == [
        (host, name, [address])
        for host in list(NOWHERE)[:3]
        for name, address in (("ns1", "10.22.33.2/24"), ("ns2", "10.22.33.3/24"))
    ]
    assert made["counts"] == {"hosts": 4, "networks": 3, "namespaces": 6, "refused": 0}
    drawn = (controller.directory / "plan/today/plan.svg").read_text(encoding="utf-8")
    assert all(host in drawn for host in NOWHERE)
    said = done.stdout.splitlines()
    assert [line.split()[0] for line in said if "10.22.33.3/24" in line] == list(NOWHERE)[:3]
    assert [line for line in said if line.startswith("WARNING: 10.22.33.0/24 is used on 2 hosts without NAT")]
    assert any("keeps the addresses that it has" in line for line in said)
    # The program in the place of ssh does what the test relies on.
    controller.run(NOWHERE, "adhoc", "all", "-m", "ansible.builtin.raw", "-a", "true")
    assert controller.contacted


def test_everything_that_is_wrong_is_told(controller: Controller) -> None:
    hosts = {
        "web1": {"egress_networks": [{**PODS, "mtu": "x", "nat": "y"}, {"name": "web"}]},
        "web2": {"egress_networks": [{**PODS, "subnets": ["10.22.33.7/24"]}]},
        "web3": {"egress_networks": "{{ nowhere }}"},
        "web4": {"egress_networks": [PODS]},
    }
    done = controller.plan(hosts)
    assert done.returncode != 0
    assert not controller.contacted
    refused = [line for line in done.stdout.splitlines() if line.startswith("REFUSED ")]
    assert refused[:4] == [
        "REFUSED web1: networks[0].mtu: 'x' is no MTU; allowed are auto and a number",
        "REFUSED web1: networks[0].nat.mode: 'y' is not allowed; allowed are masquerade, snat, none",
        "REFUSED web1: networks[1].subnets: missing; give at least one, such as 10.22.33.0/24",
        "REFUSED web2: networks[0].subnets[0]: '10.22.33.7/24' is no network; did you mean 10.22.33.0/24?",
    ]
    assert len(refused) == 5
    assert refused[4].startswith("REFUSED web3: its networks cannot be read:")
    assert refused[4].endswith("'nowhere' is undefined")
    recap = done.stdout.partition("PLAY RECAP")[2].splitlines()[1:]
    assert {line.split()[0]: "failed=1" in line for line in recap if line} == {
        "web1": True,
        "web2": True,
        "web3": True,
        "web4": False,
    }
    assert "Traceback" not in done.stdout + done.stderr


def test_folder_that_cannot_be_written(controller: Controller) -> None:
    done = controller.plan(NOWHERE, egress_plan_folder="/proc/none")
    assert done.returncode != 0
    assert "the plan cannot be written to /proc/none" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))
def test_site_gives_the_addresses_of_the_plan(tmp_path: Path) -> None:
    networks = [
        {
            "name": "pods",
            "subnets": ["10.22.33.0/28", "10.22.34.0/24", "fd00:22:33::/64"],
            "gateway": ["10.22.33.3", "10.22.34.1", "fd00:22:33::9"],
            "namespaces": ["b", {"name": "a", "addresses": ["10.22.33.2/28", "fd00:22:33::1/64"]}, "c"],
            "prefix": "n",
            "count": 14,
            "publish": [{"port": 8080, "to": "n14:80"}],
        },
        {"name": "web", "subnets": ["fd00:44::/64"], "namespaces": ["w"]},
    ]
    with World(nodes=1) as world:
        (node,) = world.nodes
        playbooks = Playbooks(world, tmp_path)
        before = node.snapshot()
        folder = tmp_path / "plan"
        planned = playbooks.run(
            "netpath.egress.plan", "-e", json.dumps({"egress_plan_folder": str(folder)}), networks=networks
        )
        assert planned.status == 0, planned.output
        assert node.snapshot() == before
        playbooks.build(*networks)
        made = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        wanted = {row["namespace"]: set(row["addresses"]) for row in made["rows"]}
        assert len(wanted) == 18
        for namespace, addresses in wanted.items():
            shown = node.run(["ip", "-n", namespace, "-j", "address", "show", "dev", "eth0", "scope", "global"]).stdout
            held = json.loads(shown)[0]["addr_info"]
            assert {f"{item['local']}/{item['prefixlen']}" for item in held if item} == addresses
