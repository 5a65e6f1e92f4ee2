"""What may cut the way to a host is refused, or put back unless somebody still comes by it."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine import audit
from ansible_collections.netpath.egress.plugins.module_utils._engine.errors import ApplyError, KernelError
from ansible_collections.netpath.egress.plugins.module_utils._engine.run import run
from ansible_collections.netpath.egress.plugins.module_utils._engine.transaction import confirmation, record, recovery

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support import run_fresh
from tests.support.building import build_at_once, refusal
from tests.support.ended_runs import await_deadline, waiting
from tests.support.kill_injection import killed_at
from tests.support.spec_questions import Options, all_of

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

FILTER: Options = {"rp_filter": 1, "interfaces": ["uplink0"], "network": "pods"}
FAR, NEAR = "198.51.100.77", "198.18.0.77"


@pytest.fixture
def node() -> t.Iterator[Node]:
    with World(nodes=1, internet=False) as world:
        yield world.nodes[0]


def asked(node: Node, module: str, options: Options, controller: str = FAR) -> t.Any:
    """What a module returns that somebody has started by SSH."""
    session = f"SSH_CONNECTION={controller} 40000 {node.address} 22"
    arguments = [json.dumps(argument) for argument in (sys.path, module, options)]
    done = node.run(["env", session, sys.executable, str(Path(run_fresh.__file__)), *arguments])
    return json.loads(done.stdout)[0]


def await_end(patience: float = 90.0) -> None:
    with confirmation.exclusive(patience):
        pass


def filtering(node: Node) -> str:
    return node.run(["cat", "/proc/sys/net/ipv4/conf/uplink0/rp_filter"]).stdout.strip()


@pytest.mark.smoke
def test_confirmed_change_stays(node: Node) -> None:
    result = asked(node, "sysctl_forward", {**FILTER, "confirm_within": 60})
    assert result["unconfirmed"]["hazards"] == ["set net.ipv4.conf.uplink0.rp_filter to 1 (was 0)"]
    # Nobody builds upon what may be put back.
    assert "waits to be confirmed" in refusal(node, await_end, 0.1).found
    assert refusal(node, confirmation.confirm, "0" * 32).kind == "ConflictError"
    node.call(confirmation.confirm, result["unconfirmed"]["token"])
    node.call(await_end, 0)
    assert filtering(node) == "1"
    # Somebody who did not get the answer asks again.
    node.call(confirmation.confirm, result["unconfirmed"]["token"])
    assert not asked(node, "sysctl_forward", {**FILTER, "confirm_within": 60})["changed"]
    # It is asked for no more once another run has come by, and nothing of it is left.
    assert node.run(["ls", "/run/netpath"], check=False).stdout == ""


def test_change_that_nobody_confirms_is_put_back(node: Node) -> None:
    node.call(build_at_once, [{"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["ns1"]}])
    before = settled(node)
    result = asked(node, "sysctl_forward", {**FILTER, "confirm_within": 1})
    assert result["changed"]
    node.call(await_end)
    assert filtering(node) == "0"
    (line,) = [json.loads(text) for text in node.run(["cat", audit.PATH]).stdout.splitlines()]
    assert (line["by"], line["actions"][-1]) == ("confirmation", result["actions"][-1])
    assert line["error"] == "not confirmed within 1 s, and put back"
    with pytest.raises(ApplyError, match="it was put back"):
        node.call(confirmation.confirm, result["unconfirmed"]["token"])
    node.call(recovery.forget_outcome)
    node.call(await_end)
    assert difference(before, settled(node)) == ""
    # As if it had never been asked for: the same is done again.
    assert asked(node, "sysctl_forward", FILTER)["actions"] == result["actions"]


def test_next_run_puts_back_where_the_process_that_waits_is_gone(node: Node) -> None:
    asked(node, "sysctl_forward", {**FILTER, "confirm_within": 1})
    os.kill(node.call(waiting), signal.SIGKILL)
    node.call(await_deadline)
    told = node.call(build_at_once, [{"name": "pods", "subnets": ["10.22.33.0/24"], "state": "absent"}])
    assert "take back a run that was interrupted: set net.ipv4.conf.uplink0.rp_filter to 0 (was 1)" in told
    assert filtering(node) == "0"
    assert "not confirmed within 1 s, and put back" in node.run(["cat", audit.PATH]).stdout


def test_process_that_waits_is_replaced(node: Node) -> None:
    result = asked(node, "sysctl_forward", {**FILTER, "confirm_within": 60})
    killed = node.call(waiting)
    os.kill(killed, signal.SIGKILL)
    assert "to be confirmed" in refusal(node, await_end, 0.1).found
    assert node.call(waiting) != killed
    # It is not needed for the confirmation, and ends with it.
    node.call(confirmation.confirm, result["unconfirmed"]["token"])
    assert filtering(node) == "1"
    node.call(await_end, 0)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("sysctl_forward", {"ipv4": True, "ipv6": True, "network": "pods"}),
        ("ns_route", {"dest": "203.0.113.0/24", "device": "uplink0"}),
        ("egress_path", {"networks": [{"name": "pods", "subnets": ["10.22.33.0/24"], "namespaces": ["ns1"]}]}),
        ("sysctl_forward", {**FILTER, "confirm_within": 0}),
    ],
)
def test_other_changes_wait_for_nobody(node: Node, module: str, options: Options) -> None:
    result = asked(node, module, {"confirm_within": 60, **options})
    assert result["changed"], result
    assert "unconfirmed" not in result
    node.call(await_end, 0)


def test_mtu_of_the_uplink(node: Node) -> None:
    """A bridge of somebody else's, which carries the default route."""
    node.run(["sh", "-ec", "ip link add br0 type bridge; ip link set br0 up; ip link set uplink0 master br0"])
    node.run(["sh", "-ec", "ip route replace $(ip -4 route show default | sed s/uplink0/br0/) onlink"])
    result = asked(node, "linux_bridge", {"name": "br0", "mtu": 1400, "confirm_within": 1})
    assert "mtu 1500 -> 1400" in result["unconfirmed"]["hazards"][0]
    node.call(await_end)
    assert "mtu 1500" in node.run(["ip", "link", "show", "br0"]).stdout


def test_what_a_bridge_lets_through(node: Node) -> None:
    """With STP its ports learn for a while, and forward nothing."""
    node.run(["sh", "-ec", "ip link add br0 type bridge; ip link set br0 up; ip link set uplink0 master br0"])
    node.run(["sh", "-ec", "ip route replace $(ip -4 route show default | sed s/uplink0/br0/) onlink"])
    assert "unconfirmed" not in asked(node, "linux_bridge", {"name": "br0", "ageing_time": 100, "confirm_within": 1})
    result = asked(node, "linux_bridge", {"name": "br0", "stp": True, "confirm_within": 1})
    assert result["unconfirmed"]["hazards"] == ["change bridge br0: stp off -> on"]
    node.call(await_end)
    assert node.run(["cat", "/sys/class/net/br0/bridge/stp_state"], check=False).stdout.strip() in ("0", "")


def test_address_of_the_session(node: Node) -> None:
    """One of ours, which another takes the place of."""
    own = f"{node.address}/16"
    node.run(["sh", "-ec", "ip link add br0 type bridge; ip link set br0 up; ip link set uplink0 master br0"])
    node.run(
        ["sh", "-ec", f"ip addr flush dev uplink0; ip addr add {own} dev br0; ip route add default via 198.18.0.1"]
    )
    asked(node, "linux_bridge", {"name": "br0", "addresses": [own, "203.0.113.8/24"]})
    wanted: Options = {"name": "br0", "addresses": [own, "203.0.113.9/24"], "exclusive_addresses": True}
    node.address = "203.0.113.8"
    result = asked(node, "linux_bridge", {**wanted, "confirm_within": 1})
    assert result["unconfirmed"]["hazards"] == ["delete address 203.0.113.8/24 from br0"]
    node.call(await_end)
    shown = node.run(["ip", "addr", "show", "br0"]).stdout
    assert ("203.0.113.8/24" in shown, "203.0.113.9/24" in shown) == (True, False)


@pytest.mark.parametrize("table", [100, 255])
def test_way_by_another_table(node: Node, table: int) -> None:
    """That of local addresses comes first, and rules may put others ahead."""
    route: Options = {"dest": "198.51.100.0/24", "type": "blackhole", "table": table, "confirm_within": 1}
    result = asked(node, "ns_route", route)
    assert result["unconfirmed"]["hazards"] == result["actions"]
    node.call(await_end)
    assert node.run(["ip", "route", "show", "table", str(table), "type", "blackhole"], check=False).stdout == ""
    assert "unconfirmed" not in asked(node, "ns_route", {**route, "dest": "203.0.113.0/24"})


def test_nobody_can_wait(node: Node) -> None:
    """Then nothing stays of what nobody would put back."""

    def fail(*_arguments: object) -> None:
        raise KernelError("write the record", "No space left on device", errno.ENOSPC)

    def hazardous() -> None:
        record.Record.wait_by = fail  # type: ignore[assignment, method-assign]
        run(lambda observer: all_of(("sysctl_forward", FILTER), host=observer), confirm_within=60)

    before = settled(node)
    refused = refusal(node, hazardous)
    assert (refused.rolled_back, refused.asked) == (True, "have the change confirmed"), refused
    assert difference(before, settled(node)) == ""
    node.call(await_end, 0)


def test_way_by_another_gateway(node: Node) -> None:
    """Of the same link: it may be the better way, or the end of it."""
    way: Options = {"dest": f"{FAR}/32", "gateway": "198.18.0.250", "device": "uplink0", "confirm_within": 1}
    result = asked(node, "ns_route", way)
    assert result["unconfirmed"]["hazards"] == result["actions"]
    node.call(await_end)
    assert FAR not in node.run(["ip", "route"]).stdout


@pytest.mark.parametrize(
    ("module", "options", "controller"),
    [
        ("linux_bridge", {"name": "br0", "addresses": ["198.51.100.1/24"]}, FAR),
        ("linux_bridge", {"name": "br0", "addresses": [f"{FAR}/32"]}, FAR),
        ("linux_bridge", {"name": "br0", "addresses": ["198.18.0.1/24"]}, NEAR),
        ("egress_path", {"networks": [{"name": "pods", "subnets": ["198.51.100.0/24"], "namespaces": ["ns1"]}]}, FAR),
        ("ns_route", {"dest": "198.51.100.0/24", "type": "blackhole"}, FAR),
        ("ns_route", {"dest": f"{FAR}/32", "device": "other0"}, FAR),
        ("ns_route", {"dest": f"{NEAR}/32", "type": "unreachable"}, NEAR),
    ],
)
def test_ways_elsewhere_are_refused(node: Node, module: str, options: Options, controller: str) -> None:
    node.run(["sh", "-ec", "ip link add other0 type veth peer name other1; ip link set other0 up"])
    before = settled(node)
    result = asked(node, module, options, controller)
    assert result["failed"]
    assert f"{controller} controls this host, by uplink0" in result["msg"]
    assert difference(before, settled(node)) == ""


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("linux_bridge", {"name": "br0", "addresses": ["10.22.33.1/24"]}),
        ("ns_route", {"dest": "198.0.0.0/8", "type": "blackhole"}),
        ("ns_route", {"dest": f"{NEAR}/32", "type": "blackhole", "table": 77}),
        ("netns", {"name": "ns1"}),
    ],
)
def test_what_leads_nothing_elsewhere_is_done(node: Node, module: str, options: Options) -> None:
    assert asked(node, module, options, NEAR)["changed"]


def test_run_that_is_killed_before_it_could_be_confirmed(node: Node) -> None:
    """It is finished and put back: nobody knows the token."""
    before = settled(node)

    def kill_it() -> bool:
        def hazardous() -> None:
            run(lambda observer: all_of(("sysctl_forward", FILTER), host=observer), confirm_within=30)

        return killed_at(1, hazardous, after=True)

    assert node.call(kill_it)
    assert filtering(node) == "0"
    assert difference(before, settled(node)) == ""
    assert "killed before it was confirmed" in node.run(["cat", audit.PATH]).stdout
