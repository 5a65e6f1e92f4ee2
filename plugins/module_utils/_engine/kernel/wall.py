# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packets managed bridges exchange by way of the host: the table inet netpath_egress_wall, for all networks.

The number of its rules does not depend on that of networks. What a network asks for is kept in comments of elements.
What packets are looked up in is made of that, so that a peer may be named before it is there.
"""

from __future__ import annotations

import sys
import typing as t
import zlib

from ..errors import EgressError
from ..model import MARK
from ..rules import ALL_NETWORKS, WallRules
from ..spec import values
from .netlink import address_text
from .nft_listing import Element, Listing
from .sealed_table import SealedTable, quoted

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

Changes = t.Sequence[tuple[str, t.Optional[WallRules]]]
Found = dict[str, t.Optional[WallRules]]

TABLE = SealedTable(
    "inet",
    "netpath_egress_wall",
    "spoof_protection, inbound, peers and isolated",
    "ask for spoof_protection: false, isolated: false, inbound: open and peers: [all], and all is open",
)
_RULES = """
set bridges {{
  type ifname
}}
set closed {{
  type ifname
}}
set inside {{
  type ifname . ifname
}}
set pairs {{
  type ifname . ifname
}}
set sources4 {{
  type ifname . ipv4_addr
  flags interval
}}
set sources6 {{
  type ifname . ipv6_addr
  flags interval
}}
set subnets4 {{
  type ipv4_addr
  flags interval
}}
set subnets6 {{
  type ipv6_addr
  flags interval
}}
set peers {{
  type ifname . mark
}}
chain forward {{
  type filter hook forward priority -160; policy accept;
  iifname @bridges goto leaving{entering}
}}
chain leaving {{
  oifname @bridges goto between{begun}
  iifname . ip saddr != @sources4 counter drop
  iifname . ip6 saddr != @sources6 counter drop
  ip daddr 169.254.0.0/16 counter drop
}}
chain between {{
  iifname . oifname @inside accept
  iifname . ip saddr != @sources4 counter drop
  iifname . ip6 saddr != @sources6 counter drop
  iifname . oifname @pairs accept
  oifname . iifname @pairs accept{published}
  counter drop
}}{untranslated}
"""
# Each of these has the kernel track connections, which costs a host that only routes more than all the rest.
_TRACKED = {
    # By who began a connection and not by whether it runs, so that what is closed is closed to what runs as well.
    # What a helper of connection tracking expects begins outside.
    "entering": """
  oifname @closed ct direction reply ct state established,related accept
  oifname @closed ct status & dnat == dnat accept
  oifname @closed ct status & expected == expected accept
  oifname @closed counter drop""",
    # Of these, the first packet was looked at.
    "begun": """
  ct state established accept""",
    "published": """
  ct status & dnat == dnat accept""",
    # Ahead of whoever translates sources at 100: a connection is translated once.
    "untranslated": """
chain untranslated {
  type nat hook postrouting priority 99; policy accept;
  oifname @bridges ip saddr @subnets4 ip daddr @subnets4 ct status & dnat != dnat snat ip to ip saddr
  oifname @bridges ip6 saddr @subnets6 ip6 daddr @subnets6 ct status & dnat != dnat snat ip6 to ip6 saddr
}""",
}
_SETS = ("bridges", "closed", "inside", "pairs", "sources4", "sources6", "subnets4", "subnets6", "peers")
_FLAGS = ("isolated", "spoof_protection", "open", "published")
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}


def rules_for(networks: t.Iterable[WallRules]) -> str:
    """The rules that these networks take, which are one of two texts."""
    tracked = any(not network.open or network.published for network in networks)
    return _RULES.format(**(_TRACKED if tracked else dict.fromkeys(_TRACKED, ""))).strip()


def read(namespaces: Namespaces, netns: str) -> Found:
    """By network; None where the table is not exactly as write would leave it."""
    listing = TABLE.read(namespaces, netns)
    return {} if listing is None else _parsed(listing)[0]


def refusal(namespaces: Namespaces, netns: str, changes: Changes) -> EgressError | None:
    """Why this host could not be told, known before anything is changed."""
    new = [rules for _name, rules in changes if rules]
    return TABLE.refusal(namespaces, netns, rules_for(new)) if new else None


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace what holds each network, or delete it where its rules are None. The table goes with the last network."""
    listing = TABLE.read(namespaces, netns)
    there = {} if listing is None else _parsed(listing)[1]
    wanted = {**there, **dict(changes)}
    stay = {name: rules for name, rules in wanted.items() if rules is not None}
    if stay:
        held = _elements(stay)
        lines = [line for name in _SETS for line in TABLE.change("add", name, list(held[name].values()))]
        TABLE.write(namespaces, netns, rules_for(stay.values()), lines)
    elif listing is not None:
        TABLE.delete(namespaces, netns)


_Texts = dict[str, dict[str, str]]  # by set: what is read back of an element, and the element in nft's words


def _elements(networks: t.Mapping[str, WallRules]) -> _Texts:
    """All that the sets hold for these networks."""
    found: _Texts = {name: {} for name in _SETS}
    bridges = {name: rules.bridge for name, rules in networks.items()}

    def add(set_name: str, keys: t.Sequence[str], comment: str = "") -> None:
        shown = " . ".join(key if _is_number(key) else quoted(key) for key in keys)
        said = f' comment "{comment}"' if comment else ""
        found[set_name][" ".join([*keys, comment])] = shown + said

    for name, rules in sorted(networks.items()):
        flags = [flag for flag in _FLAGS if getattr(rules, flag)]
        add("bridges", [rules.bridge], " ".join([MARK + name, *flags]))
        if not rules.open:
            add("closed", [rules.bridge])
        if not rules.isolated:
            # With br_netfilter, this is also the way of frames that never leave the bridge.
            add("inside", [rules.bridge, rules.bridge])
        for peer in rules.peers:
            add("peers", [rules.bridge, f"{zlib.crc32(peer.encode()):#010x}"], MARK + peer)
        named = [peer for peer in bridges if peer != name and (peer in rules.peers or ALL_NETWORKS in rules.peers)]
        for peer in named:
            add("pairs", [rules.bridge, bridges[peer]])
        for subnet in rules.subnets:
            add(f"subnets{values.family(subnet)}", [subnet], MARK + name)
        allowed = [subnet for subnet in rules.subnets if rules.spoof_protection] or [*_EVERYTHING.values()]
        for subnet in allowed:
            add(f"sources{values.family(subnet)}", [rules.bridge, subnet])
    return found


def _is_number(key: str) -> bool:
    return "/" in key or key.startswith("0x")


def _parsed(listing: Listing) -> tuple[Found, dict[str, WallRules]]:
    """What is told of each network, and what it most probably asked for, also where the table was edited."""
    networks = _networks(listing)
    expected = {name: set(texts) for name, texts in _elements(networks).items()}
    there = {name: {" ".join(words) for words in _words(name, listing.elements.get(name, ()))} for name in _SETS}
    sound = TABLE.is_sound(listing, rules_for(networks.values())) and expected == there
    return {name: rules if sound else None for name, rules in networks.items()}, networks


def _networks(listing: Listing) -> dict[str, WallRules]:
    found: dict[str, WallRules] = {}
    subnets: dict[str, list[str]] = {}
    for name in ("subnets4", "subnets6"):
        for subnet, comment in _words(name, listing.elements.get(name, ())):
            subnets.setdefault(comment[len(MARK) :], []).append(subnet)
    peers: dict[str, list[str]] = {}
    for bridge, _number, comment in _words("peers", listing.elements.get("peers", ())):
        peers.setdefault(bridge, []).append(comment[len(MARK) :])
    for bridge, comment in _words("bridges", listing.elements.get("bridges", ())):
        mark, *flags = comment.split(" ")
        if mark.startswith(MARK):
            name = mark[len(MARK) :]
            ranges = values.collapsed(map(values.network, subnets.get(name, ())))
            asked = {flag: flag in flags for flag in _FLAGS}
            found[name] = WallRules(bridge, ranges, tuple(sorted(peers.get(bridge, ()))), **asked)
    return found


def _words(name: str, elements: t.Sequence[Element]) -> list[tuple[str, ...]]:
    """Each element as the words that _elements made it of."""
    if name in ("subnets4", "subnets6"):
        return list(_intervals(elements))
    found = []
    for one in elements:
        key = one.key
        words = [_interface(key[:16])]
        if name in ("inside", "pairs"):
            words.append(_interface(key[16:]))
        elif name == "peers":
            # A mark is a number of this machine.
            words.append(f"{int.from_bytes(key[16:], sys.byteorder):#010x}")
        elif name.startswith("sources"):
            words.append(_range(key[16:], (one.until or key)[16:]))
        found.append((*words, one.comment))
    return found


def _interface(data: bytes) -> str:
    return data.split(b"\0")[0].decode(errors="surrogateescape")


def _intervals(elements: t.Sequence[Element]) -> t.Iterator[tuple[str, str]]:
    """A set of ranges is listed by the first key of each and the first one after it, in some order."""
    begun: Element | None = None
    for one in sorted(elements, key=lambda one: (one.key, not one.ends)):
        if begun is not None:
            last = int.from_bytes(one.key, "big") - 1
            yield _range(begun.key, last.to_bytes(len(one.key), "big")), begun.comment
        begun = None if one.ends else one
    if begun is not None:
        yield _range(begun.key, b"\xff" * len(begun.key)), begun.comment


def _range(first: bytes, last: bytes) -> str:
    bits = (int.from_bytes(first, "big") ^ int.from_bytes(last, "big")).bit_length()
    return f"{address_text(first)}/{8 * len(first) - bits}"
