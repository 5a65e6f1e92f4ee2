"""A host and networks on it, for tables of tests."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView

from tests.support.spec_questions import Options

HOST = HostView(
    uplinks={4: [["eth0"]], 6: [["eth0"]]},
    mtus={"lo": 65536, "eth0": 9000, "eth1": 1400},
    addresses={"lo": ["127.0.0.1/8"], "eth0": ["198.18.0.11/16", "2001:db8:18::11/64"], "eth1": []},
    owners={"lo": None, "eth0": None, "eth1": None},
)
KEY = "egress_networks[0]"


def network(**fields: t.Any) -> Options:
    return {"name": "pods", "subnets": ["10.0.0.0/24"], **fields}


def second(**fields: t.Any) -> list[Options]:
    return [network(), {"name": "apps", "subnets": ["10.1.0.0/24"], **fields}]


def with_namespace(**fields: t.Any) -> Options:
    return network(namespaces=[{"name": "ns1", **fields}])
