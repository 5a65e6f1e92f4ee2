# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of a link (rtnetlink(7), linux/if_addr.h)."""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
import typing as t
from dataclasses import dataclass

from ..model import Address
from .message_layout import encode
from .netlink import NLM_F_CREATE, NLM_F_EXCL, Message, NetlinkSocket, address_text, attributes

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_SECONDARY, IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_TENTATIVE, IFA_F_PERMANENT = 0x01, 0x02, 0x08, 0x40, 0x80
IFA_F_MANAGETEMPADDR = 0x100  # the kernel made it of an advertised prefix, or was told to treat it so
_START = 16  # after nlmsghdr
_HEADER, _FLAGS = struct.Struct("=BBBBI"), struct.Struct("=I")  # struct ifaddrmsg, and its flags as an attribute


@dataclass(frozen=True)
class AddressReply:
    """One address as the kernel reports it."""

    index: int
    cidr: str
    flags: int
    scope: int
    link_local: bool
    peer: str = ""
    broadcast: str = ""

    @property
    def duplicate(self) -> bool:
        """Another host on the link has it (RFC 4862, section 5.4.5)."""
        return bool(self.flags & IFA_F_DADFAILED)

    @property
    def tentative(self) -> bool:
        """Still being checked, and not usable yet."""
        return bool(self.flags & IFA_F_TENTATIVE)

    @property
    def permanent(self) -> bool:
        """Set by somebody, as opposed to learned by DHCP or a router advertisement with a lifetime."""
        return bool(self.flags & IFA_F_PERMANENT)


def is_learned(reply: AddressReply) -> bool:
    """Whether it came from a router advertisement, as the kernel makes it: with a lifetime that may be without end."""
    return ":" in reply.cidr and not reply.permanent and not reply.link_local


def read(opened: NetlinkSocket, index: int = 0) -> list[AddressReply]:
    """Addresses of one link, or of all links."""
    replies = opened.dump(_question(index))
    return [reply for reply in map(_parse, replies) if index in (0, reply.index)]


@functools.lru_cache(maxsize=16)
def _question(index: int) -> Message:
    return Message(RTM_GETADDR, 0, encode("ifaddrmsg", [], index=index))


def facts(replies: t.Iterable[AddressReply], netns: str, link: str, asked: t.Container[str]) -> list[Address]:
    """Those that somebody chose: none with a lifetime, and no link-local ones but those that are asked for."""
    return [
        Address(
            netns,
            link,
            reply.cidr,
            duplicate=reply.duplicate,
            secondary=":" not in reply.cidr and bool(reply.flags & IFA_F_SECONDARY),
            tentative=reply.tentative,
            dad=not reply.flags & IFA_F_NODAD,
            peer=reply.peer,
            broadcast=reply.broadcast,
        )
        for reply in replies
        if reply.permanent and (not reply.link_local or reply.cidr in asked)
    ]


def _parse(data: bytes) -> AddressReply:
    _family, length, flags, scope, index = _HEADER.unpack_from(data, _START)
    found = attributes(data, _START + _HEADER.size, len(data))
    # Of one with a peer IFA_ADDRESS is the other side's.
    other = data[slice(*found[IFA_ADDRESS])] if IFA_ADDRESS in found else b""
    address = data[slice(*found[IFA_LOCAL])] if IFA_LOCAL in found else other
    peer = address_text(other) if other and other != address else ""
    broadcast = address_text(data[slice(*found[IFA_BROADCAST])]) if IFA_BROADCAST in found else ""
    if IFA_FLAGS in found:
        (flags,) = _FLAGS.unpack_from(data, found[IFA_FLAGS][0])
    link_local = len(address) > 4 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
    return AddressReply(index, f"{address_text(address)}/{length}", flags, scope, link_local, peer, broadcast)


def link_local_of(mac: str) -> str:
    """The address that a link makes itself of its MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def add(address: Address, index: int) -> Message:
    return _message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address, index, 0 if address.dad else IFA_F_NODAD)


def delete(address: Address, index: int) -> Message:
    return _message(RTM_DELADDR, 0, address, index)


def delete_reply(reply: AddressReply) -> Message:
    """Delete one as it was read."""
    return _message(RTM_DELADDR, 0, Address("", "", reply.cidr, peer=reply.peer), reply.index)


def _message(kind: int, flags: int, address: Address, index: int, of_address: int = 0) -> Message:
    interface = ipaddress.ip_interface(address.cidr)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    given = [("IFA_LOCAL", str(interface.ip)), ("IFA_ADDRESS", address.peer or str(interface.ip))]
    told = {"family": int(family), "prefixlen": interface.network.prefixlen, "index": index, "flags": of_address}
    return Message(kind, flags, encode("ifaddrmsg", given, **told))
