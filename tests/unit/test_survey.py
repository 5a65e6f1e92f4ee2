"""All that is wrong with a list of networks, where a run ends with the first of it."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.survey import survey
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import module_options
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView

PODS: dict[str, t.Any] = {"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["a", "b"]}
WRONG: list[dict[str, t.Any]] = [
    {"subnets": ["10.22.33.7/24"]},
    {"subnets": []},
    {"gateway": "10.9.9.9"},
    {"mtu": "large"},
    {"nat": "some"},
    {"nat": {"mode": "snat", "to_source": ["nowhere"]}},
    {"publish": [{"port": 0, "to": "a"}]},
    {"publish": [{"port": 80, "to": "nobody"}]},
    {"namespaces": ["a", "b/c"]},
    {"namespaces": ["a", {"name": "b", "addresses": ["10.9.9.9/24"]}]},
    {"namespaces": ["a", "a"]},
    {"subnets": ["10.22.33.0/30"]},
    {"count": 2},
    {"prefix": "c", "count": 5000},
    {"name": "No"},
    {"colour": "red"},
    {"uplink": ["auto", "eth0"]},
    {"firewall": "none", "mss_clamp": True},
    {"vlan": 5000},
    {"isolated": "maybe"},
]


def told(*networks: t.Any) -> list[str]:
    return [str(error) for error in survey(list(networks))[1]]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_first_error_is_that_of_a_run(wrong: dict[str, t.Any]) -> None:
    entry = {**PODS, **wrong}
    with pytest.raises(SpecError) as first:
        module_options([entry], HostView(mtus={"eth0": 1500}), "networks")
    assert told(entry) == [str(first.value)]
    assert survey([entry])[0] == []


def test_each_error_of_a_network_is_told() -> None:
    entry = {**PODS, "mtu": "large", "nat": "some", "isolated": "maybe", "namespaces": ["a/b", "a", {"colour": 1}]}
    assert [text.partition(":")[0] for text in told(entry)] == [
        "networks[0].isolated",
        "networks[0].mtu",
        "networks[0].nat.mode",
        "networks[0].namespaces[0].name",
        "networks[0].namespaces[2].colour",
    ]


def test_what_follows_from_another_error_is_not_told() -> None:
    """Ports are published of a namespace that is wrong, addresses and exclusions are of subnets that are."""
    member = {"name": "a", "addresses": ["10.22.33.1/24"]}
    assert len(told({**PODS, "namespaces": ["b", "a/b"], "publish": [{"port": 80, "to": "a/b"}]})) == 1
    assert len(told({**PODS, "subnets": ["10.22.33.7/24"], "namespaces": [member], "gateway": "10.22.33.9"})) == 1
    assert len(told({**PODS, "subnets": [7], "nat": {"mode": "snat", "to_source": ["2001:db8::1"]}})) == 1
    assert len(told({**PODS, "gateway": "10.9.9.9", "namespaces": [member]})) == 1


def test_networks_of_one_host_are_compared() -> None:
    web = {"name": "web", "subnets": ["10.44.0.0/24"]}
    found = told(PODS, {**web, "namespaces": ["a"]}, {**web, "subnets": ["10.22.0.0/16"]}, {**web, "mtu": "x"}, web)
    assert [text.partition(":")[0] for text in found] == [
        "networks[1].namespaces[0].name",
        "networks[0].subnets",
        "networks[3].mtu",
    ]


def test_ports_that_two_networks_publish() -> None:
    web = {"name": "web", "subnets": ["10.44.0.0/24"], "namespaces": ["w"]}
    ports = [{"port": 80, "to": "w"}, {"port": "8000-8100", "to": "w"}]
    (found,) = told({**PODS, "publish": [{"port": 8080, "to": "a:80"}]}, {**web, "publish": ports})
    assert found.startswith("publish tcp 8080 (IPv4) for web: pods publishes it already. Choose another port")


@pytest.mark.parametrize(
    "data", [7, "pods", [7], [None], [[]], [{}], {"name": "pods"}, [{"name": "a", "namespaces": 7}]]
)
def test_what_is_no_list_of_networks(data: t.Any) -> None:
    planned, errors = survey(data)
    assert planned == []
    assert errors
