"""The network state of a node as text, to compare before and after.

Left out is what changes by itself: counters, life times, timers, random identifiers and numbers
that the kernel hands out (interface indices, namespace ids, rule handles).
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import shutil
import stat
import subprocess
import typing as t
from pathlib import Path

from tests.lab.syscalls import CLONE_NEWNET, setns

Snapshot = dict[str, str]

FILES = (
    "/etc/netns",
    "/etc/netpath",
    "/etc/NetworkManager",
    "/etc/resolv.conf",
    "/etc/sysctl.d",
    "/etc/systemd/network",
    "/etc/systemd/system",
    "/run/netpath",
    "/var/lib/netpath",
)
_NAMED = Path("/run/netns")
_SETTINGS = "/proc/sys/net"

# By the options of ip(8), what one process lists.
_COMMANDS = {
    ("-d",): {"links": "link show"},
    (): {"addresses": "address show"},
    ("-4", "-d"): {"routes ipv4": "route show table all", "rules ipv4": "rule show"},
    ("-6", "-d"): {"routes ipv6": "route show table all", "rules ipv6": "rule show"},
}
_VOLATILE_FIELDS = {
    *("ifindex", "link_index", "link_netnsid", "iflink", "new_netnsid"),
    *("valid_life_time", "preferred_life_time", "expires", "age", "used"),
    *("tentative", "optimistic"),
    *("hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "hold_timer"),
    *("message_age_timer", "forward_delay_timer"),
    *("topology_change", "topology_change_detected", "topology_change_ack"),
    *("fdb_n_learned", "stats", "stats64"),
    # Told some time after the flags that it follows from; of a link whose carrier never changed it stays UNKNOWN.
    "operstate",
}
_VOLATILE_SETTINGS = frozenset(["nf_conntrack_count", "stable_secret", "tcp_fastopen_key", "netdev_rss_key"])


def collect(namespaces: bool = True) -> Snapshot:
    """Describe the namespace of the calling process and, if asked, its named namespaces."""
    snapshot: Snapshot = {}
    for options, commands in _COMMANDS.items():
        snapshot.update(zip(commands, _objects(options, list(commands.values()))))
    snapshot["nftables"] = _ruleset()
    snapshot.update(_rules_of_iptables(snapshot["nftables"]))
    snapshot["settings"] = "\n".join(f"{key} = {value}" for key, value in settings().items())
    if namespaces:
        snapshot["files"] = "\n".join(line for root in FILES for line in _tree(Path(root)))
        names = sorted(entry.name for entry in _NAMED.iterdir()) if _NAMED.is_dir() else []
        snapshot["namespaces"] = "\n".join(names)
        for name in names:
            for title, text in _inside(_NAMED / name).items():
                snapshot[f"namespace {name}: {title}"] = text
    return snapshot


def difference(before: Snapshot, after: Snapshot) -> str:
    """Say what differs, as one unified diff; empty if nothing does."""
    lines: list[str] = []
    for title in sorted({*before, *after}):
        old, new = before.get(title, ""), after.get(title, "")
        lines += difflib.unified_diff(old.splitlines(), new.splitlines(), title, title, lineterm="", n=0)
    return "\n".join(lines)


def settings(root: str = _SETTINGS) -> dict[str, str]:
    """Read every readable value below a folder of /proc/sys that does not change by itself."""
    values = {}
    for directory, _folders, names in os.walk(root):
        for name in sorted(set(names) - _VOLATILE_SETTINGS):
            path = f"{directory}/{name}"
            # Some are to be written only, or have no value yet.
            with contextlib.suppress(OSError):
                values[path[len("/proc/sys/") :]] = _content(path)
    return dict(sorted(values.items()))


def _content(path: str) -> str:
    """The text of a small file; there are thousands of them, and Path.read_text takes four times as long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode("ascii", errors="replace").strip()
    finally:
        os.close(descriptor)


def _output(command: t.Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else f"failed: {done.stderr.strip()}"


def _objects(options: t.Sequence[str], commands: t.Sequence[str]) -> list[str]:
    """For each command, one line of JSON for each object, sorted."""
    done = subprocess.run(
        ["ip", *options, "-j", "-batch", "-"],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lists = [json.loads(line) for line in done.stdout.splitlines() if line]
    if done.returncode != 0 or len(lists) != len(commands):
        return [f"failed: {done.stderr.strip()}"] * len(commands)
    return ["\n".join(sorted(json.dumps(_stable(item), sort_keys=True) for item in objects)) for objects in lists]


def _stable(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _stable(item) for key, item in value.items() if key not in _VOLATILE_FIELDS}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    return value


def _ruleset() -> str:
    if shutil.which("nft") is None:
        return "nft is not installed"
    listed = _output(["nft", "--stateless", "list", "ruleset"])
    # They are listed in the order in which they were made, which means nothing.
    return "".join(sorted(re.split(r"(?m)^(?=table )", listed)))


def _rules_of_iptables(ruleset: str) -> Snapshot:
    """Rules in their order, by program and table, of the tables that are there: to list a legacy one would make it.

    nft does not show all that iptables-nft keeps in its rules, such as comments.
    """
    rules = {}
    for program, family in (("iptables", "ip"), ("ip6tables", "ip6")):
        in_nft = re.findall(f"^table {family} (filter|mangle|nat|raw|security) ", ruleset, re.MULTILINE)
        for kind, tables in (("nft", in_nft), ("legacy", _legacy_tables(family))):
            for table in sorted(tables):
                saved = _output([f"{program}-{kind}-save", "-t", table])
                lines = [line for line in saved.splitlines() if not line.startswith("#")]
                # A chain's line ends with its counters.
                rules[f"{program}-{kind} {table}"] = "\n".join(
                    re.sub(r"^(:.*) \[\d+:\d+\]$", r"\1", line) for line in lines
                )
    return rules


def _legacy_tables(family: str) -> list[str]:
    try:
        return Path(f"/proc/net/{family}_tables_names").read_text(encoding="ascii").split()
    except OSError:
        return []


def _tree(root: Path) -> list[str]:
    if not os.path.lexists(root):
        return []
    lines = [_describe(root)]
    if root.is_dir() and not root.is_symlink():
        for entry in sorted(root.iterdir()):
            lines += _tree(entry)
    return lines


def _describe(path: Path) -> str:
    found = path.lstat()
    title = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid} {path}"
    if stat.S_ISLNK(found.st_mode):
        return f"{title} -> {path.readlink()}"
    if not stat.S_ISREG(found.st_mode):
        return title
    try:
        return f"{title}: {path.read_text(encoding='utf-8', errors='backslashreplace')!r}"
    except OSError as error:
        return f"{title}: {error.strerror}"


def _inside(path: Path) -> Snapshot:
    """Describe a named namespace, from a fork that enters it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _report_from(path, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(pid, 0)
    snapshot: Snapshot = json.loads(text) if text else {"network": "not readable"}
    return snapshot


def _report_from(path: Path, writer: int) -> t.NoReturn:
    try:
        try:
            setns(os.open(path, os.O_RDONLY | os.O_CLOEXEC), CLONE_NEWNET)
            snapshot = collect(namespaces=False)
        except OSError as error:
            snapshot = {"network": f"not a namespace: {error.strerror}"}
        with os.fdopen(writer, "w", encoding="utf-8") as stream:
            json.dump(snapshot, stream)
    finally:
        os._exit(0)
