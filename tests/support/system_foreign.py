"""State of somebody else's in firewalld and ufw, chosen by a seed, and networks that are built beside it."""

from __future__ import annotations

import random
import typing as t

from tests.support.spec_questions import Options

_ZONE, _POLICY = "firewall-cmd --permanent --zone=", "firewall-cmd --permanent --policy="
_IN_FIREWALLD = [
    [f"{_ZONE}work --add-source=198.51.100.77"],
    [f"{_ZONE}work --add-rich-rule='rule family=ipv4 source address=10.77.0.0/24 drop'"],
    [f"{_ZONE}public --add-rich-rule='rule priority=-5 protocol value=gre accept'"],
    [f"{_ZONE}public --add-forward-port=port=81:proto=tcp:toport=82"],
    [
        "firewall-cmd --permanent --new-zone=own",
        f"{_ZONE}own --set-target=DROP",
        f"{_ZONE}own --add-source=10.78.0.0/24",
        f"{_ZONE}own --add-masquerade",
    ],
    ["firewall-cmd --permanent --new-zone=np-own", f"{_ZONE}np-own --set-description=netpath:pods"],
    [
        "firewall-cmd --permanent --new-policy=own",
        f"{_POLICY}own --add-ingress-zone=work",
        f"{_POLICY}own --add-egress-zone=HOST",
        f"{_POLICY}own --add-rich-rule='rule family=ipv6 source address=fd00:77::/64 reject'",
        f"{_POLICY}own --set-priority=-7",
    ],
    ["firewall-cmd --permanent --new-policy=np-own-fwd", f"{_POLICY}np-own-fwd --set-description='somebody elses'"],
    [
        "firewall-cmd --permanent --new-ipset=own --type=hash:ip",
        "firewall-cmd --permanent --ipset=own --add-entry=10.9.9.9",
    ],
    ["firewall-cmd --set-default-zone=home"],
    ["firewall-cmd --permanent --direct --add-rule ipv4 filter FORWARD 0 -i lo -j ACCEPT"],
]
_IN_UFW = [
    "ufw allow 22/tcp comment ssh",
    "ufw limit 2222/tcp",
    "ufw deny from 198.51.100.77",
    "ufw allow in on uplink0 to any port 80 proto tcp comment 'netpath:pods web'",
    "ufw reject out to 10.77.0.0/24 port 25 proto tcp",
    "ufw route allow in on lo out on uplink0 comment theirs",
    "ufw route deny in on lo from 10.77.0.0/24",
    "ufw route allow in on br0 out on uplink0 from 10.99.0.0/24 comment netpaths:pods",
    "ufw route allow in on br0 out on lo from fd00:99::/64 comment netpath:Other",
    "ufw route prepend allow in on lo out on lo proto tcp to 10.76.0.0/24 port 80",
    "ufw logging high",
    "ufw default reject incoming",
    "ufw default allow routed",
    "iptables -t nat -A POSTROUTING -s 10.77.0.0/24 -o uplink0 -j MASQUERADE",
    "iptables -I FORWARD -i lo -m comment --comment netpaths:pods -j ACCEPT; ip6tables -A FORWARD -o lo -j DROP",
]
_PODS: Options = {
    "name": "pods",
    "bridge": "br0",
    "subnets": ["10.22.33.0/24", "fd00:22:33::/64"],
    "namespaces": ["c1"],
}


class Example(t.NamedTuple):
    """What somebody else set up, as lines of a script, and the network."""

    theirs: list[str]
    network: Options


def in_firewalld(seed: str) -> Example:
    chooser = random.Random(seed)
    own = [line for lines in chooser.sample(_IN_FIREWALLD, 5) for line in lines]
    lines = ["systemctl start firewalld", *own, "firewall-cmd --reload"]
    return Example(lines, _network(chooser, ["auto", "nftables", "firewalld"]))


def in_ufw(seed: str) -> Example:
    chooser = random.Random(seed)
    own = chooser.sample(_IN_UFW, 9)
    # ufw writes its tables anew when it is enabled.
    later = [line for line in own if line.startswith("iptables")]
    lines = [*(line for line in own if line not in later), "ufw --force enable", *later]
    return Example(lines, _network(chooser, ["auto", "nftables", "iptables"]))


def _network(chooser: random.Random, firewalls: list[str]) -> Options:
    return {
        **_PODS,
        "firewall": chooser.choice(firewalls),
        "mss_clamp": chooser.choice([False, True]),
        "publish": chooser.choice([[], [{"port": 8080, "to": "c1:80"}]]),
    }
