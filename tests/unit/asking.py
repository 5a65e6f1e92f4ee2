"""Requests as playbooks make them, for tables of tests."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.ledger import EMPTY, Ledger
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Fact, Want
from ansible_collections.netpath.egress.plugins.module_utils._engine.planning.state import Have
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec import (
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

SPECS: dict[str, types.ModuleType] = {
    "linux_bridge": linux_bridge,
    "nat_masquerade": nat_masquerade,
    "netns": netns,
    "ns_route": ns_route,
    "sysctl_forward": sysctl_forward,
    "veth": veth,
}


class Advertised:
    """Tells which links learned their IPv6 default route from a router advertisement."""

    def __init__(self, *links: str) -> None:
        self.links = links

    def ra_uplinks(self, _netns: str) -> t.Sequence[str]:
        return self.links


def want(module: str, *requests: Options, uplinks: t.Sequence[str] = ()) -> Want:
    """The facts that a module wants: of its top-level options, or of several requests as config has them."""
    return all_of(*((module, request) for request in requests), uplinks=uplinks)


def all_of(*requests: tuple[str, Options], uplinks: t.Sequence[str] = ()) -> Want:
    """The facts that requests to several modules want together."""
    keys = ["" for _request in requests] if len(requests) == 1 else [f"config[{i}]" for i in range(len(requests))]
    return union(
        [(key or "request", _one(module, options, key, uplinks)) for key, (module, options) in zip(keys, requests)]
    )


def _one(module: str, options: Options, key: str, uplinks: t.Sequence[str]) -> Want:
    spec = SPECS[module]
    host = [Advertised(*uplinks)] if module == "sysctl_forward" else []
    prefix = f"{key}." if key else ""
    wanted: Want = spec.wanted(checked(options, spec.OPTIONS, key), *host, prefix)
    return wanted


def found(
    *facts: Fact,
    ledger: Ledger = EMPTY,
    ports: t.Mapping[tuple[str, str], int] | None = None,
    protected: t.Mapping[str, str] | None = None,
) -> Have:
    """An observation of these facts."""
    return Have({fact.identity: fact for fact in facts}, ledger, ports or {}, protected or {})
