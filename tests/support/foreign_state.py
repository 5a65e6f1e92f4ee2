"""Random state of somebody else's: links, namespaces, tables, files, switches, and rules in both flavours of iptables.

Each element is lines of a script, and none depends on another.
"""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st

Options = dict[str, t.Any]
Lines = list[str]

_BOOLEANS = st.sampled_from(["0", "1"])


def _bridge(number: int) -> st.SearchStrategy[list[str]]:
    name = f"fb{number}"
    extras = [
        f"ip address add 10.50.{number}.1/24 dev {name}; ip address add 10.50.{number}.2/24 dev {name}",
        f"ip address add fd00:50:{number}::1/64 dev {name} nodad",
        f"ip link set {name} type bridge stp_state 1 forward_delay 400 ageing_time 1000",
        f"ip link set {name} mtu 1400 alias 'rack {number}'",
        f"sysctl -qw net.ipv4.conf.{name}.forwarding=1 net.ipv4.conf.{name}.rp_filter=2",
        f"sysctl -qw net.ipv6.conf.{name}.forwarding=1",
        f"ip link set {name} up",
    ]
    made = f"ip link add {name} address 02:00:00:00:01:{number:02x} type bridge; ip link set {name} addrgenmode none"
    return st.lists(st.sampled_from(extras), unique=True).map(lambda chosen: [made, *chosen])


def _veth(number: int) -> st.SearchStrategy[list[str]]:
    name = f"fv{number}"
    extras = [
        f"""ip address add 10.60.{number}.1/24 dev {name}; ip link set {name} up; ip link set {name}p up
        ip route add 10.61.{number}.0/24 via 10.60.{number}.9 metric 7; ip route add 10.62.{number}.0/24 dev {name}""",
        f"sysctl -qw net.ipv4.conf.{name}.forwarding=0 net.ipv6.conf.{name}.forwarding=1",
        f"sysctl -qw net.ipv6.conf.{name}.accept_ra=2",
        f"ip link set {name} alias netpaths:pods",
    ]
    quiet = f"for end in {name} {name}p; do ip link set $end addrgenmode none; done"
    made = [f"ip link add {name} type veth peer name {name}p", quiet]
    return st.lists(st.sampled_from(extras), unique=True).map(lambda chosen: [*made, *chosen])


def _namespace(number: int) -> st.SearchStrategy[list[str]]:
    name = f"fn{number}"
    extras = [
        f"ip -n {name} link set lo up",
        f"ip netns exec {name} sysctl -qw net.ipv4.ip_forward=1",
        f"mkdir -p /etc/netns/{name}; echo nameserver 198.51.100.{number} > /etc/netns/{name}/resolv.conf",
        f"ip -n {name} link add eth0 type bridge; ip -n {name} address add 10.22.33.2/24 dev eth0",
        f"ip netns exec {name} nft 'add table inet netpath_egress; add chain inet netpath_egress own'",
    ]
    return st.lists(st.sampled_from(extras), unique=True).map(lambda chosen: [f"ip netns add {name}", *chosen])


def _table(number: int) -> st.SearchStrategy[list[str]]:
    def lines(family: str, hook: str) -> list[str]:
        table = f"{family} ft{number}"
        chain = "{ type filter hook " + hook + f" priority {number}; policy accept; }}"
        return [
            f"nft 'add table {table}; add chain {table} own {chain}'",
            f"nft 'add rule {table} own ct state established counter accept comment \"netpath:pods\"'",
            f"nft 'add set {table} some {{ type ipv4_addr; flags interval; elements = {{ 10.0.0.0/8 }}; }}'",
        ]

    return st.builds(lines, st.sampled_from(["ip", "inet"]), st.sampled_from(["forward", "postrouting", "input"]))


def _file(number: int) -> st.SearchStrategy[list[str]]:
    return st.sampled_from(
        [
            [f"echo net.ipv4.ip_forward=0 > /etc/sysctl.d/{number + 88}-own.conf"],
            [f"mkdir -p /etc/netns/own{number}; echo some > /etc/netns/own{number}/hosts"],
            [f"mkdir -p /etc/netpath; echo own > /etc/netpath/{number}"],
            [f"ip rule add from 10.70.{number}.0/24 table {number + 100}"],
            [f"ip route add blackhole 10.71.{number}.0/24 table {number + 100} proto 250"],
            [f"ip route add unreachable 10.72.{number}.0/24 metric 3"],
        ]
    )


def _switches() -> st.SearchStrategy[list[str]]:
    """Host-wide switches first: they rewrite those of each interface."""
    keys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.accept_redirects"]
    keys += ["net.ipv4.conf.default.forwarding", "net.ipv4.conf.uplink0.forwarding", "net.ipv4.conf.lo.forwarding"]
    keys += ["net.ipv6.conf.default.forwarding", "net.ipv6.conf.uplink0.forwarding", "net.ipv6.conf.uplink0.accept_ra"]
    values = st.tuples(*(st.none() | _BOOLEANS for _key in keys))
    return values.map(lambda chosen: [f"sysctl -qw {k}={v}" for k, v in zip(keys, chosen) if v is not None])


def _several(element: t.Callable[[int], st.SearchStrategy[list[str]]]) -> st.SearchStrategy[list[str]]:
    numbered: list[st.SearchStrategy[list[str]]] = [st.just([]) | element(number) for number in (1, 2)]
    return st.tuples(*numbered).map(lambda found: [line for lines in found for line in lines])


# Rules of iptables: (table, words), or of a chain of a user's with all that is in it. NET and ANY are of the family.
# Our mark stands where we never write, and what merely resembles it also where we do.
_PROGRAMS = [f"{family}-{kind}" for kind in ("nft", "legacy") for family in ("iptables", "ip6tables")]
_NETS = {"iptables": "10.77.0.0/24", "ip6tables": "fd00:77::/64"}
_MINE = "-m comment --comment"
_RULES = [
    "-P FORWARD DROP",
    "-P FORWARD ACCEPT",
    "-P INPUT ACCEPT",
    "-A FORWARD -s NET -j DROP",
    f"-A FORWARD -i lo {_MINE} netpaths:pods -j ACCEPT",
    f"-A FORWARD -d NET {_MINE} netpath:Other -j ACCEPT",
    f"-A FORWARD -d NET {_MINE} 'a \"b\" netpath:pods' -j ACCEPT",
    f"-A INPUT -i br0 {_MINE} netpath:pods -j ACCEPT",
    f"-N mine; P -A mine -s NET {_MINE} netpath:pods -j DROP; P -A mine -j RETURN; P -A FORWARD -i lo -j mine",
    "-N netpath; P -A netpath -s NET -j ACCEPT; P -I FORWARD -i lo -j netpath",
    "-N netpath-other; P -A INPUT -s NET -j netpath-other",
    "-N DOCKER-USER; P -A DOCKER-USER -j RETURN; P -I FORWARD -j DOCKER-USER",
    "-t nat -A POSTROUTING -s NET -o uplink0 -j MASQUERADE",
    f"-t nat -I POSTROUTING -s NET {_MINE} netpath: -j RETURN",
    "-t nat -A PREROUTING -i lo -p tcp --dport 81 -j REDIRECT --to-ports 82",
    f"-t nat -A PREROUTING -s NET {_MINE} netpath:Other -j ACCEPT",
    "-t nat -N mine; P -t nat -A OUTPUT -d NET -j mine",
    "-t nat -P INPUT ACCEPT",
    "-t mangle -A FORWARD -o lo -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200",
    f"-t mangle -A PREROUTING -i lo {_MINE} netpath:pods -j MARK --set-mark 7",
    "-t mangle -N netpath-pods; P -t mangle -A netpath-pods -j RETURN",
]
_LATER = [
    "-I FORWARD -s NET -i lo -j DROP",
    "-A FORWARD -s NET -o lo -j ACCEPT",
    "-P FORWARD DROP",
    "-N later; P -A later -s NET -j DROP; P -I FORWARD -i lo -j later",
    "-t nat -I POSTROUTING -d NET -j RETURN",
    "-t nat -A POSTROUTING -s NET -o lo -j MASQUERADE",
    "-t nat -I PREROUTING -i lo -s NET -j ACCEPT",
    "-t nat -N later",
    "-t mangle -I FORWARD -s NET -j ACCEPT",
    "-t mangle -A FORWARD -s NET -j MARK --set-mark 9",
]


def _of_programs(rules: Lines, at_most: int) -> st.SearchStrategy[Lines]:
    """Some of the rules for each program, in any order."""

    def lines(program: str) -> st.SearchStrategy[Lines]:
        net = _NETS[program.partition("-")[0]]
        written = [f"{program} {rule}".replace("; P ", f"; {program} ").replace("NET", net) for rule in rules]
        return st.lists(st.sampled_from(written), unique=True, max_size=at_most).flatmap(st.permutations).map(list)

    return st.tuples(*map(lines, _PROGRAMS)).map(_joined)


def _joined(found: t.Iterable[Lines]) -> Lines:
    return [line for lines in found for line in lines]


RULES: st.SearchStrategy[Lines] = st.just([]) | _of_programs(_RULES, 8)
LATER: st.SearchStrategy[Lines] = st.just([]) | _of_programs(_LATER, 4)

# How a network is built: what of it is in which back end.
_PUBLISHED = [
    {"port": 8080, "to": "c1:7070"},
    {"port": 8080, "protocol": "udp", "to": "c1:7070"},
    {"port": "7070-7071", "to": "c2"},
]
CHOICES: st.SearchStrategy[Options] = st.fixed_dictionaries(
    {
        "firewall": st.sampled_from(["auto", "nftables", "iptables"]),
        "nat": st.sampled_from(["masquerade", "snat", "none"]),
        "publish": st.lists(st.sampled_from(_PUBLISHED), unique_by=str),
        "mss_clamp": st.booleans(),
        "bandwidth": st.sampled_from(["none", "200mbit"]),
    }
)

OBJECTS = st.tuples(*(_several(element) for element in (_bridge, _veth, _namespace, _table, _file)), _switches()).map(
    _joined
)
