"""What the inventory says of built worlds, and of what somebody else or an accident left in them."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.check import check
from ansible_collections.netpath.egress.plugins.module_utils._engine.inventory import SECTIONS, inventory
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.link_messages import COUNTERS

from tests.lab import privilege
from tests.lab.node import Node
from tests.lab.settling import settled
from tests.lab.snapshot import difference
from tests.lab.world import World
from tests.support.building import build_at_once
from tests.support.spec_questions import Options

_OBSTACLE = privilege.obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE))

Data = dict[str, t.Any]
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
    "nat": {"exclude": ["10.0.0.0/8"], "ports": "1024-65535", "random_fully": True},
}


@pytest.fixture(scope="module")
def node() -> t.Iterator[Node]:
    with World(nodes=1) as world:
        made = world.nodes[0]
        made.run(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"])
        made.call(build_at_once, [PODS])
        yield made


def script(node: Node, *lines: str) -> str:
    return node.run(["sh", "-ec", "\n".join(lines)]).stdout


# Another run of the same tests may be under way on this machine.
LEFT = f"left-{os.getpid()}"


def one(items: t.Iterable[Data], **fields: t.Any) -> Data:
    """The only item with these fields."""
    found = [item for item in items if fields.items() <= item.items()]
    assert len(found) == 1, found
    return found[0]


def await_absence(link: str, patience: float = 20.0) -> None:
    """The kernel removes a namespace that nobody holds any more in its own time, and then the links into it."""
    give_up = time.monotonic() + patience
    while os.path.exists(f"/sys/class/net/{link}") and time.monotonic() < give_up:
        time.sleep(0.005)


def links_of(node: Node) -> list[Data]:
    links: list[Data] = node.call(inventory, ("links",))["links"]
    return links


def orphans_of(node: Node) -> list[Data]:
    """Those of this node: other worlds of this machine have processes in namespaces of their own."""

    def look() -> list[Data]:
        own = os.readlink("/proc/self/ns/mnt")
        orphans: list[Data] = inventory(("orphans",))["orphans"]
        return [item for item in orphans if LEFT in item["evidence"] or _mounts_of(item["name"]) in ("", own)]

    found: list[Data] = node.call(look)
    return found


def _mounts_of(name: str) -> str:
    """The mount namespace of the process that holds a namespace without a name; "" for what has one."""
    if not name.startswith("/proc/"):
        return ""
    try:
        return os.readlink(name.replace("/ns/net", "/ns/mnt"))
    except OSError:
        return "gone"


@pytest.mark.smoke
def test_it_changes_nothing(node: Node) -> None:
    before = settled(node)
    assert tuple(node.call(inventory)) == SECTIONS
    assert difference(before, settled(node)) == ""


def test_only_what_is_asked_for(node: Node) -> None:
    assert list(node.call(inventory, ("uplinks", "namespaces"))) == ["namespaces", "uplinks"]


def test_named_namespaces_with_their_processes(node: Node) -> None:
    with node.popen(["ip", "netns", "exec", "c1", "sleep", "100"]) as process:
        while "sleep" not in script(node, f"cat /proc/{process.pid}/comm"):
            pass
        namespaces = node.call(inventory, ("namespaces",))["namespaces"]
        process.kill()
    inhabited = one(namespaces, name="c1")
    inode = int(script(node, "stat -c %i /run/netns/c1"))
    assert inhabited == {
        "name": "c1",
        "path": "/run/netns/c1",
        "inode": inode,
        "network": "pods",
        "assigned": ["10.22.33.2/24", "fd00:22:33::2/64"],
        "processes": [{"pid": process.pid, "command": "sleep"}],
    }
    assert one(namespaces, name="c2")["processes"] == []


def test_anonymous_namespace_with_its_processes(node: Node) -> None:
    with node.popen(["unshare", "-n", "sleep", "100"]) as process:
        while "sleep" not in script(node, f"cat /proc/{process.pid}/comm"):
            pass
        found = node.call(inventory, ("namespaces", "links", "forwarding"))
        process.kill()
    path = f"/proc/{process.pid}/ns/net"
    listed = one(found["namespaces"], path=path)
    assert (listed["name"], listed["network"]) == (None, None)
    assert listed["processes"] == [{"pid": process.pid, "command": "sleep"}]
    assert one(found["links"], netns=path)["name"] == "lo"
    assert one(found["forwarding"], netns=path)["ipv4"] in (True, False)


def test_pair_from_both_ends(node: Node) -> None:
    links = links_of(node)
    outer, inner = one(links, netns="", name="np-c1"), one(links, netns="c1", name="eth0")
    assert outer["peer"] == {"netns": "c1", "name": "eth0", "index": inner["index"]}
    assert inner["peer"] == {"netns": "", "name": "np-c1", "index": outer["index"]}
    assert inner["addresses"] == ["10.22.33.2/24", "fd00:22:33::2/64"]
    assert [address.split(":")[0] for address in inner["link_local"]] == ["fe80"]
    for end, master in ((outer, "br0"), (inner, "")):
        expected = {"kind": "veth", "mtu": 1500, "up": True, "carrier": True, "master": master}
        assert expected.items() <= end.items()
        assert (end["alias"], end["network"]) == ("netpath:pods", "pods")


def test_bridges_with_their_ports(node: Node) -> None:
    script(node, "ip link add own0 type bridge stp_state 1 forward_delay 400; ip link add own1 type bridge")
    bridges = node.call(inventory, ("bridges",))["bridges"]
    script(node, "ip link del own0; ip link del own1")
    ours = one(bridges, netns="", name="br0")
    assert (ours["network"], sorted(ours["ports"]), ours["stp"]) == ("pods", ["np-c1", "np-c2"], False)
    foreign = one(bridges, netns="", name="own0")
    assert (foreign["network"], foreign["ports"], foreign["stp"], foreign["forward_delay"]) == (None, [], True, 4)


def test_counters_count_what_links_carried(node: Node) -> None:
    def counted() -> dict[tuple[str, str], Data]:
        found = node.call(inventory, ("counters",))["counters"]
        return {place: one(found, netns=place[0], name=place[1]) for place in (("", "np-c1"), ("c1", "eth0"))}

    before = counted()
    script(node, "ip netns exec c1 ping -qc3 -i0.01 -s100 10.22.33.1")
    after = counted()
    for ways in (("rx", "tx"), ("tx", "rx")):
        ours, theirs = ("", "np-c1"), ("c1", "eth0")
        grown = after[ours][f"{ways[0]}_packets"] - before[ours][f"{ways[0]}_packets"]
        assert grown >= 3
        assert after[ours][f"{ways[0]}_bytes"] - before[ours][f"{ways[0]}_bytes"] >= 3 * 142
        assert after[theirs][f"{ways[1]}_packets"] == after[ours][f"{ways[0]}_packets"]
    assert set(after["", "np-c1"]) == {"netns", "name", *COUNTERS}


def test_dropped_packets_are_counted(node: Node) -> None:
    script(node, "ip link set np-c1 down")
    script(node, "ip netns exec c1 ping -qc2 -i0.01 -W0.1 10.22.33.1 || true")
    found = one(node.call(inventory, ("counters",))["counters"], netns="c1", name="eth0")
    dropped = int(script(node, "ip netns exec c1 cat /proc/net/dev | awk '/eth0/ { print $13 }'"))
    node.call(build_at_once, [PODS])
    assert found["tx_dropped"] == dropped


def test_forwarding_tables(node: Node) -> None:
    script(node, "ip netns exec c1 ping -qc1 10.22.33.1; bridge fdb add 02:00:00:00:00:99 dev np-c2 master static")
    script(node, "ip -n c1 link add inner0 type bridge; ip -n c1 link set inner0 up")
    found = node.call(inventory, ("fdb", "links"))
    script(node, "bridge fdb del 02:00:00:00:00:99 dev np-c2 master; ip -n c1 link del inner0")
    mac = {(link["netns"], link["name"]): link["mac"] for link in found["links"]}
    common = {"netns": "", "bridge": "br0", "vlan": None}
    assert one(found["fdb"], mac=mac["c1", "eth0"], netns="") == {
        **common,
        "port": "np-c1",
        "mac": mac["c1", "eth0"],
        "kind": "learned",
    }
    assert one(found["fdb"], mac="02:00:00:00:00:99")["kind"] == "static"
    assert one(found["fdb"], mac=mac["", "np-c1"], netns="", vlan=None)["kind"] == "local"
    assert one(found["fdb"], mac=mac["", "br0"], netns="", vlan=None)["port"] == "br0"
    assert {entry["bridge"] for entry in found["fdb"] if entry["netns"] == "c1"} == {"inner0"}


def test_neighbours(node: Node) -> None:
    script(node, "ip netns exec c1 ping -qc1 10.22.33.1; ip netns exec c1 ping -qc1 fd00:22:33::1")
    script(node, "ip -n c1 neigh replace 10.22.33.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent")
    script(node, "ip netns exec c1 ping -qc1 -W0.1 10.22.33.78 || true")
    found = node.call(inventory, ("neighbours", "links"))
    script(node, "ip -n c1 neigh flush dev eth0 nud all")
    gateway = one(found["links"], netns="", name="br0")["mac"]
    for address in ("10.22.33.1", "fd00:22:33::1"):
        told = one(found["neighbours"], netns="c1", address=address)
        assert (told["link"], told["mac"]) == ("eth0", gateway)
        assert told["state"] in ("REACHABLE", "DELAY", "STALE")
    set_by_hand = one(found["neighbours"], netns="c1", address="10.22.33.77")
    assert (set_by_hand["mac"], set_by_hand["state"]) == ("02:00:00:00:00:77", "PERMANENT")
    silent = one(found["neighbours"], netns="c1", address="10.22.33.78")
    assert (silent["mac"], silent["state"]) == (None, "INCOMPLETE")
    assert [item for item in found["neighbours"] if item["address"].startswith(("ff02:", "224."))] == []


def test_pair_between_two_namespaces(node: Node) -> None:
    """Neither end is on the host, and both have the numbers that ends of other pairs have as well."""
    script(node, "ip netns add left; ip netns add right")
    script(node, "ip -n left link add x0 index 90 type veth peer name x1 index 91 netns right")
    script(node, "ip -n right link add x0 index 90 type veth peer name x1 index 91 netns left")
    script(node, "ip -n left link add y0 index 94 type veth peer name y1 index 95")
    links = links_of(node)
    script(node, "ip netns del left; ip netns del right")
    for near, far in (("left", "right"), ("right", "left")):
        assert one(links, netns=near, name="x0")["peer"] == {"netns": far, "name": "x1", "index": 91}
        assert one(links, netns=near, name="x1")["peer"] == {"netns": far, "name": "x0", "index": 90}
    assert one(links, netns="left", name="y0")["peer"] == {"netns": "left", "name": "y1", "index": 95}


def test_routes_with_their_devices(node: Node) -> None:
    script(node, "ip route add blackhole 10.71.0.0/16 table 100 metric 7")
    routes = node.call(inventory, ("routes",))["routes"]
    script(node, "ip route del blackhole 10.71.0.0/16 table 100 metric 7")
    ours = one(routes, netns="c1", dest="0.0.0.0/0")
    assert (ours["gateway"], ours["device"], ours["protocol"], ours["type"]) == ("10.22.33.1", "eth0", 250, "unicast")
    uplink = one(routes, netns="", dest="::/0", family="ipv6")
    assert (uplink["gateway"], uplink["device"]) == ("2001:db8:18::1", "uplink0")
    assert one(routes, netns="", table=100) == {
        "netns": "",
        "family": "ipv4",
        "dest": "10.71.0.0/16",
        "gateway": None,
        "device": None,
        "metric": 7,
        "table": 100,
        "type": "blackhole",
        "protocol": 3,
        "network": None,
    }


def test_forwarding(node: Node) -> None:
    forwarding = node.call(inventory, ("forwarding",))["forwarding"]
    assert one(forwarding, netns="") == {"netns": "", "ipv4": True, "ipv6": True}
    assert one(forwarding, netns="c1") == {"netns": "c1", "ipv4": False, "ipv6": False}


def test_uplinks(node: Node) -> None:
    assert node.call(inventory, ("uplinks",))["uplinks"] == {
        "ipv4": {
            "interface": "uplink0",
            "gateway": "198.18.0.1",
            "mtu": 1500,
            "routes": [{"interfaces": ["uplink0"], "metric": 0}],
        },
        "ipv6": {
            "interface": "uplink0",
            "gateway": "2001:db8:18::1",
            "mtu": 1500,
            "routes": [{"interfaces": ["uplink0"], "metric": 1024}],
        },
    }


def test_no_uplink() -> None:
    with World(nodes=0, internet=False) as world, world.add_node(uplink=False) as bare:
        assert bare.call(inventory, ("uplinks",))["uplinks"] == {"ipv4": None, "ipv6": None}


def test_translation(node: Node) -> None:
    def nat() -> Data:
        return one(node.call(inventory, ("nat",))["nat"], netns="", name="pods")

    assert nat() == {
        "netns": "",
        "name": "pods",
        "backend": "nftables",
        "intact": True,
        "sources": ["10.22.33.0/24", "fd00:22:33::/64"],
        "exclude": ["10.0.0.0/8"],
        "mode": "masquerade",
        "to_source": [],
        "out_interface": None,
        "not_out_interface": "br0",
        "ports": "1024-65535",
        "random_fully": True,
    }
    script(node, "nft flush chain inet netpath_egress nat_pods")
    assert nat() == {"netns": "", "name": "pods", "backend": "nftables", "intact": False}
    node.call(build_at_once, [PODS])


def test_connection_tracking(node: Node) -> None:
    found = node.call(inventory, ("conntrack",))["conntrack"]
    assert found["max"] is None or 0 <= found["count"] <= found["max"]


def test_healthy_world_has_no_orphans(node: Node) -> None:
    assert orphans_of(node) == []


def test_stale_handle(node: Node) -> None:
    script(node, "touch /run/netns/left")
    found = node.call(inventory, ("orphans", "namespaces", "links"))
    script(node, "rm /run/netns/left")
    stale = one(found["orphans"], kind="stale_handle")
    assert (stale["name"], stale["evidence"]) == ("left", "/run/netns/left is no namespace")
    assert "left" not in [namespace["name"] for namespace in found["namespaces"]]


def test_leaked_namespace(node: Node) -> None:
    """A name is gone while a process holds the namespace: the pair lives on, and its end on the host is still known."""
    script(node, "ip netns add left")
    script(node, f"ip link add left0 type veth peer name eth0 netns left; ip link set left0 alias netpath:{LEFT}")
    with node.popen(["ip", "netns", "exec", "left", "sleep", "100"]) as process:
        while "sleep" not in script(node, f"cat /proc/{process.pid}/comm"):
            pass
        script(node, "ip netns del left")
        orphans, links = orphans_of(node), links_of(node)
        process.kill()
    node.call(await_absence, "left0")
    leaked = one(orphans, kind="leaked_namespace")
    assert leaked["name"] == f"/proc/{process.pid}/ns/net"
    assert f"{process.pid} (sleep)" in leaked["evidence"]
    assert [orphan["kind"] for orphan in orphans] == ["leaked_namespace"]
    peer = one(links, netns="", name="left0")["peer"]
    assert (peer["netns"], peer["name"]) == (leaked["name"], "eth0")


def test_namespace_without_a_name_is_not_ours_by_its_own_word(node: Node) -> None:
    with node.popen(["unshare", "-n", "sh", "-c", "ip link set lo alias netpath:pods; exec sleep 100"]) as process:
        while "sleep" not in script(node, f"cat /proc/{process.pid}/comm"):
            pass
        orphans = node.call(inventory, ("orphans",))["orphans"]
        process.kill()
    assert f"/proc/{process.pid}/ns/net" not in [orphan["name"] for orphan in orphans]


def test_dangling_pair(node: Node) -> None:
    """The other end is in a namespace that nobody can name: an open file alone holds it."""
    script(node, "ip netns add left; ip link add left0 type veth peer name eth0 netns left")
    script(node, "ip link set left0 alias netpath:pods")
    holder = "exec 3< /run/netns/left; ip netns del left; echo held; read -r _"
    options: Data = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with node.popen(["sh", "-c", holder], **options) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        orphans, links = orphans_of(node), links_of(node)
        process.communicate("\n")
    node.call(await_absence, "left0")
    assert [(orphan["kind"], orphan["name"]) for orphan in orphans] == [("dangling_veth", "left0")]
    assert "nowhere to be found" in orphans[0]["evidence"]
    assert one(links, netns="", name="left0")["peer"] is None


def test_rules_without_a_network(node: Node) -> None:
    script(node, "nft 'add chain inet netpath_egress nat_left; add rule inet netpath_egress nat_left masquerade'")
    orphans = orphans_of(node)
    script(node, "nft 'flush chain inet netpath_egress nat_left; delete chain inet netpath_egress nat_left'")
    assert [(orphan["kind"], orphan["name"]) for orphan in orphans] == [("rules_without_network", "left")]


def test_rules_without_a_network_in_other_back_ends(node: Node) -> None:
    script(
        node, "iptables-nft -N netpath-left; iptables-nft -A netpath-left -m comment --comment netpath:left -j ACCEPT"
    )
    script(node, "iptables-nft -I FORWARD -m comment --comment netpath:left -j netpath-left")
    orphans = orphans_of(node)
    script(node, "iptables-nft -D FORWARD -m comment --comment netpath:left -j netpath-left")
    script(node, "iptables-nft -F netpath-left; iptables-nft -X netpath-left")
    left = one(orphans, kind="rules_without_network")
    assert left["name"] == "left"
    assert "in iptables-nft" in left["evidence"]


APPS: Options = {"name": "apps", "subnets": ["10.45.0.0/24"], "namespaces": ["a1"]}
LOOKS: dict[str, t.Callable[[], object]] = {
    "inventory": lambda: inventory(("namespaces", "links", "orphans")),
    "check": lambda: check([], probe=False, everything=True),
    "build": lambda: (build_at_once([APPS]), build_at_once([APPS], absent=True)),
}


@pytest.mark.parametrize("look", LOOKS)
def test_namespaces_that_come_and_go_meanwhile(node: Node, look: str) -> None:
    """Containers do so all the time."""

    def look_often() -> None:
        ended = threading.Event()

        def churn() -> None:
            while not ended.is_set():
                subprocess.run(["unshare", "-n", "true"], check=True)
                subprocess.run(["ip", "netns", "add", "left"], check=True)
                subprocess.run(["ip", "netns", "del", "left"], check=True)

        threads = [threading.Thread(target=churn)]
        for thread in threads:
            thread.start()
        try:
            for _turn in range(15):
                LOOKS[look]()
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    node.call(look_often)
    assert not node.call(os.path.exists, "/run/netns/left")
