"""What the plan refuses, everything that takes networks refuses in the same words, and no host is contacted."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.support.controller import Controller, Data
from tests.support.playbook_runs import APPS, Playbooks, answers

_OBSTACLE = privilege.obstacle()

PODS: Data = {"name": "pods", "subnets": ["10.22.0.0/24"], "namespaces": ["ns1"]}
# What is given for egress_networks, and what is said of it.
REFUSED: dict[str, tuple[t.Any, str]] = {
    "number-for-names": (
        [{**PODS, "namespaces": 5}],
        "networks[0].namespaces: 5 is of the wrong type; it must be of type list",
    ),
    "true-for-names": ([{**PODS, "namespaces": True}], "networks[0].namespaces: True is of the wrong type"),
    "fraction-for-names": ([{**PODS, "namespaces": 1.5}], "networks[0].namespaces: 1.5 is of the wrong type"),
    "true-for-bridge": (
        [{**PODS, "bridge": True}],
        "networks[0].bridge: True is of the wrong type; quote it: without quotes YAML reads yes, no, on and off",
    ),
    "false-for-name": (
        [{**PODS, "name": False}],
        "networks[0].name: False is of the wrong type; quote it: without quotes",
    ),
    "booleans-for-names": (
        [{**PODS, "namespaces": [True]}],
        "networks[0].namespaces[0]: True is neither a name nor a mapping; quote it",
    ),
    "text-for-mapping": (
        [{**PODS, "publish": ["port=80 to=ns1"]}],
        "networks[0].publish[0]: 'port=80 to=ns1' is of the wrong type; it must be a mapping with keys of port, ",
    ),
    "list-for-mapping": (
        [{**PODS, "namespaces": [{"name": "ns1", "dns": ["198.51.100.53"]}]}],
        "networks[0].namespaces[0].dns: ['198.51.100.53'] is of the wrong type; it must be a mapping with keys",
    ),
    "no-name": ([PODS, {"subnets": ["10.45.0.0/24"]}], "networks[1].name: missing; it is required"),
    "word-for-count": ([{**PODS, "prefix": "n", "count": "three"}], "networks[0].count: 'three' is of the wrong type"),
    "unknown-key": ([{**PODS, "gatway": "first"}], "networks[0].gatway: unknown key; allowed are name, bridge"),
    "mapping-for-list": (
        PODS,
        "networks: {'name': 'pods', 'subnets': ['10.22.0.0/24'], 'namespaces': ... is not a list",
    ),
    "number-for-list": (5, "networks: 5 is not a list; give a list"),
    "two-errors": (
        [{**PODS, "mtu": "x", "nat": "y"}],
        "networks[0].mtu: 'x' is no MTU; allowed are auto and a number; networks[0].nat.mode: 'y' is not allowed",
    ),
}
PLAYBOOKS = {
    "transaction": ("netpath.egress.site", {}),
    "modules": ("netpath.egress.site", {"egress_apply": "modules"}),
    "teardown": ("netpath.egress.teardown", {}),
    "teardown-by-modules": ("netpath.egress.teardown", {"egress_apply": "modules"}),
    "diagnose": ("netpath.egress.diagnose", {}),
    "remediate": ("netpath.egress.remediate", {}),
}
# Removed whatever they say of themselves.
_OF_BUILDING_ALONE = {"two-errors"}


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


@pytest.mark.parametrize("playbook", ["plan", *PLAYBOOKS])
def test_same_words_from_every_playbook(controller: Controller, playbook: str) -> None:
    name, variables = PLAYBOOKS.get(playbook, ("netpath.egress.plan", {}))
    hosts = {host: {"egress_networks": given} for host, (given, _words) in REFUSED.items()}
    done = controller.run(hosts, "playbook", name, **variables)
    assert done.returncode != 0
    assert not controller.contacted
    said = re.sub(r"\\(.)", r"\1", done.stdout)
    for host, (_given, words) in REFUSED.items():
        if "teardown" in playbook and host in _OF_BUILDING_ALONE:
            continue
        told = [line for line in said.splitlines() if f"[{host}]" in line or line.startswith(f"REFUSED {host}: ")]
        shown = " ".join(told) if playbook != "plan" else "; ".join(line.partition(": ")[2] for line in told)
        assert words in shown, (host, told)


@pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))
def test_null_and_omit_are_as_left_out(playbooks: Playbooks, node: Node) -> None:
    """Whichever way the networks are built, and removed."""
    before = node.snapshot()
    left_out = "{{ nowhere_defined | default(omit) }}"
    null: Data = {**APPS, "uplink": None, "publish": None, "nat": None, "mtu": left_out}
    null["namespaces"] = [{"name": "a1", "dns": None, "addresses": left_out}]
    built = playbooks.run("netpath.egress.site", "-e", "egress_apply=modules", networks=[null])
    assert built.status == 0, built.output
    assert answers(node, "a1")[4] == node.address
    again = playbooks.run("netpath.egress.site", networks=[null])
    assert (again.status, set(again.changed.values())) == (0, {0}), again.output
    removed = playbooks.run("netpath.egress.teardown", "-e", "egress_apply=modules", networks=[null])
    assert removed.status == 0, removed.output
    assert difference(before, node.snapshot()) == ""
    nothing = playbooks.run("netpath.egress.site", "-e", '{"egress_networks": null}')
    assert nothing.status == 0, nothing.output
