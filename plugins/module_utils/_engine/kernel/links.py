# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links: finding a wanted one wherever it is, and changing and deleting it."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
import typing as t

from ..errors import ConflictError, EgressError, KernelError
from ..model import HOST, Address, Link, Setting, differences, is_closed_by_itself, is_ours
from ..spec.values import SMALLEST_IPV6_MTU
from . import addresses, files, switches
from . import link_messages as messages
from .netlink import Answer, Message, NetlinkSocket, kernel_error
from .processes import namespaces_of_processes

if t.TYPE_CHECKING:
    from .namespaces import Namespaces
    from .snapshot import Snapshot

# Above those that the kernel hands out by itself, in order.
BR_STATE_DISABLED, BR_STATE_FORWARDING = 0, 3
_FIRST_INDEX = 1 << 28
_BY_MAC, _NO_ADDRESS = "0", "1"  # of addr_gen_mode in the kernel's ip-sysctl
_NO_LINK = (errno.ENODEV, errno.EINVAL)


def send(opened: NetlinkSocket, asked: str, *requests: Message) -> None:
    """Send requests that must all succeed."""
    _expect(asked, opened.request(requests))


def _expect(asked: str, answers: t.Iterable[Answer]) -> None:
    for answer in answers:
        if answer.errno:
            raise kernel_error(asked, answer)


def set_loopback(opened: NetlinkSocket, alias: str | None, up: bool, asked: str) -> None:
    """Bring a namespace's loopback up, and put an alias on it unless that is None."""
    attributes = [] if alias is None else [("IFLA_IFALIAS", alias)]
    send(opened, asked, messages.set_link(attributes, index=1, up=True if up else None))


def stable_mac(netns: str, name: str) -> str:
    """A MAC that is the same each time the link is made on this host, and another on every other host.

    On the host's side it is a high one, so that a bridge that follows its lowest port never takes it over.
    """
    seed = f"{_machine_id()}\0{os.uname().nodename}\0{netns}\0{name}"
    digest = hashlib.sha256(seed.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0xFE if netns == HOST else 0x02, *digest[:5]))


@functools.lru_cache(maxsize=1)
def _machine_id() -> str:
    try:
        return (files.read("/etc/machine-id", follow=True) or "").strip()
    except EgressError:
        return ""


def host_ends(namespaces: Namespaces, names: t.Sequence[str]) -> dict[str, list[int]]:
    """For each of the namespaces, the indexes on the host of the veth ends whose other ends are in it."""
    found: dict[str, list[int]] = {name: [] for name in names}
    by_number = {number: name for name, number in namespaces.numbers(HOST, names).items()}
    for link in Links(namespaces).all(HOST) if by_number else ():
        name = by_number.get(-1 if link.peer_nsid is None else link.peer_nsid)
        if name is not None:
            found[name].append(link.index)
    return found


def delete_marked(indexes: t.Sequence[int]) -> None:
    """Delete ends on the host of managed pairs: their others are in a removed namespace that a process still holds."""
    opened = NetlinkSocket()
    try:
        answers = opened.request([messages.get_link(index=index) for index in indexes])
        replies = [messages.parse_link(answer.replies[0]) for answer in answers if answer.replies]
        opened.request([messages.delete_link(index=reply.index) for reply in replies if is_ours(reply.alias)])
    finally:
        opened.close()


def let_forward(namespaces: Namespaces, indexes: t.Sequence[int], forward: bool, netns: str = HOST) -> None:
    """Open or close links, as far as they are ports of bridges."""
    state = BR_STATE_FORWARDING if forward else BR_STATE_DISABLED
    requests = [messages.set_port_state(index, state) for index in indexes]
    if requests:
        # A link that is no port is refused, and needs nothing.
        namespaces.socket(netns).request(requests)


class Links:
    """The links of all namespaces of a run; of those in the snapshot, as they were found there."""

    def __init__(self, namespaces: Namespaces, snapshot: Snapshot | None = None) -> None:
        self._namespaces = namespaces
        self._places = {} if snapshot is None else snapshot.places
        self._names: dict[tuple[str, int], str] = {}
        self._indexes: dict[tuple[str, str], int] = {}
        self._by_number: dict[str, dict[int, str]] = {}
        self._next_index = _FIRST_INDEX + int.from_bytes(os.urandom(4), "big") % _FIRST_INDEX

    def get(self, netns: str, name: str = "", index: int = 0) -> messages.LinkReply | None:
        """Errors: ConflictError where the name is an alternative one of a link of the host."""
        reply = self.holder(netns, name, index)
        if reply and name and reply.name != name:
            if netns != HOST:
                return None
            raise ConflictError(
                f"use the name {name}", f"it is an alternative name of link {reply.name}", "Choose another name"
            )
        return reply

    def holder(self, netns: str, name: str = "", index: int = 0) -> messages.LinkReply | None:
        """The link that has a name, as its own or as an alternative one."""
        return self._known(netns, name, index) if netns in self._places else self._asked(netns, name, index)

    def _known(self, netns: str, name: str, index: int) -> messages.LinkReply | None:
        return self._places[netns].names.get(name) if name else self._places[netns].links.get(index)

    def _asked(self, netns: str, name: str, index: int) -> messages.LinkReply | None:
        if not self._namespaces.exists(netns):
            return None
        answer = self._namespaces.socket(netns).request([messages.get_link(name, index)])[0]
        if answer.errno in _NO_LINK:
            return None
        if answer.errno:
            raise kernel_error(f"look up link {name or index}", answer)
        return messages.parse_link(answer.replies[0])

    def all(self, netns: str) -> list[messages.LinkReply]:
        """Every link of a namespace."""
        if netns in self._places:
            return list(self._places[netns].links.values())
        return [messages.parse_link(data) for data in self._namespaces.socket(netns).dump(messages.get_links())]

    def index(self, netns: str, name: str) -> int:
        """Known until links are changed. Errors: KernelError where there is no such link."""
        if (netns, name) not in self._indexes:
            found = self.get(netns, name)
            if found is None:
                where = f" in namespace {netns}" if netns else ""
                raise KernelError(f"look up link {name}{where}", "there is none", errno.ENODEV)
            self._indexes[netns, name] = found.index
        return self._indexes[netns, name]

    def new_index(self, netns: str, name: str) -> int:
        """One for a link that is to be made, of a range in which no other run is likely to have used any."""
        self._next_index += 1
        self.learn(netns, name, self._next_index)
        return self._next_index

    def learn(self, netns: str, name: str, index: int) -> None:
        self._indexes[netns, name] = index

    def forget(self) -> None:
        """What was known of names and indexes."""
        self._indexes.clear()
        self._names.clear()
        self._by_number.clear()

    def ports(self, netns: str, bridge: str) -> list[messages.LinkReply]:
        found = self.get(netns, bridge)
        if found is None:
            return []
        if netns in self._places:
            ports = self.all(netns)
        else:
            replies = self._namespaces.socket(netns).dump(messages.get_links(master=found.index))
            ports = [messages.parse_link(reply) for reply in replies]
        return [port for port in ports if port.master == found.index]

    def find(self, want: Link) -> Link | None:
        """The link wherever it is: under its name, as the other end of its peer, or by the MAC that its peer got."""
        found = self._found(want)
        if found is None:
            return None
        other = self._settled(found.peer, want.peer) if found.peer and want.peer else found.peer
        return dataclasses.replace(self._settled(found, want), peer=other)

    def _settled(self, have: Link, want: Link) -> Link:
        """One that shall get no link-local address and got none when it came up, whatever its mode says by now.

        NetworkManager sets the mode of links that it leaves alone when it starts.
        """
        if _begins_ipv6(have, want):
            names = [name for name in ("ipv6_link_local", *switches.FIELDS) if getattr(want, name) is not None]
            forgotten: dict[str, t.Any] = dict.fromkeys(names)
            return dataclasses.replace(have, **forgotten)
        if want.ipv6_link_local is not False:
            return have
        if not have.ipv6_link_local:
            return have
        reply = self.get(have.netns, index=have.index or 0)
        if reply is None or not reply.has_carrier or self._has_link_local(have.netns, reply.index):
            return have
        return dataclasses.replace(have, ipv6_link_local=False)

    def _has_link_local(self, netns: str, index: int) -> bool:
        if netns in self._places:
            held = self._places[netns].addresses.get(index, ())
        else:
            held = addresses.read(self._namespaces.socket(netns), index)
        return any(address.link_local for address in held)

    def _found(self, want: Link) -> Link | None:
        reply = self.get(want.netns, want.name)
        if reply is not None:
            return self.fact(want.netns, reply, want.peer)
        if want.peer is None:
            return None
        peer = self.get(want.peer.netns, want.peer.name) or self._renamed(want.peer)
        if peer is None or peer.kind != "veth":
            return None
        other = self._other_end(want.peer.netns, peer, want.netns)
        # In the namespace a tenant may have made such a link: the other end alone says whose the pair is.
        if other is None or other[0] == want.peer.netns or not is_ours(other[1].alias):
            return None
        return self.fact(other[0], other[1], want.peer)

    def _renamed(self, end: Link) -> messages.LinkReply | None:
        """A link that still has the MAC that one of this name gets. The host's may be too many to look through."""
        if end.netns == HOST or not self._namespaces.exists(end.netns):
            return None
        mac = end.mac or stable_mac(end.netns, end.name)
        return next((reply for reply in self.all(end.netns) if reply.mac == mac), None)

    def fact(self, netns: str, reply: messages.LinkReply, peer_hint: Link | None = None) -> Link:
        """A reply as a fact; of a veth also its other end, which is looked for at the hint first."""
        other = None
        if reply.kind == "veth":
            other = self._other_end(netns, reply, peer_hint.netns if peer_hint else netns)
        link = Link(
            netns,
            reply.name,
            kind=reply.kind,
            alias=reply.alias,
            mac=reply.mac,
            mtu=reply.mtu,
            master=self._name(netns, reply.master),
            up=reply.up,
            index=reply.index,
            qdisc=reply.qdisc,
            **{**reply.switches, **reply.options},
        )
        if other is None:
            return link
        return dataclasses.replace(link, peer=self._end(*other))

    def _end(self, netns: str, reply: messages.LinkReply) -> Link:
        master = self._name(netns, reply.master)
        fields: dict[str, t.Any] = {"alias": reply.alias, "mac": reply.mac, "mtu": reply.mtu, "up": reply.up}
        fields.update(index=reply.index, qdisc=reply.qdisc, **reply.switches)
        return Link(netns, reply.name, kind=reply.kind, master=master, **fields)

    def _name(self, netns: str, index: int) -> str:
        if not index:
            return ""
        if (netns, index) not in self._names:
            found = self.get(netns, index=index)
            self._names[netns, index] = found.name if found else ""
        return self._names[netns, index]

    def _other_end(self, netns: str, reply: messages.LinkReply, hint: str) -> tuple[str, messages.LinkReply] | None:
        """(namespace, link) of a veth's other end, None where its namespace cannot be found."""
        if not reply.peer_index:
            return None
        if reply.peer_nsid is None:
            found = self.get(netns, index=reply.peer_index)
            return (netns, found) if found else None
        for candidate in self._candidates(netns, hint, reply.peer_nsid):
            if candidate != netns and self._namespaces.numbers(netns, [candidate]).get(candidate) == reply.peer_nsid:
                found = self.get(candidate, index=reply.peer_index)
                return (candidate, found) if found else None
        return None

    def _candidates(self, netns: str, hint: str, number: int) -> t.Iterator[str]:
        """Names of a namespace that may have the number in this one."""
        from .namespaces import names  # namespaces.py imports this module

        yield hint
        yield HOST
        if netns not in self._by_number:
            numbers = self._namespaces.numbers(netns, [name for name in names() if name != netns])
            self._by_number[netns] = {there: name for name, there in numbers.items()}
        if number in self._by_number[netns]:
            yield self._by_number[netns][number]
        yield from (f"/proc/{inhabitants[0][0]}/ns/net" for inhabitants in namespaces_of_processes().values())

    def change(self, before: Link, after: Link, asked: str) -> None:
        """Change a link and the other end of its pair, or nothing at all."""
        pairs = [(before, after), *([(before.peer, after.peer)] if before.peer and after.peer else [])]
        self.forget()
        begun = []
        try:
            for pair in pairs:
                begun.append(pair)
                self._change_end(*pair, asked)
        except BaseException:
            for old, new in reversed(begun):
                self._put_back(old, new, asked)
            raise

    def _put_back(self, before: Link, after: Link, asked: str) -> None:
        """Undo as much of a change as took effect."""
        moved = self.get(before.netns, before.name) is None
        there = after if moved else dataclasses.replace(after, netns=before.netns, name=before.name)
        with contextlib.suppress(EgressError):
            # What it was before holds, whether or not the change came as far as that.
            self._change_end(dataclasses.replace(there, up=None), before, asked)

    def _change_end(self, before: Link, after: Link, asked: str) -> None:
        changed = differences(dataclasses.replace(after, peer=None), dataclasses.replace(before, peer=None))
        if not changed:
            return
        was_up = before.up
        if "netns" in changed or "name" in changed:
            self._relocate(before, after, asked)
            was_up = False
        requests = self._field_requests(after, changed)
        if _begins_ipv6(before, after):
            send(self._namespaces.socket(after.netns), asked, *requests)
            requests = []
        self._switch(after, changed, _begins_ipv6(before, after), asked)
        if after.ipv6_link_local is not None and {"ipv6_link_local", "netns"} & changed.keys():
            # Ahead of its coming up, when it would get one. In another namespace it begins with the choice there.
            self._choose_link_local(after, asked)
        if after.up is not None and after.up != was_up:
            requests.append(messages.set_link([], name=after.name, up=after.up))
        send(self._namespaces.socket(after.netns), asked, *requests)
        if "stp" in changed and not after.stp:
            # They would go on waiting for spanning tree.
            ports = [port.index for port in self.ports(after.netns, after.name)]
            let_forward(self._namespaces, ports, True, after.netns)

    def _switch(self, after: Link, changed: t.Mapping[str, t.Any], begins: bool, asked: str) -> None:
        """Ahead of its coming up. In another namespace, and where IPv6 begins, it has what is usual there."""
        anew = switches.FIELDS if "netns" in changed else ()
        if begins and is_closed_by_itself(after):
            anew = ("accept_ra", "accept_redirects")
        wanted = {name: getattr(after, name) if name in anew or name in changed else None for name in switches.FIELDS}
        values = switches.sysctls(wanted)
        if values:
            with self._namespaces.entered(after.netns):
                self._namespaces.settings.write(after.netns, {f"net/ipv6/conf/{after.name}": values}, asked)
        told = messages.set_families(wanted["accept_redirects"], None, name=after.name)
        send(self._namespaces.socket(after.netns), asked, *([told] if told else []))

    def _choose_link_local(self, link: Link, asked: str) -> None:
        """By the sysctl, which also gives an address to a link that is up."""
        from . import sysctls  # it imports namespaces.py

        key = f"net/ipv6/conf/{link.name}/addr_gen_mode"
        mode = sysctls.read(self._namespaces, link.netns, [key]).get(key, _NO_ADDRESS)
        if (mode != _NO_ADDRESS) != link.ipv6_link_local:
            mode = _BY_MAC if link.ipv6_link_local else _NO_ADDRESS
            sysctls.write(self._namespaces, Setting(link.netns, key, mode), asked)
        if not link.ipv6_link_local:
            self._drop_link_local(link)

    def _drop_link_local(self, link: Link) -> None:
        """The one that the kernel made of the MAC while the link was up: it stays when no more are to be made."""
        reply = self.get(link.netns, link.name)
        if reply is None or not reply.mac:
            return
        made = Address(link.netns, link.name, f"{addresses.link_local_of(reply.mac)}/64")
        # Mostly there is none.
        self._namespaces.socket(link.netns).request([addresses.delete(made, reply.index)])

    def _relocate(self, before: Link, after: Link, asked: str) -> None:
        """Down first: a link that is up cannot be renamed by kernels before 6.2."""
        attributes: list[tuple[str, t.Any]] = [("IFLA_IFNAME", after.name)]
        if before.netns != after.netns:
            attributes.append(("IFLA_NET_NS_FD", self._namespaces.handle(after.netns)))
        # Its index may be another one since it was last moved.
        index = self.index(before.netns, before.name)
        down = [] if before.up is False else [messages.set_link([], index=index, up=False)]
        send(self._namespaces.socket(before.netns), asked, *down, messages.set_link(attributes, index=index))
        self.forget()

    def _field_requests(self, after: Link, changed: t.Mapping[str, t.Any]) -> list[Message]:
        attributes: list[tuple[str, t.Any]] = []
        if "alias" in changed:
            attributes.append(("IFLA_IFALIAS", after.alias or ""))
        if "mac" in changed:
            attributes.append(("IFLA_ADDRESS", after.mac))
        if "mtu" in changed:
            attributes.append(("IFLA_MTU", after.mtu))
        if "master" in changed:
            attributes.append(("IFLA_MASTER", self.index(after.netns, after.master) if after.master else 0))
        requests = [messages.set_link(attributes, name=after.name)] if attributes else []
        options = {key: getattr(after, key) for key in messages.BRIDGE_OPTIONS if key in changed}
        if options:
            requests.append(messages.set_link([messages.bridge_attribute(options)], name=after.name))
        # A port that changes bridges starts there with default flags.
        port = chosen(after, ("isolated", "hairpin"))
        if after.master and port and ("master" in changed or set(port) & set(changed)):
            requests.append(messages.set_link([messages.port_attribute(port)], name=after.name))
        return requests

    def delete(self, link: Link, asked: str) -> None:
        """One that is gone by now is no failure: a namespace that goes takes its links along, some time after."""
        self.forget()
        try:
            send(self._namespaces.socket(link.netns), asked, messages.delete_link(link.name))
        except KernelError as error:
            if error.errno != errno.ENODEV:
                raise


def _begins_ipv6(before: Link, after: Link) -> bool:
    """Whether IPv6 begins anew: the kernel ends it on a link of a smaller MTU, and forgets what was chosen there."""
    return (before.mtu or 0) < SMALLEST_IPV6_MTU <= (after.mtu or 0)


def chosen(link: Link, options: tuple[str, ...]) -> dict[str, t.Any]:
    """Those of a link's fields that are asked for."""
    return {key: getattr(link, key) for key in options if getattr(link, key) is not None}
