# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls of a namespace, below /proc/sys (proc(5)). Which namespace is meant is decided when a file is opened."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import typing as t

from ..errors import KernelError, UnsupportedError
from ..model import Setting
from ..planning.step import dotted
from .namespaces import Namespaces, in_new_namespace

_ROOT = "/proc/sys/"


def read(namespaces: Namespaces, netns: str, keys: t.Iterable[str]) -> dict[str, str]:
    """{key: value} of those keys that exist. Words are separated by one tab."""
    with namespaces.entered(netns):
        return {key: value for key in keys for value in [_read(key)] if value is not None}


def read_in_new_namespace(keys: t.Iterable[str]) -> dict[str, str]:
    """The values that a namespace has when it is made, from one that is made for the question and thrown away."""
    with in_new_namespace():
        return {key: value for key in keys for value in [_read(key)] if value is not None}


def matching(namespaces: Namespaces, netns: str, pattern: str) -> list[str]:
    """Keys that match a shell pattern, such as net/ipv4/conf/*/forwarding."""
    with namespaces.entered(netns):
        return sorted(path[len(_ROOT) :] for path in glob.glob(_ROOT + pattern))


def write(namespaces: Namespaces, setting: Setting, asked: str) -> None:
    """Errors: UnsupportedError where the key does not exist or may not be written here, else KernelError."""
    with namespaces.entered(setting.netns):
        try:
            descriptor = os.open(_ROOT + setting.key, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, (setting.value or "").encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            code = error.errno or 0
            if code in (errno.ENOENT, errno.EACCES, errno.EROFS, errno.EPERM):
                advice = "This key does not exist or cannot be changed in this namespace"
                raise UnsupportedError(asked, os.strerror(code), advice) from error
            raise KernelError(asked, os.strerror(code), code) from error


def obstacle(namespaces: Namespaces, netns: str, key: str) -> tuple[str, str] | None:
    """Why a key cannot be set in a namespace, and what to do; None where it can."""
    with namespaces.entered(netns):
        if os.access(_ROOT + key, os.W_OK, effective_ids=True):
            return None
        if os.path.exists(_ROOT + key):
            return (
                "it can only be read here",
                "Set it where the kernel allows it: on the machine itself, not inside it",
            )
        folder, name = os.path.split(_ROOT + key)
        if not os.path.isdir(folder):
            advice = "Load the kernel module that brings it, such as nf_conntrack or br_netfilter, or leave it out"
            if key.startswith("net/ipv6/"):
                advice = "This kernel runs without IPv6 (ipv6.disable=1): leave IPv6 out, or boot it with IPv6"
            return (f"this host has no settings below {dotted(os.path.dirname(key))}", advice)
        alike = [other for other in sorted(os.listdir(folder)) if "timeout" in other and "timeout" in name]
    advice = f"It has {', '.join(alike)}" if alike else "Leave it out"
    return ("this host has no such setting", advice)


def _read(key: str) -> str | None:
    try:
        with open(_ROOT + key, encoding="utf-8", errors="replace") as file:
            return "\t".join(file.read().split())
    except OSError:
        return None


def counters(namespaces: Namespaces, netns: str) -> dict[str, int]:
    """What a namespace has counted (proc_net(5): netstat, snmp and xfrm_stat), by name."""
    found: dict[str, int] = {}
    with namespaces.entered(netns):
        for file in ("netstat", "snmp"):
            # Of this thread: that of the process is another one's.
            with open(f"/proc/thread-self/net/{file}", encoding="ascii") as opened:
                lines = opened.read().splitlines()
            for names, values in zip(lines[::2], lines[1::2]):
                found.update(zip(names.split()[1:], map(int, values.split()[1:])))
        with contextlib.suppress(OSError), open("/proc/thread-self/net/xfrm_stat", encoding="ascii") as opened:
            found.update({name: int(value) for name, value in map(str.split, opened)})
    return found
