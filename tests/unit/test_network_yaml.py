"""Networks as the YAML of a file of variables."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.written import as_yaml

from tests.support.network_yaml import NOTE, PODS, read


def test_written_as_a_user_would() -> None:
    assert as_yaml([{**PODS, "namespaces": ["a", {"name": "b", "interface": "net0"}]}], [NOTE]).splitlines() == [
        "# Seen, and not described:",
        "# namespace two: it has 2 links (one is enough)",
        "egress_networks:",
        "  - name: br0",
        "    bridge: br0",
        '    subnets: [10.22.33.0/24, "fd00:22:33::/64"]',
        "    mtu: 1400",
        "    isolated: true",
        '    nat: {mode: snat, to_source: ["198.18.5.1-198.18.5.9", "2001:db8::7"], exclude: [10.0.0.0/8]}',
        '    publish: [{port: 8080, to: "a:80"}, {port: "81-82", to: 10.22.33.9, protocol: udp}]',
        "    namespaces:",
        "      - a",
        "      - name: b",
        "        interface: net0",
    ]
    assert as_yaml([], []) == "egress_networks: []\n"


@pytest.mark.parametrize(
    "text",
    ["", "on", "No", "~", "1", "1.5", "1_0", "0x1", "12:30", "a: b", "- a", "#", "'", '"', "\\", "\x1b\x85\u2028", "ä"],
)
def test_every_text_reads_back(text: str) -> None:
    networks = [{**PODS, "name": text, "namespaces": [text, {"name": text, "dns": {text: [text]}}], text: text}]
    assert read(as_yaml(networks, [{"about": text, "seen": "\n" + text, "reason": text}])) == {
        "egress_networks": networks
    }


def test_many_namespaces_are_on_lines_of_their_own() -> None:
    networks = [{**PODS, "namespaces": [f"c{number}" for number in range(1000)]}]
    text = as_yaml(networks, [])
    assert read(text)["egress_networks"] == networks
    assert max(map(len, text.splitlines())) < 120


def test_templates_stay_text() -> None:
    text = as_yaml([{**PODS, "bridge": "{{x}}"}], [])
    assert '    bridge: !unsafe "{{x}}"' in text.splitlines()
