# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published ports: how a user writes them, and their canonical form. No I/O."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t
from dataclasses import dataclass

from ..errors import SpecError
from ..rules import Publication
from . import values
from .schema import Options, checked

OPTIONS: Options = {
    "port": {"type": "raw", "required": True},
    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
    "to": {"type": "str", "required": True},
}


@dataclass(frozen=True)
class Entry:
    """One entry as written. to: a name or an address; to_port 0 keeps the numbers."""

    protocol: str
    first: int
    last: int
    to: str
    to_port: int
    key: str

    def towards(self, address: str) -> Publication:
        return Publication(self.protocol, self.first, self.last, address, self.to_port or self.first)


def entries(given: t.Any, key: str) -> list[Entry]:
    """Checked entries. Errors: SpecError with the offending key."""
    return [_entry(item, f"{key}[{i}]") for i, item in enumerate(values.as_list(given, key))]


def _entry(item: t.Any, key: str) -> Entry:
    data = checked(item, OPTIONS, key)
    first, last = port_range(data["port"], f"{key}.port")
    to, to_port = _target(data["to"], f"{key}.to")
    if to_port and last > first:
        raise SpecError(f"{key}.to", f"{data['to']!r} gives a port to a range of ports", "a range keeps its numbers")
    return Entry(data["protocol"], first, last, to, to_port, key)


def port_range(value: t.Any, key: str, example: str = "30000-30100") -> tuple[int, int]:
    """First and last of a port or a range of ports."""
    text = "" if isinstance(value, bool) else str(value)
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise SpecError(key, f"{value!r} is no port range", f"allowed are 1 to 65535, and the form {example}")
    return (first, last)


def _target(text: str, key: str) -> tuple[str, int]:
    """A name or an address, and the port behind it, 0 for none: ns1:80, 10.0.0.2:80, [fd00::2]:80."""
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([^:]*))?|([^\[\]]*:[^\[\]]*:[^\[\]]*)", text)
    if found is None:
        raise SpecError(
            key, f"{text!r} is no target", "allowed are the forms ns1, ns1:80, 10.0.0.2:80 and [fd00::2]:80"
        )
    to = found[1] or found[2] or found[4] or ""
    if not to:
        raise SpecError(key, f"{text!r} names nothing", "give a namespace of the network, or an address")
    port = 0
    if found[3] is not None:
        port, last = port_range(found[3], key)
        if last > port:
            raise SpecError(key, f"{text!r} leads to a range of ports", "leave the ports out: each keeps its number")
    return (str(ipaddress.ip_address(to)) if is_address(to) else to), port


def is_address(text: str) -> bool:
    """Also one that names its interface, which is then refused as an address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def in_networks(address: str, networks: t.Sequence[str], key: str) -> str:
    """The address, which must be that of a host of one of the networks."""
    found = ipaddress.ip_address(values.address(address, key))
    homes = [network for network in map(values.network, networks) if found in network]
    if not homes:
        raise SpecError(key, f"{address} is in none of {', '.join(networks)}", "give an address of the network")
    for home in homes:
        values.interface_address(f"{found}/{home.prefixlen}", key)
    return str(found)


def publications(given: t.Any, sources: t.Sequence[str], key: str) -> tuple[Publication, ...]:
    """Entries that lead to addresses, in canonical form."""
    found = []
    for entry in entries(given, key):
        address = values.address(entry.to, f"{entry.key}.to")
        found.append((entry.key, entry.towards(in_networks(address, sources, f"{entry.key}.to"))))
    no_duplicates(found)
    return joined(publication for _key, publication in found)


def no_duplicates(found: t.Iterable[tuple[str, Publication]]) -> None:
    """Each port of each family leads to one place. found: with the key of each."""
    seen: dict[tuple[int, str, int], str] = {}
    for key, publication in found:
        for port in publication.ports:
            place = (values.family(publication.target), publication.protocol, port)
            if seen.setdefault(place, key) != key:
                raise SpecError(
                    f"{key}.port", f"{publication.protocol} {port} is already published by {seen[place]}", "choose one"
                )


def joined(found: t.Iterable[Publication]) -> tuple[Publication, ...]:
    """In order, and neighbours in one where each port keeps its number: the same ports always give the same tuple."""
    result: list[Publication] = []
    for item in sorted(found, key=lambda item: (values.family(item.target), item)):
        last = result[-1] if result else None
        if last and _continues(last, item):
            result[-1] = dataclasses.replace(last, last=item.last)
        else:
            result.append(item)
    return tuple(result)


def _continues(last: Publication, item: Publication) -> bool:
    keep_numbers = last.target_port == last.first and item.target_port == item.first
    same = (last.protocol, last.target) == (item.protocol, item.target)
    return same and keep_numbers and last.last + 1 == item.first


def as_options(publication: Publication) -> dict[str, t.Any]:
    """The entry that a user would write for it."""
    ports, _to, target = str(publication).split(" ", 1)[1].partition(" to ")
    return {"port": ports, "protocol": publication.protocol, "to": target}
