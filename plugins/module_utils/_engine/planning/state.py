# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found, and how one step changes it, including what the kernel does by itself."""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t
from dataclasses import dataclass, field

from ..errors import EgressError
from ..ledger import EMPTY, Ledger
from ..model import HOST, Address, Fact, Identity, Learned, Limit, Link, Namespace, Route, Setting, Vlans
from .facts import Facts
from .step import Step

FORWARD4 = "net/ipv4/ip_forward"
FORWARD6 = "net/ipv6/conf/all/forwarding"


@dataclass(frozen=True)
class WayBack:
    """The address at the other end of the SSH session, and of the route to it the link, prefix bits and metric."""

    address: str
    device: str
    prefix: int
    metric: int


@dataclass(frozen=True)
class Have:
    """An observation.

    facts: by identity; a link that was found in another place or under another name than wanted stands
    under the wanted identity, and so do the addresses and routes on it.
    ports: how many ports a bridge, as (netns, name), has.
    protected: links of this namespace that carry the management path, with the reason.
    inhabitants: (PID, command) of the processes in namespaces that shall go.
    obstacles: what stands in the way of a namespace, by the path that is to be attached or by the name.
    unsettable: settings that exist nowhere here or can only be read, with the reason and what to do.
    listeners: who listens on ports that shall be published, in words, by (netns, family, protocol, port).
    containers: tables and base chains that are there, where rules shall be in iptables-nft.
    refusals: why firewalls would not take the rules that are to go there.
    ways_back: to those who control this host from elsewhere.
    macs: of the ends in namespaces for which the ledger has none, what they have or will be made with.
    strangers: in namespaces that shall go, ends of pairs that are not ours and lead to other namespaces.
    """

    facts: t.Mapping[Identity, Fact] = field(default_factory=dict)
    ledger: Ledger = EMPTY
    ports: t.Mapping[tuple[str, str], int] = field(default_factory=dict)
    protected: t.Mapping[str, str] = field(default_factory=dict)
    inhabitants: t.Mapping[str, t.Sequence[tuple[int, str]]] = field(default_factory=dict)
    obstacles: t.Mapping[str, str] = field(default_factory=dict)
    unsettable: t.Mapping[Identity, tuple[str, str]] = field(default_factory=dict)
    listeners: t.Mapping[tuple[str, int, str, int], str] = field(default_factory=dict)
    containers: frozenset[Identity] = frozenset()
    refusals: t.Sequence[EgressError] = ()
    ways_back: t.Sequence[WayBack] = ()
    strangers: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)
    macs: t.Mapping[str, str] = field(default_factory=dict)


def simulate(facts: Facts, step: Step, effects: t.Mapping[Identity, Fact | None]) -> None:
    """Change facts as the step and its side effects change the system."""
    for identity, effect in effects.items():
        _put(facts, identity, effect)
    _put(facts, step.identity, step.after)


def _put(facts: Facts, identity: Identity, fact: Fact | None) -> None:
    if fact is not None:
        facts[identity] = fact
    elif identity in facts:
        del facts[identity]


def side_effects(facts: Facts, step: Step) -> dict[Identity, Fact | None]:
    """What the kernel changes by itself when the step runs: facts that get another value, None for those that go."""
    before, after = step.before, step.after
    if isinstance(before, Namespace) and after is None:
        return dict.fromkeys(facts.inside(before.name))
    if isinstance(before, Link):
        return _link_effects(facts, before, after if isinstance(after, Link) else None)
    if isinstance(before, Address):
        # One that changes is deleted and added.
        return _address_effects(facts, before)
    if isinstance(after, Setting) and isinstance(before, Setting) and before.value != after.value:
        return _forwarding_effects(facts, after)
    return {}


def ends(link: Link | None) -> list[Link]:
    """The link and, of a pair, its other end."""
    return [] if link is None else [link, *([link.peer] if link.peer else [])]


def _link_effects(facts: Facts, before: Link, after: Link | None) -> dict[Identity, Fact | None]:
    lost: dict[Identity, Fact | None] = {}
    # A pair's ends are named by where they shall be, since that is where their addresses are filed.
    if before.kind == "bridge" and after is None:
        found = [fact for fact in facts.inside(before.netns).values() if isinstance(fact, Link)]
        ports = [port for port in found if port.master == before.name]
        lost.update({port.identity: dataclasses.replace(port, master="") for port in ports})
        lost.update({vlans: None for port in ports if (vlans := ("vlans", port.netns, port.name)) in facts})
    for index, old in enumerate(ends(before)):
        new = ends(after)[index] if after and len(ends(after)) > index else None
        place = (new.netns, new.name) if new else (old.netns, old.name)
        lost.update((identity, None) for identity, fact in facts.on(*place).items() if _is_lost(fact, old, new))
    return lost


def _is_lost(fact: Fact, old: Link, new: Link | None) -> bool:
    """Whether something on a link goes when the link changes."""
    if new is None or old.netns != new.netns:
        return True
    if isinstance(fact, (Limit, Setting)):
        return False
    if isinstance(fact, Vlans):
        return (old.master or "") != (new.master or "")
    of_six = isinstance(fact, Learned) or ":" in (fact.cidr if isinstance(fact, Address) else fact.identity[3])
    if of_six and old.ipv6 and new.ipv6 is False:
        return True
    goes_down = bool(old.up) and (new.up is False or old.name != new.name)
    # A link that goes down keeps its IPv4 addresses, and loses its routes and IPv6 addresses.
    return goes_down and (isinstance(fact, Route) or of_six)


def _address_effects(facts: Facts, gone: Address) -> dict[Identity, Fact | None]:
    """A primary IPv4 address takes the secondary ones of its subnet along (promote_secondaries is 0).

    The last one takes all IPv4 routes of the link along (fib_disable_ip in the kernel's net/ipv4/fib_frontend.c).
    """
    if ":" in gone.cidr:
        return {}
    subnets = facts.subnets4(gone.netns, gone.link)
    beside = subnets.get(gone.subnet, {})
    lost: dict[Identity, Fact | None] = {}
    if not gone.secondary:
        lost.update((identity, None) for identity, fact in beside.items() if fact.secondary)
    stays = len(subnets) > 1 or len(beside) > len(lost) + 1
    for identity, fact in facts.on(gone.netns, gone.link).items() if not stays else ():
        if isinstance(fact, Route) and ":" not in fact.destination:
            lost[identity] = None
    return lost


def is_on_link(facts: Facts, route: Route) -> bool:
    """Whether the route's gateway is in a network of the route's link."""
    gateway = ipaddress.ip_address(route.gateway or "::")
    if gateway.version == 6 and gateway.is_link_local:
        return True
    for fact in facts.on(route.netns, route.device or "").values():
        if isinstance(fact, Address):
            network = fact.subnet
        elif isinstance(fact, Route) and not fact.gateway:
            network = ipaddress.ip_network(fact.destination)
        else:
            continue
        if gateway in network:
            return True
    return False


def governor(key: str) -> str:
    """The sysctl whose change rewrites this one (ip-sysctl in the kernel's documentation), or the key itself."""
    family = "ipv4" if key.startswith("net/ipv4/conf/") else "ipv6" if key.startswith("net/ipv6/conf/") else ""
    if family and key.endswith("/forwarding"):
        return FORWARD4 if family == "ipv4" else FORWARD6
    return FORWARD4 if key == "net/ipv4/conf/all/accept_redirects" else key


def governed_value(key: str, forwarding: str) -> str:
    """What a governed sysctl becomes when its governor is set to forwarding."""
    if key.endswith("/accept_redirects"):
        return "1" if forwarding == "0" else "0"
    return forwarding


def _forwarding_effects(facts: Facts, switch: Setting) -> dict[Identity, Fact | None]:
    if switch.key not in (FORWARD4, FORWARD6):
        return {}
    return {
        identity: dataclasses.replace(fact, value=governed_value(fact.key, switch.value or "0"))
        for identity, fact in facts.inside(switch.netns).items()
        if isinstance(fact, Setting) and fact.key != switch.key and governor(fact.key) == switch.key
    }


def setting_now(facts: t.Mapping[Identity, Fact], setting: Setting) -> Setting | None:
    """The setting's fact; of an interface that is still to come, what it will inherit."""
    found = facts.get(setting.identity)
    if found is None:
        parts = setting.key.split("/")
        if len(parts) > 4 and parts[2] == "conf":
            inherited = "/".join([*parts[:3], "default", *parts[4:]])
            default = facts.get(("setting", setting.netns, inherited))
            if isinstance(default, Setting):
                return dataclasses.replace(default, key=setting.key)
    return found if isinstance(found, Setting) else None


def netns_exists(facts: t.Mapping[Identity, Fact], netns: str) -> bool:
    return netns == HOST or netns.startswith("/") or ("namespace", netns) in facts
