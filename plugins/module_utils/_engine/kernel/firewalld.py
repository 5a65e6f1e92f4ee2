# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as policies of firewalld: for each network and purpose one of our own, marked by its description.

A policy goes from zone to zone, and from version 2 on it passes over what merely falls to the default zone on both
sides. So a bridge that nobody has bound to a zone gets one of our own, with what the default zone lets through to the
host.

Both are in firewalld's runtime configuration and, so that they survive a reload, in the permanent one. Only a reload
can bring new ones to the runtime; all else is changed there directly. A reload drops what others have in the runtime
alone, so there is none unless both configurations are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import typing as t

from ..errors import ConflictError, EgressError, KernelError, UnsupportedError
from ..model import HOST, MARK
from ..rules import ForwardRules, NatRules, Rules
from ..spec.values import collapsed, family
from . import files
from . import firewalld_bus as bus

if t.TYPE_CHECKING:
    from .firewalld_bus import Firewalld, Settings
    from .namespaces import Namespaces

MAX_POLICY_NAME = 17  # of the oldest version; a chain is named after it
_PREFIX = "np-"
_SUFFIXES = {"nat": "-nat", "forward": "-fwd", "zone": "-zone"}
_PRIORITY = -1  # ahead of what zones say
_CHANGEABLE = ("rich_rules", "ingress_zones", "egress_zones")  # of a policy in the runtime
_NOT_COPIED = ("interfaces", "sources", "masquerade", "forward_ports")  # of the default zone

Key = tuple[str, str]  # purpose ("nat" or "forward") and network
Changes = t.Sequence[tuple[Key, t.Optional[Rules]]]


def name_of(key: Key) -> str:
    """The policy of a network, or its zone: its name, cut and kept apart by a hash where it is too long."""
    purpose, network = key
    room = MAX_POLICY_NAME - len(_PREFIX) - len(_SUFFIXES[purpose])
    if len(network) > room:
        network = f"{network[: room - 5]}-{hashlib.sha256(network.encode()).hexdigest()[:4]}"
    return f"{_PREFIX}{network}{_SUFFIXES[purpose]}"


def read(netns: str) -> dict[Key, Rules | None]:
    """What our policies say for each network; None for what is not exactly as write would leave it."""
    if netns != HOST:
        return {}
    daemon = bus.running(netns)
    if daemon is None:
        return {_whose(key): None for _path, key in _ours_in_files()}
    found: dict[Key, Rules | None] = {}
    for kind in ("Policy", "Zone"):
        for name in sorted(daemon.names(kind)):
            if name.startswith(_PREFIX):
                runtime, permanent = daemon.runtime(kind, name), daemon.permanent(kind, name)
                key = _key(name, (permanent or runtime or {}).get("description", ""))
                # A zone of a policy that was found is read with that.
                if key and _whose(key) not in found and (permanent or _is_effective(runtime or {})):
                    found[_whose(key)] = _parsed(daemon, _whose(key))
    return found


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace each network's policies, or remove them where its rules are None.

    Errors: EgressError, with both configurations as they were.
    """
    daemon = _daemon(netns, changes)
    if daemon is None:
        _remove_files({key for key, _rules in changes})
        return
    change = _prepared(namespaces, daemon, changes)
    try:
        _apply(daemon, change.wanted, change.runtime, change.reload)
    except EgressError:
        with contextlib.suppress(EgressError):
            _apply(daemon, change.before, change.runtime, reload=change.may_reload)
        raise


def check(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Errors: EgressError, where write would refuse the changes."""
    daemon = _daemon(netns, changes)
    if daemon is not None:
        _prepared(namespaces, daemon, changes)


class _Pair(t.NamedTuple):
    """What a network has of firewalld for one purpose; zone None where it needs none of its own."""

    zone: Settings | None = None
    policy: Settings | None = None


_Pairs = t.Mapping[Key, _Pair]


class _Change(t.NamedTuple):
    """What is wanted, what there is in both configurations, and whether firewalld is to reload, or at least may."""

    wanted: _Pairs
    before: _Pairs
    runtime: _Pairs
    reload: bool
    may_reload: bool


def _daemon(netns: str, changes: Changes) -> Firewalld | None:
    daemon = bus.running(netns)
    if daemon is None and any(rules for _key, rules in changes):
        raise UnsupportedError("use firewalld", "it does not run here", "Start it, or choose another back end")
    return daemon


def _prepared(namespaces: Namespaces, daemon: Firewalld, changes: Changes) -> _Change:
    wanted = {key: _wanted(daemon, key, rules) for key, rules in changes}
    before, runtime = ({key: _found(look, key) for key in wanted} for look in (daemon.permanent, daemon.runtime))
    _refuse_others(before)
    obstacle, advice = daemon.obstacle_to_reload(namespaces, {name for key in wanted for name in _names(key)})
    missing = [key for key, new in wanted.items() if new.policy and not _is_changeable(runtime[key], new)]
    if missing and obstacle:
        raise ConflictError(
            f"add policy {name_of(missing[0])} to firewalld",
            f"that takes a reload, and {obstacle}",
            f"{advice}; source NAT needs no firewalld with backend auto or nftables",
        )
    removes = any(new.policy is None for new in wanted.values())
    return _Change(wanted, before, runtime, not obstacle and (bool(missing) or removes), not obstacle)


def _names(key: Key) -> tuple[str, str]:
    """Of the zone and of the policy; a zone serves the forwarding alone, and "" names none."""
    return (name_of(("zone", key[1])) if key[0] == "forward" else "", name_of(key))


def _found(look: t.Callable[[str, str], Settings | None], key: Key) -> _Pair:
    zone, policy = _names(key)
    return _Pair(look("Zone", zone), look("Policy", policy))


def _refuse_others(before: t.Mapping[Key, _Pair]) -> None:
    for key, pair in before.items():
        for name, there in zip(_names(key), pair):
            if there is not None and _key(name, there.get("description", "")) is None:
                raise ConflictError(
                    f"add {name} to firewalld", "there is one without our mark", "Rename it, or choose another name"
                )


def _is_changeable(runtime: _Pair, wanted: _Pair) -> bool:
    """Whether the runtime can become as wanted without a reload."""
    if runtime.policy is None or (wanted.zone and not runtime.zone):
        return False
    one, other = bus.comparable(runtime.policy), bus.comparable(wanted.policy or {})
    return all(one.get(key) == other.get(key) for key in {*one, *other} - {*_CHANGEABLE})


def _apply(daemon: Firewalld, wanted: t.Mapping[Key, _Pair], runtime: t.Mapping[Key, _Pair], reload: bool) -> None:
    for key, new in wanted.items():
        zone, policy = _names(key)
        # The policy names the zone, which must be there as long.
        daemon.write_permanent("Policy", policy, None)
        if zone:
            daemon.write_permanent("Zone", zone, new.zone)
        if new.policy:
            daemon.write_permanent("Policy", policy, new.policy)
    if reload:
        daemon.reload()
        return
    for key, new in wanted.items():
        zone, policy = _names(key)
        if runtime[key].zone is not None:
            daemon.bind(zone, (new.zone or {}).get("interfaces", []))
        if runtime[key].policy is not None:
            # What lets nothing through is as good as gone, and goes with the next reload.
            lasting = {name: new.policy.get(name, []) for name in _CHANGEABLE} if new.policy else {"rich_rules": []}
            daemon.change_policy(policy, lasting)


def _wanted(daemon: Firewalld, key: Key, rules: Rules | None) -> _Pair:
    if rules is None:
        return _Pair()
    purpose, network = key
    ingress, zone = "ANY", None
    if isinstance(rules, NatRules):
        words = [f"out_interfaces={'/'.join(rules.out_interfaces)}", f"not_out_interface={rules.not_out_interface}"]
        egress = _zones(daemon, rules.out_interfaces)
        rich = [
            f'rule family="ipv{family(own)}" source address="{own}" destination NOT address="{own}" masquerade'
            for own in rules.sources
        ]
    elif not isinstance(rules, ForwardRules):
        raise TypeError(f"{rules} are nothing for firewalld")
    else:
        words = [f"bridge={rules.bridge}", f"uplinks={'/'.join(rules.uplinks)}"]
        # firewalld itself accepts what was led on to another address.
        words += ["published=yes"] if rules.published else []
        egress = _zones(daemon, rules.uplinks)
        rich = [f'rule family="ipv{family(source)}" source address="{source}" accept' for source in rules.sources]
        bound = daemon.zone_of(rules.bridge)
        own = _names(key)[0]
        ingress = bound or own
        if ingress == own:
            zone = _zone(daemon, network, rules.bridge)
    policy = {
        "short": f"{MARK}{network} {purpose}",
        "description": " ".join([MARK + network, purpose, *words]),
        "target": "CONTINUE",
        "priority": _PRIORITY,
        "ingress_zones": [ingress],
        "egress_zones": egress,
        "rich_rules": rich,
    }
    return _Pair(zone, policy)


def _zone(daemon: Firewalld, network: str, bridge: str) -> Settings:
    """A zone for the bridge, to which the host is as open as to the default zone in which it would be otherwise."""
    model = daemon.permanent("Zone", daemon.default_zone()) or {}
    return {
        **{name: value for name, value in bus.comparable(model).items() if name not in _NOT_COPIED},
        "short": f"{MARK}{network} zone",
        "description": f"{MARK}{network} zone as {daemon.default_zone()}",
        # With br_netfilter, what stays on the bridge is filtered as well.
        "forward": True,
        "interfaces": [bridge],
    }


def _zones(daemon: Firewalld, uplinks: t.Sequence[str]) -> list[str]:
    """Zones of the interfaces. A policy knows no interface that merely falls to the default zone, so ANY stands in."""
    zones = {daemon.zone_of(uplink) for uplink in uplinks}
    return ["ANY"] if not zones or "" in zones else sorted(zones)


def _is_effective(runtime: Settings) -> bool:
    """Whether something in the runtime alone does anything; what does not goes with the next reload."""
    return bool(runtime.get("rich_rules") or runtime.get("interfaces"))


def _parsed(daemon: Firewalld, key: Key) -> Rules | None:
    zones, policies = zip(_found(daemon.runtime, key), _found(daemon.permanent, key))
    if policies[0] is None or policies[1] is None:
        return None
    try:
        rules = _rules(key[0], policies[1])
    except (KeyError, ValueError):
        return None
    wanted = _wanted(daemon, key, rules)
    description = (wanted.policy or {})["description"]
    same = all(bus.comparable(found or {}) == bus.comparable(wanted.policy or {}) for found in policies)
    # In the runtime, the default zone may be ahead of the permanent configuration, and ours with it.
    bound = [sorted((zone or {}).get("interfaces", [])) for zone in (zones[0], wanted.zone)]
    same = same and bus.comparable(zones[1] or {}) == bus.comparable(wanted.zone or {}) and bound[0] == bound[1]
    return rules if same and policies[1].get("description") == description else None


def _rules(purpose: str, found: Settings) -> Rules:
    words = dict(word.split("=", 1) for word in found["description"].split()[2:])
    sources = [address for rule in found["rich_rules"] for address in re.findall(r'source address="([^"]+)"', rule)]
    networks = collapsed(ipaddress.ip_network(source) for source in sources)
    if purpose == "nat":
        out = tuple(filter(None, words["out_interfaces"].split("/")))
        return NatRules(networks, out_interfaces=out, not_out_interface=words["not_out_interface"])
    uplinks = tuple(filter(None, words["uplinks"].split("/")))
    return ForwardRules(words["bridge"], uplinks, networks, words.get("published") == "yes")


def _key(name: str, description: str) -> Key | None:
    """Whose policy it is; None for one without our mark."""
    words = description.split()
    if len(words) < 2 or not words[0].startswith(MARK) or words[1] not in _SUFFIXES:
        return None
    key = (words[1], words[0][len(MARK) :])
    return key if name_of(key) == name else None


def _whose(key: Key) -> Key:
    """The rules that a policy or a zone is part of."""
    return ("forward", key[1]) if key[0] == "zone" else key


def _ours_in_files() -> t.Iterator[tuple[str, Key]]:
    for path in bus.permanent_files(_PREFIX):
        try:
            found = re.search("<description>([^<]*)</description>", files.read(path) or "")
        except KernelError:
            continue
        key = _key(os.path.basename(path)[: -len(".xml")], found[1] if found else "")
        if key:
            yield path, key


def _remove_files(keys: t.Collection[Key]) -> None:
    for path, key in list(_ours_in_files()):
        if _whose(key) in keys:
            files.delete(path)
