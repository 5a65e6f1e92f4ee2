"""What a lab leaves to be read: the journal of every node, and the state of the network of those that run."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

from tests.lab.holder import LabError

if t.TYPE_CHECKING:
    from tests.lab.booted.lab import Lab

_TIMEOUT = 60
_JOURNAL = "var/log/journal"
# Read by the journalctl of the node's own release, in a mount namespace that shows the root file system as it was made.
_READ_JOURNAL = f"""
mount --bind "$1/{_JOURNAL}" "$2/{_JOURNAL}"
exec chroot "$2" journalctl --directory=/{_JOURNAL} --no-pager --output=short-precise
"""
_NETWORK = """
for command in 'ip -d link' 'ip address' 'ip rule' 'ip route show table all' 'ip -6 rule' 'ip -6 route show table all' \
    'ip netns list' 'nft list ruleset' 'iptables-save' 'networkctl --no-pager' 'systemctl --no-pager --failed' \
    'cat /proc/net/nf_conntrack' 'sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding'
do
    echo "# $command"
    $command 2>&1
    echo
done
for name in $(ip netns list | cut -d' ' -f1); do
    echo "# namespace $name"
    ip netns exec "$name" sh -c 'ip -d address; ip route; ip -6 route; nft list ruleset'
done 2>&1
"""


def collect(lab: Lab, nodes: t.Iterable[str] = ()) -> Path:
    """Write the logs of nodes, by default all, beside their consoles, and return the folder."""
    for node in nodes or lab.nodes:
        folder = lab.places.log(node)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "journal.log").write_text(journal(lab, node), encoding="utf-8")
        (folder / "network.log").write_text(_network(lab, node), encoding="utf-8")
    return lab.places.logs


def journal(lab: Lab, node: str) -> str:
    """Return the journal of a node over all its boots, whether it runs or not."""
    upper = lab.places.node(node) / "upper"
    if not (upper / _JOURNAL).is_dir():
        return "there is no journal: the node has never booted\n"
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _READ_JOURNAL, "sh"]
    return _output([*argv, str(upper), lab.nodes[node].rootfs])


def _network(lab: Lab, node: str) -> str:
    try:
        return _output(lab.inside(node, ["sh", "-c", _NETWORK]))
    except LabError as error:
        return f"{error}\n"


def _output(argv: t.Sequence[str]) -> str:
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            argv, stdin=quiet, capture_output=True, text=True, errors="replace", check=False, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return f"not ready in {_TIMEOUT} s\n"
    return done.stdout + done.stderr
