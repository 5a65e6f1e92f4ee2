"""What the rules of a table of iptables do with a packet that none of their conditions match."""

from __future__ import annotations

import pytest
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.iptables import listed, parsed, transaction
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.iptables_rules import Table, forward_entry
from ansible_collections.netpath.egress.plugins.module_utils._engine.rules import ForwardRules


def table(*rules: str) -> Table:
    chains = dict.fromkeys([rule.split()[0] for rule in rules])
    return listed("\n".join([*(f":{chain} - [0:0]" for chain in chains), *(f"-A {rule}" for rule in rules)]))


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ([], ""),
        (["FORWARD -j DROP"], "DROP"),
        (["FORWARD -j REJECT --reject-with icmp-port-unreachable", "FORWARD -i lo -j ACCEPT"], "REJECT"),
        (["FORWARD -i lo -j DROP"], ""),
        (['FORWARD -m comment --comment "the end" -j DROP'], "DROP"),
        (["FORWARD -j ACCEPT", "FORWARD -j DROP"], "ACCEPT"),
        (["FORWARD -j LOGDROP", "LOGDROP -j LOG --log-prefix x", "LOGDROP -j DROP"], "DROP"),
        (["FORWARD -g OUTER", "FORWARD -j DROP", "OUTER -j INNER", "INNER -i lo -j DROP"], ""),
        (["FORWARD -j OUTER", "OUTER -j INNER", "INNER -j DROP"], "DROP"),
        (["FORWARD -j OUTER", "OUTER -j RETURN", "OUTER -j DROP"], ""),
        (["FORWARD -j OUTER", "FORWARD -j DROP", "OUTER -g INNER", "OUTER -j ACCEPT", "INNER -j RETURN"], "DROP"),
        (["FORWARD -i lo -j LOGDROP", "LOGDROP -j DROP"], ""),
    ],
)
def test_verdict(rules: list[str], verdict: str) -> None:
    assert table(*rules).verdict() == verdict


@pytest.mark.parametrize(
    ("rules", "entry"),
    [
        (["DOCKER-USER -i lo -j ACCEPT"], "FORWARD"),
        (["FORWARD -j DOCKER-USER"], "DOCKER-USER"),
        (["FORWARD -j DOCKER-FORWARD", "DOCKER-FORWARD -j DOCKER-USER"], "DOCKER-USER"),
        (["FORWARD -i lo -j DOCKER-USER"], "FORWARD"),
        (["FORWARD -j DROP", "FORWARD -j DOCKER-USER"], "FORWARD"),
    ],
)
def test_chain_that_ours_is_called_from(rules: list[str], entry: str) -> None:
    assert forward_entry(table(*rules)) == entry


def test_rules_without_an_uplink_say_their_sources() -> None:
    rules = ForwardRules("br0", (), ("10.22.33.0/24",))
    document = transaction(4, {"filter": Table()}, [(("forward", "pods"), rules)])
    assert parsed("forward", "pods", {4: listed(document.replace("-I FORWARD 1", "-A FORWARD"))}) == rules
