"""Programs that filter on booted nodes, and what of the catalogue of failures is otherwise beside them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.netpath.egress.plugins.module_utils._engine.diagnosis.catalogue import CODES, HOPS

from tests.support.fault_catalogue import FAULTS, Fault
from tests.support.recipes import FIREWALLS
from tests.support.scope import NIGHTLY


@dataclass(frozen=True)
class Wall:
    """What its node is made from, the script that starts its program, and one that reloads it."""

    recipe: str
    start: str
    reload: str


WALLS = {
    "firewalld": Wall(
        FIREWALLS["trixie"],
        "systemctl start firewalld",
        "firewall-cmd --reload; firewall-cmd --complete-reload",
    ),
    "ufw": Wall(FIREWALLS["bookworm"], "ufw allow 22/tcp; ufw --force enable", "ufw reload"),
    "docker": Wall(FIREWALLS["bookworm"], "systemctl start docker", "systemctl restart docker"),
}
# What ufw asks its rules about: echo requests it lets through ahead of them.
_TCP = ("tcp://198.51.100.80:7070", "tcp://[2001:db8:51::80]:7070")
# Rules that were altered are told of for both families: they are read as a whole.
_ALTERED = {"ipv6": "degraded"}
# Failures that only such a program makes possible.
_MOVED = "firewall-cmd --zone=public --change-interface=br0"
_THEIRS = "firewall-cmd --permanent --policy=theirs"
OWN: dict[str, dict[str, Fault]] = {
    "firewalld": {
        "policy of the network gone": Fault(
            29, "firewall-cmd --permanent --delete-policy=np-pods-fwd; firewall-cmd --reload", "FORWARD_DROPPED"
        ),
        # For good, or the next reload would forget what the repair has to follow.
        "bridge moved to another zone": Fault(29, f"{_MOVED}; {_MOVED} --permanent", "FORWARD_DROPPED"),
        "policy of others that drops": Fault(
            29,
            "firewall-cmd --permanent --new-policy=theirs;"
            f" {_THEIRS} --set-priority=-30000; {_THEIRS} --add-ingress-zone=ANY; {_THEIRS} --add-egress-zone=ANY;"
            f" {_THEIRS} --add-rich-rule='rule family=ipv4 source address=10.22.33.0/24 drop'; firewall-cmd --reload",
            "FORWARD_DROPPED",
            "firewall-cmd --permanent --delete-policy=theirs; firewall-cmd --reload",
            families=["ipv4"],
        ),
    },
    "ufw": {
        "rule of the network gone": Fault(
            29,
            "ufw route delete allow in on br0 out on uplink0 from 10.22.33.0/24",
            "FORWARD_DROPPED",
            targets=_TCP,
            statuses=_ALTERED,
        ),
        "rules flushed": Fault(29, "iptables -F ufw-user-forward", "FORWARD_DROPPED", targets=_TCP, statuses=_ALTERED),
        "rule of others that drops": Fault(
            29,
            "ufw route prepend deny in on br0 to 198.51.100.0/24",
            "FORWARD_DROPPED",
            "ufw route delete deny in on br0 to 198.51.100.0/24",
            families=["ipv4"],
            targets=_TCP,
        ),
    },
    "docker": {
        "DOCKER-USER flushed": Fault(29, "iptables -F DOCKER-USER", "FORWARD_DROPPED", families=["ipv4"]),
        "rule of others in DOCKER-USER": Fault(
            29,
            "iptables -I DOCKER-USER -i br0 -d 198.51.100.80 -j DROP",
            "FORWARD_DROPPED",
            "iptables -D DOCKER-USER -i br0 -d 198.51.100.80 -j DROP",
            families=["ipv4"],
        ),
    },
}
# Whether neighbours still know the way there and back is a matter of time, of which a busy machine takes more.
FORGOTTEN = ("fixed source address gone", "uplink on a bridge")
_AHEAD = HOPS[: HOPS.index("neighbour")]
# (wall, title): why it is not tried there.
LEFT_OUT: dict[tuple[str, str], str] = {
    ("docker", title): "ahead of all rules of Docker, and tried beside firewalld and ufw"
    for title, fault in FAULTS.items()
    if (fault.hop or CODES[fault.code].hop) in _AHEAD
}
LEFT_OUT.update(
    {
        (wall, FORGOTTEN[0]): "its address is tried beside firewalld: one segment has all nodes"
        for wall in ("ufw", "docker")
    }
)
# (wall, title): what is otherwise there, and each is a failure of its own beside the wall.
_BRIDGED = "uplink on a bridge"
_TAKEN = "IPv6 address that another one has"
OTHERWISE: dict[tuple[str, str], Fault] = {
    # ufw sees what stays on the bridge, and knows no duplicate address detection there.
    ("ufw", _TAKEN): replace(
        FAULTS[_TAKEN],
        inject=f"sysctl -qw net.bridge.bridge-nf-call-ip6tables=0; {FAULTS[_TAKEN].inject}",
        fix=f"{FAULTS[_TAKEN].fix}; sysctl -qw net.bridge.bridge-nf-call-ip6tables=1",
    ),
    # Answers come by that bridge, and what was accepted of IPv4 beside Docker names the uplink.
    ("docker", _BRIDGED): replace(FAULTS[_BRIDGED], statuses={"ipv4": "broken"}),
}


def rows() -> list[tuple[str, str]]:
    """(wall, title) of the failures that a run tries: beside all walls, or all that are special and a share of each."""
    special = [(wall, title) for wall in WALLS for title in (*FAULTS, *OWN[wall]) if _is_special(wall, title)]
    ordinary = [
        [(wall, title) for wall in WALLS if (wall, title) not in LEFT_OUT and not _is_special(wall, title)]
        for title in FAULTS
    ]
    chosen = set(special)
    for several in filter(None, ordinary):
        # Beside the wall that has fewest so far.
        chosen.update(several if NIGHTLY else [min(several, key=lambda row: _count(row[0], chosen))])
    return [(wall, title) for wall in WALLS for title in (*FAULTS, *OWN[wall]) if (wall, title) in chosen]


def _is_special(wall: str, title: str) -> bool:
    return title in OWN[wall] or (wall, title) in OTHERWISE


def _count(wall: str, chosen: t.Collection[tuple[str, str]]) -> int:
    return sum(one == wall for one, _title in chosen)


def walls(number: int) -> list[str]:
    """The walls beside which a run tries the test of a number: all, or one for each number in turn."""
    return list(WALLS) if NIGHTLY else [list(WALLS)[number % len(WALLS)]]


def fault(wall: str, title: str) -> Fault:
    """A failure as it is beside a wall."""
    return OTHERWISE.get((wall, title)) or OWN[wall].get(title) or FAULTS[title]
