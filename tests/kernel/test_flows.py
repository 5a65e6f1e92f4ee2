"""Flows that are under way when rules change: those that would go on in an old way end, and all others go on."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import typing as t

import pytest

from tests.lab import privilege, probe
from tests.lab.settling import inside
from tests.lab.world import Node, World, wire
from tests.support.building import build_at_once, refusal
from tests.support.echo_service import serving
from tests.support.run_module import refused
from tests.support.spec_questions import Options

_MISSING = next((name for name in ("nft", "conntrack", "iptables-nft-save") if not shutil.which(name)), None)
_OBSTACLE = privilege.obstacle() or (f"the program {_MISSING} is missing" if _MISSING else None)
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

SERVER = probe.TARGETS[4]
ONE, OTHER = "198.18.77.1", "198.18.77.2"
PODS: Options = {"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24"], "namespaces": ["c1", "c2"]}
LAB: Options = {"name": "lab", "bridge": "br1", "subnets": ["10.44.0.0/24"], "namespaces": ["l1"]}
FIREWALLS = ("nftables", "iptables")


@pytest.fixture(scope="module")
def world() -> t.Iterator[World]:
    with World(nodes=0) as made:
        yield made


@pytest.fixture
def node(world: World) -> t.Iterator[Node]:
    with world.add_node() as made:
        made.run(["ip", "-batch", "-"], input="".join(f"address add {a}/16 dev uplink0\n" for a in (ONE, OTHER)))
        # The node of another test had the same ones.
        world.internet.run(["ip", "neigh", "flush", "all"])
        yield made


def same_flow(target: str, port: int, namespace: str = "") -> tuple[str, str]:
    """(client, server) as the server saw them, always in the same flow, from port 5555; empty for no answer."""
    with inside(namespace) if namespace else contextlib.nullcontext():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with opened:
        opened.bind(("", 5555))
        opened.settimeout(0.5)
        for _attempt in range(4):
            with contextlib.suppress(OSError):
                opened.sendto(b"who\n", (target, port))
                found = json.loads(opened.recv(1000))
                return str(found["client"]), str(found["server"])
    return "", ""


def tracked(node: Node) -> str:
    """The number of the flow's entry, "" for none."""
    lines = node.run(["conntrack", "-L", "-p", "udp", "-o", "id"]).stdout.splitlines()
    return next((line.rpartition("id=")[2].strip() for line in lines if "sport=5555 " in line), "")


def snat(address: str) -> Options:
    return {"mode": "snat", "to_source": [address]}


@pytest.mark.parametrize("first", FIREWALLS)
def test_translation_changes_with_the_back_end(node: Node, first: str) -> None:
    (second,) = set(FIREWALLS) - {first}
    node.call(build_at_once, [{**PODS, "firewall": first, "nat": snat(ONE)}])
    assert node.call(same_flow, SERVER, 7070, "c1")[0] == ONE
    number = tracked(node)
    node.call(build_at_once, [{**PODS, "firewall": second, "nat": snat(ONE)}])
    assert tracked(node) == number
    node.call(build_at_once, [{**PODS, "firewall": first, "nat": snat(OTHER)}])
    assert node.call(same_flow, SERVER, 7070, "c1")[0] == OTHER
    node.call(build_at_once, [{**PODS, "firewall": second, "nat": {"exclude": [f"{SERVER}/32"]}}])
    assert tracked(node) == ""


@pytest.mark.parametrize("first", FIREWALLS)
def test_published_port_changes_with_the_back_end(world: World, node: Node, first: str) -> None:
    ((second,), ports) = (set(FIREWALLS) - {first}, {"port": 8080, "protocol": "udp"})
    with contextlib.ExitStack() as services:
        for firewall, name, address in ((first, "c1", "10.22.33.2"), (second, "c2", "10.22.33.3")):
            network = {**PODS, "firewall": firewall, "publish": [{**ports, "to": f"{name}:7070"}]}
            node.call(build_at_once, [network])
            services.enter_context(serving(node, name, address))
            assert world.internet.call(same_flow, node.address, 8080)[1] == address


CHAIN = "nft flush chain inet netpath_egress nat_pods; nft add rule inet netpath_egress nat_pods"
EDITED = {
    ("nftables", "another address"): f"{CHAIN} ip saddr 10.22.33.0/24 snat to {OTHER}",
    ("iptables", "another address"): "iptables-nft -t nat -F netpath-pods;"
    f" iptables-nft -t nat -A netpath-pods -s 10.22.33.0/24 -j SNAT --to-source {OTHER}",
    ("nftables", "one rule more"): "nft add rule inet netpath_egress nat_pods counter",
    ("iptables", "one rule more"): "iptables-nft -t nat -A netpath-pods -s 192.0.2.1 -j RETURN",
}


@pytest.mark.parametrize("nat", [snat(ONE), {"mode": "masquerade"}], ids=["snat", "masquerade"])
@pytest.mark.parametrize(("firewall", "edit"), EDITED)
def test_translation_that_was_edited(node: Node, firewall: str, edit: str, nat: Options) -> None:
    """The flow ends if its translation is not the one that is wanted."""
    right = ONE if nat["mode"] == "snat" else node.address
    networks = [{**PODS, "firewall": firewall, "nat": nat}]
    node.call(build_at_once, networks)
    node.run(["sh", "-ec", EDITED[firewall, edit]])
    assert node.call(same_flow, SERVER, 7070, "c1")[0] == (OTHER if edit == "another address" else right)
    number = tracked(node)
    assert number
    node.call(build_at_once, networks)
    assert tracked(node) == ("" if edit == "another address" else number)
    assert node.call(same_flow, SERVER, 7070, "c1")[0] == right


@pytest.mark.parametrize("target", ["10.22.33.3", "10.22.33.2"])
def test_published_port_that_was_edited(world: World, node: Node, target: str) -> None:
    networks = [{**PODS, "publish": [{"port": 8080, "protocol": "udp", "to": "c1:7070"}]}]
    node.call(build_at_once, networks)
    element = "element inet netpath_egress to4_pods { udp . 8080"
    edit = f"delete {element} }}; add {element} : {target} }}; add rule inet netpath_egress publish_pods counter"
    node.run(["nft", edit])
    with serving(node, "c1", "10.22.33.2"), serving(node, "c2", "10.22.33.3"):
        assert world.internet.call(same_flow, node.address, 8080)[1] == target
        number = tracked(node)
        node.call(build_at_once, networks)
        assert tracked(node) == (number if target == "10.22.33.2" else "")
        assert world.internet.call(same_flow, node.address, 8080)[1] == "10.22.33.2"


UPLINKS = {
    "named": ({}, {"uplink": ["uplink0"]}, True),
    "one more": ({"uplink": ["uplink0"]}, {"uplink": ["uplink0", "uplink1"]}, True),
    "one less": ({"uplink": ["uplink0", "uplink1"]}, {"uplink": ["uplink0"]}, True),
    "auto again": ({"uplink": ["uplink0"]}, {}, True),
    "another bridge": ({}, {"bridge": "br9"}, True),
    "another one": ({"uplink": ["uplink0"]}, {"uplink": ["uplink1"]}, False),
}


@pytest.mark.parametrize(("before", "after", "stays"), UPLINKS.values(), ids=UPLINKS)
def test_other_interfaces(world: World, node: Node, before: Options, after: Options, stays: bool) -> None:
    """A flow that leaves by an interface that the rules are still for goes on."""
    wire(world.segment, node, "uplink1", port=f"{node.name}-2")
    node.run(["ip", "link", "set", "uplink1", "up"])
    node.call(build_at_once, [{**PODS, **before}])
    assert node.call(same_flow, SERVER, 7070, "c1")[0] == node.address
    number = tracked(node)
    node.call(build_at_once, [{**PODS, **after}])
    assert tracked(node) == (number if stays else "")
    # A new bridge has another MAC address.
    node.run(["ip", "-n", "c1", "neigh", "flush", "all"])
    if stays:
        assert node.call(same_flow, SERVER, 7070, "c1")[0] == node.address


def test_edited_rules_hide_no_conflict(node: Node) -> None:
    """What another network takes anew might be theirs; it waits until they are right again."""
    pods = {**PODS, "publish": [{"port": 8080, "to": "c1:80"}]}
    known = {"name": "known", "bridge": "br2", "subnets": ["10.55.0.0/24"], "namespaces": ["k1"]}
    node.call(build_at_once, [pods, known])
    for chain in ("nat_pods", "publish_pods"):
        node.run(["nft", "add", "rule", "inet", "netpath_egress", chain, "counter"])
    result = refused(node, "nat_masquerade", {"name": "lab", "sources": ["10.22.0.0/16"]})
    assert result["found"].startswith("rules of pods were edited by hand")
    taken = {**LAB, "publish": [{"port": 8080, "to": "l1:80"}]}
    assert "Ask for pods first" in refusal(node, build_at_once, [taken]).advice
    # What takes nothing anew goes on.
    node.call(build_at_once, [{**known, "nat": {"exclude": ["10.0.0.0/8"]}}])
    assert "pods publishes it already" in refusal(node, build_at_once, [pods, taken]).text
    node.call(build_at_once, [pods])
    node.call(build_at_once, [{**LAB, "publish": [{"port": 8081, "to": "l1:80"}]}])
