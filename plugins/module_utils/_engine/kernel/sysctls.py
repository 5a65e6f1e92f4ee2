# Copyright (c) netpath.egress contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls of a namespace, below /proc/sys (proc(5)). Which namespace is meant is decided when a file is opened."""

from __future__ import annotations

import errno
import glob
import os
import typing as t

from ..errors import KernelError, UnsupportedError
from ..model import Setting
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


def _read(key: str) -> str | None:
    try:
        with open(_ROOT + key, encoding="utf-8", errors="replace") as file:
            return "\t".join(file.read().split())
    except OSError:
        return None
