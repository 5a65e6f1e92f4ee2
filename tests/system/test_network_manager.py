"""Beside a real NetworkManager: our links it leaves alone, and it takes those of others as before."""

from __future__ import annotations

import os
import time
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support import recipes
from tests.support.spec_questions import Options
from tests.support.system_engine import Host

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(600)]

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["ns1"],
}
FILE = "/etc/NetworkManager/conf.d/90-netpath-br0.conf"
# The way to the node itself is not for it to touch.
_START = """
cat >/etc/NetworkManager/conf.d/10-own.conf <<END
[keyfile]
unmanaged-devices=interface-name:uplink0;interface-name:mgmt0
END
systemctl start NetworkManager
ip link add theirs type bridge
ip address add 10.99.0.1/24 dev theirs
ip link set theirs up
"""


@pytest.fixture(scope="module")
def host() -> t.Iterator[Host]:
    with Lab.create(f"manager-{os.getpid()}", {"one": recipes.MANAGER}) as lab, Host(lab, "one") as made:
        made.sh(_START)
        yield made


def state(host: Host, link: str, wanted: str) -> str:
    """What NetworkManager says of a link, once it says what is wanted or time is up."""
    give_up = time.monotonic() + 60
    while True:
        found = host.sh(f"nmcli -g GENERAL.STATE device show {link}").strip()
        if wanted in found or time.monotonic() > give_up:
            return found
        time.sleep(0.1)


def test_links_stay_unmanaged(host: Host) -> None:
    assert "external" in state(host, "theirs", "external")
    before = host.sh("ls -R /etc/NetworkManager; ip -br link")
    actions = host.build(PODS).actions
    assert f"write {FILE}" in actions
    links = host.sh("ip -br address show br0; ip -br link show np-ns1")
    for event in ("true", "nmcli general reload", "systemctl restart NetworkManager"):
        host.sh(event)
        assert "unmanaged" in state(host, "br0", "unmanaged"), event
        assert "unmanaged" in state(host, "np-ns1", "unmanaged"), event
        assert "external" in state(host, "theirs", "external"), event
        assert host.sh("ip -br address show br0; ip -br link show np-ns1") == links, event
        assert host.unreachable("ns1") == [], event
        assert host.build(PODS).actions == [], event
    assert f"delete {FILE}" in host.build(PODS, absent=True).actions
    assert host.sh("ls -R /etc/NetworkManager; ip -br link") == before
