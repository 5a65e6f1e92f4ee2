# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules as policies of firewalld: for each network and purpose one of our own, marked by its description.

A policy is found in firewalld's runtime configuration and, so that it survives a reload, in the permanent one. Only a
reload can bring a new policy to the runtime; all else is changed there directly. A reload drops what others have
in the runtime alone, so there is none unless both configurations are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import typing as t

from ..errors import ConflictError, EgressError, KernelError, UnsupportedError
from ..model import HOST, MARK, ForwardRules, NatRules, Rules
from ..spec.values import collapsed, family
from . import files
from . import firewalld_bus as bus

if t.TYPE_CHECKING:
    from .firewalld_bus import Firewalld, Settings
    from .namespaces import Namespaces

MAX_POLICY_NAME = 17  # of the oldest version; a chain is named after it
_PREFIX = "np-"
_SUFFIXES = {"nat": "-nat", "forward": "-fwd"}
_PRIORITY = -1  # ahead of what zones say
_BRIDGE_FILTERED = "/proc/sys/net/bridge/bridge-nf-call-iptables"

Key = tuple[str, str]  # purpose ("nat" or "forward") and network
Changes = t.Sequence[tuple[Key, t.Optional[Rules]]]


def name_of(key: Key) -> str:
    """The policy of a network: its name, cut and kept apart by a hash where it is too long."""
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
        return {key: None for _path, key in _ours_in_files()}
    found: dict[Key, Rules | None] = {}
    for name in sorted(daemon.policy_names()):
        if name.startswith(_PREFIX):
            runtime, permanent = daemon.runtime_policy(name), daemon.permanent_policy(name)
            key = _key(name, (permanent or runtime or {}).get("description", ""))
            if key and (permanent or (runtime or {}).get("rich_rules")):
                found[key] = _parsed(daemon, key, runtime, permanent)
    return found


def write(namespaces: Namespaces, netns: str, changes: Changes) -> None:
    """Replace each network's policies, or remove them where its rules are None.

    Errors: EgressError, with both configurations as they were.
    """
    daemon = bus.running(netns)
    if daemon is None:
        if any(rules for _key, rules in changes):
            raise UnsupportedError("use firewalld", "it does not run here", "Start it, or choose another back end")
        _remove_files({key for key, _rules in changes})
        return
    wanted = {name_of(key): settings(daemon, key, rules) if rules else None for key, rules in changes}
    runtime = {name: daemon.runtime_policy(name) for name in wanted}
    before = {name: daemon.permanent_policy(name) for name in wanted}
    _refuse_others(wanted, before)
    obstacle = daemon.obstacle_to_reload(namespaces, set(wanted))
    missing = [name for name, new in wanted.items() if new and not _is_changeable(runtime[name], new)]
    if missing and obstacle:
        raise ConflictError(
            f"add policy {missing[0]} to firewalld",
            f"that takes a reload, and {obstacle}",
            "Keep what is in the runtime with firewall-cmd --runtime-to-permanent, or reload firewalld yourself when"
            " it suits, and run this again; source NAT needs no firewalld with backend auto or nftables",
        )
    try:
        _apply(daemon, wanted, runtime, reload=not obstacle and (bool(missing) or None in wanted.values()))
    except EgressError:
        with contextlib.suppress(EgressError):
            _apply(daemon, before, runtime, reload=not obstacle)
        raise


def _refuse_others(wanted: t.Iterable[str], before: t.Mapping[str, Settings | None]) -> None:
    for name in wanted:
        there = before[name]
        if there is not None and _key(name, there.get("description", "")) is None:
            raise ConflictError(
                f"add policy {name} to firewalld", "there is one without our mark", "Rename it, or choose another name"
            )


def _is_changeable(runtime: Settings | None, wanted: Settings) -> bool:
    """Whether the runtime can become as wanted without a reload."""
    if runtime is None:
        return False
    one, other = bus.comparable(runtime), bus.comparable(wanted)
    return all(one.get(key) == other.get(key) for key in {*one, *other} - {"rich_rules", "egress_zones"})


def _apply(
    daemon: Firewalld, wanted: t.Mapping[str, Settings | None], runtime: t.Mapping[str, Settings | None], reload: bool
) -> None:
    for name, new in wanted.items():
        daemon.write_permanent_policy(name, new)
    if reload:
        daemon.reload()
        return
    for name, new in wanted.items():
        if runtime[name] is not None:
            # What lets nothing through is as good as gone, and goes with the next reload.
            daemon.change_runtime_policy(name, _effective(new or {}))


def settings(daemon: Firewalld, key: Key, rules: Rules) -> Settings:
    """A policy, as firewalld takes it."""
    purpose, network = key
    if isinstance(rules, NatRules):
        words = [f"out_interface={rules.out_interface}", f"not_out_interface={rules.not_out_interface}"]
        zones = _zones(daemon, [rules.out_interface] if rules.out_interface else [])
        rich = [
            f'rule family="ipv{family(own)}" source address="{own}" destination NOT address="{own}" masquerade'
            for own in rules.sources
        ]
    else:
        words = [f"bridge={rules.bridge}", f"uplinks={'/'.join(rules.uplinks)}"]
        zones = ["ANY"] if _filters_bridged() else _zones(daemon, rules.uplinks, rules.bridge)
        rich = [f'rule family="ipv{family(source)}" source address="{source}" accept' for source in rules.sources]
    return {
        "short": f"{MARK}{network} {purpose}",
        "description": " ".join([MARK + network, purpose, *words]),
        "target": "CONTINUE",
        "priority": _PRIORITY,
        "ingress_zones": ["ANY"],
        "egress_zones": zones,
        "rich_rules": rich,
    }


def _effective(found: Settings) -> Settings:
    """The settings that the runtime can change."""
    return {key: found.get(key, []) for key in ("rich_rules", *(["egress_zones"] if found else []))}


def _zones(daemon: Firewalld, uplinks: t.Sequence[str], bridge: str = "") -> list[str]:
    """Zones of the interfaces. A policy knows no interface that merely falls to the default zone, so ANY stands in."""
    zones = [daemon.zone_of(uplink) for uplink in uplinks]
    if not zones or "" in zones:
        return ["ANY"]
    if bridge:
        zones.append(daemon.zone_of(bridge))
    return sorted({zone for zone in zones if zone})


def _filters_bridged() -> bool:
    """Whether what stays on a bridge passes the filter for forwarded packets as well (br_netfilter)."""
    try:
        with open(_BRIDGE_FILTERED, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _parsed(daemon: Firewalld, key: Key, runtime: Settings | None, permanent: Settings | None) -> Rules | None:
    if runtime is None or permanent is None:
        return None
    try:
        rules = _rules(key[0], permanent)
        wanted = settings(daemon, key, rules)
    except (KeyError, ValueError):
        return None
    same = all(bus.comparable(found) == bus.comparable(wanted) for found in (runtime, permanent))
    return rules if same and permanent.get("description") == wanted["description"] else None


def _rules(purpose: str, found: Settings) -> Rules:
    words = dict(word.split("=", 1) for word in found["description"].split()[2:])
    sources = [address for rule in found["rich_rules"] for address in re.findall(r'source address="([^"]+)"', rule)]
    networks = collapsed(ipaddress.ip_network(source) for source in sources)
    if purpose == "nat":
        return NatRules(networks, out_interface=words["out_interface"], not_out_interface=words["not_out_interface"])
    return ForwardRules(words["bridge"], tuple(filter(None, words["uplinks"].split("/"))), networks)


def _key(name: str, description: str) -> Key | None:
    """Whose policy it is; None for one without our mark."""
    words = description.split()
    if len(words) < 2 or not words[0].startswith(MARK) or words[1] not in _SUFFIXES:
        return None
    key = (words[1], words[0][len(MARK) :])
    return key if name_of(key) == name else None


def _ours_in_files() -> t.Iterator[tuple[str, Key]]:
    for path in bus.files_of_policies(_PREFIX):
        try:
            found = re.search("<description>([^<]*)</description>", files.read(path) or "")
        except KernelError:
            continue
        key = _key(os.path.basename(path)[: -len(".xml")], found[1] if found else "")
        if key:
            yield path, key


def _remove_files(keys: t.Collection[Key]) -> None:
    for path, key in list(_ours_in_files()):
        if key in keys:
            os.unlink(path)
