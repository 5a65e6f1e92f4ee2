"""What systemd does for the networks of a host: it builds them at boot, and looks at them now and then."""

from __future__ import annotations

import json
import re
import time
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support.spec_questions import Options
from tests.support.system_engine import PACKAGE, PLACE, Host

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("plain"),
]

PODS: Options = {"name": "pods", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["c1", "c2"]}
APPS: Options = {"name": "apps", "subnets": ["10.44.0.0/24"], "namespaces": ["a1"]}
# In the order of their files, as rules are told apart by theirs.
BOTH = (APPS, PODS)
FILES = "/etc/netpath/networks.d"
PROGRAM = "/usr/local/sbin/netpath-egress"
PATIENCE = 60  # seconds after SSH answers
_INSTALL = f"""
import json, sys
from {PACKAGE}.program.installation import Asked, install
asked = json.load(sys.stdin)
print(json.dumps(install(Asked("{PROGRAM}", "/usr/bin/python3", asked.pop("networks"), **asked)).actions))
"""
_INHABITANT = """\
[Unit]
Requires=netpath-egress@pods.service
After=netpath-egress@pods.service
[Service]
NetworkNamespacePath=/run/netns/c1
ExecStart=/bin/sleep infinity
[Install]
WantedBy=netpath-egress@pods.service
"""
_LINK = "ip link add late0 up type veth peer name late1; ip link set late1 up"
# Once the network was tried in vain.
_LATE = f"""\
[Service]
ExecStart=/bin/sh -c 'until systemctl show -P NRestarts netpath-egress@pods | grep -q [1-9]; do sleep 1; done; {_LINK}'
[Install]
WantedBy=multi-user.target
"""
_LOOK = """
for netns in a1 c1 c2; do ip -n $netns -br address show eth0; ip -n $netns -br link show eth0; done | sed s/@if[0-9]*//
for bridge in br-apps br-pods; do ip -br address show $bridge scope global; ip -br link show $bridge; done
"""
NODE_EXPORTER = "/var/lib/prometheus/node-exporter"
_UNITS = """\
find /etc/systemd/system -name '*netpath*' | sort
systemctl list-units --all --plain --no-legend '*netpath*.service' '*netpath*.timer'
"""


@pytest.fixture(params=["stable", "newer"])
def host(plain_lab: Lab, request: pytest.FixtureRequest) -> t.Iterator[Host]:
    with Host(plain_lab, request.param) as found:
        yield found
        install(found, absent=True)
        found.build(*BOTH, absent=True)
        assert found.sh(_UNITS).split() == []


def install(host: Host, *networks: Options, **options: t.Any) -> list[str]:
    asked = {"networks": networks or BOTH, "persist": True, **options}
    told = host.run(["env", f"PYTHONPATH={PLACE}", "python3", "-c", _INSTALL], json.dumps(asked).encode())
    actions: list[str] = json.loads(told)
    return actions


def unreachable_after_a_while(host: Host) -> list[str]:
    give_up = time.monotonic() + PATIENCE
    while True:
        found = host.unreachable("a1", families="4") + host.unreachable("c1", "c2")
        if not found or time.monotonic() > give_up:
            return found


def test_reboot_brings_the_networks_back(host: Host) -> None:
    host.build(*BOTH)
    assert f"write {FILES}/pods.json" in install(host)
    assert install(host) == []
    host.sh(f"cat >/etc/systemd/system/inhabitant.service <<END\n{_INHABITANT}END\nsystemctl enable inhabitant")
    before = host.sh(_LOOK)
    host.reboot()
    assert unreachable_after_a_while(host) == []
    assert host.sh(_LOOK) == before
    assert host.sh("systemctl is-active netpath-egress@apps netpath-egress@pods inhabitant").split() == ["active"] * 3
    assert host.sh("readlink /proc/$(systemctl show -P MainPID inhabitant)/ns/net | tr -dc 0-9") == host.sh(
        "stat -Lc %i /run/netns/c1 | tr -dc 0-9"
    )
    assert host.sh(f"{PROGRAM} apply --check") == ""
    assert host.build(*BOTH).actions == install(host) == []
    host.sh("systemctl disable --now inhabitant; rm /etc/systemd/system/inhabitant.service")


# Debian's own, which flushes the ruleset when it starts, reloads and stops.
_RULES = "nft list chain inet netpath_egress_guard left_pods && nft list chain inet netpath_egress nat_pods"


@pytest.mark.parametrize("event", ["restart", "reload", "stop start"])
def test_rules_come_back_with_the_service_that_flushed_them(host: Host, event: str) -> None:
    host.sh("systemctl start nftables")
    host.build(*BOTH)
    install(host)
    host.sh(f"cat >/etc/systemd/system/inhabitant.service <<END\n{_INHABITANT}END\nsystemctl start inhabitant")
    host.sh("timeout 60 sh -c 'until systemctl is-active -q netpath-egress-restore; do sleep 0.1; done'")
    inhabitant = host.sh("systemctl show -P MainPID inhabitant")
    for word in event.split():
        host.sh(f"systemctl {word} nftables")
    host.sh(f"timeout 30 sh -c 'until {_RULES}; do sleep 0.1; done' >/dev/null 2>&1")
    assert unreachable_after_a_while(host) == []
    assert (
        host.sh("systemctl is-active netpath-egress@apps netpath-egress@pods netpath-egress-restore").split()
        == ["active"] * 3
    )
    # A service that needs the network is not restarted along.
    assert host.sh("systemctl show -P MainPID inhabitant") == inhabitant
    assert host.sh(f"{PROGRAM} apply --check") == ""
    host.sh("systemctl stop inhabitant nftables; rm /etc/systemd/system/inhabitant.service; systemctl daemon-reload")


def test_network_that_comes_late_brings_its_service(host: Host) -> None:
    """systemd gives a service up for good whose network is not there at the first try."""
    host.sh(_LINK)
    late = {**PODS, "uplink": "late0"}
    host.build(late)
    install(host, late)
    for name, text in (("inhabitant", _INHABITANT), ("late", _LATE)):
        host.sh(f"cat >/etc/systemd/system/{name}.service <<'END'\n{text}END\nsystemctl enable {name}")
    host.reboot()
    host.sh("timeout 60 sh -c 'until systemctl is-active -q inhabitant; do sleep 0.2; done'")
    assert "Dependency failed" in host.sh("journalctl -b -u inhabitant")
    assert host.sh("ip link show late0")
    host.sh("systemctl disable --now inhabitant late; rm /etc/systemd/system/inhabitant.service")
    host.sh("rm /etc/systemd/system/late.service; ip link del late0")
    install(host, late, absent=True)
    host.build(late, absent=True)


def test_what_systemd_refuses_is_put_back(host: Host) -> None:
    """Or the next run would find its files, and nobody would ever tell systemd."""
    host.build(*BOTH)
    host.sh("mount --bind /bin/false /bin/systemctl")
    try:
        with pytest.raises(AssertionError, match="run systemctl"):
            install(host)
    finally:
        host.sh("umount /bin/systemctl")
    assert host.sh("find /etc/systemd/system -name '*netpath*'") == ""
    assert f"write {FILES}/pods.json" in install(host)
    assert host.sh("systemctl is-enabled netpath-egress@pods").strip() == "enabled"


def test_damaged_file_keeps_no_other_network_down(host: Host) -> None:
    host.build(*BOTH)
    install(host)
    host.sh(f"truncate -s 100 {FILES}/pods.json")
    host.reboot()
    give_up = time.monotonic() + PATIENCE
    while (told := host.unreachable("a1", families="4")) and time.monotonic() < give_up:
        pass
    assert told == []
    assert host.sh("systemctl is-failed netpath-egress@pods", check=False).strip() in ("failed", "activating")
    # Which is once it was tried often enough.
    host.sh("for try in $(seq 30); do systemctl restart netpath-egress@pods || true; done 2>/dev/null")
    assert host.sh("systemctl is-failed netpath-egress@pods", check=False).strip() == "failed"
    assert f"{FILES}/pods.json: is damaged" in host.sh("journalctl -u netpath-egress@pods")
    assert host.sh(f"ls {FILES}").split() == ["apps.json", "pods.json.damaged"]
    # The next run of the role writes it anew.
    host.build(*BOTH)
    assert f"write {FILES}/pods.json" in install(host)
    host.sh("timeout 60 sh -c 'until systemctl is-active -q netpath-egress@pods; do sleep 0.1; done'")
    assert unreachable_after_a_while(host) == []
    host.sh(f"rm -f {FILES}/pods.json.damaged")


@pytest.mark.parametrize("mode", ["report", "repair"])
def test_timer_looks(host: Host, mode: str) -> None:
    host.build(*BOTH)
    host.sh(f"mkdir -p {NODE_EXPORTER}; rm -f {NODE_EXPORTER}/netpath.prom")
    install(host, watch=mode, interval=10)
    # Which would put right what the test breaks.
    host.sh("systemctl start netpath-egress@apps netpath-egress@pods")
    host.sh("ip link set np-c1 nomaster")
    give_up = time.monotonic() + 60
    says = "pods: change veth np-c1" if mode == "repair" else "pods differs: would change veth np-c1"
    while says not in host.sh("journalctl --no-pager -u netpath-egress-watch"):
        assert time.monotonic() < give_up, host.sh("systemctl status netpath-egress-watch.timer", check=False)
        time.sleep(0.5)
    host.sh("systemctl stop netpath-egress-watch.timer; systemctl start netpath-egress-watch")
    broken = [f"c1 IPv{family}" for family in "46"] if mode == "report" else []
    assert [line.partition(":")[0] for line in host.unreachable("c1", "c2")] == broken
    metrics = host.sh(f"cat {NODE_EXPORTER}/netpath.prom")
    assert f'netpath_drift_steps{{network="pods"}} {len(broken[:1])}\n' in metrics
    # Switched off, nothing of it is left.
    gone = install(host)
    assert [action.split()[0] for action in gone] == ["delete"] * 5
    assert {action.split()[1] for action in gone} > {"/var/lib/netpath/watch.json", f"{NODE_EXPORTER}/netpath.prom"}
    assert "watch" not in host.sh(_UNITS)
    assert host.sh("systemctl is-active netpath-egress-watch.timer", check=False).strip() == "inactive"


def test_units_have_the_rights_that_they_need_and_no_more(host: Host) -> None:
    """All of the networks goes, and comes back by the units."""
    host.build(*BOTH)
    install(host, watch="repair", interval=600)
    host.sh("systemctl start netpath-egress@apps netpath-egress@pods")
    for unit in ("netpath-egress@pods.service", "netpath-egress-watch.service"):
        told = host.sh(f"systemd-analyze security --no-pager {unit}").strip().splitlines()[-1]
        (exposure,) = re.findall(r"[0-9]+\.[0-9]", told)
        assert float(exposure) < 6, told  # 9.6 without
        assert "cap_sys_module" not in host.sh(f"systemctl show -P CapabilityBoundingSet {unit}")
    for start in ("systemctl restart netpath-egress@apps netpath-egress@pods", "systemctl start netpath-egress-watch"):
        host.sh("ip netns del c1; ip link del br-pods; nft delete table inet netpath_egress; rm -rf /run/netpath")
        host.sh("sysctl -qw net.ipv4.ip_forward=0")
        host.sh(start)
        assert unreachable_after_a_while(host) == [], host.sh("journalctl --no-pager -n 40 -u 'netpath-egress*'")
        assert host.sh("stat -c %a /run/netns /etc/netpath/networks.d").split() == ["755", "755"]
