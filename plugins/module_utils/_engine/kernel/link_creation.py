# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making links: many pairs in one send, each with its other end in place (rtnetlink(7), veth(4))."""

from __future__ import annotations

import errno
import itertools
import typing as t

from ..errors import ConflictError, EgressError
from ..model import Link, is_closed_by_itself
from ..spec.values import SMALLEST_IPV6_MTU
from . import link_messages as messages
from . import switches
from .links import Links, chosen, stable_mac
from .netlink import BATCH, Answer, Message, kernel_error

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

TOGETHER = BATCH // 5  # links in one send, each with all that it is told when it is made
# A link without IPv6 has no addresses of that family, which is what was asked for.
_FINE = (0, errno.EAFNOSUPPORT)


class CreationError(Exception):
    """One of several links could not be made. position: its place among them."""

    def __init__(self, position: int, cause: EgressError) -> None:
        super().__init__(str(cause))
        self.position = position
        self.cause = cause


def create(namespaces: Namespaces, links: Links, wanted: t.Sequence[Link], asked: t.Callable[[int], str]) -> None:
    """Make links of one namespace, each bridge ahead of its ports. asked: what one of them is about, for an error.

    Errors: CreationError; then the links ahead of the one that it names are there, and no others.
    """
    for start in range(0, len(wanted), TOGETHER):
        group = _Group(namespaces, links, wanted[start : start + TOGETHER], lambda at, start=start: asked(start + at))  # type: ignore[misc]
        try:
            group.create()
        except CreationError as error:
            group.delete(error.position)
            raise CreationError(start + error.position, error.cause) from error.cause
        except BaseException:
            group.delete(0)
            raise


class _Group:
    """Links that are made in one send; each knows afterwards whether it is there."""

    def __init__(
        self, namespaces: Namespaces, links: Links, wanted: t.Sequence[Link], asked: t.Callable[[int], str]
    ) -> None:
        self.namespaces = namespaces
        self.links = links
        self.wanted = wanted
        self.asked = asked
        self.there: list[bool] = [False] * len(wanted)
        self.opened = namespaces.socket(wanted[0].netns)

    def create(self) -> None:
        requests = [self._guarded(position, self._requests) for position in range(len(self.wanted))]
        answers = iter(self.opened.request([message for some in requests for message in some]))
        failed = []
        for position, some in enumerate(requests):
            own = list(itertools.islice(answers, len(some)))
            self.there[position] = not own[0].errno
            failed += [(position, answer) for answer in own if answer.errno not in _FINE][:1]
        self._finish(failed[0][0] if failed else len(self.wanted))
        if failed:
            position, answer = failed[0]
            raise CreationError(position, kernel_error(self.asked(position), answer))

    def _finish(self, count: int) -> None:
        """Bring up the first of them. All are closed before: with a carrier a link listens at once."""
        for position in range(count):
            self._guarded(position, self._close)
        up = [position for position in range(count) if self.wanted[position].up]
        indexes = [self.links.index(self.wanted[at].netns, self.wanted[at].name) for at in up]
        raised = self.opened.request([messages.set_link([], index=index, up=True) for index in indexes])
        for position, answer in zip(up, raised):
            self._guarded(position, lambda at, answer=answer: self._expect(at, [answer]))  # type: ignore[misc]
        for position in range(count):
            self._guarded(position, self._finish_peer)

    def _close(self, position: int) -> None:
        link = self.wanted[position]
        values = switches.sysctls(switches.born_with(link))
        if values:
            with self.namespaces.entered(link.netns):
                self.namespaces.settings.write(link.netns, {f"net/ipv6/conf/{link.name}": values}, self.asked(position))

    def delete(self, start: int) -> None:
        """Those from a position on that are there."""
        self.links.forget()
        names = [link.name for link, there in zip(self.wanted, self.there) if there][sum(self.there[:start]) :]
        self.opened.request([messages.delete_link(name) for name in reversed(names)])

    def _guarded(self, position: int, action: t.Callable[[int], _Result]) -> _Result:
        try:
            return action(position)
        except EgressError as error:
            raise CreationError(position, error) from error

    def _requests(self, position: int) -> list[Message]:
        """In one send, so that a link of ours is never left without its mark; by an index of our choice, since a link
        that somebody else made under this name meanwhile is not ours to mark.
        """
        link = self.wanted[position]
        index = self.links.new_index(link.netns, link.name)
        attributes = [*self._born_with(link), self._kind_attribute(link, position)]
        # Down at first: a link that comes up gets addresses of IPv6 at once.
        found = [messages.create_link(attributes, index), messages.set_link(_mark(link), index=index)]
        found += _families(link, index)
        port = chosen(link, ("isolated", "hairpin"))
        found += [messages.set_link([messages.port_attribute(port)], index=index)] if port else []
        return found

    def _finish_peer(self, position: int) -> None:
        peer = self.wanted[position].peer
        if peer is None:
            return
        opened = self.namespaces.socket(peer.netns)
        told = [messages.set_link(_mark(peer), name=peer.name), *_families(peer)]
        *marked, found = opened.request([*told, messages.get_link(peer.name)])
        self._expect(position, [*marked, found])
        index, there = messages.index_of(found.replies[0]), messages.switches_of(found.replies[0])
        self.links.learn(peer.netns, peer.name, index)
        # In a managed namespace links begin with nearly all of it.
        values = switches.sysctls(
            {key: value for key, value in switches.born_with(peer).items() if value != there[key]}
        )
        if values:
            with self.namespaces.entered(peer.netns):
                self.namespaces.settings.write(peer.netns, {f"net/ipv6/conf/{peer.name}": values}, self.asked(position))
        if peer.up is not None:
            self._expect(position, opened.request([messages.set_link([], index=index, up=peer.up)]))

    def _expect(self, position: int, answers: t.Iterable[Answer]) -> None:
        for answer in answers:
            if answer.errno not in _FINE:
                raise kernel_error(self.asked(position), answer)

    def _born_with(self, link: Link) -> list[tuple[str, t.Any]]:
        attributes: list[tuple[str, t.Any]] = [
            ("IFLA_IFNAME", link.name),
            ("IFLA_ADDRESS", link.mac or stable_mac(link.netns, link.name)),
        ]
        if link.mtu:
            attributes.append(("IFLA_MTU", link.mtu))
        if link.master:
            attributes.append(("IFLA_MASTER", self.links.index(link.netns, link.master)))
        return attributes

    def _kind_attribute(self, link: Link, position: int) -> tuple[str, t.Any]:
        if link.kind == "bridge":
            options = chosen(link, messages.BRIDGE_OPTIONS)
            if not options.get("vlan_filtering", True):
                # A new bridge has it off, and a kernel without it refuses even that.
                del options["vlan_filtering"]
            return messages.bridge_attribute(options)
        peer = link.peer
        if peer is None:
            raise ConflictError(self.asked(position), f"a {link.kind} cannot be made alone", "Give its peer")
        return messages.veth_attribute([*self._born_with(peer), ("IFLA_NET_NS_FD", self.namespaces.handle(peer.netns))])


_Result = t.TypeVar("_Result")


def _families(link: Link, index: int = 0) -> list[Message]:
    """Without IPv6, which a link of a smaller MTU does not have either, the kernel would refuse both families."""
    too_small = link.mtu is not None and link.mtu < SMALLEST_IPV6_MTU
    without_six = too_small or not switches.kernel_has_ipv6()
    redirects = bool(link.accept_redirects) if is_closed_by_itself(link) else link.accept_redirects
    told = messages.set_families(redirects, None if without_six else link.ipv6_link_local, index, link.name)
    return [told] if told else []


def _mark(link: Link) -> list[tuple[str, t.Any]]:
    return [("IFLA_IFALIAS", link.alias or "")]
