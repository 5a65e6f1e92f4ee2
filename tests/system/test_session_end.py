"""logind ends all that a session leaves behind (KillUserProcesses): what waits for a confirmation lives on."""

from __future__ import annotations

import os
import time
import typing as t

import pytest

from tests.lab.booted import requirements
from tests.lab.booted.lab import Lab
from tests.support import recipes
from tests.support.system_engine import PACKAGE, PLACE, Host

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(600)]

_KILLING = """
mkdir -p /etc/systemd/logind.conf.d
printf '[Login]\\nKillUserProcesses=yes\\n' >/etc/systemd/logind.conf.d/50-kill.conf
systemctl restart systemd-logind
"""
_FILTERS = "cat /proc/sys/net/ipv4/conf/uplink0/rp_filter"
# In one session: a process that is left behind, and a change that nobody confirms.
_SESSION = f"""
import subprocess, sys
sys.path.insert(0, {PLACE!r})
from {PACKAGE}.run import run
from {PACKAGE}.spec import sysctl_forward
from {PACKAGE}.spec.schema import checked

asked = checked({{"rp_filter": 1, "interfaces": ["uplink0"]}}, sysctl_forward.OPTIONS, "")
null = subprocess.DEVNULL
subprocess.Popen(["sleep", "4242"], start_new_session=True, stdin=null, stdout=null, stderr=null)
print(run(lambda host: sysctl_forward.wanted(asked, host, ""), confirm_within=float(sys.argv[1])).unconfirmed)
"""


@pytest.fixture(scope="module")
def host() -> t.Iterator[Host]:
    with Lab.create(f"session-{os.getpid()}", {"one": recipes.MANAGER}) as lab, Host(lab, "one") as made:
        made.sh(_KILLING)
        yield made


def awaited(host: Host, command: str, wanted: str) -> str:
    """What a command prints, once that is what is wanted or time is up."""
    give_up = time.monotonic() + 60
    while (found := host.sh(command).strip()) != wanted and time.monotonic() < give_up:
        time.sleep(0.1)
    return found


def test_change_is_put_back_after_the_session_has_ended(host: Host) -> None:
    within = 30
    told = host.lab.ssh(host.node, ["sudo", "python3", "-c", _SESSION, str(within)]).stdout
    assert "rp_filter" in told, told
    # All of the session is ended but for the process that waits.
    assert awaited(host, "pgrep -cx sleep || true", "0") == "0"
    assert host.sh(_FILTERS).strip() == "1"
    units = host.sh("systemctl list-units --plain --no-legend --state=running 'netpath-egress-*.scope'")
    assert len(units.splitlines()) == 1, units
    assert awaited(host, _FILTERS, "0") == "0"
    assert f"not confirmed within {within} s, and put back" in host.sh("cat /var/log/netpath/audit.jsonl")
    assert awaited(host, "systemctl list-units --all --plain --no-legend 'netpath-egress-*.scope'", "") == ""
