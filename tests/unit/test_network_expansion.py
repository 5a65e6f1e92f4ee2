"""The variable egress_networks: what is right is expanded into the options of the modules, as the host is."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import (
    ModuleOptions,
    by_network,
    module_options,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.network import derived_name, parse_networks

from tests.support.network_specs import HOST, network
from tests.support.spec_questions import SPECS, Options, all_of

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
                "ipv6": False,
                "ipv6_dad": False,
                "link_local_learning": False,
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
                "spoof_protection": True,
                "addresses": [],
                "ipv6_link_local": False,
                "peer": {"name": "eth0", "netns": "ns1", "addresses": ["10.0.0.2/24"], "ipv6_link_local": False},
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
                "guard": {"bridge": "br-pods", "shared": False, "strict": True, "replies": False, "exclude": []},
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
                "inbound": "published",
                "peers": [],
                "isolated": False,
                "spoof_protection": True,
            }
        ],
    }


WALLS: dict[str, tuple[Options, Options]] = {
    "routed": ({"nat": "none"}, {"inbound": "open", "peers": [], "isolated": False, "spoof_protection": True}),
    "asked for": (
        {"inbound": "open", "peers": ["web", "apps", "web"], "isolated": True, "spoof_protection": False},
        {"inbound": "open", "peers": ["apps", "web"], "isolated": True, "spoof_protection": False},
    ),
    "all of them": (
        {"peers": ["apps", "all"]},
        {"inbound": "published", "peers": ["all"], "isolated": False, "spoof_protection": True},
    ),
    "nothing to refuse": ({"inbound": "open", "peers": "all", "spoof_protection": False}, {}),
    "no rules": ({"firewall": "none"}, {}),
}


@pytest.mark.parametrize("case", WALLS)
def test_what_the_bridge_exchanges(case: str) -> None:
    given, wanted = WALLS[case]
    options = expanded(network(namespaces=["ns1"], **given))
    (forward,) = options["forward_accept"]
    keys = ("inbound", "peers", "isolated", "spoof_protection")
    assert {key: forward[key] for key in keys if key in forward} == wanted
    assert options["veth"][0]["spoof_protection"] == wanted.get("spoof_protection", False)


def test_bridge_of_another_tool_exchanges_what_it_likes() -> None:
    host = HostView(owners={"br0": None}, kinds={"br0": "bridge"}, mtus={"br0": 1500})
    options = expanded(network(bridge="br0", namespaces=["ns1"]), host=host)
    assert "inbound" not in options["forward_accept"][0]
    assert options["veth"][0]["spoof_protection"] is True


@pytest.mark.parametrize("state", ["present", "absent"])
def test_restriction_goes_with_the_last_that_knows_of_the_port(state: str) -> None:
    host = HostView(restricted={"np-ns1": "pods", "np-gone": "pods", "np-other": "apps"})
    options = expanded(network(namespaces=["ns1"], state=state), host=host)
    assert options["forward_accept"][0]["former_ports"] == ["np-gone", *(["np-ns1"] if state == "absent" else [])]


# Whether the port is there, which networks are built, and whether it stays restricted for the one that loses it.
TAKEN_OVER = {
    ("present", True, None): True,
    ("present", True, "pods"): True,
    ("present", False, None): True,
    ("present", False, "pods"): False,
    ("absent", True, "pods"): False,
    ("absent", False, "pods"): False,
}


@pytest.mark.parametrize(("state", "there", "chosen"), TAKEN_OVER)
def test_restriction_of_a_port_that_another_network_takes_over(state: str, there: bool, chosen: str | None) -> None:
    """It goes with the port where the other network is not built, and else becomes that network's."""
    owners = {"np-ns1": "pods" if state == "absent" else None} if there else {}
    host = HostView(restricted={"np-ns1": "pods", "np-gone": "pods"}, owners=owners)
    loses = network(namespaces=[], state=state)
    takes = network(name="web", subnets=["10.0.44.0/24"], namespaces=["ns1"])
    names = [chosen] if chosen else None
    parts = by_network(parse_networks([loses, takes], "egress_networks"), host, chosen=names)
    kept = TAKEN_OVER[state, there, chosen]
    assert parts["pods"]["forward_accept"][0]["former_ports"] == ["np-gone", *([] if kept else ["np-ns1"])]


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
    assert (nat["mode"], nat["out_interface"], nat["ports"]) == ("snat", ["eth1"], "1024-2047")
    assert options["sysctl_forward"][0]["interfaces"] == ["br0", "eth1"]


@pytest.mark.parametrize("choice", [{"nat": "none"}, {"nat": {"mode": "none"}}, {"firewall": "none"}])
def test_no_translation(choice: Options) -> None:
    assert expanded(network(**choice))["nat_masquerade"] == [{"name": "pods", "state": "absent"}]


@pytest.mark.parametrize(
    ("choice", "mtu", "interfaces"),
    [
        ({}, 1400, ["eth0", "eth1", "eth2"]),
        ({"subnets": ["fd00::/64"]}, 1500, ["eth1", "eth2"]),
        ({"subnets": ["fd00::/64", "10.0.0.0/24"]}, 1400, ["eth0", "eth1", "eth2"]),
        ({"uplink": "eth3"}, 1300, ["eth3"]),
        ({"uplink": ["eth2", "eth3"]}, 1000, ["eth2", "eth3"]),
    ],
)
def test_several_uplinks(choice: Options, mtu: int, interfaces: list[str]) -> None:
    """All that default routes lead to may carry the network; the MTU is that of the best route."""
    host = HostView(
        uplinks={4: [["eth0", "eth1"], ["eth2"]], 6: [["eth1"], ["eth2"]]},
        mtus={"eth0": 1400, "eth1": 1500, "eth2": 1000, "eth3": 1300},
    )
    options = expanded(network(**choice), host=host)
    assert options["linux_bridge"][0]["mtu"] == mtu
    assert options["sysctl_forward"][0]["interfaces"] == ["br-pods", *interfaces]


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


def test_namespace_moves_to_another_network_in_two_runs() -> None:
    host = HostView(namespaces={"a": "pods"})
    networks = [network(), {"name": "apps", "subnets": ["10.1.0.0/24"], "namespaces": ["a"]}]
    with pytest.raises(SpecError) as caught:
        module_options(networks, host)
    assert caught.value.asked == "egress_networks[1].namespaces[0]"
    assert caught.value.found == "namespace a is one of network pods"
    assert caught.value.advice == "take a out of pods in a run of its own first"


def test_bridge_moves_to_another_network_in_two_runs() -> None:
    networks = [network(bridge="br-new"), {"name": "apps", "bridge": "br-old", "subnets": ["10.1.0.0/24"]}]
    with pytest.raises(SpecError) as caught:
        module_options(networks, HostView(owners={"br-old": "pods"}))
    assert caught.value.asked == "egress_networks[1].bridge"
    assert caught.value.found == "link br-old is one of network pods"
    assert caught.value.advice == "let pods have another one in a run of its own first"


def test_text_of_templates_is_converted() -> None:
    texts = network(mtu="1400", isolated="yes", prefix="n", count="2", namespaces=[{"prefix": "m", "count": "1"}])
    kinds = network(mtu=1400, isolated=True, prefix="n", count=2, namespaces=[{"prefix": "m", "count": 1}])
    assert expanded(texts) == expanded(kinds)


def test_teardown_needs_names_alone() -> None:
    assert expanded({"name": "pods"}, absent=True) == expanded({"name": "pods", "state": "absent"})


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
    (nat,) = expanded(network(bridge="br0"), host=HostView(uplinks={4: [["br0"]]}, owners={"br0": None}))[
        "nat_masquerade"
    ]
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


SIX = ["10.0.0.0/24", "fd00::/64"]


def test_ends_have_the_ipv6_of_their_network_and_no_duplicates_are_looked_for() -> None:
    options = expanded(network(namespaces=["ns1"], subnets=SIX))
    bridge, peer = options["linux_bridge"][0], options["veth"][0]["peer"]
    assert (bridge["ipv6"], bridge["ipv6_dad"]) == (True, False)
    assert (peer["ipv6"], peer["ipv6_dad"], "accept_ra" in peer) == (True, False, False)


def test_bridge_of_another_tool_keeps_its_ipv6_and_its_detection_of_duplicates() -> None:
    host = HostView(mtus={"br-pods": 1500}, owners={"br-pods": None}, kinds={"br-pods": "bridge"})
    options = expanded(network(namespaces=["ns1"], subnets=SIX), host=host)
    assert not {"ipv6", "ipv6_dad"} & set(options["linux_bridge"][0])
    assert "ipv6_dad" not in options["veth"][0]["peer"]


def test_end_that_is_to_learn_has_a_link_local_address_and_the_others_learn_nothing() -> None:
    options = expanded(network(namespaces=["ns1", {"name": "ns2", "accept_ra": True}]))
    peers = [item["peer"] for item in options["veth"]]
    assert [peer.get("accept_ra") for peer in peers] == [None, True]
    assert [peer["ipv6_link_local"] for peer in peers] == [False, True]
