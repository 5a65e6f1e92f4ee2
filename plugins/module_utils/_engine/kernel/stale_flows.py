# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tracked flows changed rules leave stale: the kernel decides on NAT once for each flow. No I/O."""

from __future__ import annotations

import bisect
import functools
import ipaddress
import typing as t
from dataclasses import dataclass

from ..rules import NatRules, PublishRules, Rules
from ..spec import values
from .nft import PORT_PROTOCOLS
from .nft_nat import UNTRANSLATED


class Ends(t.NamedTuple):
    """One direction of an entry. Addresses are packed; ports are 0 where the protocol has none."""

    source: bytes
    destination: bytes
    protocol: int
    source_port: int = 0
    destination_port: int = 0


# Whether an entry is to be deleted, by its first direction and, where that is not enough, the one of replies.
Judge = t.Callable[[Ends, t.Callable[[], Ends]], bool]


class Way(t.NamedTuple):
    """How the kernel routes a flow now. addresses: packed, those that masquerading may take there, if any."""

    interface: str
    addresses: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Host:
    """local: packed addresses of this host. way: of a packed source and destination, None where no way is known."""

    local: t.Container[bytes]
    way: t.Callable[[bytes, bytes], Way | None]


def judge(old: Rules | None, new: Rules | None, version: int, host: Host, unread: bool = False) -> Judge | None:
    """Of flows of one family, those that the change from old to new rules (None for no rules) leaves stale.

    unread: there were rules that nobody can tell. None where the change concerns no flow.
    """
    if old == new and not unread:
        return None
    if isinstance(old or new, PublishRules):
        before, after = ({} if rules is None else leads(t.cast(PublishRules, rules), version) for rules in (old, new))
        if unread:
            return _other_lead_judge(after, host.local) if after else None
        return _led_judge(before, after, host.local) if before != after else None
    if not isinstance(old or new, NatRules):
        return None
    was, is_now = (Translation(t.cast("NatRules | None", rules), version) for rules in (old, new))
    if not was.sources and not is_now.sources:
        return None

    def is_it(flow: Flow) -> bool:
        return differs(flow, is_now, host) if unread else is_stale(flow, was, is_now, host.way)

    return _translated_judge(was.sources, is_now.sources, host.local, is_it)


def _translated_judge(
    old: Networks, new: Networks, local: t.Container[bytes], is_stale_flow: t.Callable[[Flow], bool]
) -> Judge:
    def is_it(original: Ends, reply: t.Callable[[], Ends]) -> bool:
        if original.source not in old and original.source not in new:
            return False
        back = reply()
        translated = None if back.destination == original.source else back.destination
        flow = Flow(original.source, back.source, back.protocol, translated, back.destination_port)
        # What ends at this host never comes by postrouting.
        return flow.destination not in local and is_stale_flow(flow)

    return is_it


Leads = dict[tuple[int, int], tuple[bytes, int]]


def leads(rules: PublishRules, version: int) -> Leads:
    """{(protocol, port): (packed address, port)} of one family."""
    found: Leads = {}
    for item in rules.publications:
        if values.family(item.target) == version:
            target = ipaddress.ip_address(item.target).packed
            number = PORT_PROTOCOLS[item.protocol]
            found.update({(number, port): (target, item.target_port + i) for i, port in enumerate(item.ports)})
    return found


def _led_judge(old: Leads, new: Leads, local: t.Container[bytes]) -> Judge:
    """Flows that a published port led somewhere else, and those that came to the host where a port leads on now."""

    def is_it(original: Ends, reply: t.Callable[[], Ends]) -> bool:
        place = (original.protocol, original.destination_port)
        before, after = old.get(place), new.get(place)
        if before == after:
            return False
        back = reply()
        led = (back.source, back.source_port)
        if led == (original.destination, original.destination_port):
            return after is not None and original.destination in local
        return led == before

    return is_it


def _other_lead_judge(new: Leads, local: t.Container[bytes]) -> Judge:
    """Flows to this host's published ports that go anywhere but where these lead now."""

    def is_it(original: Ends, reply: t.Callable[[], Ends]) -> bool:
        after = new.get((original.protocol, original.destination_port))
        if after is None or original.destination not in local:
            return False
        back = reply()
        return (back.source, back.source_port) != after

    return is_it


@dataclass(frozen=True)
class Flow:
    """An entry. Addresses are packed; destination is the one that postrouting sees, after any DNAT.

    translated: the address that replies go to, where that is not the source; port is the one they go to.
    """

    source: bytes
    destination: bytes
    protocol: int
    translated: bytes | None
    port: int = 0


class Networks:
    """Networks of one family, to look up packed addresses in."""

    def __init__(self, networks: t.Iterable[str], version: int) -> None:
        self._networks = [text for text in networks if values.family(text) == version]
        self._size = 4 if version == 4 else 16

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: bytes) -> bool:
        first, last = self._bounds
        index = bisect.bisect_right(first, address) - 1
        return index >= 0 and address <= last[index]

    @functools.cached_property
    def _bounds(self) -> tuple[list[bytes], list[bytes]]:
        """First and last address of each, in order. Where there are no flows, nobody asks."""
        spans = [values.span(text) for text in values.collapsed(map(values.network, self._networks))]
        first, last = ([span[end].to_bytes(self._size, "big") for span in spans] for end in (1, 2))
        return first, last


class Translation:
    """What rules, None for no rules, do to packets of one family."""

    def __init__(self, rules: NatRules | None, version: int) -> None:
        rules = rules or NatRules(())
        self.sources = Networks(rules.sources, version)
        self._exempt = Networks((*rules.exclude, *UNTRANSLATED[version]), version)
        first, _dash, last = rules.to_source[0 if version == 4 else 1].partition("-")
        self.target = tuple(ipaddress.ip_address(end).packed for end in (first, last or first) if end)
        self.ports = rules.ports
        self.interfaces = (rules.out_interfaces, rules.not_out_interface)

    def leaves_by(self, interface: str) -> bool:
        """Whether what leaves by an interface is translated."""
        out_interfaces, not_out_interface = self.interfaces
        return interface in out_interfaces if out_interfaces else interface != not_out_interface

    def applies(self, flow: Flow) -> bool:
        """Whether a flow is translated, if it leaves by an interface that the rules are for."""
        return (
            flow.source in self.sources
            and flow.destination not in self.sources
            and flow.destination not in self._exempt
        )

    def allows(self, flow: Flow, right: bool) -> bool:
        """Whether a flow's translation is one that these rules give. right: so is its address, when masquerading."""
        if self.target:
            right = flow.translated is not None and self.target[0] <= flow.translated <= self.target[1]
        ports = self.ports if flow.protocol in PORT_PROTOCOLS.values() else None
        return right and (ports is None or ports[0] <= flow.port <= ports[1])


def is_stale(
    flow: Flow, old: Translation, new: Translation, way: t.Callable[[bytes, bytes], Way | None] = lambda *_ends: None
) -> bool:
    """Whether a flow was treated by the old rules as the new ones would not treat it.

    A flow that the old rules left alone and that has a translation owes it to somebody else's rules, which
    are still there: it stays. One that keeps a translation that the new rules allow stays as well.
    """
    before, after = old.applies(flow), new.applies(flow)
    if before and after and old.interfaces != new.interfaces:
        # The entry does not tell the interface by which the flow leaves.
        leaves = way(flow.source, flow.destination)
        if leaves is None:
            return True
        before, after = (rules.leaves_by(leaves.interface) for rules in (old, new))
    if not before or not after:
        return (before and flow.translated is not None) or (after and flow.translated is None)
    return flow.translated is not None and not new.allows(flow, not old.target)


def differs(flow: Flow, new: Translation, host: Host) -> bool:
    """Whether a flow is not as the new rules treat it, where nobody can tell the rules that it began with."""
    if flow.source not in new.sources or flow.destination in new.sources:
        # What stays inside is translated for published ports alone.
        return False
    leaves = host.way(flow.source, flow.destination)
    applies = new.applies(flow) and (leaves is None or new.leaves_by(leaves.interface))
    if flow.translated is None or not applies:
        return applies == (flow.translated is None)
    addresses = leaves.addresses if leaves else ()
    return not new.allows(flow, flow.translated in (addresses or host.local))
