"""A path on a stock kernel: built, looked at, used and removed in a node of the guest's world."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis import targets
from ansible_collections.netpath.egress.plugins.module_utils._engine.repair.promises import check

from tests.lab import probe
from tests.lab.node import Node
from tests.lab.snapshot import difference
from tests.support.building import PUBLIC, build_at_once, seen_from
from tests.support.spec_questions import Options

PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1", "c2"],
}
_TARGETS = {4: probe.TARGETS[4], 6: probe.TARGETS[6]}
_STATE = """
ip -br link | sed 's/ .*//; s/@.*//'
ip -4 rule; ip -6 rule; ip route; ip -6 route
ls /run/netns; find /etc/netns /etc/netpath /etc/sysctl.d -type f 2>/dev/null
nft list tables 2>/dev/null
for key in net.ipv4.ip_forward net.ipv6.conf.all.forwarding; do sysctl -e $key; done
bridge vlan show
iptables-save 2>/dev/null | grep '^-A'
true
"""


def state(node: Node) -> str:
    """What a path leaves when it is not removed entirely: links, rules, routes, names, files, tables, forwarding."""
    return node.run(["sh", "-c", _STATE]).stdout


def seen(node: Node, namespace: str = "c1", families: t.Sequence[str] = tuple(PUBLIC)) -> list[str]:
    """Whom the internet sees when a namespace asks it, in each family."""
    return [node.call(seen_from, namespace, PUBLIC[family]) for family in families]


def checked(node: Node, networks: t.Sequence[Options], families: t.Sequence[int] = (4, 6)) -> list[dict[str, t.Any]]:
    """The verdicts of a look with probes."""
    asked = targets.parsed([_TARGETS[family] for family in families])
    return node.call(lambda: list(check(list(networks), asked)))


def is_healthy(verdicts: t.Sequence[dict[str, t.Any]]) -> bool:
    """Whether each path is said to work, with nothing found."""
    return bool(verdicts) and all(one["status"] == "ok" and not one["findings"] for one in verdicts)


def built_and_removed(
    node: Node, network: Options, expected: t.Sequence[str], families: t.Sequence[str] = tuple(PUBLIC)
) -> None:
    """A network's life: built, seen as expected, found healthy, unchanged by a second run, removed with all it made."""
    before = {"state": state(node)}
    assert node.call(build_at_once, [network])
    assert seen(node, families=families) == list(expected)
    verdicts = checked(node, [network], [int(family[-1]) for family in families])
    assert is_healthy(verdicts), verdicts
    assert node.call(build_at_once, [network]) == []
    assert node.call(build_at_once, [network], absent=True)
    changed = difference(before, {"state": state(node)})
    assert not changed, changed
