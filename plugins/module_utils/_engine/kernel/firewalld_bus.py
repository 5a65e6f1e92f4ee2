# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""firewalld over D-Bus, by systemd's busctl: its policies, and whether a reload of it would cost anybody anything.

See firewalld.dbus(5). firewalld keeps two configurations: the runtime one that filters, and the permanent one in files.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import typing as t

from ..errors import ConflictError, KernelError, UnsupportedError
from ..model import HOST
from . import iptables, programs

if t.TYPE_CHECKING:
    from .namespaces import Namespaces

FOLDERS = {"Policy": "/etc/firewalld/policies", "Zone": "/etc/firewalld/zones"}
OLDEST = (0, 9)  # the first with policies
_KEEPS_IPTABLES = (2, 0)  # older ones flush the rules of everybody in iptables when they reload
_NAME = "org.fedoraproject.FirewallD1"
_RUNTIME = "/org/fedoraproject/FirewallD1"
_PERMANENT = f"{_RUNTIME}/config"
_DOCKER_ZONE = "docker"
_TIMEOUT = "60"  # seconds
_TYPES: tuple[tuple[type, str], ...] = ((bool, "b"), (int, "i"), (str, "s"))
_SUFFIX = {"Policy": "", "Zone": "2"}  # of methods that take and give a dictionary
_TEXTS = ("version", "short", "description")
_TABLES = ("filter", "nat", "mangle", "raw", "security")

Settings = dict[str, t.Any]


class Firewalld:
    """The daemon that runs in the namespace of the engine."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])

    def names(self, kind: str) -> set[str]:
        """Names of policies or zones, of either configuration. kind: Policy or Zone."""
        return {*self._runtime_names(kind), *self._call(_PERMANENT, "config", f"get{kind}Names")}

    def runtime(self, kind: str, name: str) -> Settings | None:
        if name not in self._runtime_names(kind):
            return None
        return _plain(self._call(_RUNTIME, kind.lower(), f"get{kind}Settings{_SUFFIX[kind]}", "s", name))

    def permanent(self, kind: str, name: str) -> Settings | None:
        path = self._permanent_path(kind, name)
        return _plain(self._call(path, f"config.{kind.lower()}", f"getSettings{_SUFFIX[kind]}")) if path else None

    def change_policy(self, name: str, settings: Settings) -> None:
        """Change a policy that is in the runtime configuration, there."""
        self._call(_RUNTIME, "policy", "setPolicySettings", "sa{sv}", name, *_written(settings))

    def bind(self, zone: str, interfaces: t.Collection[str]) -> None:
        """Bind these interfaces, and no others, to a zone that is in the runtime configuration, there."""
        bound = (self.runtime("Zone", zone) or {}).get("interfaces", [])
        for interface in sorted({*bound} - {*interfaces}):
            self._call(_RUNTIME, "zone", "removeInterface", "ss", zone, interface)
        for interface in sorted({*interfaces} - {*bound}):
            self._call(_RUNTIME, "zone", "changeZoneOfInterface", "ss", zone, interface)

    def write_permanent(self, kind: str, name: str, settings: Settings | None) -> None:
        """Replace a policy or zone or, with settings None, remove it. firewalld's copy of the old file goes."""
        path = self._permanent_path(kind, name)
        if path:
            self._call(path, f"config.{kind.lower()}", "remove")
        if settings is not None:
            given = {key: value for key, value in settings.items() if value != []}
            self._call(_PERMANENT, "config", f"add{kind}{_SUFFIX[kind]}", "sa{sv}", name, *_written(given))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{FOLDERS[kind]}/{name}.xml.old")

    def default_zone(self) -> str:
        return str(self._call(_RUNTIME, "", "getDefaultZone"))

    def zone_of(self, interface: str) -> str:
        """The zone that an interface is bound to; "" for one that only falls to the default zone."""
        return str(self._call(_RUNTIME, "zone", "getZoneOfInterface", "s", interface))

    def reload(self) -> None:
        self._call(_RUNTIME, "", "reload")

    def obstacle_to_reload(self, namespaces: Namespaces, ours: t.Collection[str]) -> tuple[str, str]:
        """What a reload would take from somebody and what to do, or "" for nothing. ours: what does not count."""
        if self._call(_RUNTIME, "", "queryPanicMode"):
            return "its panic mode is on", "Switch it off with firewall-cmd --panic-off, and run this again"
        different = [*self._unlike_in("Zone", ours), *self._unlike_in("Policy", ours), *self._unlike_elsewhere()]
        if different:
            found = f"its runtime configuration is not the permanent one: {', '.join(different)}"
            return found, "Keep it with firewall-cmd --runtime-to-permanent, or reload firewalld, and run this again"
        if self.numbers >= _KEEPS_IPTABLES and self._property(_PERMANENT, "config", "FirewallBackend") != "iptables":
            return "", ""
        found = _rules_in_iptables(namespaces, self.version)
        # It is needed once: what is there may be changed without.
        advice = "Once, stop what has made them (Docker), run firewall-cmd --reload, run this, and start it again"
        return found, advice if found else ""

    def _unlike_in(self, kind: str, ours: t.Collection[str]) -> t.Iterator[str]:
        """Zones or policies that are not the same in both configurations."""
        for name in sorted(self.names(kind) - {*ours}):
            runtime, permanent = self.runtime(kind, name), self.permanent(kind, name)
            one, other = comparable(runtime or {}), comparable(permanent or {})
            bound = {*one.pop("interfaces", [])} ^ {*other.pop("interfaces", [])}
            fields = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
            if any(not _comes_back(name, interface) for interface in bound):
                fields.append("interfaces")
            if (runtime is None) != (permanent is None) or fields:
                yield f"{kind.lower()} {name}" + (f" ({', '.join(fields)})" if fields else "")

    def _unlike_elsewhere(self) -> t.Iterator[str]:
        permanent = self._call(_PERMANENT, "config.direct", "getSettings")
        for number, kind in enumerate(("Chains", "Rules", "Passthroughs")):
            if sorted(self._call(_RUNTIME, "direct", f"getAll{kind}")) != sorted(permanent[number]):
                yield f"direct {kind.lower()}"
        sets = self._call(_RUNTIME, "ipset", "getIPSets")
        if sorted(sets) != sorted(self._call(_PERMANENT, "config", "getIPSetNames")):
            yield "ipsets"
            return
        for name in sets:
            entries = self._call(self._permanent_path("IPSet", name), "config.ipset", "getEntries")
            if sorted(self._call(_RUNTIME, "ipset", "getEntries", "s", name)) != sorted(entries):
                yield f"ipset {name}"

    def _runtime_names(self, kind: str) -> list[str]:
        method = {"Policy": "getPolicies", "Zone": "getZones"}[kind]
        return list(self._call(_RUNTIME, kind.lower(), method))

    def _permanent_path(self, kind: str, name: str) -> str:
        """The object of a zone, policy or ipset in the permanent configuration; "" if it is not in that."""
        if name not in self._call(_PERMANENT, "config", f"get{kind}Names"):
            return ""
        return str(self._call(_PERMANENT, "config", f"get{kind}ByName", "s", name))

    def _property(self, path: str, interface: str, name: str) -> t.Any:
        words = [_NAME, path, "org.freedesktop.DBus.Properties", "Get", "ss", _interface(interface), name]
        return _plain_value(_asked(words)[0])

    def _call(self, path: str, interface: str, method: str, *arguments: str) -> t.Any:
        answer = _asked([_NAME, path, _interface(interface), method, *arguments])
        return answer[0] if answer else None


def running(netns: str) -> Firewalld | None:
    """The daemon, if it filters in this namespace. Errors: UnsupportedError for one that is too old or has failed."""
    if netns != HOST or not programs.find("firewalld") or not programs.find("busctl"):
        return None
    words = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"]
    try:
        pid = _asked([*words, "GetConnectionUnixProcessID", "s", _NAME])[0]
    except KernelError:
        return None
    try:
        own, other = (os.stat(f"/proc/{who}/ns/net") for who in ("thread-self", pid))
    except OSError:
        return None
    if not os.path.samestat(own, other):
        return None
    properties = [_NAME, _RUNTIME, "org.freedesktop.DBus.Properties", "Get", "ss", _NAME]
    version, state = (str(_plain_value(_asked([*properties, name])[0])) for name in ("version", "state"))
    found = Firewalld(version)
    if found.numbers < OLDEST:
        raise UnsupportedError(
            "let packets through firewalld",
            f"version {version} has no policies, which came with {'.'.join(map(str, OLDEST))}",
            "Use a newer one, or set firewall to none and open it yourself",
        )
    if state == "FAILED":
        raise ConflictError("let packets through firewalld", "it is in the state FAILED", "See journalctl -u firewalld")
    return found


def permanent_files(prefix: str) -> list[str]:
    """Files of permanent policies and zones, to which firewalld itself need not run."""
    return sorted(path for folder in FOLDERS.values() for path in glob.glob(f"{folder}/{glob.escape(prefix)}*.xml"))


def comparable(settings: Settings) -> Settings:
    """What settings do: without texts and what is not set, and with lists in one order."""
    return {
        key: sorted(value, key=repr) if isinstance(value, list) else value
        for key, value in settings.items()
        if key not in _TEXTS and value not in ([], False, "", 0)
    }


def _rules_in_iptables(namespaces: Namespaces, version: str) -> str:
    program = programs.find("iptables")
    if program is None:
        return ""
    flavour = "iptables-legacy" if "legacy" in os.path.realpath(program) else "iptables-nft"
    for name in _TABLES:
        for table in iptables.tables(namespaces, HOST, flavour, name).values():
            if any(table.rules.values()) or "-" in table.policies.values():
                return f"version {version} flushes all rules of others in iptables, and table {name} has some"
    return ""


def _comes_back(zone: str, interface: str) -> bool:
    """Whether somebody binds an interface to its zone again after each reload: Docker and NetworkManager do."""
    if zone == _DOCKER_ZONE:
        return True
    manager = "org.freedesktop.NetworkManager"
    words = [manager, "/org/freedesktop/NetworkManager", manager, "GetDeviceByIpIface", "s", interface]
    try:
        device = str(_asked(words)[0])
        read = [manager, device, "org.freedesktop.DBus.Properties", "Get", "ss", f"{manager}.Device", "Managed"]
        return bool(_plain_value(_asked(read)[0]))
    except KernelError:
        return False


def _interface(name: str) -> str:
    return f"{_NAME}.{name}" if name else _NAME


def _plain(settings: t.Mapping[str, t.Any]) -> Settings:
    return {key: _plain_value(value) for key, value in settings.items()}


def _plain_value(value: t.Any) -> t.Any:
    """Without the variant around it."""
    return value["data"] if isinstance(value, dict) and set(value) == {"type", "data"} else value


def _written(settings: Settings) -> list[str]:
    """A dictionary of variants in the words of busctl."""
    words = [str(len(settings))]
    for key, value in settings.items():
        if isinstance(value, (list, tuple)):
            structures = [item for item in value if not isinstance(item, str)]
            kind = f"({'s' * len(structures[0])})" if structures else "s"
            words += [key, f"a{kind}", str(len(value))]
            words += [word for item in value for word in (item if structures else [item])]
        else:
            kind = next(letter for known, letter in _TYPES if isinstance(value, known))
            words += [key, kind, str(value).lower() if kind == "b" else str(value)]
    return words


def _asked(words: t.Sequence[str]) -> list[t.Any]:
    asked = f"ask firewalld for {words[3]}"
    argv = ["busctl", "--system", "--auto-start=no", "--json=short", f"--timeout={_TIMEOUT}", "call", "--", *words]
    done = programs.run(asked, argv)
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr).strip()
        raise KernelError(asked, f"it says {said or 'nothing'}", 0, "See journalctl -u firewalld")
    answer: list[t.Any] = json.loads(done.stdout)["data"] if done.stdout.strip() else []
    return answer
