"""The rules for ports of bridges, and those for nft that knows no part of a packet by its offset in a key."""

from __future__ import annotations

from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.port_table import VARIANTS


def test_variant_without_targets_keeps_all_other_rules() -> None:
    full, plain = (variant.rules.split("\n") for variant in VARIANTS)
    lost = [line for line in full if line not in plain]
    # What has no target and no MAC address of its own.
    assert lost.count("  counter drop") == 3
    rest = [line for line in lost if line != "  counter drop"]
    assert all("targets" in line or "options" in line or "typeof" in line for line in rest)
    assert [line for line in plain if line not in full] == [
        "  ip6 saddr :: meta l4proto 58 icmpv6 type 135 iifname . ether saddr @macs accept",
        *["  return"] * 3,
    ]
    assert set(VARIANTS[0].sets) - set(VARIANTS[1].sets) == {"targets", "options"}
