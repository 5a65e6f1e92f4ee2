"""Requests are, byte for byte, what pyroute2's own encoder makes of the same fields and attributes."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.message_classes import message_class
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.message_layout import Nested, encode

_HEADER = 16
Attributes = t.Sequence[tuple[str, t.Any]]
_BRIDGE = [("IFLA_BR_STP_STATE", 1), ("IFLA_BR_AGEING_TIME", 30000), ("IFLA_BR_MCAST_SNOOPING", 0)]
_PEER = [
    ("IFLA_IFNAME", "eth0"),
    ("IFLA_ADDRESS", "02:00:00:00:00:01"),
    ("IFLA_MTU", 1400),
    ("IFLA_NET_NS_FD", 7),
]
REQUESTS: dict[str, tuple[str, Attributes, dict[str, int]]] = {
    "nothing": ("ifinfmsg", [], {}),
    "a link by its name": ("ifinfmsg", [("IFLA_IFNAME", "uplink0"), ("IFLA_EXT_MASK", 8)], {}),
    "a link by its index": ("ifinfmsg", [("IFLA_EXT_MASK", 8)], {"index": 12}),
    "a link that goes up": ("ifinfmsg", [("IFLA_IFALIAS", "netpath:pöds")], {"index": 5, "flags": 1, "change": 1}),
    "a bridge": (
        "ifinfmsg",
        [
            ("IFLA_IFNAME", "br0"),
            ("IFLA_LINKINFO", [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", Nested("bridge_data", _BRIDGE))]),
        ],
        {"index": 1 << 28},
    ),
    "a pair": (
        "ifinfmsg",
        [
            ("IFLA_IFNAME", "np-c1"),
            ("IFLA_MASTER", 4),
            (
                "IFLA_LINKINFO",
                [
                    ("IFLA_INFO_KIND", "veth"),
                    ("IFLA_INFO_DATA", Nested("veth_data", [("VETH_INFO_PEER", Nested("ifinfveth", _PEER))])),
                ],
            ),
        ],
        {},
    ),
    "a port": (
        "ifinfmsg",
        [
            (
                "IFLA_LINKINFO",
                [
                    ("IFLA_INFO_SLAVE_KIND", "bridge"),
                    (
                        "IFLA_INFO_SLAVE_DATA",
                        Nested("bridge_slave_data", [("IFLA_BRPORT_ISOLATED", 1), ("IFLA_BRPORT_MODE", 0)]),
                    ),
                ],
            )
        ],
        {"index": 3},
    ),
    "an address": (
        "ifaddrmsg",
        [("IFA_LOCAL", "10.22.33.2"), ("IFA_ADDRESS", "10.22.33.2")],
        {"family": 2, "prefixlen": 24, "index": 2},
    ),
    "an IPv6 address": ("ifaddrmsg", [("IFA_LOCAL", "fd00::2")], {"family": 10, "prefixlen": 64, "index": 2}),
    "a route": (
        "rtmsg",
        [
            ("RTA_TABLE", 300),
            ("RTA_DST", "10.0.0.0"),
            ("RTA_PRIORITY", 50),
            ("RTA_GATEWAY", "10.22.33.1"),
            ("RTA_OIF", 2),
            ("RTA_METRICS", [("RTAX_MTU", 1400)]),
        ],
        {"family": 2, "dst_len": 8, "proto": 250, "type": 1, "scope": 253, "flags": 4},
    ),
    "the number of a namespace": ("nsidmsg", [("NETNSA_FD", 9)], {}),
}


@pytest.mark.parametrize(("message", "attributes", "fields"), REQUESTS.values(), ids=REQUESTS)
def test_as_pyroute2_encodes(message: str, attributes: Attributes, fields: dict[str, int]) -> None:
    reference = message_class(message)()
    for name, value in fields.items():
        reference[name] = value
    reference["attrs"] = [(name, _nested(value)) for name, value in attributes]
    reference.encode()
    assert encode(message, attributes, **fields) == bytes(reference.data)[_HEADER:]


def _nested(value: t.Any) -> t.Any:
    inner = value.attributes if isinstance(value, Nested) else value
    return {"attrs": [(name, _nested(item)) for name, item in inner]} if isinstance(inner, list) else value
