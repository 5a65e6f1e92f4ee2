"""Beside a real systemd-networkd that is told to manage every link: ours it leaves alone."""

from __future__ import annotations

import time
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support.spec_questions import Options
from tests.support.system_engine import Host

_OBSTACLE = requirements.obstacle()
pytestmark = [
    pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("plain"),
]

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["ns1"],
}
# Would have every link that no other file is about lose what somebody else gave it.
GREEDY = "[Match]\nName=*\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\nAddress=192.168.77.7/24\n"
_RESTORE = """
rm -f /etc/systemd/network/99-greedy.network
networkctl reload
for link in first victim0 victim1 victim2; do ip link del $link 2>/dev/null || true; done
ip address del 192.168.77.7/24 dev lo 2>/dev/null || true
"""
PATIENCE = 60  # seconds
FILE = "/etc/systemd/network/00-netpath-br0.network"


@pytest.fixture(params=["stable", "newer"])
def host(plain_lab: Lab, request: pytest.FixtureRequest) -> t.Iterator[Host]:
    with Host(plain_lab, request.param) as made:
        yield made
        made.sh(_RESTORE)


def addresses(host: Host) -> str:
    return host.sh("ip -br address show br0; ip -br link show np-ns1")


def setup_state(host: Host, link: str) -> str:
    return host.sh(f"networkctl --no-legend --no-pager list {link}").split()[-1]


def await_networkd(host: Host, victim: str) -> None:
    """Wait until it has taken a new link, and so has seen all that was there before."""
    host.sh(f"ip link add {victim} up type veth peer name {victim}-b; ip link set {victim}-b up")
    give_up = time.monotonic() + PATIENCE
    while "192.168.77.7" not in host.sh(f"ip -br address show {victim}"):
        assert time.monotonic() < give_up, "networkd does not take every link, so this test would show nothing"


def test_links_stay_as_they_are(host: Host) -> None:
    host.sh(f"cat >/etc/systemd/network/99-greedy.network <<END\n{GREEDY}END")
    host.sh("networkctl reload")
    await_networkd(host, "first")
    actions = host.build(PODS).actions
    assert f"write {FILE}" in actions
    before = addresses(host)
    assert "10.22.33.1/24" in before
    for number, event in enumerate(("true", "networkctl reload", "systemctl restart systemd-networkd")):
        host.sh(event)
        await_networkd(host, f"victim{number}")
        assert addresses(host) == before, event
        assert (setup_state(host, "br0"), setup_state(host, "np-ns1")) == ("unmanaged", "unmanaged"), event
    assert host.build(PODS).actions == []
    assert f"delete {FILE}" in host.build(PODS, absent=True).actions
    assert "99-greedy.network" in host.sh("ls /etc/systemd/network")
    assert "netpath" not in host.sh("ls /etc/systemd/network")
