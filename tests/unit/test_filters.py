"""The filters, as templates call them."""

from __future__ import annotations

import ipaddress
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.netpath.egress.plugins.filter import host_subnet as host_subnet_file
from ansible_collections.netpath.egress.plugins.filter import module_options as module_options_file
from ansible_collections.netpath.egress.plugins.filter.host_subnet import host_subnet
from ansible_collections.netpath.egress.plugins.filter.module_options import module_options
from hypothesis import given
from hypothesis import strategies as st

INFO: dict[str, t.Any] = {
    "namespaces": [{"name": "old", "network": "pods"}, {"name": None, "network": None}],
    "links": [
        {
            "netns": "",
            "name": "eth0",
            "mtu": 1400,
            "addresses": ["198.18.0.11/16"],
            "network": None,
            "kind": "veth",
            "peer": None,
        },
        {
            "netns": "ns1",
            "name": "eth0",
            "mtu": 1400,
            "addresses": ["10.0.0.9/24"],
            "network": "pods",
            "kind": "veth",
            "peer": None,
        },
    ],
    "uplinks": {
        "ipv4": {"interface": "eth0", "gateway": "198.18.0.1", "mtu": 1400, "routes": [{"interfaces": ["eth0"]}]},
        "ipv6": None,
    },
}


def test_filters_by_name() -> None:
    assert host_subnet_file.FilterModule().filters() == {"host_subnet": host_subnet}
    assert module_options_file.FilterModule().filters() == {"module_options": module_options}


@pytest.mark.parametrize(
    ("cluster", "index", "prefix", "block"),
    [
        ("10.128.0.0/14", 0, 24, "10.128.0.0/24"),
        ("10.128.0.0/14", 1, 24, "10.128.1.0/24"),
        ("10.128.0.0/14", 256, 24, "10.129.0.0/24"),
        ("10.128.0.0/14", 1023, 24, "10.131.255.0/24"),
        ("10.0.0.0/24", 0, 24, "10.0.0.0/24"),
        ("10.0.0.0/24", 3, 30, "10.0.0.12/30"),
        ("10.0.0.0/24", 255, 32, "10.0.0.255/32"),
        ("fd00:22::/48", 0, 64, "fd00:22::/64"),
        ("fd00:22::/48", 65535, 64, "fd00:22:0:ffff::/64"),
        ("fd00::/32", 70000, 64, "fd00:0:1:1170::/64"),
        ("fd00::/64", 5, 128, "fd00::5/128"),
        ("10.128.0.0/14", "7", "24", "10.128.7.0/24"),
    ],
)
def test_host_subnet(cluster: str, index: t.Any, prefix: t.Any, block: str) -> None:
    assert host_subnet(cluster, index, prefix) == block


@pytest.mark.parametrize(
    ("cluster", "index", "prefix", "words"),
    [
        ("10.128.0.0/14", 1024, 24, "10.128.0.0/14 has blocks 0 to 1023 of /24, not 1024"),
        ("10.128.0.0/14", -1, 24, "has blocks 0 to 1023 of /24, not -1"),
        ("10.128.0.0/14", 0, 13, "prefix 13 does not divide 10.128.0.0/14; allowed are 14 to 32"),
        ("10.128.0.0/14", 0, 33, "allowed are 14 to 32"),
        ("fd00::/48", 0, 129, "allowed are 48 to 128"),
        ("fd00::/48", 65536, 64, "has blocks 0 to 65535"),
        ("10.128.0.1/14", 0, 24, "'10.128.0.1/14' is no network"),
        ("ten", 0, 24, "'ten' is no network"),
        (None, 0, 24, "None is no network"),
        ("10.128.0.0/14", "one", 24, "index is 'one', not a whole number"),
        ("10.128.0.0/14", 0, None, "prefix is None, not a whole number"),
        ("10.128.0.0/14", 1.5, 24, "index is 1.5, not a whole number"),
        ("10.128.0.0/14", True, 24, "index is True, not a whole number"),
    ],
)
def test_host_subnet_says_what_is_wrong(cluster: t.Any, index: t.Any, prefix: t.Any, words: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        host_subnet(cluster, index, prefix)
    assert str(caught.value).startswith("host_subnet: ")
    assert words in str(caught.value)


@given(length=st.integers(8, 24), more=st.integers(0, 8), data=st.data())
def test_blocks_never_overlap(length: int, more: int, data: st.DataObject) -> None:
    cluster = ipaddress.ip_network(f"10.0.0.0/{length}")
    indexes = (
        data.draw(st.lists(st.integers(0, 2**more - 1), min_size=2, max_size=2, unique=True), label="indexes")
        if more
        else [0]
    )
    blocks = [ipaddress.ip_network(host_subnet(str(cluster), index, length + more)) for index in indexes]
    assert all(
        t.cast(ipaddress.IPv4Network, block).subnet_of(t.cast(ipaddress.IPv4Network, cluster)) for block in blocks
    )
    assert not (len(blocks) == 2 and blocks[0].overlaps(blocks[1]))


def test_options_for_modules() -> None:
    networks = [{"name": "pods", "subnets": ["10.0.0.0/24"], "namespaces": ["ns2", "ns1"]}]
    options = module_options(networks, INFO)
    assert [request["name"] for request in options["netns"]] == ["ns2", "ns1", "old"]
    assert [request["peer"]["addresses"] for request in options["veth"]] == [["10.0.0.2/24"], ["10.0.0.9/24"]]
    assert options["linux_bridge"][0]["mtu"] == 1400
    removed = module_options(networks, INFO, absent=True)
    assert removed["netns"] == [{"name": "old", "state": "absent"}]


def test_types_of_a_template_become_plain_ones() -> None:
    class Text(str):  # noqa: SLOT000 (as Ansible's own)
        """As Ansible marks what it has templated."""

    options = module_options([{Text("name"): Text("pods"), "subnets": (Text("10.0.0.0/24"),), "mtu": 1400}], INFO)
    (bridge,) = options["linux_bridge"]
    assert [type(bridge["network"]), type(bridge["addresses"][0]), type(bridge["mtu"])] == [str, str, int]


def test_what_is_wrong_is_said_with_its_key() -> None:
    with pytest.raises(AnsibleFilterError, match=r"networks\[0\]\.subnets\[0\]: '10\.0\.0\.5/24' is no network"):
        module_options([{"name": "pods", "subnets": ["10.0.0.5/24"]}], INFO)
