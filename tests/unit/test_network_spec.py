"""The variable egress_networks: what is wrong is said by key, value and what is allowed; what is right is expanded."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import (
    HostView,
    ModuleOptions,
    module_options,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import derived_name, parse_networks

from tests.unit.asking import SPECS, Options, all_of

HOST = HostView(
    uplinks={4: "eth0", 6: "eth0"},
    mtus={"lo": 65536, "eth0": 9000, "eth1": 1400},
    addresses={"lo": ["127.0.0.1/8"], "eth0": ["198.18.0.11/16", "2001:db8:18::11/64"], "eth1": []},
    owners={"lo": None, "eth0": None, "eth1": None},
)
KEY = "egress_networks[0]"


def network(**fields: t.Any) -> Options:
    return {"name": "pods", "subnets": ["10.0.0.0/24"], **fields}


def second(**fields: t.Any) -> list[Options]:
    return [network(), {"name": "apps", "subnets": ["10.1.0.0/24"], **fields}]


def with_namespace(**fields: t.Any) -> Options:
    return network(namespaces=[{"name": "ns1", **fields}])


# {title: (networks, the key that is wrong, words of the error)}
WRONG: dict[str, tuple[t.Any, str, str]] = {
    "no list": ({"name": "pods"}, "egress_networks", "is no list"),
    "no mapping": (["pods"], KEY, "'pods' is no mapping. allowed keys are name, bridge, subnets"),
    "unknown key": ([network(subnet=["10.0.0.0/24"])], f"{KEY}.subnet", "unknown key. allowed are name, bridge"),
    "unknown key of a namespace": (
        [with_namespace(ip="x")],
        f"{KEY}.namespaces[0].ip",
        "unknown key. allowed are name",
    ),
    "unknown key of nat": ([network(nat={"modus": 1})], f"{KEY}.nat.modus", "allowed are mode, to_source, exclude"),
    "no name": ([{"subnets": ["10.0.0.0/24"]}], f"{KEY}.name", "missing. it is required"),
    "name too long": ([network(name="p" * 33)], f"{KEY}.name", "is no network name. allowed are 1 to 32"),
    "name in upper case": ([network(name="Pods")], f"{KEY}.name", "'Pods' is no network name"),
    "name is a number": ([network(name=5)], f"{KEY}.name", "5 is of the wrong type. it must be of type str"),
    "names are equal": ([network(), network(subnets=["10.1.0.0/24"])], "egress_networks[1].name", "is already that of"),
    "bridge over 15 bytes": ([network(bridge="b" * 16)], f"{KEY}.bridge", "has 16 bytes. allowed are 1 to 15 bytes"),
    "bridge over 15 bytes, not letters": ([network(bridge="b" * 14 + "é")], f"{KEY}.bridge", "has 16 bytes"),
    "bridge with a slash": ([network(bridge="br/0")], f"{KEY}.bridge", "'br/0' is no interface name"),
    "bridge with a blank": ([network(bridge="br 0")], f"{KEY}.bridge", "is no interface name"),
    "bridges are equal": (
        [network(bridge="br0"), *second(bridge="br0")[1:]],
        "egress_networks[1].bridge",
        f"bridge 'br0' is already that of {KEY}",
    ),
    "no subnets": ([{"name": "pods"}], f"{KEY}.subnets", "missing. give at least one"),
    "subnet with host bits": ([network(subnets=["10.0.0.5/24"])], f"{KEY}.subnets[0]", "did you mean 10.0.0.0/24?"),
    "subnet is no network": ([network(subnets=["10.0.0.0/33"])], f"{KEY}.subnets[0]", "'10.0.0.0/33' is no network"),
    "subnet without room": ([network(subnets=["10.0.0.1/32"])], f"{KEY}.subnets[0]", "has no room"),
    "this network": ([network(subnets=["0.0.0.0/8"])], f"{KEY}.subnets[0]", "is no range for hosts"),
    "link-local": ([network(subnets=["fe80::/64"])], f"{KEY}.subnets[0]", "is no range for hosts"),
    "mapped": ([network(subnets=["::ffff:10.0.0.0/120"])], f"{KEY}.subnets[0]", "is no range for hosts"),
    "with an interface": ([network(subnets=["fd00::%eth0/64"])], f"{KEY}.subnets[0]", "names an interface"),
    "without a length": ([network(subnets=["10.0.0.0"])], f"{KEY}.subnets[0]", "10.0.0.0 has no prefix length"),
    "bridge with a pattern": ([network(bridge="a%d")], f"{KEY}.bridge", "'a%d' is no interface name"),
    "bridge of the sysctls": ([network(bridge="all")], f"{KEY}.bridge", "stands for other interfaces"),
    "loopback in a namespace": (
        [network(namespaces=[{"name": "a", "interface": "lo"}])],
        f"{KEY}.namespaces[0].interface",
        "'lo' is the loopback",
    ),
    "multicast": ([network(subnets=["224.0.0.0/24"])], f"{KEY}.subnets[0]", "is no range for hosts"),
    "subnets of one network overlap": (
        [network(subnets=["10.0.0.0/16", "fd00::/64", "10.0.3.0/24"])],
        f"{KEY}.subnets[2]",
        f"10.0.3.0/24 overlaps 10.0.0.0/16 of {KEY}.subnets[0]",
    ),
    "subnets of two networks overlap": (
        [network(subnets=["fd00::/48"]), *second(subnets=["10.1.0.0/24", "fd00:0:0:7::/64"])[1:]],
        "egress_networks[1].subnets",
        f"fd00:0:0:7::/64 overlaps fd00::/48 of {KEY}.subnets",
    ),
    "subnet of the host": ([network(subnets=["198.18.4.0/24"])], f"{KEY}.subnets", "overlaps 198.18.0.11/16 on eth0"),
    "gateway in no subnet": ([network(gateway="10.9.0.1")], f"{KEY}.gateway[0]", "10.9.0.1 is in none of 10.0.0.0/24"),
    "gateway is the network's address": ([network(gateway="10.0.0.0")], f"{KEY}.gateway[0]", "is the network address"),
    "gateway is no address": ([network(gateway="last")], f"{KEY}.gateway[0]", "'last' is no IP address"),
    "gateway for one family alone": (
        [network(subnets=["10.0.0.0/24", "fd00::/64"], gateway=["10.0.0.9"])],
        f"{KEY}.gateway",
        "none for fd00::/64. give one for each subnet",
    ),
    "bandwidth without a unit": (
        [with_namespace(bandwidth="10")],
        f"{KEY}.namespaces[0].bandwidth",
        "'10' is no bandwidth. allowed is the form 10mbit",
    ),
    "link-local gateway of IPv4": (
        [network(gateway="fe80::1")],
        f"{KEY}.gateway",
        "none for 10.0.0.0/24",
    ),
    "two link-local gateways": (
        [network(subnets=["fd00::/64", "fd01::/64"], gateway=["fe80::1", "fe80::2"])],
        f"{KEY}.gateway[1]",
        "fe80::2 is a second link-local one",
    ),
    "two gateways": ([network(gateway=["10.0.0.9", "10.0.0.8"])], f"{KEY}.gateway[1]", "is a second gateway for"),
    "gateway is a namespace's address": (
        [with_namespace(addresses=["10.0.0.1/24"])],
        f"{KEY}.namespaces[0].addresses",
        f"10.0.0.1/24 is already the gateway of {KEY}. choose another one",
    ),
    "address outside the subnet": (
        [with_namespace(addresses=["10.3.0.2/24"])],
        f"{KEY}.namespaces[0].addresses[0]",
        "10.3.0.2/24 is not of 10.0.0.0/24. give an address of a subnet",
    ),
    "address of another prefix length": (
        [with_namespace(addresses=["10.0.0.2/25"])],
        f"{KEY}.namespaces[0].addresses[0]",
        "use the prefix length of 10.0.0.0/24",
    ),
    "address without a prefix length": (
        [with_namespace(addresses=["10.0.0.2"])],
        f"{KEY}.namespaces[0].addresses[0]",
        "'10.0.0.2' has no prefix length",
    ),
    "addresses are no list": ([with_namespace(addresses="all")], f"{KEY}.namespaces[0].addresses", "'all' is no list"),
    "addresses are empty": ([with_namespace(addresses=[])], f"{KEY}.namespaces[0].addresses", "an empty list"),
    "address twice": (
        [network(namespaces=[{"name": name, "addresses": ["10.0.0.7/24"]} for name in ("a", "b")])],
        f"{KEY}.namespaces[1].addresses",
        f"10.0.0.7/24 is already the address of {KEY}.namespaces[0]",
    ),
    "namespace with a slash": (
        [network(namespaces=["a/b"])],
        f"{KEY}.namespaces[0].name",
        "'a/b' is no namespace name",
    ),
    "namespace is a dot": ([network(namespaces=[".."])], f"{KEY}.namespaces[0].name", "is no namespace name"),
    "namespace twice": (
        [network(namespaces=["a", "b", "a"])],
        f"{KEY}.namespaces[2].name",
        "name 'a' is already that of",
    ),
    "namespace in two networks": (
        [network(namespaces=["a"]), *second(namespaces=["a"])[1:]],
        "egress_networks[1].namespaces[0].name",
        f"name 'a' is already that of {KEY}.namespaces[0]",
    ),
    "namespace without a name": (
        [with_namespace(name=None)],
        f"{KEY}.namespaces[0].name",
        "give name, or prefix and count",
    ),
    "count without prefix": ([network(count=3)], f"{KEY}.name", "give name, or prefix and count"),
    "count together with name": ([with_namespace(count=3)], f"{KEY}.namespaces[0].count", "given together with name"),
    "count is negative": ([network(prefix="n", count=-1)], f"{KEY}.count", "-1 is out of range. allowed are 0 to 1023"),
    "addresses for many": (
        [network(namespaces=[{"prefix": "n", "count": 2, "addresses": ["10.0.0.7/24"]}])],
        f"{KEY}.namespaces[0].addresses",
        "given for many namespaces",
    ),
    "interface over 15 bytes": ([with_namespace(interface="e" * 16)], f"{KEY}.namespaces[0].interface", "has 16 bytes"),
    "more ports than a bridge holds": (
        [network(subnets=["10.0.0.0/16"], prefix="n", count=1023, namespaces=["one"])],
        f"{KEY}.namespaces",
        "1024 namespaces on one bridge. a bridge holds 1023 ports",
    ),
    "too few addresses": (
        [network(subnets=["10.0.0.0/30"], prefix="n", count=2)],
        f"{KEY}.subnets",
        "10.0.0.0/30 holds 2, too few for the gateway and 2 namespaces",
    ),
    "MTU too small": ([network(mtu=60)], f"{KEY}.mtu", "60 is out of range. allowed are 68 to 65535"),
    "MTU too small for IPv6": (
        [network(mtu=1000, subnets=["fd00::/64"])],
        f"{KEY}.mtu",
        "1000 is too small for fd00::/64. IPv6 needs at least 1280",
    ),
    "MTU of the uplink too small for IPv6": (
        [network(uplink="eth2", subnets=["fd00::/64"])],
        f"{KEY}.mtu",
        "1000, the MTU of eth2, is too small for fd00::/64",
    ),
    "MTU is a word": ([network(mtu="big")], f"{KEY}.mtu", "'big' is no MTU. allowed are auto and a number"),
    "uplink that is not there": (
        [network(uplink="eth9")],
        f"{KEY}.uplink",
        "this host has no interface 'eth9'. it has",
    ),
    "uplink is the bridge": ([network(uplink="eth1", bridge="eth1")], f"{KEY}.uplink", "the network's own bridge"),
    "nat of another kind": (
        [network(nat="yes")],
        f"{KEY}.nat.mode",
        "'yes' is not allowed. allowed are masquerade, snat",
    ),
    "snat without an address": ([network(nat="snat")], f"{KEY}.nat.to_source", "no IPv4 address for 10.0.0.0/24"),
    "address with masquerade": (
        [network(nat={"to_source": ["198.18.0.11"]})],
        f"{KEY}.nat.to_source",
        "given with mode masquerade",
    ),
    "ports the wrong way round": ([network(nat={"ports": "9-5"})], f"{KEY}.nat.ports", "'9-5' is no port range"),
    "exclude is no network": ([network(nat={"exclude": ["ten"]})], f"{KEY}.nat.exclude[0]", "'ten' is no network"),
    "firewall of another kind": (
        [network(firewall="pf")],
        f"{KEY}.firewall",
        "allowed are auto, nftables, iptables, firewalld, none",
    ),
    "state of another kind": ([network(state="gone")], f"{KEY}.state", "allowed are present, absent"),
    "dns without servers": ([with_namespace(dns={})], f"{KEY}.namespaces[0].dns.servers", "missing. it is required"),
    "dns server is no address": (
        [with_namespace(dns={"servers": ["one"]})],
        f"{KEY}.namespaces[0].dns.servers[0]",
        "'one' is no IP address",
    ),
    "too many dns servers": (
        [with_namespace(dns={"servers": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]})],
        f"{KEY}.namespaces[0].dns.servers",
        "4 servers",
    ),
    "dns domain with a blank": (
        [with_namespace(dns={"servers": ["10.0.0.1"], "search": ["a b"]})],
        f"{KEY}.namespaces[0].dns.search[0]",
        "'a b' is no domain name",
    ),
}


@pytest.mark.parametrize("title", WRONG)
def test_wrong_networks(title: str) -> None:
    data, key, words = WRONG[title]
    host = HostView(**{**vars(HOST), "mtus": {**HOST.mtus, "eth2": 1000}})
    with pytest.raises(SpecError) as caught:
        module_options(data, host)
    assert caught.value.asked == key
    assert words in f"{caught.value.found}. {caught.value.advice}"


# Connection tracking is of the host, not of its networks.
OF_NETWORKS = set(SPECS) - {"conntrack"}


def expanded(*networks: Options, host: HostView = HOST, absent: bool = False) -> ModuleOptions:
    options = module_options(list(networks), host, absent=absent)
    # What comes out the modules take.
    for module, requests in options.items():
        if requests:
            all_of(*((module, request) for request in requests))
    assert set(options) == OF_NETWORKS
    return options


def test_nothing() -> None:
    assert expanded() == {module: [] for module in OF_NETWORKS}


def test_smallest_network() -> None:
    assert expanded(network(namespaces=["ns1"])) == {
        "netns": [{"name": "ns1", "network": "pods", "dns": None}],
        "linux_bridge": [
            {
                "name": "br-pods",
                "network": "pods",
                "addresses": ["10.0.0.1/24"],
                "exclusive_addresses": True,
                "mtu": 9000,
                "stp": False,
                "unmanaged": ["np-ns1"],
            }
        ],
        "veth": [
            {
                "name": "np-ns1",
                "network": "pods",
                "master": "br-pods",
                "mtu": 9000,
                "isolated": False,
                "published": False,
                "bandwidth": "none",
                "addresses": [],
                "peer": {"name": "eth0", "netns": "ns1", "addresses": ["10.0.0.2/24"]},
            }
        ],
        "ns_route": [{"netns": "ns1", "dest": "default", "gateway": "10.0.0.1", "device": "eth0", "family": "ipv4"}],
        "sysctl_forward": [{"network": "pods", "ipv4": True, "ipv6": None, "interfaces": ["br-pods", "eth0"]}],
        "nat_masquerade": [
            {
                "mode": "masquerade",
                "random_fully": False,
                "name": "pods",
                "sources": ["10.0.0.0/24"],
                "not_out_interface": "br-pods",
                "out_interface": None,
                "publish": [],
                "backend": "auto",
            }
        ],
        "forward_accept": [
            {
                "name": "pods",
                "bridge": "br-pods",
                "uplink": None,
                "sources": ["10.0.0.0/24"],
                "published": False,
                "mss_clamp": False,
                "backend": "auto",
            }
        ],
    }


def test_both_families_and_all_choices() -> None:
    options = expanded(
        network(
            bridge="br0",
            subnets=["fd00:1::/64", "10.0.0.0/24"],
            gateway=["10.0.0.254", "fd00:1::fe"],
            mtu=1500,
            isolated=True,
            uplink="eth1",
            nat={
                "mode": "snat",
                "to_source": ["198.18.0.5", "2001:db8:18::5"],
                "exclude": ["10.0.0.0/8"],
                "ports": "1024-2047",
            },
            namespaces=[{"name": "a", "interface": "net0", "addresses": ["10.0.0.9/24"]}, "b"],
            prefix="n",
            count=2,
        )
    )
    assert [request["name"] for request in options["netns"]] == ["a", "b", "n1", "n2"]
    assert options["linux_bridge"][0]["addresses"] == ["fd00:1::fe/64", "10.0.0.254/24"]
    assert [request["peer"]["addresses"] for request in options["veth"]] == [
        ["10.0.0.9/24"],
        ["10.0.0.1/24", "fd00:1::1/64"],
        ["10.0.0.2/24", "fd00:1::2/64"],
        ["10.0.0.3/24", "fd00:1::3/64"],
    ]
    assert {request["mtu"] for request in options["veth"]} == {1500}
    assert {request["isolated"] for request in options["veth"]} == {True}
    routes = [(request["netns"], request["gateway"], request["device"]) for request in options["ns_route"]]
    assert routes[:3] == [("a", "10.0.0.254", "net0"), ("b", "10.0.0.254", "eth0"), ("b", "fd00:1::fe", "eth0")]
    (nat,) = options["nat_masquerade"]
    assert (nat["mode"], nat["out_interface"], nat["ports"]) == ("snat", "eth1", "1024-2047")
    assert options["sysctl_forward"][0]["interfaces"] == ["br0", "eth1"]


@pytest.mark.parametrize("choice", [{"nat": "none"}, {"nat": {"mode": "none"}}, {"firewall": "none"}])
def test_no_translation(choice: Options) -> None:
    assert expanded(network(**choice))["nat_masquerade"] == [{"name": "pods", "state": "absent"}]


def test_host_without_an_uplink() -> None:
    options = expanded(network(), host=HostView())
    assert options["linux_bridge"][0]["mtu"] is None
    assert options["sysctl_forward"][0]["interfaces"] == ["br-pods"]


def test_bridge_of_somebody_else_keeps_its_own() -> None:
    host = HostView(owners={"br0": None}, addresses={"br0": ["10.9.0.1/24"]})
    (bridge,) = expanded(network(bridge="br0"), host=host)["linux_bridge"]
    assert (bridge["exclusive_addresses"], bridge["stp"]) == (False, None)


def test_namespaces_that_left_the_list() -> None:
    host = HostView(namespaces={"a": "pods", "old": "pods", "other": "apps", "foreign": None})
    assert expanded(network(namespaces=["a"]), host=host)["netns"] == [
        {"name": "a", "network": "pods", "dns": None},
        {"name": "old", "state": "absent"},
    ]


def test_links_that_the_network_no_longer_has() -> None:
    """A bridge under another name, and a pair that came out of its namespace; what has another mark stays."""
    host = HostView(
        owners={
            **dict.fromkeys(["br-old", "br-new", "np-a", "renamed", "out", "out2"], "pods"),
            "br-x": "apps",
            "y": "",
        },
        kinds={
            **dict.fromkeys(["br-old", "br-new", "br-x"], "bridge"),
            **dict.fromkeys(["np-a", "renamed", "out", "out2", "y"], "veth"),
        },
        peers={"np-a": ("", "vp"), "renamed": ("a", "eth0"), "out": ("", "out2"), "out2": ("", "out")},
        namespaces={"a": "pods"},
    )
    options = expanded(network(bridge="br-new", namespaces=["a"]), host=host)
    assert options["linux_bridge"][1:] == [{"name": "br-old", "state": "absent"}]
    assert options["veth"][1:] == [{"name": "out", "state": "absent"}]


def test_namespace_that_moves_to_another_network_is_not_removed() -> None:
    host = HostView(namespaces={"a": "pods"})
    networks = [network(), {"name": "apps", "subnets": ["10.1.0.0/24"], "namespaces": ["a"]}]
    assert module_options(networks, host)["netns"] == [{"name": "a", "network": "apps", "dns": None}]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"addresses": {"br1": ["10.0.0.1/16"]}, "owners": {"br1": "web"}}, "10.0.0.0/24 overlaps 10.0.0.1/16 on br1"),
        ({"routes": {"10.0.0.0/24": "eth1"}}, "this host has a route to 10.0.0.0/24 by eth1"),
        ({"routes": {"10.0.0.128/25": ""}}, "this host has a route to 10.0.0.128/25 by nothing"),
    ],
)
def test_range_that_the_host_uses(host: Options, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        expanded(network(), host=HostView(**host))


def test_route_to_a_wider_range_is_no_obstacle() -> None:
    host = HostView(routes={"10.0.0.0/8": "eth1", "0.0.0.0/0": "eth0", "10.0.0.0/24": "br-pods"})
    assert expanded(network(), host=host)["linux_bridge"]


def test_bridge_that_is_the_uplink_too() -> None:
    (nat,) = expanded(network(bridge="br0"), host=HostView(uplinks={4: "br0"}, owners={"br0": None}))["nat_masquerade"]
    assert nat["not_out_interface"] is None


@pytest.mark.parametrize(("state", "all_of_them"), [("absent", False), ("present", True)])
def test_removal(state: str, all_of_them: bool) -> None:
    host = HostView(
        owners={"br-pods": "pods", "br-old": "pods", "np-a": "pods", "np-b": "pods", "stray": "pods", "eth0": None},
        kinds={
            "br-pods": "bridge",
            "br-old": "bridge",
            "np-a": "veth",
            "np-b": "veth",
            "stray": "veth",
            "eth0": "veth",
        },
        peers={"np-a": ("a", "eth0"), "np-b": ("b", "eth0"), "stray": ("", "other"), "eth0": ("", "eth1")},
        namespaces={"a": "pods", "old": "pods", "b": None, "other": "apps"},
    )
    options = expanded(network(state=state, namespaces=["a", "b", "c"]), host=host, absent=all_of_them)
    assert options == {
        "netns": [{"name": "a", "state": "absent"}, {"name": "old", "state": "absent"}],
        "linux_bridge": [
            {"name": "br-old", "state": "absent"},
            {"name": "br-pods", "state": "absent", "addresses": ["10.0.0.1/24"]},
        ],
        "veth": [{"name": "np-b", "state": "absent"}, {"name": "stray", "state": "absent"}],
        "ns_route": [],
        "sysctl_forward": [{"network": "pods", "state": "restored"}],
        "nat_masquerade": [{"name": "pods", "state": "absent"}],
        "forward_accept": [{"name": "pods", "state": "absent"}],
    }


def test_removal_needs_a_name_alone() -> None:
    assert expanded({"name": "pods", "state": "absent"})["sysctl_forward"] == [{"network": "pods", "state": "restored"}]


def test_network_that_goes_makes_room_for_one_that_comes() -> None:
    networks = parse_networks([network(state="absent"), {"name": "apps", "subnets": ["10.0.0.0/25"]}])
    assert [(one.name, one.absent) for one in networks] == [("pods", True), ("apps", False)]


@pytest.mark.parametrize(
    ("name", "derived"),
    [("ns1", "np-ns1"), ("a" * 12, "np-" + "a" * 12), ("a" * 13, "np-aaaaa-" + "59eb6d")],
)
def test_names_of_host_ends(name: str, derived: str) -> None:
    assert derived_name("np-", name)[:9] == derived[:9]
    assert len(derived_name("np-", name)) <= 15


def test_long_names_are_kept_apart() -> None:
    names = [f"a-rather-long-namespace-{number}" for number in range(500)]
    assert len({derived_name("np-", name) for name in names}) == 500
