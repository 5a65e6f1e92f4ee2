"""Beside a real systemd-networkd that is told to manage every link: ours it leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import time
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(600)]

NETWORKS = [{"name": "pods", "bridge": "br0", "subnets": ["10.22.33.0/24", "fd00:22:33::/64"], "namespaces": ["ns1"]}]
# Would have every link that no other file is about lose what somebody else gave it.
GREEDY = "[Match]\nName=*\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\nAddress=192.168.77.7/24\n"
FILE = "/etc/systemd/network/00-netpath-br0.network"


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def lab(request: pytest.FixtureRequest) -> t.Iterator[Lab]:
    with Lab.create(f"networkd-{os.getpid()}", {"one": request.param}) as made:
        yield made


def root(lab: Lab, script: str) -> str:
    """The output of a shell script that root runs in the node."""
    return lab.ssh("one", ["sudo", "sh", "-ec", script]).stdout


def egress(lab: Lab, state: str) -> list[str]:
    """Run the module egress_path on the node, and return what it did."""
    arguments = json.dumps({"networks": NETWORKS, "state": state})
    module = ["-m", "netpath.egress.egress_path", "-a", arguments]
    command = ["ansible", "one", "-i", str(lab.places.inventory), "-b", "--one-line", *module]
    done = subprocess.run(command, cwd="/", capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    actions: list[str] = json.loads(done.stdout.partition("=> ")[2])["actions"]
    return actions


def addresses(lab: Lab) -> str:
    return root(lab, "ip -br address show br0; ip -br link show np-ns1")


def setup_state(lab: Lab, link: str) -> str:
    return root(lab, f"networkctl --no-legend --no-pager list {link}").split()[-1]


def await_networkd(lab: Lab, victim: str) -> None:
    """Wait until it has taken a new link, and so has seen all that was there before."""
    root(lab, f"ip link add {victim} up type veth peer name {victim}-b; ip link set {victim}-b up")
    give_up = time.monotonic() + 10
    while "192.168.77.7" not in root(lab, f"ip -br address show {victim}"):
        assert time.monotonic() < give_up, "networkd does not take every link, so this test would show nothing"


def test_links_stay_as_they_are(lab: Lab) -> None:
    root(lab, f"cat >/etc/systemd/network/99-greedy.network <<END\n{GREEDY}END")
    root(lab, "networkctl reload")
    await_networkd(lab, "first")
    actions = egress(lab, "present")
    assert f"write {FILE}" in actions
    before = addresses(lab)
    assert "10.22.33.1/24" in before
    for number, event in enumerate(("true", "networkctl reload", "systemctl restart systemd-networkd")):
        root(lab, event)
        await_networkd(lab, f"victim{number}")
        assert addresses(lab) == before, event
        assert (setup_state(lab, "br0"), setup_state(lab, "np-ns1")) == ("unmanaged", "unmanaged"), event
    assert egress(lab, "present") == []
    assert f"delete {FILE}" in egress(lab, "absent")
    assert "99-greedy.network" in root(lab, "ls /etc/systemd/network")
    assert "netpath" not in root(lab, "ls /etc/systemd/network")
