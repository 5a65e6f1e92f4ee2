"""The way to a host: what is below its links is left alone, and no command changes what may cut it without a person."""

from __future__ import annotations

import io
import json
import sys
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel import listeners, management
from ansible_collections.netpath.egress.plugins.module_utils._engine.program import applying, installation, watching
from ansible_collections.netpath.egress.plugins.module_utils._engine.program.output import Output

from tests.kernel.building import ask, build_at_once, refusal, unreachable_from
from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.world import World
from tests.unit.asking import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

# The addresses of uplink0 go to the link of the default routes.
_MOVE = """
address=$(ip -br -4 address show uplink0 | tr -s ' ' | cut -d' ' -f3)
address6=$(ip -br -6 address show uplink0 scope global | tr -s ' ' | cut -d' ' -f3)
ip address flush dev uplink0 scope global
ip address add $address dev {link}
ip address add $address6 dev {link} nodad
ip route replace default via 198.18.0.1
ip -6 route replace default via 2001:db8:18::1
"""
_MACVLAN = "ip link add link uplink0 name m0 type macvlan mode bridge; ip link set m0 up" + _MOVE.format(link="m0")
_PAIR = """
ip link add br-ext type bridge
ip link set br-ext up
ip link set uplink0 master br-ext
ip link add v0 type veth peer name v1
ip link set v1 master br-ext up
ip link set v0 up
""" + _MOVE.format(link="v0")
_BRIDGE = "ip link add br0 type bridge; ip link set br0 up; ip link set uplink0 master br0" + _MOVE.format(link="br0")
# It lives on the bridge that is the uplink, as beside virtual machines, and has another MTU there.
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "mtu": 1400,
    "namespaces": ["c1"],
}


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World() as world:
        (made,) = world.nodes
        yield made


BELOW: dict[str, tuple[str, str, Options, str]] = {
    "parent of a macvlan": (_MACVLAN, "linux_bridge", {"name": "br1", "ports": ["uplink0"]}, "enslave uplink0"),
    "macvlan": (_MACVLAN, "linux_bridge", {"name": "br1", "ports": ["m0"]}, "enslave m0"),
    "port behind a pair": (_PAIR, "linux_bridge", {"name": "br1", "ports": ["uplink0"]}, "enslave uplink0"),
    "other end of a pair": (_PAIR, "linux_bridge", {"name": "br1", "ports": ["v1"]}, "enslave v1"),
    "bridge behind a pair": (_PAIR, "linux_bridge", {"name": "br-ext", "state": "absent"}, "remove link br-ext"),
    "port of the bridge": (_BRIDGE, "linux_bridge", {"name": "br1", "ports": ["uplink0"]}, "enslave uplink0"),
}


def masters(node: Node) -> list[tuple[str, str]]:
    listed = json.loads(node.run(["ip", "-j", "link"]).stdout)
    return [(link["ifname"], link.get("master", "")) for link in listed]


@pytest.mark.parametrize("title", BELOW)
def test_links_below_the_default_routes_are_left_alone(node: Node, title: str) -> None:
    script, module, options, asked = BELOW[title]
    node.run(["sh", "-ec", script])
    before = masters(node)
    told = refusal(node, ask, module, options)
    assert told.asked == asked
    assert "the IPv4 default route of this host" in told.found
    assert masters(node) == before


@pytest.fixture
def drifted(node: Node) -> Node:
    """A network on the uplink's bridge, to which somebody gave back its MTU; and the network has lost its rules."""
    node.run(["sh", "-ec", _BRIDGE])
    node.call(build_at_once, [PODS])
    asked = installation.Asked("/etc/netpath-egress", sys.executable, [PODS])
    node.call(lambda: installation.install(asked).actions)
    node.run(["ip", "link", "set", "br0", "mtu", "1500"])
    node.run(["nft", "delete", "table", "inet", "netpath_egress"])
    return node


def mtu(node: Node) -> str:
    return node.run(["cat", "/sys/class/net/br0/mtu"]).stdout.strip()


def told_by(command: t.Callable[[Output, Output], int]) -> tuple[int, str]:
    output, errors = io.StringIO(), io.StringIO()
    status = command(Output(output), Output(errors))
    return status, output.getvalue() + errors.getvalue()


def applied(at_boot: bool = False) -> tuple[int, str]:
    return told_by(lambda output, errors: applying.apply([], False, output, errors, False, at_boot=at_boot))


def watched() -> tuple[int, str]:
    return told_by(lambda output, errors: watching.watch(True, False, "", output, errors))


@pytest.mark.parametrize("command", [applied, watched], ids=["apply", "watch --repair"])
def test_what_may_cut_the_way_is_told_and_left(drifted: Node, command: t.Callable[[], tuple[int, str]]) -> None:
    for _time in range(2):
        status, told = drifted.call(command)
        assert status == applying.DIFFERS
        assert "pods: not done: change bridge br0: mtu 1500 -> 1400" in told
        assert mtu(drifted) == "1500"
    # All else was repaired.
    assert unreachable_from(drifted, "c1") == []


def test_at_boot_nobody_is_cut_off(drifted: Node) -> None:
    def with_a_session() -> tuple[int, str]:
        management.ssh_sessions = lambda namespaces: [  # noqa: ARG005
            listeners.Connection("198.18.0.1", "198.18.0.11")
        ]
        return applied(at_boot=True)

    assert drifted.call(with_a_session)[0] == applying.DIFFERS
    assert mtu(drifted) == "1500"
    status, told = drifted.call(applied, at_boot=True)
    assert (status, "not done" in told) == (applying.DONE, False)
    assert mtu(drifted) == "1400"
