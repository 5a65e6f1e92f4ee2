# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of bridges and namespaces behind them: the facts that networks are described from."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..kernel.link_messages import LinkReply
from ..model import Vlans
from ..rules import Rules
from ..spec.host import HostView
from .rule import Rule


@dataclass(frozen=True)
class Member:
    """A namespace with a name, which one pair connects to a bridge.

    addresses: those that somebody chose, without link-local ones. gateways: of the best default route of each family.
    rates: in bit/s, of the inner and the outer end, None without a limit. dns: as the option; None without a file.
    settings: the sysctls of options, by option, where they are not those of a new link.
    """

    name: str
    inner: LinkReply
    outer: LinkReply
    addresses: tuple[str, ...] = ()
    gateways: t.Mapping[int, str] = field(default_factory=dict)
    rates: tuple[int | None, int | None] = (None, None)
    dns: t.Mapping[str, t.Any] | None = None
    settings: t.Mapping[str, int] = field(default_factory=dict)
    vlans: Vlans | None = None


@dataclass(frozen=True)
class Bridge:
    """A bridge of the host. network: whose mark it or its ports carry, None for nobody's.

    link_local: addresses of its own that are. routed: whether the host's own packets leave by it.
    """

    link: LinkReply
    network: str | None
    addresses: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    settings: t.Mapping[str, int] = field(default_factory=dict)
    vlans: Vlans | None = None
    routed: bool = False


@dataclass(frozen=True)
class Seen:
    """rules: those of others that translate, by hook. ours: rules by (purpose, network), backends: of them.

    usual: the back end that a network without the option firewall would get. own: addresses of the host.
    """

    bridges: tuple[Bridge, ...]
    view: HostView
    rules: t.Mapping[str, t.Sequence[Rule]] = field(default_factory=dict)
    ours: t.Mapping[tuple[str, str], Rules | None] = field(default_factory=dict)
    backends: t.Mapping[str, str] = field(default_factory=dict)
    usual: str = "nftables"
    own: frozenset[str] = frozenset()
    forwarding: t.Mapping[int, bool] = field(default_factory=dict)
