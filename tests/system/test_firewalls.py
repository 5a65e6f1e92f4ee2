"""Networks beside the real firewalld, ufw and Docker, in what the scenarios in molecule/ do not show."""

from __future__ import annotations

import difflib
import time
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support import system_foreign
from tests.support.spec_questions import Options
from tests.support.system_engine import Host, RefusalError

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("firewalls"),
]

# The node of each release, stable or newer.
NODES = {"stable": "ufw", "newer": "firewalld"}
PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1"],
}
LAB: Options = {"name": "a-network-of-a-long-name", "subnets": ["10.44.0.0/24"], "namespaces": ["c2"]}
_NOTHING_FILTERS = "systemctl stop firewalld; ufw --force reset; rm -f /etc/ufw/*.rules.2*; nft flush ruleset"
_STATE = """
find /etc/firewalld /etc/ufw /etc/default/ufw /etc/sysctl.d -type f -exec sha256sum {} + | sort -k2
find /etc/firewalld /etc/ufw -printf '%M %u %g %p\\n' | sort -k4
# firewalld makes its tables anew, and so behind others, when it reloads.
nft list tables | sort | while read -r _ table; do nft --stateless list table $table; done
for program in iptables ip6tables; do
    $program-nft-save || true
    for table in $(cat /proc/net/$(echo $program | sed s/tables/_tables_names/)); do
        $program-legacy-save -t $table
    done
done | sed '/^#/d; s/ \\[[0-9]*:[0-9]*\\]$//'
ip -br link | cut -d' ' -f1 | grep -v ^veth
if systemctl is-active -q firewalld; then
    firewall-cmd --list-all-zones
    firewall-cmd --permanent --list-all-zones
    firewall-cmd --list-all-policies
    firewall-cmd --permanent --list-all-policies
    firewall-cmd --direct --get-all-rules
    firewall-cmd --permanent --get-ipsets
fi
"""


@pytest.fixture(params=NODES, scope="module")
def host(firewall_lab: Lab, request: pytest.FixtureRequest) -> t.Iterator[Host]:
    """A node on which nothing filters, whatever another file had there."""
    with Host(firewall_lab, NODES[request.param]) as made:
        made.build(PODS, absent=True)
        made.sh(_NOTHING_FILTERS)
        yield made


def state(host: Host) -> list[str]:
    """What is somebody else's in the node, in lines without counters."""
    return host.sh(_STATE).splitlines()


def difference(before: list[str], after: list[str]) -> str:
    return "\n".join(difflib.unified_diff(before, after, lineterm="", n=0))


_FOREIGN = """
systemctl start firewalld
firewall-cmd --permanent --zone=work --add-source=198.51.100.77
firewall-cmd --permanent --new-policy=mine
firewall-cmd --permanent --policy=mine --add-ingress-zone=work
firewall-cmd --permanent --policy=mine --add-egress-zone=HOST
firewall-cmd --permanent --policy=mine --add-service=http
firewall-cmd --reload
"""


@pytest.fixture
def firewalld(host: Host) -> t.Iterator[None]:
    host.sh(_FOREIGN)
    yield
    host.sh("firewall-cmd --reload", check=False)
    host.build(PODS, LAB, absent=True)
    host.sh("systemctl stop firewalld; rm -rf /etc/firewalld/zones/* /etc/firewalld/policies/*")


@pytest.mark.usefixtures("firewalld")
def test_firewalld_and_what_is_in_its_runtime_alone(host: Host) -> None:
    host.sh("firewall-cmd --zone=public --add-service=http")
    before = state(host)
    for check in (True, False):
        # Before anything is changed: nothing had to be rolled back.
        with pytest.raises(RefusalError, match=r"reload.*zone public \(services\)") as caught:
            host.build(PODS, check=check)
        assert "restored" not in str(caught.value)
    assert difference(before, state(host)) == ""
    host.sh("firewall-cmd --runtime-to-permanent")
    host.build(PODS)
    host.sh("firewall-cmd --zone=public --add-service=https")
    # A change of what is there already, and its removal, need no reload.
    wider = {**PODS, "subnets": [*PODS["subnets"], "10.22.35.0/24"]}
    assert "replace accept in FORWARD for pods in firewalld" in host.build(wider).actions
    host.build(PODS, absent=True)
    assert "https" in host.sh("firewall-cmd --zone=public --list-services")
    assert "np-pods" not in host.sh("ls -R /etc/firewalld; firewall-cmd --permanent --get-policies")


@pytest.mark.usefixtures("firewalld")
def test_firewalld_puts_right_what_was_edited(host: Host) -> None:
    host.build(PODS)
    assert "create accept in FORWARD for a-network-of-a-long-name in firewalld" in host.build(PODS, LAB).actions
    host.build(LAB, absent=True)
    assert host.unreachable("c1") == []
    for edit in (
        "firewall-cmd --policy=np-pods-fwd --remove-rich-rule='rule family=ipv4 source address=10.22.33.0/24 accept'",
        "firewall-cmd --permanent --policy=np-pods-fwd --add-service=ssh; firewall-cmd --reload",
        "firewall-cmd --policy=np-pods-fwd --add-service=ssh",
        "firewall-cmd --zone=np-pods-zone --remove-interface=br0",
        "firewall-cmd --permanent --zone=np-pods-zone --add-service=http; firewall-cmd --reload",
    ):
        host.sh(edit)
        assert host.build(PODS).actions == ["replace accept in FORWARD for pods in firewalld"], edit
        assert host.unreachable("c1") == []
        assert host.build(PODS).actions == []
    host.sh("firewall-cmd --permanent --delete-policy=np-pods-fwd")
    assert host.build(PODS).actions == ["replace accept in FORWARD for pods in firewalld"]


@pytest.mark.usefixtures("firewalld")
def test_network_moves_when_firewalld_stops(host: Host) -> None:
    host.build(PODS)
    host.sh("systemctl stop firewalld")
    assert host.build(PODS).actions == ["delete accept in FORWARD for pods in firewalld"]
    assert host.unreachable("c1") == []
    assert "np-" not in host.sh("ls -R /etc/firewalld")
    host.sh("systemctl start firewalld")
    assert host.build(PODS).actions == ["create accept in FORWARD for pods in firewalld"]


@pytest.mark.usefixtures("firewalld")
def test_firewalld_translates(host: Host) -> None:
    before = state(host)
    host.build(PODS)
    actions = host.build({**PODS, "firewall": "firewalld"}).actions
    assert actions == [
        "create source NAT pods in firewalld for 10.22.33.0/24, fd00:22:33::/64",
        "delete source NAT pods",
    ]
    assert "table inet netpath_egress" not in host.sh("nft list tables").splitlines()
    for event in ("true", "firewall-cmd --reload", "firewall-cmd --complete-reload"):
        host.sh(event)
        assert host.unreachable("c1") == [], event
        assert host.build({**PODS, "firewall": "firewalld"}).actions == [], event
    assert "delete source NAT pods in firewalld" in host.build(PODS).actions
    assert host.unreachable("c1") == []
    host.build(PODS, absent=True)
    assert difference(before, state(host)) == ""


@pytest.fixture
def ufw(host: Host) -> t.Iterator[None]:
    host.sh("ufw allow 22/tcp; ufw route allow in on lo out on uplink0 comment theirs; ufw --force enable")
    yield
    host.build(PODS, LAB, absent=True)
    host.sh(
        "sed -i s/IPV6=no/IPV6=yes/ /etc/default/ufw; ufw --force reset; rm -f /etc/ufw/*.rules.2*; nft flush ruleset"
    )


@pytest.mark.usefixtures("ufw")
def test_ufw_puts_right_what_was_edited(host: Host) -> None:
    host.build(PODS, LAB)
    host.build(LAB, absent=True)
    assert host.unreachable("c1") == []
    for edit in (
        "iptables -F ufw-user-forward",
        "ufw route delete allow in on br0 out on uplink0 from 10.22.33.0/24",
        "ufw route allow in on br0 out on lo from 10.22.33.0/24 comment netpath:pods",
    ):
        host.sh(edit)
        assert host.build(PODS).actions == ["replace accept in FORWARD for pods in ufw"], edit
        assert host.unreachable("c1") == []
        assert host.build(PODS).actions == []
    # Then ufw does not filter any more, but its policy does.
    host.sh("iptables -F FORWARD; ip6tables -F FORWARD")
    moved = {
        f"{verb} accept in FORWARD for pods in {kind}" for verb, kind in (("create", "iptables-nft"), ("delete", "ufw"))
    }
    assert set(host.build(PODS).actions) == moved
    assert host.unreachable("c1") == []


@pytest.mark.usefixtures("ufw")
@pytest.mark.parametrize("action", ["allow", "deny", "limit"])
def test_ufw_rule_of_somebody_elses_stays(host: Host, action: str) -> None:
    """To ufw it is the same rule, whatever it does."""
    host.sh(f"ufw route {action} in on br0 out on uplink0 from 10.22.33.0/24 comment theirs")
    before = state(host)
    for check in (True, False):
        with pytest.raises(RefusalError, match="somebody else's") as caught:
            host.build(PODS, check=check)
        assert "restored" not in str(caught.value)
    assert difference(before, state(host)) == ""


@pytest.mark.usefixtures("ufw")
def test_ufw_rule_to_one_destination_is_another(host: Host) -> None:
    host.sh("ufw route deny in on br0 out on uplink0 from 10.22.33.0/24 to 10.5.0.0/16 comment theirs")
    before = state(host)
    host.build(PODS)
    assert host.unreachable("c1") == []
    host.build(PODS, absent=True)
    assert difference(before, state(host)) == ""


@pytest.mark.usefixtures("ufw")
def test_ufw_with_ipv6_switched_off(host: Host) -> None:
    host.sh("sed -i s/IPV6=yes/IPV6=no/ /etc/default/ufw; ufw reload")
    told = host.build(PODS).backends["forward"]
    assert "IPV6 in /etc/default/ufw" in told[""]
    assert host.unreachable("c1", families="4") == []
    assert host.unreachable("c1", families="6") != []


def test_docker_that_comes_later(host: Host) -> None:
    host.sh("sysctl -qw net.ipv4.ip_forward=0")
    host.build(PODS)
    host.sh("systemctl start docker")
    actions = host.build(PODS).actions
    assert actions == ["create accept in FORWARD for pods in iptables-nft"]
    assert host.unreachable("c1") == []
    host.build(PODS, absent=True)
    host.sh("systemctl stop docker docker.socket containerd; ip link delete docker0; nft flush ruleset")


_CONTAINER = """
sysctl -qw net.ipv4.ip_forward=0
systemctl start docker
tar -C / -ch bin/sleep lib64/ld-linux-x86-64.so.2 lib/x86_64-linux-gnu/libc.so.6 | docker import - theirs
docker run -d --restart always --stop-timeout 0 -p 8080:80 --name theirs theirs /bin/sleep 6000
# Docker itself makes some chains anew when it starts.
systemctl restart docker
"""


@pytest.fixture
def docker(host: Host) -> t.Iterator[None]:
    host.sh(_CONTAINER)
    yield
    host.build(PODS, absent=True)
    host.sh(
        "docker rm -f theirs; systemctl stop docker docker.socket containerd; ip link delete docker0;"
        " iptables -P FORWARD ACCEPT; nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0"
    )


@pytest.mark.usefixtures("firewalld", "docker")
def test_docker_beside_firewalld(host: Host) -> None:
    """Before firewalld 2 a reload would take rules of Docker's, so it is for the first run that Docker is stopped."""
    if host.node == NODES["stable"]:
        with pytest.raises(RefusalError, match=r"flushes all rules.*stop what has made them") as caught:
            host.build(PODS)
        assert "restored" not in str(caught.value)
        host.sh("systemctl stop docker docker.socket; firewall-cmd --reload")
        host.build(PODS)
        host.sh("systemctl start docker")
    before = rules_of_docker(host)
    host.build(PODS)
    assert host.unreachable("c1") == []
    assert host.build(PODS).actions == []
    host.build({**PODS, "subnets": [*PODS["subnets"], "10.22.35.0/24"]})
    assert host.unreachable("c1") == []
    assert "theirs" in host.sh("docker ps")
    assert after_docker(host, before) == before
    host.build(PODS, absent=True)
    assert after_docker(host, before) == before


def after_docker(host: Host, expected: list[str]) -> list[str]:
    """Docker writes its rules anew some time after a reload."""
    give_up = time.monotonic() + 60
    while (found := rules_of_docker(host)) != expected and time.monotonic() < give_up:
        time.sleep(0.2)
    return found


def rules_of_docker(host: Host) -> list[str]:
    """Without their order, as at a reload of firewalld Docker moves its own jump to the top, and without ours."""
    saved = host.sh("iptables-save; ip6tables-save || true").splitlines()
    return sorted(line for line in saved if ("DOCKER" in line or "docker0" in line) and "netpath" not in line)


@pytest.fixture
def as_it_was(host: Host) -> t.Iterator[None]:
    """Whatever the test changes of firewalls is undone."""
    host.sh("tar -C /etc -cf /root/walls.tar firewalld ufw default/ufw")
    yield
    host.build(PODS, absent=True)
    host.sh(
        "ufw --force disable; systemctl stop firewalld; rm -rf /etc/firewalld /etc/ufw;"
        " tar -C /etc -xf /root/walls.tar; nft flush ruleset"
    )


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize(
    ("choose", "seed"), [(system_foreign.in_firewalld, 3), (system_foreign.in_ufw, 0)], ids=["firewalld", "ufw"]
)
def test_whatever_others_have_in_a_firewall_stays(
    host: Host, choose: t.Callable[[str], system_foreign.Example], seed: int
) -> None:
    (release,) = (name for name, node in NODES.items() if node == host.node)
    example = choose(f"{release} {seed}")
    host.sh("\n".join(example.theirs))
    before = state(host)
    host.build(example.network)
    assert host.unreachable("c1") == []
    assert not example.network["publish"] or host.is_reached(8080, "c1", 80)
    assert host.build(example.network).actions == []
    host.build(example.network, absent=True)
    assert difference(before, state(host)) == ""
