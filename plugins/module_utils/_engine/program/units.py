# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units of systemd that build each network at boot, and look at all of them now and then.

See systemd.unit(5), systemd.service(5) and systemd.timer(5).
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ..errors import KernelError
from ..kernel import programs
from . import networks

DIRECTORY = "/etc/systemd/system"
TEMPLATE = f"{DIRECTORY}/netpath-egress@.service"
WANTS = f"{DIRECTORY}/multi-user.target.wants"
NAME_OF_RESTORE = "netpath-egress-restore.service"
RESTORE = f"{DIRECTORY}/{NAME_OF_RESTORE}"
# Services that load a whole ruleset, and so delete what others have written, when they start, restart or reload.
RULE_LOADERS = ("nftables.service", "netfilter-persistent.service")
RESTORE_LINKS = tuple(
    f"{DIRECTORY}/{puller}.wants/{NAME_OF_RESTORE}" for puller in ("multi-user.target", *RULE_LOADERS)
)
SERVICE = f"{DIRECTORY}/netpath-egress-watch.service"
NAME_OF_TIMER = "netpath-egress-watch.timer"
TIMER = f"{DIRECTORY}/{NAME_OF_TIMER}"
TIMER_LINK = f"{DIRECTORY}/timers.target.wants/{NAME_OF_TIMER}"
MARK = "# netpath.egress"
# Its own sign that it is the one that was booted, see sd_booted(3).
_BOOTED = "/run/systemd/system"
_PATIENCE = 60  # seconds
_SETTLES, _PAUSE = 20.0, 0.1  # seconds that units have for their first attempt, and between two looks
# What the program needs, and no more: systemd.exec(5). ProtectSystem= and the like would make a mount namespace, and
# what is mounted below /run/netns in it would be seen by no other process.
_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN CAP_SYS_PTRACE
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
RestrictNamespaces=net
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount setns unshare
UMask=0077
KeyringMode=private"""
_TEMPLATE = """\
{mark}: written for the networks below {directory}. Changes are overwritten.
# A service that lives in a namespace of a network: Requires=, After= and WantedBy=netpath-egress@NETWORK.service, and
# NetworkNamespacePath=/run/netns/NAMESPACE.
[Unit]
Description=Path from the network namespaces of %i to the internet
# One that was damaged and moved aside is a failure.
ConditionPathExistsGlob={directory}/%i.json*
Wants=network-online.target
# Two minutes of tries; then it is to be seen as failed.
StartLimitIntervalSec=600
StartLimitBurst=24
# What filters and translates as well is told about the network, so it comes first.
After=network-online.target systemd-sysctl.service nftables.service netfilter-persistent.service
After=firewalld.service ufw.service docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} apply --at-boot -- %i
# 1 says that something that may cut the way to this host was left as it is.
SuccessExitStatus=1
TimeoutStartSec=120
Restart=on-failure
RestartSec=5
{hardening}

[Install]
WantedBy=multi-user.target
"""
_RESTORE = """\
{mark}: written for the networks below {directory}. Changes are overwritten.
# Services that need a network require its own unit, which stays as it is while a firewall starts anew.
[Unit]
Description=Rules of network namespaces, again after another service has loaded a whole ruleset
ConditionPathExistsGlob={directory}/*.json*
# At boot the units of the networks come first.
After=multi-user.target {loaders}
PartOf={loaders}
ReloadPropagatedFrom={loaders}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} apply
ExecReload={program} apply
# Of a network that cannot be built its own unit says so. One that fails here would not be restarted or reloaded.
SuccessExitStatus=1 4
TimeoutStartSec=120

[Install]
WantedBy=multi-user.target {loaders}
"""
_SERVICE = """\
{mark}. Changes are overwritten.
[Unit]
Description=Look at the paths from network namespaces to the internet
ConditionPathExistsGlob={directory}/*.json*
After=network-online.target multi-user.target

[Service]
Type=oneshot
ExecStart={program} watch{options}
# 1 says that something differs or is broken, and the journal has what.
SuccessExitStatus=1
TimeoutStartSec=300
Nice=5
{hardening}
"""
_TIMER = """\
{mark}. Changes are overwritten.
[Unit]
Description=Look at the paths from network namespaces to the internet now and then

[Timer]
OnActiveSec={interval}s
OnUnitInactiveSec={interval}s
RandomizedDelaySec={delay}s
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def runs_here() -> bool:
    return os.path.isdir(_BOOTED)


def template(program: str) -> str:
    """The unit that all networks share."""
    return _TEMPLATE.format(mark=MARK, directory=networks.DIRECTORY, program=program, hardening=_HARDENING)


def restore(program: str) -> str:
    """What builds all networks again when another service has loaded a whole ruleset."""
    loaders = " ".join(RULE_LOADERS)
    return _RESTORE.format(mark=MARK, directory=networks.DIRECTORY, program=program, loaders=loaders)


def service(program: str, repair: bool) -> str:
    """What the timer starts."""
    options = " --repair" if repair else ""
    return _SERVICE.format(
        mark=MARK, directory=networks.DIRECTORY, program=program, options=options, hardening=_HARDENING
    )


def timer(interval: int) -> str:
    """interval: seconds. Hosts of a fleet do not look all at once."""
    return _TIMER.format(mark=MARK, interval=interval, delay=interval // 10)


def unit(network: str) -> str:
    return f"netpath-egress@{network}.service"


def link(network: str) -> str:
    """What has the unit of a network started at boot, as systemctl enable writes it."""
    return f"{WANTS}/{unit(network)}"


def follow(gone: t.Sequence[str], there: t.Sequence[str]) -> None:
    """Have systemd know that units are gone, and that others are there and to be started. Errors: KernelError."""
    if NAME_OF_TIMER in gone:
        gone = [*gone, os.path.basename(SERVICE)]
    if gone:
        _systemctl("stop", "--no-block", *gone)
    _systemctl("daemon-reload")
    for name in (*gone, *there):
        # One that failed would be listed for ever, or not be started; of one that did not, or is forgotten, this fails.
        with contextlib.suppress(KernelError):
            _systemctl("reset-failed", name)
    if there:
        # Services that require one may start from now on.
        _systemctl("start", "--no-block", *there)


def require_started(names: t.Sequence[str]) -> None:
    """Have systemd start units again that have failed. Errors: KernelError where one fails once more.

    One that is still at work after a while is not waited for.
    """
    failed = _failed(names)
    if failed:
        _systemctl("reset-failed", *failed)
        _systemctl("start", "--no-block", *failed)
        failed = _failed(names)
    if failed:
        advice = f"journalctl -u {failed[0]} has the reason. Until it starts, nothing is built at boot"
        raise KernelError(f"start {', '.join(failed)}", "it fails", 0, advice)


def _failed(names: t.Sequence[str]) -> list[str]:
    """Those that have failed, once none of them is at its first attempt any more."""
    give_up = time.monotonic() + _SETTLES
    while names:
        shown = _systemctl("show", "--property=Id,ActiveState,SubState", *names)
        found = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.strip().split("\n\n")]
        states = {one["Id"]: (one["ActiveState"], one["SubState"]) for one in found if "Id" in one}
        at_work = [name for name, state in states.items() if state[0] == "activating" and state[1] != "auto-restart"]
        if not at_work or time.monotonic() > give_up:
            return [name for name, state in states.items() if state[0] == "failed" or state[1] == "auto-restart"]
        time.sleep(_PAUSE)
    return []


def _systemctl(*arguments: str) -> str:
    asked = f"run systemctl {arguments[0]}"
    done = programs.run(asked, ["systemctl", *arguments], patience=_PATIENCE)
    if done.returncode:
        raise KernelError(asked, f"it says {done.stderr.strip()}", 0, "Look at systemctl status")
    return done.stdout
