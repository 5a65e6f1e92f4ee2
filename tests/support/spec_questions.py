"""Requests as playbooks make them, for tables of tests."""

from __future__ import annotations

import os
import sys
import types
import typing as t
from pathlib import Path

from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import EMPTY, Ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Fact, Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.state import Have
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import (
    conntrack,
    forward_accept,
    linux_bridge,
    nat_masquerade,
    netns,
    ns_route,
    sysctl_forward,
    veth,
)
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.schema import checked
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.union import union

Options = dict[str, t.Any]


def ansible(program: str, *options: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    """The command and environment of a program of Ansible's that shall use the collection which is tested."""
    # ansible-test has a part of Ansible on Python's path.
    own = {key: value for key, value in os.environ.items() if "COLOR" not in key and key != "PYTHONPATH"}
    collections = str(Path(netns.__file__).parents[7])
    argv = [str(Path(sys.executable).with_name(program)), *options]
    return argv, {**own, "ANSIBLE_COLLECTIONS_PATH": collections, **environment}


SPECS: dict[str, types.ModuleType] = {
    "conntrack": conntrack,
    "forward_accept": forward_accept,
    "linux_bridge": linux_bridge,
    "nat_masquerade": nat_masquerade,
    "netns": netns,
    "ns_route": ns_route,
    "sysctl_forward": sysctl_forward,
    "veth": veth,
}


class Host:
    """A host with nftables, where nothing is filtered, and with the links that learned their IPv6 default route."""

    def __init__(self, *links: str, filters_bridged: bool = True, managing: t.Sequence[str] = ()) -> None:
        self.links = links
        self.filters_bridged = filters_bridged
        self.managing = managing

    def listening_links(self, _netns: str) -> t.Sequence[str]:
        return self.links

    def managers(self) -> t.Collection[str]:
        return self.managing

    def bridge_netfilter(self, _netns: str) -> bool:
        return self.filters_bridged

    def lacking(self, _netns: str, _addresses: t.Iterable[str]) -> list[str]:
        return []

    def nat_backend(self, _netns: str, _asked: str) -> tuple[str, str]:
        return ("nftables", "chosen")

    def forward_backends(self, *_asked: t.Any) -> t.Sequence[tuple[str, str, t.Collection[int]]]:
        return []

    def default_uplinks(self, _netns: str) -> t.Mapping[int, t.Sequence[t.Sequence[str]]]:
        return {4: [["uplink0"]], 6: [["uplink0"]]}

    def uplinks_noted(self, _netns: str) -> t.Mapping[int, t.Sequence[str]]:
        return {}


LOOKING = ("forward_accept", "linux_bridge", "nat_masquerade", "sysctl_forward")


def want(module: str, *requests: Options, host: t.Any = None) -> Want:
    """The facts that a module wants: of its top-level options, or of several requests as config has them."""
    return all_of(*((module, request) for request in requests), host=host)


def all_of(*requests: tuple[str, Options], host: t.Any = None) -> Want:
    """The facts that requests to several modules want together."""
    keys = ["" for _request in requests] if len(requests) == 1 else [f"config[{i}]" for i in range(len(requests))]
    return union(
        [(key or "request", _one(module, options, key, host)) for key, (module, options) in zip(keys, requests)]
    )


def _one(module: str, options: Options, key: str, host: t.Any) -> Want:
    spec = SPECS[module]
    looked_at = [host or Host()] if module in LOOKING else []
    prefix = f"{key}." if key else ""
    wanted: Want = spec.wanted(checked(options, spec.OPTIONS, key), *looked_at, prefix)
    return wanted


def found(
    *facts: Fact,
    ledger: Ledger = EMPTY,
    ports: t.Mapping[tuple[str, str], int] | None = None,
    protected: t.Mapping[str, str] | None = None,
) -> Have:
    """An observation of these facts."""
    return Have({fact.identity: fact for fact in facts}, ledger, ports or {}, protected or {})
