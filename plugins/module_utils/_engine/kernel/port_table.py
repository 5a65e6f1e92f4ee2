# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ports of bridges may send: the table bridge netpath_egress, for all ports of a host.

The number of its rules depends on nothing. Each frame is looked up by the port that it came in by, before the bridge
learns its source. What a port may do less than any other host on a link: be a router, also of multicast, a DHCP server,
and send frames that are neither IP nor ARP, as these reach no address that is checked. A bridge that snoops multicast
believes a querier, and leaves out ports that did not hear it.
See RFC 826, 3376, 3810, 4286, 4861, 6980, 7112, 7113 and 7610.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import EgressError
from ..model import MARK, Sender
from .addresses import link_local_of
from .netlink import address_text
from .nft_listing import Element, Listing, interface, packed
from .sealed_table import SealedTable, quoted

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

TABLE = SealedTable(
    "bridge",
    "netpath_egress",
    "spoof_protection",
    "ask for spoof_protection: false, and namespaces may send from any address",
)
# Numbers, as not every nft knows every name. Payloads are named by their place where nft has no typed word for them:
# th,64,128 is the target of neighbour discovery and th,192,64 its one option, that of router solicitations is th,64,64.
# Each rule names the protocol, which is the one behind any VLAN tag; else nft would have it look at the frame's type.
# A first fragment may hide what it is: l4proto 255 is nothing, and what is not there does not compare with anything.
RULES = """
set ports {
  type ifname
}
set trunks {
  type ifname . ether_addr
}
set macs {
  type ifname . ether_addr
}
set from4 {
  type ifname . ether_addr . ipv4_addr
}
set from6 {
  type ifname . ether_addr . ipv6_addr
}
set targets {
  typeof iifname . @th,64,128
}
set options {
  typeof iifname . @th,192,64
}
chain prerouting {
  type filter hook prerouting priority -350; policy accept;
  meta protocol vmap { 0x0800 : goto from_ipv4, 0x86dd : goto from_ipv6, 0x0806 : goto from_arp }
  goto other
}
chain input {
  type filter hook input priority -350; policy accept;
  ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00 iifname @ports counter drop
}
chain from_ipv4 {
  meta l4proto vmap { 1 : jump redirect4, 2 : jump querier4, 17 : jump server4, 103 : jump router }
  meta protocol 0x0800 iifname . ether saddr . ip saddr @from4 accept
  ip saddr 0.0.0.0 udp sport 68 udp dport 67 iifname . ether saddr @macs accept
  goto other
}
chain redirect4 {
  meta protocol 0x0800 icmp type 5 iifname @ports counter drop
}
chain querier4 {
  @th,0,8 17 iifname @ports counter drop
  @th,0,8 48 iifname @ports counter drop
}
chain server4 {
  @th,0,16 67 iifname @ports counter drop
  @th,16,16 68 iifname @ports counter drop
}
chain from_ipv6 {
  meta l4proto vmap { 17 : jump server6, 58 : jump neighbour, 103 : jump router }
  meta protocol 0x86dd meta l4proto != 255 iifname . ether saddr . ip6 saddr @from6 accept
  ip6 saddr :: meta l4proto 58 icmpv6 type { 131, 133, 143 } iifname . ether saddr @macs accept
  ip6 saddr :: meta l4proto 58 icmpv6 type 135 iifname . ether saddr @macs iifname . @th,64,128 @targets accept
  goto other
}
chain server6 {
  @th,0,16 547 iifname @ports counter drop
  @th,16,16 546 iifname @ports counter drop
  @th,0,32 & 0 == 0 return
  goto hidden
}
chain neighbour {
  meta protocol 0x86dd icmpv6 type vmap { 130 : goto router, 134 : goto router, 137 : goto router, 151 : goto router }
  meta protocol 0x86dd icmpv6 type { 133, 135, 136 } goto discovery
  @th,0,32 & 0 == 0 return
  goto hidden
}
chain hidden {
  meta protocol 0x86dd frag frag-off > 0 return
  iifname @ports counter drop
}
chain discovery {
  iifname != @ports return
  iifname . ether saddr @trunks return
  meta protocol 0x86dd icmpv6 type vmap { 133 : goto router_solicitation, 135 : goto solicitation }
  goto advertisement
}
chain router {
  iifname @ports counter drop
}
chain router_solicitation {
  ip6 saddr :: return
  meta protocol 0x86dd ip6 length 8 return
  meta protocol 0x86dd ip6 length 16 iifname . @th,64,64 @options return
  counter drop
}
chain solicitation {
  ip6 saddr :: return
  meta protocol 0x86dd ip6 length 24 return
  meta protocol 0x86dd ip6 length 32 iifname . @th,192,64 @options return
  counter drop
}
chain advertisement {
  meta protocol 0x86dd ip6 length 24 iifname . @th,64,128 @targets return
  meta protocol 0x86dd ip6 length 32 iifname . @th,64,128 @targets iifname . @th,192,64 @options return
  counter drop
}
chain from_arp {
  meta protocol 0x0806 iifname . arp saddr ether @macs iifname . ether saddr . arp saddr ip @from4 accept
  meta protocol 0x0806 iifname . arp saddr ether @macs arp saddr ip 0.0.0.0 jump arp_probe
  goto other
}
chain arp_probe {
  meta protocol 0x0806 iifname . ether saddr . arp daddr ip @from4 accept
}
chain other {
  iifname . ether saddr @trunks accept
  iifname @ports counter drop
}
""".strip()
_SETS = ("ports", "trunks", "macs", "from4", "from6", "targets", "options")
_OF_TARGETS = ("targets", "options")
_OF_OPTIONS = ("router_solicitation", "solicitation", "advertisement")


class Variant(t.NamedTuple):
    """Rules, and the sets that they look ports up in."""

    rules: str
    sets: tuple[str, ...]


def _without_targets() -> Variant:
    """For nft before 1.0, which knows no part of a packet by its offset in a key: targets are not checked."""
    text = RULES
    for name in _OF_TARGETS:
        start = text.index(f"set {name} {{")
        text = text[:start] + text[text.index("}\n", start) + 2 :]
    lines = [line.replace("iifname . @th,64,128 @targets accept", "accept") for line in text.split("\n")]
    kept = [line for line in lines if "@targets" not in line and "@options" not in line]
    for chain in _OF_OPTIONS:
        kept[kept.index("  counter drop", kept.index(f"chain {chain} {{"))] = "  return"
    return Variant("\n".join(kept), tuple(name for name in _SETS if name not in _OF_TARGETS))


# The first that the host takes.
VARIANTS = (Variant(RULES, _SETS), _without_targets())
_OPTIONS = (b"\x01\x01", b"\x02\x01")  # source and target link-layer address, each of eight bytes


def read(namespaces: Namespaces, netns: str) -> dict[str, Sender]:
    """By port. sound is False where the rules, or what is looked up for a port, are not as write would leave them."""
    listing = TABLE.read(namespaces, netns)
    return {} if listing is None else _parsed(netns, listing)


def refusal(namespaces: Namespaces, netns: str) -> EgressError | None:
    """Why this host could not be told, known before anything is changed."""
    refused = [TABLE.refusal(namespaces, netns, RULES)]
    if refused[0] is not None:
        refused.append(TABLE.refusal(namespaces, netns, VARIANTS[-1].rules))
    return refused[-1]


def _sound(listing: Listing | None) -> Variant | None:
    """The variant that the table is, None where somebody changed it."""
    return next((variant for variant in VARIANTS if TABLE.is_sound(listing, variant.rules)), None)


def write(namespaces: Namespaces, netns: str, changes: t.Sequence[tuple[str, Sender | None]]) -> None:
    """What each port may send, None for whatever it likes, in one transaction. The table goes with the last port."""
    listing = TABLE.read(namespaces, netns)
    there = {} if listing is None else _parsed(netns, listing)
    wanted = {**there, **dict(changes)}
    stay = {port: sender for port, sender in wanted.items() if sender is not None}
    if not stay:
        if listing is not None:
            TABLE.delete(namespaces, netns)
        return
    sound = _sound(listing)
    variant = sound or next((v for v in VARIANTS[:-1] if not TABLE.refusal(namespaces, netns, v.rules)), VARIANTS[-1])
    before = {name: _texts(listing, name) if listing else {} for name in variant.sets}
    after: dict[str, dict[_Known, str]] = {name: {} for name in _SETS}
    for port, sender in stay.items():
        for name, key, comment, text in _elements(port, sender):
            after[name][key, comment] = text
    if not sound:
        lines = [line for name in variant.sets for line in TABLE.change("add", name, list(after[name].values()))]
        TABLE.write(namespaces, netns, variant.rules, lines)
        return
    lines = []
    for verb, here, there_too in (("delete", before, after), ("add", after, before)):
        for name in variant.sets:
            changed = [text for known, text in here[name].items() if known not in there_too[name]]
            lines += TABLE.change(verb, name, changed)
    if lines:
        TABLE.run(namespaces, netns, lines)


_Known = tuple[bytes, str]  # what tells elements of a set apart: key and comment
_Item = tuple[str, bytes, str, str]  # set, key, comment, and the element in nft's words


def _elements(port: str, sender: Sender) -> t.Iterator[_Item]:
    """All that is looked up for a port."""
    name, key, mac = quoted(port), interface(port), sender.mac or ""
    hardware = bytes.fromhex(mac.replace(":", ""))
    mark = MARK + sender.network
    yield "ports", key, mark, f'{name} comment "{mark}"'
    yield "trunks" if sender.any_address else "macs", key + _aligned(hardware), "", f"{name} . {mac}"
    if sender.any_address:
        return
    for kind in _OPTIONS:
        option = kind + hardware
        yield "options", key + option, "", f"{name} . 0x{option.hex()}"
    for address in (*(sender.addresses or ()), link_local_of(mac)):
        data = packed(address)
        version = 4 if len(data) == 4 else 6
        yield f"from{version}", key + _aligned(hardware) + data, "", f"{name} . {mac} . {address}"
        if version == 6:
            yield "targets", key + data, "", f"{name} . 0x{data.hex()}"


def _aligned(data: bytes) -> bytes:
    """Parts of a key begin at multiples of four bytes."""
    return data + b"\0" * (-len(data) % 4)


def _parsed(netns: str, listing: Listing) -> dict[str, Sender]:
    variant = _sound(listing)
    held: dict[str, list[tuple[str, Element]]] = {}
    for name in _SETS:
        for element in listing.elements.get(name, ()):
            held.setdefault(element.key[:16].rstrip(b"\0").decode(errors="surrogateescape"), []).append((name, element))
    return {port: _sender(netns, port, found, variant) for port, found in held.items()}


def _sender(netns: str, port: str, found: t.Sequence[tuple[str, Element]], variant: Variant | None) -> Sender:
    by_set: dict[str, list[Element]] = {}
    for name, element in found:
        by_set.setdefault(name, []).append(element)
    hardware = next((element.key[16:22] for name in ("macs", "trunks") for element in by_set.get(name, ())), b"")
    mac = hardware.hex(":")
    own = link_local_of(mac) if mac else ""
    texts = {address_text(element.key[24:]) for name in ("from4", "from6") for element in by_set.get(name, ())}
    addresses = tuple(sorted(texts - {own}, key=_order))
    network = next((element.comment[len(MARK) :] for element in by_set.get("ports", ())), "")
    sender = Sender(netns, port, mac, addresses, "trunks" in by_set, False, network)
    if not mac or variant is None:
        return sender
    written = {(name, key) for name, key, _comment, _text in _elements(port, sender) if name in variant.sets}
    return dataclasses.replace(sender, sound=written == {(name, element.key) for name, element in found})


def _order(address: str) -> tuple[int, bytes]:
    return (6 if ":" in address else 4, packed(address))


def _texts(listing: Listing, name: str) -> dict[_Known, str]:
    """The elements of a set in nft's words, by what tells them apart."""
    return {(one.key, one.comment): _words(name, one.key) for one in listing.elements.get(name, ())}


def _words(name: str, key: bytes) -> str:
    port, rest = quoted(key[:16].rstrip(b"\0").decode(errors="surrogateescape")), key[16:]
    if name in ("targets", "options"):
        return f"{port} . 0x{rest.hex()}"
    mac, address = rest[:6].hex(":"), rest[8:]
    words = [port, *([mac] if mac else []), *([address_text(address)] if address else [])]
    return " . ".join(words)
