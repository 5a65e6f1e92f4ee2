"""The variable egress_networks: what is wrong is said by key, value and what is allowed."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.expansion import module_options
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView

from tests.support.network_specs import HOST, KEY, network, second, with_namespace

# {title: (networks, the key that is wrong, words of the error)}
WRONG: dict[str, tuple[t.Any, str, str]] = {
    "no list": ({"name": "pods"}, "egress_networks", "is not a list"),
    "no mapping": (["pods"], KEY, "'pods' is not a mapping. allowed keys are name, bridge, subnets"),
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
    "name is a list": ([network(name=["a"])], f"{KEY}.name", "['a'] is of the wrong type. it must be of type str"),
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
    "bridge is the end of a pair": (
        [network(bridge="np-a", namespaces=["a"])],
        f"{KEY}.namespaces[0]",
        f"interface on the host 'np-a' is already that of {KEY}",
    ),
    "VLANs that are not kept apart": (
        [network(vlan_filtering=False, namespaces=[{"name": "a", "vlan": 5}])],
        f"{KEY}.vlan_filtering",
        f"false, and {KEY}.namespaces[0] has a VLAN. leave it out",
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
    "addresses are no list": (
        [with_namespace(addresses="all")],
        f"{KEY}.namespaces[0].addresses",
        "'all' is not a list",
    ),
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
    "count without prefix": ([network(count=3)], f"{KEY}.prefix", "missing. count needs it"),
    "fixed source without rules": (
        [network(firewall="none", nat={"mode": "snat", "to_source": ["198.18.0.5"]})],
        f"{KEY}.nat",
        "given with firewall none",
    ),
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
    "one of several uplinks is not there": (
        [network(uplink=["eth1", "eth9"])],
        f"{KEY}.uplink",
        "this host has no interface 'eth9'. it has",
    ),
    "uplink is auto and another": (
        [network(uplink=["auto", "eth1"])],
        f"{KEY}.uplink",
        "['auto', 'eth1']. allowed are auto alone, and names of interfaces",
    ),
    "uplink that is none": ([network(uplink=["eth1", None])], f"{KEY}.uplink[1]", "missing. it is required"),
    "bridge that nft takes for a set": ([network(bridge="@br")], f"{KEY}.bridge", "takes for the name of a set"),
    "bridge in no encoding": ([network(bridge="\udcff")], f"{KEY}.bridge", "is no interface name"),
    "gateway with an interface": (
        [network(subnets=["fd00::/64"], gateway="fe80::1%eth0")],
        f"{KEY}.gateway[0]",
        "names an interface",
    ),
    "address with an interface": (
        [with_namespace(addresses=["10.0.0.2%x/24"])],
        f"{KEY}.namespaces[0].addresses[0]",
        "names an interface",
    ),
    "resolver with another line": (
        [with_namespace(dns={"servers": ["fe80::1%x\nnameserver 198.51.100.66"]})],
        f"{KEY}.namespaces[0].dns.servers[0]",
        "is no interface name",
    ),
    "port led to a range": (
        [network(namespaces=["ns1"], publish=[{"port": 8080, "to": "ns1:80-90"}])],
        f"{KEY}.publish[0].to",
        "leads to a range of ports",
    ),
    "port led to the gateway": (
        [network(publish=[{"port": 8080, "to": "10.0.0.1:80"}])],
        f"{KEY}.publish[0].to",
        "10.0.0.1 is the gateway",
    ),
    "port led to the broadcast address": (
        [network(publish=[{"port": 8080, "to": "10.0.0.255:80"}])],
        f"{KEY}.publish[0].to",
        "is the broadcast address of",
    ),
    "port led to an address with an interface": (
        [network(publish=[{"port": 8080, "to": "[fe80::2%eth0]:80"}])],
        f"{KEY}.publish[0].to",
        "names an interface",
    ),
    "clamp without rules": ([network(firewall="none", mss_clamp=True)], f"{KEY}.mss_clamp", "given with firewall none"),
    "no uplink": ([network(uplink=[])], f"{KEY}.uplink", "[]. allowed are auto alone"),
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
    "no dns servers": (
        [with_namespace(dns={"servers": []})],
        f"{KEY}.namespaces[0].dns.servers",
        "0 servers. the resolver reads 1 to 3",
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
