"""Details of the host that the path depends on: bridged packets and filters, MAC, MTU, neighbours, isolation."""

from __future__ import annotations

import json
import sys
import typing as t

import pytest

from tests.lab import privilege, probe, snapshot
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.world import World
from tests.support.building import build, build_at_once, seen_from
from tests.support.run_module import Options, done, predicted, refused, run_here

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

SWITCHES = "/proc/sys/net/bridge"
BRIDGE: Options = {"name": "br0", "addresses": ["10.22.33.1/24"], "network": "pods"}
NETWORK: Options = {"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24"], "namespaces": ["ns1", "ns2"]}
both_ways = pytest.mark.parametrize("builder", [build, build_at_once], ids=["module by module", "at once"])
Builder = t.Callable[..., list[str]]


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        yield made


@pytest.fixture
def filtering(node: Node) -> Node:
    """A node with br_netfilter."""
    if node.run(["test", "-e", f"{SWITCHES}/bridge-nf-call-iptables"], check=False).returncode:
        pytest.skip("br_netfilter is not loaded")
    return node


@pytest.fixture
def unfiltering(node: Node) -> t.Iterator[Node]:
    """A node that looks as if br_netfilter were not loaded."""
    node.run(["sh", "-ec", f"[ ! -e {SWITCHES} ] || mount -t tmpfs tmpfs {SWITCHES}"])
    yield node
    node.run(["umount", SWITCHES], check=False)


def bridge_options(node: Node) -> t.Any:
    return json.loads(node.run(["ip", "-j", "-d", "link", "show", "br0"]).stdout)[0]["linkinfo"]["info_data"]


def info(node: Node, section: str) -> t.Any:
    return node.call(run_here, "egress_info", {"gather": [section]}, False)[section]


def test_bridge_has_its_packets_filtered(filtering: Node) -> None:
    done(filtering, "linux_bridge", BRIDGE)
    assert not bridge_options(filtering)["nf_call_iptables"]
    options = {**BRIDGE, "nf_call_iptables": True, "nf_call_ip6tables": True}
    line = "change bridge br0: nf_call_iptables off -> on, nf_call_ip6tables off -> on"
    assert predicted(filtering, "linux_bridge", options) == done(filtering, "linux_bridge", options) == [line]
    assert done(filtering, "linux_bridge", options) == done(filtering, "linux_bridge", BRIDGE) == []
    shown = bridge_options(filtering)
    assert (shown["nf_call_iptables"], shown["nf_call_ip6tables"]) == (1, 1)
    assert info(filtering, "bridges")[0]["nf_call_iptables"] is True


def test_state_of_br_netfilter_is_told(filtering: Node) -> None:
    done(filtering, "sysctl_forward", {"bridge_nf_call": False})
    state = info(filtering, "bridge_netfilter")
    assert (state["loaded"], state["iptables"], state["ip6tables"]) == (True, False, False)
    done(filtering, "sysctl_forward", {"bridge_nf_call": True})
    state = info(filtering, "bridge_netfilter")
    assert (state["loaded"], state["iptables"], state["ip6tables"]) == (True, True, True)


def test_without_br_netfilter(unfiltering: Node) -> None:
    unloaded = {"loaded": False, "iptables": None, "ip6tables": None, "arptables": None}
    assert info(unfiltering, "bridge_netfilter") == unloaded
    # What is off without it needs nothing.
    assert done(unfiltering, "sysctl_forward", {"bridge_nf_call": False}) == []
    answer = refused(unfiltering, "sysctl_forward", {"bridge_nf_call": True})
    assert answer["asked"] == "set net.bridge.bridge-nf-call-iptables to 1"
    assert answer["found"].startswith("the kernel module br_netfilter is not loaded")
    assert answer["advice"] == "Load it: modprobe br_netfilter. Or leave it out"
    answer = refused(unfiltering, "linux_bridge", {**BRIDGE, "nf_call_iptables": True})
    assert answer["asked"] == "have packets that bridge br0 forwards filtered"


@both_ways
def test_links_of_a_network_have_their_settings(node: Node, builder: Builder) -> None:
    before = settled(node)
    network = {**NETWORK, "arp_notify": True, "rp_filter": 1, "hairpin": True}
    lines = node.call(builder, [network])
    assert "set net.ipv4.conf.br0.arp_notify to 1 (was 0)" in lines
    assert node.call(builder, [network]) == []
    for place, link in ((["sh"], "br0"), (["ip", "netns", "exec", "ns2", "sh"], "eth0")):
        folder = f"/proc/sys/net/ipv4/conf/{link}"
        assert node.run([*place, "-c", f"cat {folder}/arp_notify {folder}/rp_filter"]).stdout == "1\n1\n"
    assert node.run(["cat", "/sys/class/net/np-ns1/brport/hairpin_mode"]).stdout == "1\n"
    assert node.call(seen_from, "ns1", probe.TARGETS[4]) == node.address
    # Left out, they stay; switched off, they go.
    assert node.call(builder, [NETWORK]) == []
    assert len(node.call(builder, [{**network, "arp_notify": False}])) == 3
    node.call(builder, [NETWORK], absent=True)
    assert snapshot.difference(before, settled(node)) == ""


def test_neighbours_are_told_of_another_mac(node: Node) -> None:
    """By gratuitous ARP, so that they need not ask again."""
    # A MAC address that the namespace chose itself is refused otherwise.
    node.call(build_at_once, [{**NETWORK, "arp_notify": True, "spoof_protection": False}])
    script = """
import socket
raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x806))
raw.bind(("br0", 0x806)); raw.settimeout(10); print("ready", flush=True)
while True:
    packet = raw.recv(100)
    if packet[14:18] == packet[24:28]: print(socket.inet_ntoa(packet[14:18])); break
"""
    with node.popen([sys.executable, "-c", script], stdout=-1) as capture:
        assert capture.stdout is not None
        assert capture.stdout.readline() == "ready\n"
        node.run(["ip", "-n", "ns1", "link", "set", "eth0", "address", "02:00:5e:10:00:01"])
        assert capture.stdout.readline() == "10.22.33.2\n"


def test_bridge_keeps_its_mac_whatever_ports_come_and_go(node: Node) -> None:
    done(node, "linux_bridge", BRIDGE)
    mac = node.run(["cat", "/sys/class/net/br0/address"]).stdout
    port = "ip link add name low address 00:00:5e:00:53:01 type veth peer name low2"
    node.run(["sh", "-ec", f"{port}; ip link set low master br0 up; ip link set low2 up"])
    assert node.run(["cat", "/sys/class/net/br0/address"]).stdout == mac
    node.run(["ip", "link", "del", "low"])
    assert node.run(["cat", "/sys/class/net/br0/address"]).stdout == mac


def mtus(node: Node) -> dict[str, int]:
    found = {}
    for place in ("", "ns1"):
        links = json.loads(node.run(["ip", *(["-n", place] if place else []), "-j", "link", "show"]).stdout)
        found.update({f"{place} {link['ifname']}".strip(): link["mtu"] for link in links if link["ifname"] != "lo"})
    return {name: found[name] for name in ("br0", "np-ns1", "ns1 eth0")}


@both_ways
def test_whole_path_follows_the_mtu_of_the_uplink(node: Node, builder: Builder) -> None:
    node.run(["ip", "link", "set", "uplink0", "mtu", "1420"])
    node.call(builder, [NETWORK])
    assert set(mtus(node).values()) == {1420}
    for mtu in (1380, 1500):
        node.run(["ip", "link", "set", "uplink0", "mtu", str(mtu)])
        lines = node.call(builder, [NETWORK])
        assert len(lines) == 3, lines
        assert set(mtus(node).values()) == {mtu}
        assert node.call(builder, [NETWORK]) == []
        whole = [sys.executable, probe.__file__, "--protocol", "icmp", "--dont-fragment", "--size", str(mtu - 28)]
        assert node.namespace_run("ns1", whole).returncode == 0


def test_isolated_namespaces_reach_the_internet_and_not_each_other(node: Node) -> None:
    def reached(target: str) -> bool:
        return node.namespace_run("ns1", ["ping", "-c1", "-W1", target], check=False).returncode == 0

    node.call(build_at_once, [NETWORK])
    assert reached("10.22.33.3")
    assert node.call(build_at_once, [{**NETWORK, "isolated": True}]) == [
        "replace forwarding limits of pods",
        "change veth np-ns1: isolated off -> on",
        "change veth np-ns2: isolated off -> on",
    ]
    node.run(["sh", "-c", "ip -n ns1 neigh flush dev eth0; ip -n ns2 neigh flush dev eth0"])
    assert not reached("10.22.33.3")
    assert reached("10.22.33.1")
    assert node.call(seen_from, "ns1", probe.TARGETS[4]) == node.address
