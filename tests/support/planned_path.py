"""A path as requests to modules, and as the facts that are there once it is built."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.model import (
    ROUTE_PROTOCOL,
    Address,
    Fact,
    File,
    Link,
    Namespace,
    Route,
    Ruleset,
    Setting,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import NatRules

from tests.support.spec_questions import Options, all_of

NS1 = Namespace("ns1", "netpath:pods", True)
BRIDGE = Link("", "br0", "bridge", "netpath:pods", "fe:00:00:00:00:01", 1500, "", up=True, index=3)
OUTER = Link("", "ve1", "veth", "netpath:pods", "fe:00:00:00:00:02", 1500, "br0", False, False, up=True, index=4)
INNER = Link("ns1", "eth0", "veth", "netpath:pods", "02:00:00:00:00:03", 1500, "", up=True, index=2)
PAIR = dataclasses.replace(OUTER, peer=INNER)
GATEWAY4, GATEWAY6 = Address("", "br0", "10.0.0.1/24"), Address("", "br0", "fd00::1/64")
INSIDE4, INSIDE6 = Address("ns1", "eth0", "10.0.0.2/24"), Address("ns1", "eth0", "fd00::2/64")
DEFAULT4 = Route("ns1", "0.0.0.0/0", 254, 0, "unicast", "10.0.0.1", "eth0", onlink=False, protocol=ROUTE_PROTOCOL)
DEFAULT6 = Route("ns1", "::/0", 254, 1024, "unicast", "fd00::1", "eth0", onlink=False, protocol=ROUTE_PROTOCOL)
RULES = Ruleset("", "pods", NatRules(("10.0.0.0/24", "fd00::/64")))
RESOLVER = File("/etc/netns/ns1/resolv.conf", "# netpath:pods\nnameserver 198.51.100.80\n")
INSIDE_SETTING = Setting("ns1", "net/ipv4/conf/all/accept_redirects", "0")
THERE = (NS1, BRIDGE, PAIR, GATEWAY4, GATEWAY6, INSIDE4, INSIDE6, DEFAULT4, DEFAULT6, RULES, RESOLVER, INSIDE_SETTING)
NAMESPACE: Options = {
    "name": "ns1",
    "network": "pods",
    "dns": {"servers": ["198.51.100.80"]},
    "sysctls": {"net.ipv4.conf.all.accept_redirects": 0},
}
BR0: Options = {"name": "br0", "addresses": ["10.0.0.1/24", "fd00::1/64"], "network": "pods"}
PEER: Options = {"name": "eth0", "netns": "ns1", "addresses": ["10.0.0.2/24", "fd00::2/64"]}
VETH: Options = {"name": "ve1", "master": "br0", "mtu": 1500, "peer": PEER, "network": "pods"}
ROUTE4: Options = {"netns": "ns1", "dest": "default", "gateway": "10.0.0.1"}
ROUTE6: Options = {"netns": "ns1", "dest": "default", "gateway": "fd00::1"}
NAT: Options = {"name": "pods", "sources": ["10.0.0.0/24", "fd00::/64"]}
PATH = [
    ("netns", NAMESPACE),
    ("linux_bridge", BR0),
    ("veth", VETH),
    ("ns_route", ROUTE4),
    ("ns_route", ROUTE6),
    ("nat_masquerade", NAT),
]
EVERYTHING = all_of(*PATH)


def there(*changes: Fact, without: t.Sequence[Fact] = ()) -> list[Fact]:
    """Everything that the path needs, with some facts in place of those of the same identity."""
    facts = {fact.identity: fact for fact in THERE if fact not in without}
    return list({**facts, **{fact.identity: fact for fact in changes}}.values())


def change(fact: t.Any, **fields: t.Any) -> t.Any:
    return dataclasses.replace(fact, **fields)
