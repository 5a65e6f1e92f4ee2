"""The files of a lab: keys, what makes a root file system a certain node, and the ways to reach it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

from tests.lab import world
from tests.lab.booted import plan
from tests.lab.booted.plan import NodePlan, Places

_CONNECT = Path(__file__).resolve().with_name("connect.py")
_LAB = Path(__file__).resolve().parents[1]
_CONNECT_TIMEOUT = 10
# What the command `witness` of a node consists of.
_WITNESS = (
    *("__init__.py", "internet.py", "probe.py", "settling.py", "snapshot.py", "syscalls.py"),
    *("booted/__init__.py", "booted/witness.py"),
)
_RUN_WITNESS = '#!/bin/sh\nPYTHONPATH=/opt/lab exec python3 -m tests.lab.booted.witness "$@"\n'

_UPLINK_NETWORK = f"""\
[Match]
Name={plan.UPLINK}

[Network]
Address={{address}}/{plan.UPLINK_PREFIX}
Address={{address6}}/{world.PREFIX6}
Gateway={world.GATEWAY}
Gateway={world.GATEWAY6}
DHCP=no
IPv6AcceptRA=no
IPv6DuplicateAddressDetection=0
"""
_MANAGEMENT_NETWORK = f"""\
[Match]
Name={plan.MANAGEMENT}

[Network]
Address={{address}}/{plan.MANAGEMENT_PREFIX}
DHCP=no
IPv6AcceptRA=no
IPv6DuplicateAddressDetection=0
"""


def write(places: Places, nodes: t.Sequence[NodePlan]) -> None:
    """Write the files of a lab into its folder, which is there and empty but for its plan."""
    _make_key(places.key, f"lab-{places.name}")
    known = []
    for node in nodes:
        upper = places.node(node.name) / "upper"
        _write_node(upper, node, places.key.with_suffix(".pub").read_text(encoding="ascii"))
        host_key = (upper / "etc/ssh/ssh_host_ed25519_key.pub").read_text(encoding="ascii").split()[:2]
        known.append(" ".join([f"{node.name},{node.address}", *host_key]))
    places.known_hosts.write_text("\n".join(known) + "\n", encoding="ascii")
    places.ssh_config.write_text(_ssh_config(places, nodes), encoding="utf-8")
    places.inventory.write_text(_inventory(places, nodes), encoding="utf-8")


def _make_key(file: Path, comment: str) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _write_node(upper: Path, node: NodePlan, key: str) -> None:
    """Write what the node has beyond its root file system, as the upper layer of an overlay."""
    passwd = Path(node.rootfs, "etc/passwd").read_text(encoding="utf-8").splitlines()
    owner = next(line.split(":") for line in passwd if line.startswith(f"{plan.USER}:"))
    home, uid, gid = owner[5].lstrip("/"), int(owner[2]), int(owner[3])
    hosts = f"127.0.0.1 localhost\n127.0.1.1 {node.name}\n::1 localhost ip6-localhost ip6-loopback\n"
    uplink = _UPLINK_NETWORK.format(address=node.uplink_address, address6=node.uplink_address6)
    files = {
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": hosts,
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/resolv.conf": f"nameserver {world.PUBLIC[0]}\n",
        f"etc/systemd/network/10-{plan.UPLINK}.network": uplink,
        f"etc/systemd/network/10-{plan.MANAGEMENT}.network": _MANAGEMENT_NETWORK.format(address=node.address),
        f"{home}/.ssh/authorized_keys": key,
        "usr/local/sbin/witness": _RUN_WITNESS,
        **{f"opt/lab/tests/lab/{name}": (_LAB / name).read_text(encoding="utf-8") for name in _WITNESS},
    }
    _make_directory(upper, Path(node.rootfs))
    for name, text in files.items():
        path = upper / name
        for parent in reversed([parent for parent in path.parents if parent.is_relative_to(upper)]):
            _make_directory(parent, Path(node.rootfs, parent.relative_to(upper)))
        path.write_text(text, encoding="ascii")
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    for path in (upper / home / ".ssh", upper / home / ".ssh/authorized_keys"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, uid, gid)
    ssh = upper / "etc/ssh"
    _make_directory(ssh, Path(node.rootfs, "etc/ssh"))
    _make_key(ssh / "ssh_host_ed25519_key", node.name)
    (upper.parent / "work").mkdir()


def _make_directory(path: Path, model: Path) -> None:
    """Make a folder in the upper layer, whose mode and owner hide those of the same folder below."""
    if path.is_dir():
        return
    path.mkdir(parents=True)
    if model.is_dir():
        found = model.stat()
        path.chmod(found.st_mode & 0o7777)
        os.chown(path, found.st_uid, found.st_gid)


def _ssh_config(places: Places, nodes: t.Sequence[NodePlan]) -> str:
    # The connection is made in the lab and handed over, so no packet of ssh enters the machine's own network.
    proxy = shlex.join([sys.executable, "-I", "-S", str(_CONNECT), str(places.control)]).replace("%", "%%")
    lines = [
        f"Host {' '.join(name for node in nodes for name in (node.name, node.address))}",
        f"    User {plan.USER}",
        f"    IdentityFile {_quoted(places.key)}",
        "    IdentitiesOnly yes",
        f"    UserKnownHostsFile {_quoted(places.known_hosts)}",
        "    GlobalKnownHostsFile none",
        "    StrictHostKeyChecking yes",
        "    UpdateHostKeys no",
        "    PasswordAuthentication no",
        f"    ProxyCommand {proxy} %h %p",
        "    ProxyUseFdpass yes",
        f"    ConnectTimeout {_CONNECT_TIMEOUT}",
        # A connection must not outlive its node by long.
        "    ServerAliveInterval 5",
        "    ServerAliveCountMax 3",
    ]
    for node in nodes:
        lines += [f"Host {node.name}", f"    HostName {node.address}", f"    HostKeyAlias {node.name}"]
    return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'


def _inventory(places: Places, nodes: t.Sequence[NodePlan]) -> str:
    common = {
        "ansible_user": plan.USER,
        "ansible_ssh_private_key_file": str(places.key),
        "ansible_ssh_common_args": shlex.join(["-F", str(places.ssh_config)]),
        "ansible_python_interpreter": "/usr/bin/python3",
        # Connections that Ansible keeps open must not serve another lab, whose nodes have the same addresses.
        "ansible_control_path": f"%(directory)s/{uuid.uuid4().hex[:12]}-%%h-%%r",
    }
    releases = sorted({node.release for node in nodes})
    hosts = {node.name: {"ansible_host": node.address, "lab_release": node.release, **_uplink(node)} for node in nodes}
    empty: dict[str, str] = {}
    children = {
        release: {"hosts": {node.name: empty for node in nodes if node.release == release}} for release in releases
    }
    # JSON is YAML as well.
    return "---\n" + json.dumps({"all": {"vars": common, "hosts": hosts, "children": children}}, indent=2) + "\n"


def _uplink(node: NodePlan) -> dict[str, str]:
    return {"lab_uplink_address": node.uplink_address, "lab_uplink_address6": node.uplink_address6}
