"""A network with all kinds of options, and YAML as Ansible reads it."""

from __future__ import annotations

import typing as t

import yaml

NOTE = {"about": "namespace two", "seen": "it has 2 links", "reason": "one is enough"}
PODS: dict[str, t.Any] = {
    "name": "br0",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "mtu": 1400,
    "isolated": True,
    "nat": {"mode": "snat", "to_source": ["198.18.5.1-198.18.5.9", "2001:db8::7"], "exclude": ["10.0.0.0/8"]},
    "publish": [{"port": 8080, "to": "a:80"}, {"port": "81-82", "to": "10.22.33.9", "protocol": "udp"}],
    "namespaces": ["a", "on", "1e5", "0x10", {"name": "b", "dns": {"servers": ["fd00::1"], "search": ["example.org"]}}],
}


class _Loader(yaml.SafeLoader):
    """Reads !unsafe as Ansible does."""


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> t.Any:
    return loader.construct_scalar(node)


_Loader.add_constructor("!unsafe", _text)


def read(text: str) -> t.Any:
    return yaml.load(text, _Loader)  # a kind of SafeLoader
