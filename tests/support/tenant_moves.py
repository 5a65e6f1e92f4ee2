"""What root in a namespace may do to it, as scripts of a shell, drawn at random: links, addresses, routes and more.

A move that fails there, for what an earlier one did, is none: nobody looks at the end of it.
"""

from __future__ import annotations

import random
import typing as t

ESCAPES = "\x1b]0;PWN\x07\x1b[2J"
_MARKS = ("netpath:web", "netpath:pods", "netpath:", "", ESCAPES)
# Of the neighbour, the gateway, another network and the host's own router.
ADDRESSES = ("10.22.33.2/24", "10.22.33.1/24", "10.44.0.2/24", "198.18.0.1/16", "fd00:22:33::2/64", "fd00:44::2/64")
_NAMES = ("np-c1", "np-w1", "br0", "uplink0", "br1", "np-c2", "lo0")
_SYSCTLS = (
    "ipv4.ip_forward=1",
    "ipv4.conf.all.proxy_arp=1",
    "ipv4.conf.eth0.arp_ignore=8",
    "ipv4.conf.all.accept_redirects=1",
    "ipv4.conf.all.accept_local=1",
    "ipv4.conf.all.route_localnet=1",
    "ipv4.conf.all.promote_secondaries=1",
    "ipv6.conf.all.forwarding=1",
    "ipv6.conf.all.disable_ipv6=1",
    "ipv6.conf.eth0.disable_ipv6=1",
    "ipv6.conf.eth0.accept_ra=2",
    "ipv6.conf.eth0.addr_gen_mode=1",
    "ipv6.conf.eth0.accept_dad=2",
    "ipv6.conf.all.keep_addr_on_down=1",
    "ipv4.neigh.default.gc_thresh3=1",
)


class Move(t.NamedTuple):
    """script: run in the namespace. holder: a process that goes on, whose PID is {pid} in the script."""

    script: str
    holder: tuple[str, ...] = ()


_COME_AND_GO = """
while true; do
    ip link add z0 type bridge; ip address add 10.9.9.9 dev eth0
    ip link delete z0; ip address delete 10.9.9.9 dev eth0
done 2>/dev/null
"""
_RENAME = """
n=0; name=eth0
while true; do
    n=$((n + 1)); ip link set $name down; ip link set $name name y$n && name=y$n
    ip link set $name up; ip link show $name || name=eth0
done >/dev/null 2>&1
"""
Maker = t.Callable[[random.Random], Move]
_NESTED = ("unshare", "--net", "cat")
_INTO_NESTED = """
here=$(readlink /proc/self/ns/net)
for _ in $(seq 200); do [ "$(readlink /proc/{pid}/ns/net)" != "$here" ] && break; sleep 0.01; done
"""


def _script(*choices: str) -> Maker:
    """One of some scripts."""
    return lambda draw: Move(draw.choice(choices))


def _batch(lines: t.Iterable[str], program: str = "ip") -> Move:
    text = "\n".join(lines)
    return Move(f"{program} -force -batch - <<'END'\n{text}\nEND\n")


def _links(draw: random.Random) -> Move:
    kind = draw.choice(("veth peer name p{0}", "bridge"))
    return _batch(f"link add x{n} type {kind.format(n)}" for n in range(60))


def _addresses(draw: random.Random) -> Move:
    device = draw.choice(("eth0", "lo"))
    return _batch(f"address add 10.{draw.randrange(60, 99)}.{n}.1/32 dev {device}" for n in range(200))


def _routes(draw: random.Random) -> Move:
    protocol, table = draw.choice((4, 250)), draw.choice((254, 77))
    return _batch(f"route add blackhole 10.{n}.0.0/24 proto {protocol} table {table}" for n in range(200))


def _rules(draw: random.Random) -> Move:
    action = draw.choice(("table 77", "blackhole", "unreachable"))
    return _batch(f"rule add from 10.99.{n}.0/24 {action} protocol 250 priority {n + 100}" for n in range(200))


def _neighbours(_draw: random.Random) -> Move:
    return _batch(
        f"neigh replace 10.22.33.{n} lladdr 02:00:00:00:00:{n:02x} dev eth0 nud permanent" for n in range(1, 250)
    )


_TABLE = """nft -f - <<'END'
table {family} {name} {{
  chain all {{ type filter hook {hook} priority 0; policy drop; }}
}}
END
"""


def _tables(draw: random.Random) -> Move:
    """Of the names of managed ones."""
    family, name, hook = draw.choice(
        (
            ("inet", "netpath_egress", "output"),
            ("inet", "netpath_egress_guard", "input"),
            ("bridge", "netpath_egress", "prerouting"),
            ("netdev", "netpath_egress", "ingress device eth0"),
        )
    )
    return Move(_TABLE.format(family=family, name=name, hook=hook))


MOVES: dict[str, Maker] = {
    "its end renamed": lambda draw: Move(f"ip link set eth0 down; ip link set eth0 name {draw.choice(_NAMES)}"),
    "its end renamed, and a decoy": _script(
        "ip link set eth0 down; ip link set eth0 name x0; ip link add eth0 type veth peer name y0",
        "ip link set eth0 down; ip link set eth0 name x0; ip link add eth0 type bridge; ip link set eth0 up",
    ),
    "its end deleted": _script("ip link delete eth0"),
    "its end down": _script("ip link set eth0 down"),
    "its end smaller": lambda draw: Move(f"ip link set eth0 mtu {draw.choice((68, 600, 1279, 1400))}"),
    "its end in a nested namespace": lambda _draw: Move(_INTO_NESTED + "ip link set eth0 netns {pid}", _NESTED),
    "its end in a bridge of its own": _script(
        "ip link add inner type bridge; ip link set eth0 master inner; ip link set inner up"
    ),
    "a link above its end": lambda draw: Move(
        f"ip link add link eth0 name up0 type {draw.choice(('macvlan mode bridge', 'ipvlan mode l2', 'vlan id 5'))}; "
        f"ip link set up0 up; ip address add {draw.choice(ADDRESSES)} dev up0"
    ),
    "another MAC address": lambda draw: Move(
        f"ip link set eth0 address 02:00:5e:00:00:{draw.randrange(256):02x}; ip link set eth0 promisc on"
    ),
    "marks": lambda draw: Move(
        f"for one in eth0 lo; do ip link set $one alias '{draw.choice(_MARKS)}'; done; ip link set lo group 9"
    ),
    "alternative names": lambda draw: Move(
        f"ip link property add dev eth0 altname {draw.choice(_NAMES)}; "
        f"ip link property add dev lo altname '{ESCAPES}'; ip link property add dev lo altname net0"
    ),
    "names of the host's links": _script(
        "ip link add np-c1 type veth peer name np-w1; ip link add br0 type bridge; ip link set br0 alias netpath:pods",
        "ip link add br1 type bridge; ip link set br1 alias netpath:web up; ip address add 10.44.0.1/24 dev br1",
    ),
    "the loopback": _script(
        "ip link set lo down", "ip link set lo down; ip link set lo name eth9", "ip link set lo mtu 70"
    ),
    "a name of control characters": lambda _draw: Move(f"ip link add '{ESCAPES[4:]}' type bridge"),
    "many links": _links,
    "a taken address": lambda draw: Move(f"ip address add {draw.choice(ADDRESSES)} dev eth0 nodad"),
    "addresses of others on the loopback": lambda draw: Move(
        "".join(f"ip address add {one.split('/', maxsplit=1)[0]} dev lo;" for one in draw.sample(ADDRESSES, 3))
    ),
    "addresses with a peer": _script(
        "ip address add 10.22.33.3 peer 10.22.33.1/32 dev eth0; ip address add 10.22.33.1 peer 192.0.2.4/32 dev lo",
        "ip address add 10.9.9.9 peer 10.22.33.1/24 dev eth0; ip address add fd00:9::9 peer fd00:22:33::1/64 dev eth0",
    ),
    "no gateway": _script(
        *(
            f"ip route add {kind} 10.22.33.1 dev eth0 table local; ip route del default"
            for kind in ("broadcast", "multicast", "anycast", "local")
        ),
        "ip address flush dev eth0; ip address add 10.22.33.3/24 brd 10.22.33.1 dev eth0",
    ),
    "no address": _script("ip address flush dev eth0", "ip -6 address flush dev eth0", "ip -4 address flush dev eth0"),
    "many addresses": _addresses,
    "no route": _script("ip route flush table main", "ip -6 route flush table main", "ip route flush table local"),
    "another default route": _script(
        "ip route replace blackhole default; ip -6 route replace blackhole default",
        "ip route replace default via 10.22.33.2; ip -6 route replace default via fd00:22:33::2 dev eth0",
        "ip route add default via 10.22.33.2 metric 1 proto 250",
    ),
    "many routes": _routes,
    "many rules": _rules,
    "no rule": _script("ip rule flush", "ip -6 rule flush"),
    "settings": lambda draw: Move("sysctl -qw " + " ".join(f"net.{one}" for one in draw.sample(_SYSCTLS, 4))),
    "many neighbours": _neighbours,
    "tables of the names of managed ones": _tables,
    "a filter on its end": _script(
        "tc qdisc replace dev eth0 clsact; tc filter add dev eth0 egress matchall action drop"
    ),
    "a queueing discipline": _script(
        "tc qdisc replace dev eth0 root pfifo limit 1",
        "tc qdisc replace dev eth0 root tbf rate 8bit burst 10 limit 1",
        "tc qdisc replace dev eth0 root handle fa: pfifo",
    ),
    "encryption that nobody has keys for": _script(
        "ip xfrm policy add dir out action block; ip xfrm policy add dir in action block"
    ),
    "mounts": lambda _draw: Move(
        "true", ("unshare", "--mount", "sh", "-c", "mount -t tmpfs t /proc/sys; mount -t tmpfs t /sys; exec cat")
    ),
    "a handle that is held": lambda _draw: Move(
        "true", ("sh", "-c", "exec 9</proc/self/ns/net; exec unshare --net cat")
    ),
    "a process with a name of control characters": lambda _draw: Move(
        "true", ("sh", "-c", f"printf '%b' '{ESCAPES[:10]}' >/proc/self/comm; cat; true")
    ),
    "a pair into a namespace of its own": lambda _draw: Move(
        _INTO_NESTED + "ip link add v0 type veth peer name eth0 netns {pid}; ip link set v0 alias netpath:pods up",
        _NESTED,
    ),
    "its end renamed without a pause": lambda _draw: Move("true", ("sh", "-c", _RENAME)),
    "links that come and go": lambda _draw: Move(
        "true",
        ("sh", "-c", _COME_AND_GO),
    ),
}


def drawn(examples: int, together: int) -> list[list[tuple[str, Move]]]:
    """Each of the moves once, or more often where there are more examples; always the same ones."""
    found: list[list[tuple[str, Move]]] = []
    turn = 0
    titles: list[str] = []
    while len(found) < examples:
        draw = random.Random(turn)
        if len(titles) < together:
            titles += draw.sample(list(MOVES), len(MOVES))
        found.append([(title, MOVES[title](draw)) for title in titles[:together]])
        del titles[:together]
        turn += 1
    return found
