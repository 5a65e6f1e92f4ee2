"""Whether a world can be made here, and how a user without rights gets there."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t
from pathlib import Path

from tests.lab import holder

_UNSHARE = ("unshare", "-Urnm", "--")
_RESTRICTIONS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor forbids user namespaces to unconfined programs"),
    ("kernel/unprivileged_userns_clone", "0", "this kernel forbids user namespaces to users"),
    ("user/max_user_namespaces", "0", "user namespaces are switched off"),
)


def obstacle() -> str | None:
    """Say why this process cannot make a world, or None if it can: it makes one node to see."""
    if os.geteuid() != 0:
        return "making a world needs root or a user namespace: start the program by 'unshare -Urnm --' or sudo"
    missing = [program for program in ("ip", "sh") if shutil.which(program) is None]
    if missing:
        return f"programs are missing: {', '.join(missing)}"
    try:
        holder.start("lab-test").close()
    except holder.LabError as error:
        return f"{error} (in a container? a world needs CAP_SYS_ADMIN and overlayfs)"
    return None


def real_root() -> bool:
    """Whether this user namespace is the machine's: it maps every user there is."""
    return Path("/proc/self/uid_map").read_text(encoding="ascii").split() == ["0", "0", "4294967295"]


def user_namespace() -> str:
    """Options of nsenter that a shell elsewhere needs to come into this process's user namespace, if it needs any."""
    return "" if real_root() else "-U --preserve-credentials "


def entrance() -> str:
    """What stands before a command in another shell, so that it sees the world as this process does."""
    return "" if real_root() else f"nsenter -t {os.getpid()} {user_namespace()}-m "


def namespaces_forbidden() -> str | None:
    """Say why a user without rights gets no user namespace here, or None if one does."""
    try:
        tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "the program unshare (util-linux) is missing"
    if tried.returncode == 0:
        return None
    for name, value, reason in _RESTRICTIONS:
        setting = Path("/proc/sys", name)
        if setting.exists() and setting.read_text(encoding="ascii").strip() == value:
            return f"{reason} ({name.replace('/', '.')} = {value})"
    return tried.stderr.strip() or "unshare failed"


def ensure() -> None:
    """Return if this process may make a world; else start the program again where it may.

    Without root the program is replaced by itself inside new user, network and mount namespaces.
    Where that is not possible either, it ends with the reason.
    """
    if os.geteuid() != 0:
        reason = namespaces_forbidden()
        if reason is not None:
            raise SystemExit(f"no world without root here: {reason}; use sudo")
        _start_again()
    reason = obstacle()
    if reason is not None:
        raise SystemExit(f"no world here: {reason}")


def _start_again() -> t.NoReturn:
    # Unlike sys.argv it has the interpreter's own options, -m among them.
    arguments = [os.fsdecode(part) for part in Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]]
    os.execvp(_UNSHARE[0], [*_UNSHARE, *arguments])
