"""The timer of the how-to about a nightly sweep, command by command, in the systemd of a user on a booted node."""

from __future__ import annotations

import os
import typing as t

import pytest

from tests.lab.booted import plan, requirements
from tests.lab.booted.lab import Lab
from tests.support import howto_parser
from tests.support.system_engine import Host

_OBSTACLE = requirements.obstacle()
pytestmark = [pytest.mark.skipif(_OBSTACLE is not None, reason=str(_OBSTACLE)), pytest.mark.timeout(300)]

PAGE = howto_parser.read("nightly-sweep")
UNITS = ("sweep.service", "sweep.timer")
FOLDER = ".config/systemd/user"
# What pam_systemd would set, which the node has not.
DROP_IN = "/etc/systemd/system/user@.service.d"
# In place of Ansible, which the node has not: notes how it is started, and fails as a diagnosis does.
ANSIBLE = '#!/bin/sh\necho "$PWD: $*" >>/srv/fleet/ran\nexit 2\n'


@pytest.fixture(scope="module")
def lab() -> t.Iterator[Lab]:
    with Lab.create(f"timer-{os.getpid()}", {"one": "trixie"}) as made:
        yield made


def user(lab: Lab, command: str, check: bool = True) -> str:
    """What a command of the user who logs in by SSH says. A session by PAM would set the variable."""
    done = lab.ssh(
        "one", ["sh", "-c", f"XDG_RUNTIME_DIR=/run/user/$(id -u); export XDG_RUNTIME_DIR; {command}"], check=check
    )
    return done.stdout.strip()


def test_sweep_is_started_by_its_timer(lab: Lab) -> None:
    host, commands = Host(lab, "one"), [command for _section, command in PAGE.commands]
    enable, linger, disable = (command for command in commands if "ctl " in command)
    host.sh(f"install -d -o {plan.USER} /srv/fleet; cat >/usr/bin/ansible-playbook <<'END'\n{ANSIBLE}END\n")
    host.sh("chmod 755 /usr/bin/ansible-playbook")
    user(lab, f"mkdir -p {FOLDER}")
    for name in UNITS:
        user(lab, f"cat >{FOLDER}/{name} <<'END'\n{PAGE.files[name]}END\n")
    host.sh(f"mkdir -p {DROP_IN}; printf '[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%%i\n' >{DROP_IN}/lab.conf")
    host.sh("systemctl daemon-reload")
    # Root does it for the user: the node has no polkit, which would let the user.
    user(lab, f"sudo {linger} {plan.USER}")
    host.sh(f"systemctl start user@$(id -u {plan.USER})")

    told = user(lab, f"cd {FOLDER}; systemd-analyze --user verify --man=no {' '.join(UNITS)} 2>&1")
    assert told == ""

    user(lab, enable)
    assert user(lab, "systemctl --user is-enabled sweep.timer; systemctl --user is-active sweep.timer").split() == [
        "enabled",
        "active",
    ]
    timer = user(lab, "systemctl --user show -P NextElapseUSecRealtime sweep.timer")
    assert timer.split()[2].startswith("02:0"), timer
    assert user(lab, "systemctl --user show -P Unit sweep.timer") == "sweep.service"

    # What the timer starts, as it is started; that it failed is seen as the page says.
    user(lab, "systemctl --user start sweep.service", check=False)
    assert host.sh("cat /srv/fleet/ran") == "/srv/fleet: -i inventory.yml netpath.egress.diagnose\n"
    assert "sweep.service" in user(lab, "systemctl --user --failed --plain --no-legend")

    user(lab, disable)
    assert user(
        lab, "systemctl --user is-enabled sweep.timer; systemctl --user is-active sweep.timer", check=False
    ).split() == [
        "disabled",
        "inactive",
    ]
