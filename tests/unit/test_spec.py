"""Bad input: one clear error that names the key, the value and what is allowed."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import SpecError

from tests.support.spec_questions import Options, all_of, want

PEER = {"name": "eth0", "netns": "ns1"}
PAIR = {"name": "ve-ns1", "peer": PEER}
DEFAULT = {"dest": "default", "gateway": "10.22.33.1"}
NAT = {"name": "pods", "sources": ["10.22.33.0/24"]}
SNAT = {**NAT, "mode": "snat"}

# (module, options, key that the error names, words in the error)
Case = tuple[str, Options, str, tuple[str, ...]]

NAMES: list[Case] = [
    ("linux_bridge", {"name": "a-name-too-long-"}, "name", ("'a-name-too-long-' has 16 bytes", "1 to 15 bytes")),
    ("linux_bridge", {"name": "ü" * 8}, "name", ("has 16 bytes",)),
    ("linux_bridge", {"name": "br/0"}, "name", ("'br/0' is no interface name", "without '/'")),
    ("linux_bridge", {"name": "br 0"}, "name", ("white space",)),
    ("linux_bridge", {"name": "br0\n"}, "name", ("is no interface name",)),
    ("linux_bridge", {"name": "br0\0"}, "name", ("is no interface name",)),
    ("linux_bridge", {"name": 'b";drop'}, "name", ("is no interface name",)),
    ("linux_bridge", {"name": "br0:1"}, "name", ("is no interface name",)),
    ("linux_bridge", {"name": ".."}, "name", ("is no interface name",)),
    ("linux_bridge", {"name": ""}, "name", ("'' is no interface name",)),
    ("linux_bridge", {"name": "br0", "netns": "../1"}, "netns", ("'../1' is no namespace name",)),
    ("netns", {"name": "a/b"}, "name", ("'a/b' is no namespace name", "not '.' or '..'")),
    ("netns", {"name": ".."}, "name", ("'..' is no namespace name",)),
    ("netns", {"name": ""}, "name", ("'' is no namespace name",)),
    ("netns", {"name": "-x"}, "name", ("starts with '-'",)),
    ("netns", {"name": "n" * 65}, "name", ("1 to 64",)),
    ("netns", {"name": "ns1\n"}, "name", ("is no namespace name",)),
    ("netns", {"name": "ns1", "network": "Pods"}, "network", ("'Pods' is no network name", "a-z, 0-9")),
    ("netns", {"name": "ns1", "network": "p" * 33}, "network", ("1 to 32",)),
    ("netns", {"name": "ns1", "network": "pods\n"}, "network", ("is no network name",)),
    ("sysctl_forward", {"ipv4": True, "network": "a b"}, "network", ("'a b' is no network name",)),
    ("sysctl_forward", {"ipv4": True, "interfaces": ["a/b"]}, "interfaces[0]", ("'a/b' is no interface name",)),
    ("nat_masquerade", {**NAT, "name": "p;d"}, "name", ("'p;d' is no network name",)),
    ("nat_masquerade", {**NAT, "out_interface": 'e"; accept'}, "out_interface[0]", ("is no interface name",)),
    ("veth", {**PAIR, "peer": {"name": "e/0"}}, "peer.name", ("'e/0' is no interface name",)),
    ("veth", {**PAIR, "peer": {**PEER, "netns": "a/b"}}, "peer.netns", ("'a/b' is no namespace name",)),
    ("veth", {**PAIR, "master": "a-bridge-too-long"}, "master", ("17 bytes",)),
]

SHAPES: list[Case] = [
    ("netns", {"name": "ns1", "nmae": "x"}, "nmae", ("unknown key", "allowed are name, attach")),
    ("netns", {"name": "ns1", "dns": {"server": []}}, "dns.server", ("unknown key", "servers, search")),
    ("netns", {}, "name", ("missing", "required")),
    ("netns", {"name": ["a"]}, "name", ("['a'] is of the wrong type", "str")),
    ("netns", {"name": "ns1", "state": "gone"}, "state", ("'gone' is not allowed", "present, absent")),
    ("veth", {**PAIR, "mtu": "big"}, "mtu", ("'big' is of the wrong type", "int")),
    ("veth", {**PAIR, "mtu": True}, "mtu", ("True is of the wrong type",)),
    ("veth", {**PAIR, "addresses": 7}, "addresses", ("wrong type", "list")),
    ("veth", {**PAIR, "peer": {"netns": "ns1"}}, "peer.name", ("missing",)),
    ("ns_route", {**DEFAULT, "type": "throw"}, "type", ("'throw' is not allowed", "blackhole")),
]

NETNS: list[Case] = [
    ("netns", {"name": "ns1", "attach": "0"}, "attach", ("neither a PID nor an absolute path",)),
    ("netns", {"name": "ns1", "attach": "proc/1/ns/net"}, "attach", ("neither a PID",)),
    ("netns", {"name": "ns1", "attach": "/proc/../etc/passwd"}, "attach", ("neither a PID",)),
    ("netns", {"name": "ns1", "dns": {"servers": ["::1"] * 4}}, "dns.servers", ("4 servers",)),
    ("netns", {"name": "ns1", "dns": {"servers": ["a.b"]}}, "dns.servers[0]", ("'a.b' is no IP address",)),
    (
        "netns",
        {"name": "ns1", "dns": {"servers": ["::1"], "search": ["a.b", "c\nnameserver ::2"]}},
        "dns.search[1]",
        ("is no domain name", "example.org"),
    ),
    ("netns", {"name": "ns1", "sysctls": {"kernel.panic": 1}}, "sysctls.kernel.panic", ("no network sysctl",)),
    ("netns", {"name": "ns1", "sysctls": {"net.ipv4": 1}}, "sysctls.net.ipv4", ("no network sysctl",)),
    (
        "netns",
        {"name": "ns1", "sysctls": {"net/../kernel/panic": 1}},
        "sysctls.net/../kernel/panic",
        ("no sysctl key",),
    ),
    ("netns", {"name": "ns1", "sysctls": {"net.a.b": " "}}, "sysctls.net.a.b", ("no sysctl value",)),
]

LINKS: list[Case] = [
    ("veth", {"name": "ve-ns1"}, "peer", ("missing", "peer.name")),
    ("veth", {"name": "a", "peer": {"name": "a"}}, "peer.name", ("both ends are called 'a'",)),
    ("veth", {**PAIR, "bandwidth": "10 mbit"}, "bandwidth", ("'10 mbit' is no bandwidth", "the form 10mbit")),
    ("veth", {**PAIR, "bandwidth": "1kbit"}, "bandwidth", ("from 8kbit to 100gbit",)),
    ("veth", {**PAIR, "bandwidth": "101gbit"}, "bandwidth", ("from 8kbit to 100gbit",)),
    ("veth", {**PAIR, "isolated": True}, "isolated", ("on no bridge", "need master")),
    ("veth", {**PAIR, "hairpin": False}, "isolated", ("on no bridge",)),
    ("veth", {**PAIR, "mtu": 67}, "mtu", ("67 is out of range", "68 to 65535")),
    ("veth", {**PAIR, "network": "Pods"}, "network", ("'Pods' is no network name",)),
    ("veth", {**PAIR, "peer": {**PEER, "mtu": 40}}, "peer.mtu", ("40 is out of range",)),
    ("veth", {**PAIR, "mtu": 65536}, "mtu", ("65536 is out of range",)),
    ("veth", {**PAIR, "mac": "02:00"}, "mac", ("'02:00' is no MAC address", "02:00:5e:10:00:01")),
    ("veth", {**PAIR, "mac": "01:00:5e:00:00:01"}, "mac", ("multicast",)),
    ("veth", {**PAIR, "mac": "00:00:00:00:00:00"}, "mac", ("no MAC address",)),
    ("veth", {**PAIR, "addresses": ["10.0.0.1"]}, "addresses[0]", ("'10.0.0.1' has no prefix length",)),
    ("veth", {**PAIR, "peer": {**PEER, "addresses": ["::/64"]}}, "peer.addresses[0]", ("not an address of a single",)),
    ("veth", {**PAIR, "addresses": ["10.0.0.0/24"]}, "addresses[0]", ("network address of 10.0.0.0/24",)),
    ("veth", {**PAIR, "addresses": ["10.0.0.255/24"]}, "addresses[0]", ("broadcast address of 10.0.0.0/24",)),
    ("veth", {**PAIR, "addresses": ["224.0.0.1/24"]}, "addresses[0]", ("not an address of a single host",)),
    ("veth", {**PAIR, "addresses": ["127.0.0.2/8"]}, "addresses[0]", ("not an address of a single host",)),
    ("veth", {**PAIR, "addresses": ["10.0.0.1/33"]}, "addresses[0]", ("no address with a prefix length",)),
    ("veth", {**PAIR, "addresses": ["::1:0/64", "0::1:0/64"]}, "addresses", ("'::1:0/64' is listed twice",)),
    ("linux_bridge", {"name": "br0", "ports": ["br0"]}, "ports", ("'br0' is the bridge itself",)),
    ("linux_bridge", {"name": "br0", "ports": ["a", "a"]}, "ports", ("'a' is listed twice",)),
    ("linux_bridge", {"name": "br0", "ports": ["a", "b/c"]}, "ports[1]", ("'b/c' is no interface name",)),
    (
        "linux_bridge",
        {"name": "br0", "ports": [f"p{i}" for i in range(1024)]},
        "ports",
        ("1024 ports", "a bridge holds 1023"),
    ),
    ("linux_bridge", {"name": "br0", "forward_delay": 31}, "forward_delay", ("31 is out of range", "0 to 30")),
    ("linux_bridge", {"name": "br0", "stp": True, "forward_delay": 1}, "forward_delay", ("2 to 30",)),
    ("linux_bridge", {"name": "br0", "ageing_time": -1}, "ageing_time", ("-1 is out of range",)),
    ("linux_bridge", {"name": "br0", "addresses": ["10.0.0.1/24"] * 2}, "addresses", ("listed twice",)),
]

ROUTES: list[Case] = [
    ("ns_route", {"dest": "default"}, "gateway", ("missing", "a gateway or a device")),
    (
        "ns_route",
        {"dest": "fd00::/8", "gateway": "10.22.33.1"},
        "gateway",
        ("10.22.33.1 is an IPv4 address, the route to fd00::/8 is IPv6", "one family"),
    ),
    ("ns_route", {**DEFAULT, "dest": "10.0.0.0/8", "gateway": "fd00::1"}, "gateway", ("fd00::1 is an IPv6 address",)),
    ("ns_route", {**DEFAULT, "source": "fd00::1"}, "source", ("fd00::1 is an IPv6 address",)),
    ("ns_route", {**DEFAULT, "family": "ipv6"}, "gateway", ("10.22.33.1 is an IPv4 address",)),
    ("ns_route", {**DEFAULT, "dest": "10.0.0.0/8", "family": "ipv6"}, "family", ("ipv6 asked for", "IPv4")),
    ("ns_route", {**DEFAULT, "dest": "10.22.33.7/24"}, "dest", ("no network", "did you mean 10.22.33.0/24?")),
    ("ns_route", {**DEFAULT, "dest": "everywhere"}, "dest", ("'everywhere' is no network",)),
    ("ns_route", {**DEFAULT, "gateway": "10.22.33"}, "gateway", ("'10.22.33' is no IP address",)),
    ("ns_route", {"dest": "default", "gateway": "fe80::1"}, "device", ("missing", "link-local")),
    ("ns_route", {**DEFAULT, "type": "blackhole"}, "type", ("leads nowhere", "leave out gateway")),
    ("ns_route", {**DEFAULT, "metric": -1}, "metric", ("-1 is out of range",)),
    ("ns_route", {**DEFAULT, "table": "blue"}, "table", ("'blue' is no routing table", "main, default, local")),
    ("ns_route", {**DEFAULT, "table": "0"}, "table", ("'0' is no routing table",)),
    ("ns_route", {**DEFAULT, "mtu": 40}, "mtu", ("40 is out of range",)),
    ("ns_route", {**DEFAULT, "device": "a b"}, "device", ("'a b' is no interface name",)),
]

PORT: Options = {"port": 8080, "to": "10.22.33.2:80"}


def published(**changes: t.Any) -> Options:
    return {**NAT, "publish": [{**PORT, **changes}]}


TRANSLATION: list[Case] = [
    ("nat_masquerade", {"name": "pods"}, "sources", ("missing",)),
    ("nat_masquerade", {**NAT, "sources": ["10.22.33.9/24"]}, "sources[0]", ("did you mean 10.22.33.0/24?",)),
    ("nat_masquerade", {**NAT, "exclude": ["x"]}, "exclude[0]", ("'x' is no network",)),
    (
        "nat_masquerade",
        {**NAT, "out_interface": "e", "not_out_interface": "e"},
        "not_out_interface",
        ("in out_interface too",),
    ),
    ("nat_masquerade", {**NAT, "to_source": ["198.51.100.7"]}, "to_source", ("with mode masquerade",)),
    *(
        ("nat_masquerade", {**SNAT, "to_source": [address]}, "to_source[0]", ("is not an address of a single host",))
        for address in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "::", "::1", "ff02::1")
    ),
    ("nat_masquerade", {**SNAT, "to_source": ["fd00::5%up0"]}, "to_source[0]", ("names an interface",)),
    ("nat_masquerade", {**NAT, "out_interface": [""]}, "out_interface[0]", ("is no interface name",)),
    ("nat_masquerade", {**NAT, "out_interface": [None]}, "out_interface[0]", ("missing",)),
    ("nat_masquerade", SNAT, "to_source", ("no IPv4 address for 10.22.33.0/24",)),
    ("nat_masquerade", {**SNAT, "to_source": ["2001:db8::7"]}, "to_source[0]", ("no source is IPv6",)),
    ("nat_masquerade", {**NAT, "sources": ["0.0.0.0/0"]}, "sources", ("everything is a source",)),
    ("nat_masquerade", {**NAT, "out_interface": "@x"}, "out_interface[0]", ("the name of a set",)),
    ("nat_masquerade", {**SNAT, "to_source": ["pool"]}, "to_source[0]", ("'pool' is no IP address",)),
    ("nat_masquerade", {**SNAT, "to_source": ["198.51.100.7"] * 2}, "to_source[1]", ("a second one for IPv4",)),
    ("nat_masquerade", {**SNAT, "to_source": ["198.51.100.9-198.51.100.7"]}, "to_source[0]", ("is no range",)),
    ("nat_masquerade", {**SNAT, "to_source": ["198.51.100.9-2001:db8::1"]}, "to_source[0]", ("is no range",)),
    ("nat_masquerade", {**NAT, "sources": ["0.0.0.0/0"]}, "sources", ("everything is a source",)),
    ("nat_masquerade", {**NAT, "out_interface": "@set"}, "out_interface[0]", ("'@set' starts with '@'",)),
    (
        "nat_masquerade",
        {**SNAT, "to_source": ["198.51.100.7", "2001:db8::7"]},
        "to_source[1]",
        ("'2001:db8::7', but no source is IPv6", "leave it out"),
    ),
    ("nat_masquerade", {**NAT, "ports": "65536"}, "ports", ("'65536' is no port range", "1024-65535")),
    ("nat_masquerade", {**NAT, "ports": "9-1"}, "ports", ("'9-1' is no port range",)),
    ("nat_masquerade", {**NAT, "ports": "0-9"}, "ports", ("'0-9' is no port range",)),
    ("nat_masquerade", {**NAT, "ports": "http"}, "ports", ("'http' is no port range",)),
    ("nat_masquerade", {**NAT, "ports": "1024-65535\n"}, "ports", ("is no port range",)),
    ("sysctl_forward", {}, "ipv4", ("nothing is asked for",)),
    (
        "nat_masquerade",
        {**NAT, "exclude": ["0.0.0.0/0"]},
        "exclude",
        ("leaves no destination for which 10.22.33.0/24",),
    ),
    ("nat_masquerade", {"name": "pods", "mode": "none", "publish": [PORT]}, "sources", ("missing",)),
    ("nat_masquerade", published(port=0), "publish[0].port", ("0 is no port range", "1 to 65535")),
    ("nat_masquerade", published(port=65536), "publish[0].port", ("65536 is no port range",)),
    ("nat_masquerade", published(port="9-5"), "publish[0].port", ("'9-5' is no port range",)),
    ("nat_masquerade", published(port=True), "publish[0].port", ("True is no port range",)),
    ("nat_masquerade", published(protocol="icmp"), "publish[0].protocol", ("allowed are tcp, udp",)),
    ("nat_masquerade", published(to="10.22.33.2:0"), "publish[0].to", ("'0' is no port range",)),
    ("nat_masquerade", published(to="10.22.33.2:"), "publish[0].to", ("'' is no port range",)),
    ("nat_masquerade", published(to=":80"), "publish[0].to", ("names nothing",)),
    ("nat_masquerade", published(to="[fd00::1"), "publish[0].to", ("is no target",)),
    ("nat_masquerade", published(to="ns1"), "publish[0].to", ("'ns1' is no IP address",)),
    ("nat_masquerade", published(to="10.22.34.2"), "publish[0].to", ("10.22.34.2 is in none of 10.22.33.0/24",)),
    ("nat_masquerade", published(port="1-2", to="10.22.33.2:80"), "publish[0].to", ("a range keeps its numbers",)),
    (
        "nat_masquerade",
        {**NAT, "publish": [PORT, {**PORT, "port": "8000-9000", "to": "10.22.33.3"}]},
        "publish[1].port",
        ("tcp 8080 is already published by publish[0]",),
    ),
]
TRACKING: list[Case] = [
    ("conntrack", {}, "max", ("nothing is asked for",)),
    ("conntrack", {"max": 0}, "max", ("0 is out of range",)),
    ("conntrack", {"buckets": -5}, "buckets", ("-5 is out of range",)),
    ("conntrack", {"timeouts": {"TCP": 5}}, "timeouts", ("'TCP' is no name of a timeout",)),
    ("conntrack", {"timeouts": {"udp": "soon"}}, "timeouts.udp", ("'soon' is out of range",)),
    ("conntrack", {"timeouts": {"udp": -1}}, "timeouts.udp", ("-1 is out of range",)),
    ("conntrack", {"flush": {}}, "flush", ("it names no flows",)),
    ("conntrack", {"flush": {"source": "x"}}, "flush.source", ("'x' is no network",)),
    ("conntrack", {"flush": {"protocol": "tpc"}}, "flush.protocol", ("'tpc' is no protocol",)),
    ("conntrack", {"flush": {"protocol": "256"}}, "flush.protocol", ("'256' is no protocol",)),
    ("conntrack", {"flush": {"source": "10.0.0.1", "destination": "fd00::1"}}, "flush.destination", ("two families",)),
]


@pytest.mark.parametrize(
    "case", NAMES + SHAPES + NETNS + LINKS + ROUTES + TRANSLATION + TRACKING, ids=lambda c: f"{c[0]}-{c[2]}"
)
def test_one_request(case: Case) -> None:
    module, options, key, words = case
    with pytest.raises(SpecError) as caught:
        want(module, options)
    assert caught.value.asked == key
    assert caught.value.advice
    for word in words:
        assert word in str(caught.value)


# (requests as (module, options), key, words)
TOGETHER: list[tuple[list[tuple[str, Options]], str, tuple[str, ...]]] = [
    ([("netns", {"name": "a"}), ("netns", {"name": "b/"})], "config[1].name", ("'b/' is no namespace name",)),
    (
        [("netns", {"name": "ns1"}), ("netns", {"name": "ns2"}), ("netns", {"name": "ns1"})],
        "config[2]",
        ("namespace ns1 is already in config[0]", "list it once"),
    ),
    ([("linux_bridge", {"name": "br0"})] * 2, "config[1]", ("link br0 is already in config[0]",)),
    (
        [("netns", {"name": "ns1"}), ("netns", {"name": "ns1", "state": "absent"})],
        "config[1]",
        ("namespace ns1",),
    ),
    (
        [("linux_bridge", {"name": "br0", "ports": ["p"]}), ("linux_bridge", {"name": "br1", "ports": ["p"]})],
        "config[1].master",
        ("'br1' contradicts 'br0' for link p in config[0]",),
    ),
    (
        [("sysctl_forward", {"ipv4": True}), ("sysctl_forward", {"ipv4": False, "network": "lab"})],
        "config[1].value",
        ("'0' contradicts '1'", "net/ipv4/ip_forward"),
    ),
    (
        [("ns_route", DEFAULT), ("ns_route", {**DEFAULT, "gateway": "10.22.33.2"})],
        "config[1]",
        ("is already in config[0]",),
    ),
    ([("nat_masquerade", NAT)] * 2, "config[1]", ("ruleset nat pods nftables is already in config[0]",)),
]


@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: f"{case[0][0][0]}-{case[1]}")
def test_requests_together(case: tuple[list[tuple[str, Options]], str, tuple[str, ...]]) -> None:
    requests, key, words = case
    with pytest.raises(SpecError) as caught:
        all_of(*requests)
    assert caught.value.asked == key
    for word in words:
        assert word in str(caught.value)
