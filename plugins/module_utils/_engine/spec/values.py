# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of single values: names, addresses, MACs, sysctl keys. Each returns the canonical form or raises SpecError."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import re
import typing as t

from ..errors import SpecError
from ..model import MARK
from .schema import is_number, shown

MAX_INTERFACE_NAME = 15  # IFNAMSIZ - 1 in the kernel's linux/if.h
SMALLEST_IPV6_MTU = 1280  # RFC 8200, section 5
SMALLEST_RATE, LARGEST_RATE = 8 * 10**3, 100 * 10**9
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NETWORK = re.compile(r"[a-z0-9-]{1,32}")
_SYSCTL_WORD = re.compile(r"[A-Za-z0-9_.:-]+")

IpNetwork = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
IpInterface = t.Union[ipaddress.IPv4Interface, ipaddress.IPv6Interface]


def interface_name(value: t.Any, key: str) -> str:
    """1 to 15 bytes without "/", white space or a colon (dev_valid_name in the kernel's net/core/dev.c)."""
    allowed = f"allowed are 1 to {MAX_INTERFACE_NAME} bytes without '/', ':', '%', control characters or white space"
    if not isinstance(value, str) or not value or not value.isprintable():
        raise SpecError(key, f"{value!r} is no interface name", allowed)
    if len(value.encode()) > MAX_INTERFACE_NAME:
        raise SpecError(key, f"{value!r} has {len(value.encode())} bytes", allowed)
    # The kernel puts a number in the place of "%d".
    if value in (".", "..") or re.search(r"[/:%\s\"'\\]", value):
        raise SpecError(key, f"{value!r} is no interface name", allowed)
    if value in ("all", "default"):
        raise SpecError(key, f"{value!r} stands for other interfaces among the sysctls", "choose another name")
    return value


def interface_in_rules(value: t.Any, key: str) -> str:
    """The name of an interface that rules can name."""
    name = interface_name(value, key)
    if name.startswith("@"):
        raise SpecError(
            key, f"{value!r} starts with '@', which nft takes for the name of a set", "rename the interface"
        )
    return name


def new_interface_name(value: t.Any, key: str) -> str:
    """A name for an interface that is made, which the loopback never is."""
    if interface_name(value, key) == "lo":
        raise SpecError(key, "'lo' is the loopback", "choose another name")
    return str(value)


def namespace_name(value: t.Any, key: str, host: bool = False) -> str:
    """A name below /run/netns; with host also "" for the namespace of the host."""
    allowed = "allowed are 1 to 64 letters, digits, '_', '-' and '.', but not '.' or '..'"
    if host and value in ("", None):
        return ""
    if not isinstance(value, str) or value in (".", "..") or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise SpecError(key, f"{value!r} is no namespace name", allowed)
    if value.startswith("-"):
        raise SpecError(key, f"{value!r} starts with '-', which programs take for an option", allowed)
    return value


def network_name(value: t.Any, key: str) -> str:
    if not isinstance(value, str) or not _NETWORK.fullmatch(value):
        raise SpecError(key, f"{value!r} is no network name", "allowed are 1 to 32 of a-z, 0-9 and '-'")
    return value


def mark(network: str | None, key: str) -> str:
    """The mark on what is made for a network; without a network the bare mark."""
    return MARK + (network_name(network, key) if network else "")


def mac(value: t.Any, key: str) -> str:
    """A unicast MAC address in lower case with colons."""
    text = str(value).lower().replace("-", ":")
    if not _MAC.fullmatch(text) or text == "00:00:00:00:00:00":
        raise SpecError(key, f"{value!r} is no MAC address", "allowed is the form 02:00:5e:10:00:01")
    if int(text[:2], 16) & 1:
        raise SpecError(key, f"{value!r} is a multicast MAC address", "the first byte must be even")
    return text


def mtu(value: t.Any, key: str) -> int:
    return number(value, key, 68, 65535)


def number(value: t.Any, key: str, least: int, most: int) -> int:
    if isinstance(value, str) and is_number(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise SpecError(key, f"{value!r} is out of range", f"allowed are {least} to {most}")
    return int(value)


def bandwidth(value: t.Any, key: str) -> int:
    """A rate in bit/s, of a text such as 10mbit or 1.5gbit."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kmg]?)bit", str(value))
    rate = round(float(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[found[2]]) // 8 * 8 if found else 0
    if not SMALLEST_RATE <= rate <= LARGEST_RATE:
        raise SpecError(key, f"{value!r} is no bandwidth", "allowed is the form 10mbit, from 8kbit to 100gbit")
    return rate


def address(value: t.Any, key: str) -> str:
    """A bare address in canonical form, without the interface that may follow a link-local one."""
    _no_scope(value, key)
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        raise SpecError(
            key, f"{value!r} is no IP address", "allowed is an address such as 192.0.2.1 or fd00::1"
        ) from None


def scoped_address(value: t.Any, key: str) -> str:
    """An address that may name its interface: fe80::1%eth0."""
    text, percent, interface = str(value).partition("%")
    return address(text, key) + (percent + interface_name(interface, key) if percent else "")


def host_address(value: t.Any, key: str) -> str:
    """An address that one host can have."""
    found = ipaddress.ip_address(address(value, key))
    if found.is_multicast or found.is_unspecified or found.is_loopback or str(found) == "255.255.255.255":
        raise SpecError(key, f"{value!r} is not an address of a single host", "choose another one")
    return str(found)


def _no_scope(value: t.Any, key: str) -> None:
    if "%" in str(value):
        raise SpecError(key, f"{value!r} names an interface", "leave out '%' and what follows")


def interface_address(value: t.Any, key: str) -> str:
    """A host's address with its prefix length ("10.0.0.2/24"), usable on an interface."""
    _no_scope(value, key)
    if "/" not in str(value):
        raise SpecError(key, f"{value!r} has no prefix length", "allowed is the form 10.0.0.2/24 or fd00::2/64")
    try:
        found = interface(str(value))
    except ValueError as error:
        raise SpecError(key, f"{value!r} is no address with a prefix length", str(error)) from None
    network = found.network
    if found.ip.is_multicast or found.ip.is_unspecified or (found.version == 4 and found.ip.is_loopback):
        raise SpecError(key, f"{value!r} is not an address of a single host", "choose another one")
    if (
        found.version == 4
        and network.prefixlen < 31
        and found.ip in (network.network_address, network.broadcast_address)
    ):
        part = "network" if found.ip == network.network_address else "broadcast"
        raise SpecError(key, f"{value!r} is the {part} address of {network}", "choose another one")
    return str(found)


@functools.lru_cache(maxsize=1 << 16)
def interface(text: str) -> IpInterface:
    """An address with its prefix length. Errors: ValueError."""
    return ipaddress.ip_interface(text)


@functools.lru_cache(maxsize=1 << 16)
def network(text: str) -> IpNetwork:
    """A network without host bits. One run meets each many times, and parsing takes most of the time of large sets."""
    return ipaddress.ip_network(text)


def subnet(value: t.Any, key: str) -> str:
    """A network without host bits, in canonical form. A bare address is a network of one."""
    _no_scope(value, key)
    try:
        return str(network(str(value)))
    except ValueError:
        advice = "allowed is the form 10.22.33.0/24 or fd00:22:33::/64"
        with contextlib.suppress(ValueError):
            advice = f"did you mean {ipaddress.ip_network(str(value), strict=False)}?"
        raise SpecError(key, f"{value!r} is no network", advice) from None


def subnets(values: t.Any, key: str) -> tuple[str, ...]:
    """Networks, each family collapsed, sorted: the same set always gives the same tuple."""
    networks = [network(subnet(value, f"{key}[{i}]")) for i, value in enumerate(as_list(values, key))]
    return collapsed(networks)


@functools.lru_cache(maxsize=1 << 16)
def span(text: str) -> tuple[int, int, int]:
    """Family, first and last address of a network, as numbers."""
    found = network(text)
    first = int(found.network_address)
    return found.version, first, first + int(found.hostmask)


def collapsed(networks: t.Iterable[IpNetwork]) -> tuple[str, ...]:
    """Without those that others hold, and with neighbours joined, as ipaddress.collapse_addresses has them."""
    networks = list(networks)
    texts = sorted(map(str, networks), key=span)
    spans = [span(text) for text in texts]
    # Most are so already, and to find that out takes a tenth of the time.
    if not any(before[0] == after[0] and after[1] <= before[2] + 1 for before, after in zip(spans, spans[1:])):
        return tuple(texts)
    v4 = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network))
    return tuple(str(network) for network in (*v4, *v6))


def family(text: str) -> int:
    """4 or 6, of an address or network."""
    return 6 if ":" in text else 4


def as_list(value: t.Any, key: str) -> list[t.Any]:
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return list(value)
    raise SpecError(key, f"{shown(value)} is not a list", "give a list")


def sysctl_key(value: t.Any, key: str) -> str:
    """A sysctl below net, as its path below /proc/sys. With a slash in it, dots are part of names (sysctl(8))."""
    text = str(value)
    path = text if "/" in text else text.replace(".", "/")
    words = path.split("/")
    if words[0] != "net" or len(words) < 3:
        raise SpecError(key, f"{value!r} is no network sysctl", "only keys below net belong to a namespace")
    if any(word in (".", "..") or not _SYSCTL_WORD.fullmatch(word) for word in words):
        raise SpecError(key, f"{value!r} is no sysctl key", "allowed is the form net.ipv4.ip_forward")
    return path


def sysctl_value(value: t.Any, key: str) -> str:
    """A sysctl's text, words separated by tabs as the kernel prints them."""
    if isinstance(value, bool):
        return "1" if value else "0"
    text = "\t".join(str(value).split())
    if not text or not text.replace("\t", " ").isprintable():
        raise SpecError(key, f"{value!r} is no sysctl value", "give a number or a word")
    return text


def no_duplicates(values: t.Iterable[str], key: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise SpecError(key, f"{value!r} is listed twice", "list it once")
        seen.add(value)
