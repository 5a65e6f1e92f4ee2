"""Bridges and their members as a look at a host finds them, and their description."""

from __future__ import annotations

import typing as t

from ansible_collections.netpath.egress.plugins.module_utils._engine.description.networks import described
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.note import Notes
from ansible_collections.netpath.egress.plugins.module_utils._engine.description.seen import Bridge, Member, Seen
from ansible_collections.netpath.egress.plugins.module_utils._engine.kernel.link_messages import LinkReply
from ansible_collections.netpath.egress.plugins.module_utils._engine.model import Vlans
from ansible_collections.netpath.egress.plugins.module_utils._engine.spec.host import HostView

Options = dict[str, t.Any]


def link(index: int, name: str, kind: str = "veth", **options: t.Any) -> LinkReply:
    return LinkReply(index, name, kind, 1, None, "02:00:00:00:00:01", 1500, 0, options, None, None, "")


def member(number: int, **more: t.Any) -> Member:
    given: dict[str, t.Any] = {"addresses": (f"10.22.33.{number}/24",), "gateways": {4: "10.22.33.1"}, **more}
    return Member(f"n{number}", link(2, "eth0"), link(10 + number, f"veth{number}"), **given)


def bridge(*members: Member, name: str = "br-pods", vlans: Vlans | None = None, **more: t.Any) -> Bridge:
    given: dict[str, t.Any] = {"network": None, "addresses": ("10.22.33.1/24",), **more}
    return Bridge(link(1, name, "bridge", vlan_filtering=vlans is not None), members=members, vlans=vlans, **given)


def told(*bridges: Bridge, **seen: t.Any) -> tuple[list[Options], list[str]]:
    notes = Notes()
    view = HostView(uplinks={4: [["eth7"]]}, mtus={"eth7": 1500})
    return described(Seen(bridges, view, **seen), notes), [f"{note['about']}: {note['seen']}" for note in notes.data()]
