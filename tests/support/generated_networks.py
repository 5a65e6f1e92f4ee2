"""Networks drawn at random, with the options that change what is built."""

from __future__ import annotations

import random
import typing as t

from tests.support.spec_questions import Options


def networks(seed: int) -> list[Options]:
    """One to three of them; the same seed draws the same ones."""
    draw = random.Random(seed)
    return [_network(draw, number) for number in range(1, draw.randint(1, 3) + 1)]


def _network(draw: random.Random, number: int) -> Options:
    families = draw.choice([(4,), (6,), (4, 6), (6, 4)])
    subnets = {4: f"10.22.{number}.0/{draw.choice([24, 26, 28])}", 6: f"fd00:22:{number}::/64"}
    members: list[t.Any] = [_namespace(draw, f"n{number}-{index}") for index in range(draw.randint(0, 5))]
    chosen: Options = {
        "name": f"net{number}",
        "subnets": [subnets[family] for family in families],
        "namespaces": members,
        **_some(draw, "isolated", [True]),
        **_some(draw, "mtu", [1280, 1400]),
        **_some(draw, "hairpin", [True, False]),
        **_some(draw, "ipv6_link_local", [True, False]),
        **_some(draw, "arp_notify", [True]),
        **_some(draw, "rp_filter", [0, 2]),
        **_some(draw, "bridge", [f"lan{number}"]),
        **_some(draw, "mss_clamp", [True]),
        **_some(draw, "nat", ["none", {"mode": "masquerade", "random_fully": True}]),
        **_some(draw, "uplink", ["uplink0"]),
    }
    if draw.random() < 0.3:
        chosen.update(prefix=f"p{number}-", count=draw.randint(1, 4))
    names = [member if isinstance(member, str) else member["name"] for member in members]
    if names and draw.random() < 0.5 and chosen.get("nat") != "none":
        chosen["publish"] = [{"port": 8000 + number, "to": f"{draw.choice(names)}:80"}]
    return chosen


def _namespace(draw: random.Random, name: str) -> t.Any:
    if draw.random() < 0.5:
        return name
    return {
        "name": name,
        **_some(draw, "interface", ["net0"]),
        **_some(draw, "bandwidth", ["10mbit"]),
        **_some(draw, "dns", [{"servers": ["198.51.100.80"]}]),
    }


def _some(draw: random.Random, name: str, values: t.Sequence[t.Any]) -> Options:
    """The option with one of the values, or left out."""
    return {name: draw.choice(values)} if draw.random() < 0.4 else {}
